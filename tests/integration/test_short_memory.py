"""A case that does not fit into memory is refused by name before any work; the others are done."""

from pathlib import Path

import pytest

from autoseg.cli.main import main
from autoseg.execution.machine import Machine
from autoseg.io.workspace import DatasetFolder
from autoseg.pipeline import stage
from preprocessing import runner
from preprocessing.footprint import footprint

PLAN = ["--rules", "nnunet", "--workspace", "ws", "--workers", "0"]


def largest_of(folder: DatasetFolder) -> tuple[str, int, int]:
    """The case that takes the most memory, how much, and what the next one takes."""
    plan = folder.read_plan("default")
    needs = sorted(
        (footprint(case, plan, plan.names, 1).memory_bytes, case.name)
        for case in folder.read_fingerprint().cases
    )
    return needs[-1][1], needs[-1][0], max(need for need, _ in needs if need < needs[-1][0])


def test_case_that_cannot_fit_is_refused_by_name_and_the_others_are_done(
    msd: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    assert main(["plan_and_preprocess", "-d", str(msd), *PLAN]) == 0
    folder = DatasetFolder(path=Path("ws") / msd.name)
    name, needed, next_largest = largest_of(folder)
    for array in (folder.path / "preprocessed").rglob("*.json"):
        array.unlink()
    budget = (needed + next_largest) // 2
    short = Machine(cores=2, memory_bytes=int(budget / 0.8))
    monkeypatch.setattr(stage, "inspect_machine", lambda: short)
    worked_on = []
    prepare = runner._prepare
    monkeypatch.setattr(
        runner, "_prepare", lambda task: worked_on.append(task.case.name) or prepare(task)
    )
    capsys.readouterr()
    assert main(["preprocess", "--workspace", "ws", "--workers", "0"]) == 4
    said = capsys.readouterr().err
    assert f"error: E-RES-64 case '{name}': needs about " in said
    assert "of memory, and this process may use " in said
    assert "hint: close other programs" in said
    cases = {case.name for case in folder.read_dataset().cases}
    assert name not in worked_on
    assert f"of {len(cases)} cases could not be preprocessed; the others are done and kept" in said
    stored = {record.stem for record in (folder.path / "preprocessed").rglob("*.json")}
    assert stored == set(worked_on)
    assert len(cases) > len(stored) >= 1

    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert main(["preprocess", "--workspace", "ws", "--workers", "0"]) == 0
    assert f"{len(cases) - len(stored)} cases preprocessed" in capsys.readouterr().out
