"""``autoseg explain`` on a measured and planned dataset: a page, and a drawing per network."""

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from autoseg.cli.main import main
from autoseg.pipeline.phantom import LABEL_NAMES, write_phantom_dataset

SVG = "{http://www.w3.org/2000/svg}"
PLANS = "autoseg_workspace/Task01_Phantom/plans"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A workspace with the generated dataset, planned twice."""
    home = tmp_path_factory.mktemp("home")
    raw, place = home / "Task01_Phantom", home / "autoseg_workspace"
    write_phantom_dataset(raw, seed=3, cases=5, held_out=0)
    where = ["--workspace", str(place), "--quiet"]
    assert main(["fingerprint", "-d", str(raw), "--workers", "0", *where]) == 0
    planned = ["plan", "-d", "Task01", "--gpu-memory-gib", "8", *where]  # no step is timed
    assert main(planned) == 0
    assert main([*planned, "--plan", "v1.resenc", "--network", "resenc"]) == 0
    return place


@pytest.fixture(autouse=True)
def _home(workspace, tmp_path):
    """Work beside a copy of the workspace."""
    shutil.copytree(workspace, tmp_path / "autoseg_workspace")


@pytest.fixture
def explain(capsys):
    """Run the verb and return what it prints."""

    def run(*arguments, code=0):
        capsys.readouterr()
        assert main(["explain", *arguments]) == code
        return capsys.readouterr()

    return run


def names(plan="default"):
    document = json.loads((Path(PLANS) / f"{plan}.json").read_text())
    return [configuration["name"] for configuration in document["configurations"]]


def test_the_page_ends_with_the_figures_that_lie_beside_the_plan(explain, tmp_path):
    page = explain("-d", "Task01").out

    paths = [tmp_path / PLANS / f"default_{name}.svg" for name in names()]
    assert page.startswith("Plan 'default' for Task01_Phantom\n")
    assert page.endswith("\n\nFigures\n-------\n" + "".join(f"  {path}\n" for path in paths))
    for name, path in zip(names(), paths, strict=True):
        root = ElementTree.parse(path).getroot()
        assert root.findtext(f"{SVG}title").startswith(f"Task01_Phantom {name}: plain U-Net, ")
        texts = [text.text for text in root.iter(f"{SVG}text")]
        assert f"output: {len(LABEL_NAMES)} ch" in texts


def test_figures_of_another_plan_carry_its_name_and_are_not_taken_for_plans(explain, tmp_path):
    explain("--plan", "v1.resenc")
    explain()
    explain()  # figures of an earlier call are in nobody's way

    found = sorted(path.name for path in (tmp_path / PLANS).glob("*.svg"))
    assert found == sorted(
        f"{plan}_{name}.svg" for plan in ("default", "v1.resenc") for name in names(plan)
    )
    message = explain("--plan", "other", code=2).err
    assert (
        "plan 'other' of dataset 'Task01_Phantom' does not exist; there are default, v1.resenc\n"
        in message
    )


def test_figures_go_to_the_folder_that_is_asked_for(explain, tmp_path):
    page = explain("--figures", "for the paper/networks").out

    folder = tmp_path / "for the paper" / "networks"
    assert sorted(folder.iterdir()) == sorted(folder / f"default_{name}.svg" for name in names())
    assert "  for the paper/networks/default_2d.svg\n" in page
    assert not list((tmp_path / PLANS).glob("*.svg"))


def test_json_is_the_plan_alone_and_draws_only_if_asked_to(explain, tmp_path):
    document = json.loads(explain("--json").out)
    assert document == json.loads((tmp_path / PLANS / "default.json").read_text())
    assert not list((tmp_path / PLANS).glob("*.svg"))

    assert json.loads(explain("--json", "--figures", "drawn").out) == document
    assert len(list((tmp_path / "drawn").iterdir())) == len(names())


def test_where_figures_cannot_be_written_the_page_is_printed_all_the_same(explain, tmp_path):
    (tmp_path / "file").write_text("in the way")
    said = explain("--figures", "file/networks", code=6)

    assert said.out.startswith("Plan 'default' for Task01_Phantom\n")
    assert "Figures" not in said.out
    assert "error: E-RES-62 file/networks/default_2d.svg: cannot be written" in said.err
    assert "hint: choose a folder that you may write to" in said.err
