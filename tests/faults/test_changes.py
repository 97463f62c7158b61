"""Row 49: cases that come, go or change after planning; and row 44, cases that are copies."""

import json
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from autoseg.cli.main import main

SHAPE = (24, 20, 10)  # the patch of 10 x 20 x 24 voxels can be halved
PLAN = ["plan_and_preprocess", "-d", "Task03_Faults", "--workers", "0"]
TRAIN = ["train", "2d", "0", "--preset", "fast", "--epochs", "1", "--steps-per-epoch", "2"]
TRAIN += ["--workers", "0"]


def add_case(make: ModuleType, raw: Path, name: str, seed: int) -> None:
    """Write a case, and list all that there are."""
    image, labels = make.nifti(make.voxels(SHAPE, seed=seed)), make.nifti(make.mask(SHAPE))
    make.write(raw / f"imagesTr/{name}.nii.gz", make.zipped(image))
    make.write(raw / f"labelsTr/{name}.nii.gz", make.zipped(labels))
    describe(raw)


def describe(raw: Path, **changes: object) -> None:
    """List the cases that lie in the folders."""
    names = sorted(path.name for path in (raw / "imagesTr").iterdir())
    entries = json.loads((raw / "dataset.json").read_text()) | changes
    entries["training"] = [
        {"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names
    ]
    (raw / "dataset.json").write_text(json.dumps(entries | {"numTraining": len(names)}))


def records(folder: Path) -> dict[str, int]:
    """Return when each record of a measured or preprocessed case was written."""
    return {
        f"{path.parent.name}/{path.name}": path.stat().st_mtime_ns
        for path in sorted((folder / "autoseg_workspace" / "Task03_Faults").rglob("*.json"))
        if path.parent.name == "measured" or path.parent.parent.name == "preprocessed"
    }


def remade(before: dict[str, int], after: dict[str, int]) -> set[str]:
    """Return the names of the cases whose records were written since."""
    return {Path(name).stem for name in after if after[name] != before.get(name)}


@pytest.fixture
def raw(make: ModuleType, tmp_path: Path) -> Path:
    """A planned dataset of three cases."""
    folder: Path = make.decathlon(tmp_path / "Task03_Faults")
    for seed, name in enumerate("abc"):
        add_case(make, folder, name, seed)
    assert main([*PLAN, "--quiet"]) == 0
    return folder


def test_an_added_case_alone_is_measured_and_preprocessed(raw, make, tmp_path, capsys):
    before = records(tmp_path)
    add_case(make, raw, "d", 3)
    assert main(PLAN) == 2  # a plan never changes unasked
    assert "hint: choose another --plan NAME, or --overwrite" in capsys.readouterr().err
    assert main([*PLAN, "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["preprocessed"] == 1
    assert before.items() <= records(tmp_path).items()
    assert remade(before, records(tmp_path)) == {"d"}
    splits = json.loads((tmp_path / "autoseg_workspace/Task03_Faults/splits.json").read_text())
    assert sorted(name for fold in splits["folds"] for name in fold["validation"]) == [*"abcd"]


def test_a_changed_case_alone_is_measured_and_preprocessed(raw, make, tmp_path, capsys):
    before = records(tmp_path)
    add_case(make, raw, "b", 9)
    assert main([*PLAN, "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["preprocessed"] == 1
    assert remade(before, records(tmp_path)) == {"b"}


def test_statistics_of_the_dataset_reach_every_case_of_ct(raw, make, tmp_path, capsys):
    describe(raw, modality={"0": "CT"})
    assert main([*PLAN, "--overwrite", "--quiet"]) == 0
    before = records(tmp_path)
    add_case(make, raw, "b", 9)
    capsys.readouterr()
    assert main([*PLAN, "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["preprocessed"] == 3
    measured = {name: at for name, at in records(tmp_path).items() if "measured" in name}
    assert remade(before, measured) == {"b"}


def test_a_removed_case_leaves_the_others_as_they_are(raw, tmp_path, capsys):
    before = records(tmp_path)
    for part in ("imagesTr", "labelsTr"):
        (raw / part / "c.nii.gz").unlink()
    describe(raw)
    assert main([*PLAN, "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["preprocessed"] == 0
    assert records(tmp_path) == before
    assert main([*TRAIN, "--device", "cpu"]) == 0
    assert "note: " not in capsys.readouterr().err


def test_training_says_which_cases_changed_since_planning(raw, make, capsys):
    add_case(make, raw, "b", 9)
    add_case(make, raw, "d", 3)
    (raw / "imagesTr/a.nii.gz").touch()  # the same bytes are no change
    assert main([*TRAIN, "--device", "cpu"]) == 0
    message = capsys.readouterr().err
    assert f"note: 1 cases were added to {raw}: 'd'" in message
    assert f"note: 1 cases changed in {raw}: 'b'" in message
    assert "autoseg plan_and_preprocess -d Task03_Faults --overwrite" in message
    assert "removed" not in message


def test_training_says_which_cases_are_in_no_fold_or_were_removed(raw, make, capsys):
    add_case(make, raw, "d", 3)
    assert main(["fingerprint", "-d", str(raw), "--workers", "0", "--quiet"]) == 0
    for part in ("imagesTr", "labelsTr"):
        (raw / part / "d.nii.gz").unlink()
    describe(raw)
    assert main([*TRAIN, "--device", "cpu"]) == 0
    message = capsys.readouterr().err
    assert "note: 1 cases are in no fold: 'd'" in message
    assert f"note: 1 cases were removed from {raw}: 'd'" in message


def test_folds_of_cases_that_are_gone_are_not_trained(raw, capsys):
    for part in ("imagesTr", "labelsTr"):
        (raw / part / "b.nii.gz").unlink()
    describe(raw)
    assert main(["fingerprint", "-d", str(raw), "--workers", "0", "--quiet"]) == 0
    assert main([*TRAIN, "--device", "cpu"]) == 2
    message = capsys.readouterr().err
    assert "error: E-SET-49" in message
    assert "1 cases of the folds are not in the dataset any more: 'b'" in message
    assert "hint: plan again: autoseg plan_and_preprocess -d Task03_Faults --overwrite" in message


def test_training_without_the_raw_images_says_nothing_of_them(raw, tmp_path, capsys):
    shutil.rmtree(raw / "imagesTr")
    assert main([*TRAIN, "--device", "cpu"]) == 0
    assert "note: " not in capsys.readouterr().err


def copied(raw: Path, *names: str) -> None:
    """Give cases the image of case a, but segmentations of their own."""
    for name in names:
        shutil.copy(raw / "imagesTr/a.nii.gz", raw / f"imagesTr/{name}.nii.gz")


def test_copies_of_an_image_are_refused_and_all_named(raw, make, tmp_path, capsys):
    add_case(make, raw, "d", 3)
    copied(raw, "c", "d")
    (raw / "imagesTr/b.nii.gz").write_bytes(b"")
    before = (tmp_path / "autoseg_workspace/Task03_Faults/dataset.json").read_bytes()
    assert main(PLAN) == 3
    lines = capsys.readouterr().err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert [line.split()[1] for line in errors[:3]] == ["E-FILE-01", "E-SET-44", "E-SET-44"]
    assert "case 'c': its image files are byte by byte those of case 'a'" in errors[1]
    assert "case 'd': its image files are byte by byte those of case 'a'" in errors[2]
    assert "3 of 4 cases are refused" in errors[3]
    assert lines[lines.index(errors[1]) + 1].startswith("hint: remove one of the two, or name")
    assert (tmp_path / "autoseg_workspace/Task03_Faults/dataset.json").read_bytes() == before


def test_copies_of_one_patient_are_noted_and_stay_in_one_fold(raw, tmp_path, capsys):
    copied(raw, "c")
    describe(raw, patients={"a": "P1", "b": "P2", "c": "P1"})
    assert main([*PLAN, "--overwrite"]) == 0
    message = capsys.readouterr().err
    assert "note: case 'c': its image files are byte by byte those of case 'a'" in message
    assert "both are of patient 'P1', so of one fold" in message
    splits = json.loads((tmp_path / "autoseg_workspace/Task03_Faults/splits.json").read_text())
    assert sorted(fold["validation"] for fold in splits["folds"]) == [["a", "c"], ["b"]]


def test_copies_of_two_patients_are_refused(raw, capsys):
    copied(raw, "c")
    describe(raw, patients={"a": "P1", "b": "P2", "c": "P3"})
    assert main([*PLAN, "--overwrite"]) == 3
    assert "error: E-SET-44 case 'c'" in capsys.readouterr().err
    assert main([*PLAN, "--overwrite", "--exclude", "c"]) == 0
