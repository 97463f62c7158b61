"""Cases are preprocessed while the plan is decided on, where no decision can change their grids."""

import hashlib
import json
from pathlib import Path

import pytest

from autoseg.cli.main import main
from autoseg.execution.machine import Machine
from autoseg.io.workspace import DatasetFolder
from autoseg.pipeline import plan_and_preprocess as command
from autoseg.pipeline import stage
from preprocessing.footprint import footprint

COMMAND = ["plan_and_preprocess"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)


def stored(workspace: str) -> dict[str, str]:
    """Digest of every file under ``preprocessed``."""
    files = sorted(Path(workspace).glob("*/preprocessed/*/*"))
    return {
        f"{file.parent.name}/{file.name}": hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }


def test_early_work_gives_the_same_store_and_is_not_done_twice(
    msd: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    drafts = []
    draft = command._draft
    monkeypatch.setattr(command, "_draft", lambda *given: drafts.append(draft(*given)) or drafts[0])
    assert main([*COMMAND, "-d", str(msd), "--workspace", "early", "--workers", "2"]) == 0
    assert [plan.names for plan in drafts] == [("2d", "3d_fullres")]
    assert capsys.readouterr().err.count("preprocessing: done") == 1
    assert main([*COMMAND, "-d", str(msd), "--workspace", "late", "--workers", "0"]) == 0
    assert len(drafts) == 1  # without workers, steps are traced in the command itself
    assert stored("early") == stored("late") != {}
    plans = [
        json.loads(next(Path(w).glob("*/plans/*.json")).read_text()) for w in ("early", "late")
    ]
    assert plans[0] == plans[1]


def test_where_no_plan_can_be_made_early_work_ends_with_the_reason(
    msd: Path, capsys: pytest.CaptureFixture[str]
):
    splits = Path("splits.json")
    splits.write_text(json.dumps([{"train": ["nobody"], "val": ["no_one"]}]))
    asked = ["-d", str(msd), "--workspace", "ws", "--workers", "2", "--splits", str(splits)]
    assert main([*COMMAND, *asked]) == 3
    said = capsys.readouterr().err
    assert "error:" in said
    assert "splits.json" in said
    assert not list(Path("ws").glob("*/plans/*"))
    assert not list(Path("ws").glob("*/splits.json"))


def test_a_case_that_is_refused_early_is_told_once_and_the_plan_is_kept(
    msd: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    assert main([*COMMAND, "-d", str(msd), "--workspace", "large", "--workers", "0"]) == 0
    folder = DatasetFolder(path=Path("large") / msd.name)
    plan, cases = folder.read_plan("default"), folder.read_fingerprint().cases
    needs = sorted((footprint(case, plan, plan.names, 1).memory_bytes, case.name) for case in cases)
    budget = needs[-1][0] - 1
    monkeypatch.setattr(
        stage, "inspect_machine", lambda: Machine(cores=2, memory_bytes=int(budget / 0.8))
    )
    capsys.readouterr()
    assert main([*COMMAND, "-d", str(msd), "--workspace", "small", "--workers", "2"]) == 4
    said = capsys.readouterr().err
    assert said.count(f"error: E-RES-64 case '{needs[-1][1]}': needs about ") == 1
    assert said.count("preprocessing: done") == 1
    assert list(Path("small").glob("*/plans/default.json"))
    left = {name.partition("/")[2] for name in stored("large")} - {
        name.partition("/")[2] for name in stored("small")
    }
    assert {Path(name).name.split(".")[0] for name in left} == {needs[-1][1]}
