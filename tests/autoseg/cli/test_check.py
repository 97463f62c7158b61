"""``autoseg check``: what it prints, and the code that it leaves with."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from autoseg.cli.main import main
from autoseg.core.errors import ResourceError
from autoseg.pipeline.phantom import write_phantom_dataset

RAW = Path("Task01_Phantom")


@pytest.fixture(autouse=True)
def _raw(tmp_path):
    write_phantom_dataset(tmp_path / RAW, seed=3, cases=5, held_out=0)


@pytest.fixture
def check(capsys):
    """Run the verb and return what it prints."""

    def run(*arguments, code=0):
        capsys.readouterr()
        assert main(["check", "-d", str(RAW), "--workers", "0", "--quiet", *arguments]) == code
        return capsys.readouterr()

    return run


def first(folder):
    return sorted((RAW / folder).iterdir())[0]


def spoil_an_image():
    """Write NaN into the first image; return its case's name."""
    path = first("imagesTr")
    file = nibabel.load(path)
    voxels = np.asarray(file.dataobj, dtype=np.float32).copy()
    voxels[1, 2, 3] = np.nan
    file.header.set_data_dtype(np.float32)
    nibabel.save(nibabel.Nifti1Image(voxels, file.affine, file.header), path)
    return first("labelsTr").name.removesuffix(".nii.gz")


def test_a_sound_dataset_leaves_with_0_and_names_the_next_step(check):
    printed = check()
    assert printed.out.splitlines()[-1] == f"next: autoseg plan_and_preprocess -d {RAW.absolute()}"
    assert printed.err == ""


def test_a_refused_case_leaves_with_3_and_is_printed_with_its_rule_and_fix(check):
    name = spoil_an_image()
    printed = check(code=3).out
    assert printed.splitlines()[0].endswith("5 cases in " + str(RAW.absolute()) + ", 4 read")
    assert "\n1. E-VAL-28 " in printed
    assert name in printed
    assert "   fix: " in printed
    assert printed.splitlines()[-1].startswith("next: mend or remove what is refused")


def test_json_is_the_report_and_nothing_else(check):
    name = spoil_an_image()
    report = json.loads(check("--json", code=3).out)
    stored = json.loads(Path("autoseg_workspace/Task01_Phantom/check/check.json").read_text())
    assert report == stored
    assert [(r["rule"], r["case"]) for r in report["refused"]] == [("E-VAL-28", name)]


def test_what_is_accepted_is_no_longer_refused(check):
    spoil_an_image()
    report = json.loads(check("--json", "--accept", "E-VAL-28=fill").out)
    assert report["refused"] == []
    assert report["accepted"] == ["E-VAL-28=fill"]
    assert any("E-VAL-28=fill" in note for note in report["notes"])


def test_a_mended_copy_passes_where_the_dataset_does_not(check, tmp_path):
    spoil_an_image()
    copy = tmp_path / "Task01_Mended"
    printed = check("--repair", str(copy), code=3).out
    assert f"\nrepaired: 4 cases in {copy}, 1 case left out, see " in printed
    assert printed.count("next: ") == 1
    assert printed.splitlines()[-1] == f"next: autoseg check -d {copy}"
    assert main(["check", "-d", str(copy), "--workers", "0", "--quiet"]) == 0


def test_repair_and_json_give_one_document(check, tmp_path):
    spoil_an_image()
    accept = ("--accept", "E-VAL-28=fill")
    result = json.loads(check("--json", *accept, "--repair", str(tmp_path / "copy")).out)
    assert len(result["repair"]["cases"]) == 5
    assert result["refused"] == []


def test_overlays_go_where_they_are_wanted(check, tmp_path):
    check("--overlays", str(tmp_path / "look"))
    assert [path.name for path in (tmp_path / "look").iterdir()] == ["check.json"]


def test_a_dataset_of_which_nothing_can_be_read_is_not_repaired(check):
    for path in (RAW / "imagesTr").iterdir():
        path.write_bytes(b"")
    printed = check("--repair", "copy", code=3)
    assert printed.out.count("E-FILE-01") == 5
    assert "\nnot repaired: no case can be read, so copy was not written\n" in printed.out
    assert printed.err == ""
    assert not Path("copy").exists()


def test_the_next_command_repeats_exclude_and_accept(check):
    name = first("labelsTr").name.removesuffix(".nii.gz")
    printed = check("--exclude", name, "--accept", "E-VAL-28").out
    assert printed.splitlines()[-1] == (
        f"next: autoseg plan_and_preprocess -d {RAW.absolute()} --exclude {name} --accept "
        "E-VAL-28=fill"
    )
    assert "0 suspicious (too few cases to compare: 4 of 6)" in printed


@pytest.mark.parametrize("option", ["--repair", "--overlays"])
@pytest.mark.parametrize(
    ("place", "says"),
    [
        pytest.param("/dev/full", "is no folder", id="device"),
        pytest.param("thesis.txt", "is no folder", id="file"),
        pytest.param("thesis.txt/copy", "which is no folder", id="below-a-file"),
        pytest.param("thesis", "is not empty", id="other-files"),
        pytest.param("Task01_Phantom/copy", "lies in the dataset", id="in-the-dataset"),
    ],
)
def test_a_wrong_target_is_refused_before_an_image_is_read(check, option, place, says):
    Path("thesis.txt").write_text("mine")
    Path("thesis").mkdir()
    Path("thesis/thesis.txt").write_text("mine")
    assert says in check(option, place, code=2).err
    assert not list(Path().rglob("measured/*.json"))
    assert not (RAW / "copy").exists()
    assert Path("thesis.txt").read_text() == "mine"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="has no folder without writing")
@pytest.mark.parametrize("option", ["--repair", "--overlays"])
def test_a_target_that_cannot_be_written_to_is_refused_before_an_image_is_read(check, option):
    printed = check(option, "/proc/autoseg", code=ResourceError.exit_code)
    assert "error: E-RES-62 /proc/autoseg: cannot be used: " in printed.err
    assert not list(Path().rglob("measured/*.json"))


@pytest.mark.parametrize("options", [("--workspace", "copy/ws"), ("--overlays", "copy/look")])
def test_a_copy_that_would_hold_what_the_check_writes_is_refused(check, options, tmp_path):
    printed = check("--repair", "copy", *options, code=2)
    assert "copy: would hold copy/" in printed.err.replace(f"{tmp_path}/", "")
    assert not list(Path().rglob("measured/*.json"))


def test_the_place_of_overlays_is_said_in_full(capsys):
    assert main(["check", "--help"]) == 0
    help_text = " ".join(capsys.readouterr().out.split())
    assert "[default: check in the dataset's folder of the workspace]" in help_text
