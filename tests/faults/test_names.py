"""Rows 43 and 45 to 48 by command: names, descriptions, numbers of cases and patients."""

import json
import unicodedata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from autoseg.cli.main import main
from autoseg.io.raw.dataset_json import LARGEST_BYTES

PLAN = ["plan_and_preprocess", "-d", "Dataset003_Faults", "--workers", "0"]
WORKSPACE = Path("autoseg_workspace/Dataset003_Faults")
NFC, NFD = (unicodedata.normalize(form, "Jörg Müller") for form in ("NFC", "NFD"))
NAMES = ("two words", NFD, "-dash", "x" * 196 + "_200", "50% {a} [b]", "漢字")


def write_cases(make: ModuleType, *names: str, **changes: Any) -> Path:
    """Write an nnU-Net dataset of one channel with these cases."""
    raw = Path("Dataset003_Faults").absolute()
    for seed, name in enumerate(names):
        image = make.nifti(make.voxels((24, 20, 10), seed=seed))
        make.write(raw / f"imagesTr/{name}_0000.nii.gz", make.zipped(image))
        labels = make.nifti(make.mask((24, 20, 10)))
        make.write(raw / f"labelsTr/{name}.nii.gz", make.zipped(labels))
    entries = {"channel_names": {"0": "T1"}, "numTraining": len(names)} | changes
    make.write(raw / "dataset.json", json.dumps(make.description(**entries)).encode())
    return raw


def folds() -> list[list[str]]:
    """Return the cases that each fold validates."""
    splits = json.loads((WORKSPACE / "splits.json").read_text(encoding="utf-8"))
    return [fold["validation"] for fold in splits["folds"]]


def errors(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the error lines; each one has its hint below it."""
    lines = capsys.readouterr().err.splitlines()
    places = [at for at, line in enumerate(lines) if line.startswith("error: ")]
    assert all(lines[at + 1].startswith("hint: ") for at in places)
    assert "Traceback" not in "".join(lines)
    return [lines[at] for at in places]


def test_unusual_names_are_planned_preprocessed_and_kept_as_they_are(make, capsys):
    write_cases(make, *NAMES)
    assert main([*PLAN, "--json", "-c", "2d"]) == 0
    assert json.loads(capsys.readouterr().out)["preprocessed"] == len(NAMES)
    fingerprint = json.loads((WORKSPACE / "fingerprint.json").read_text(encoding="utf-8"))
    assert [case["name"] for case in fingerprint["cases"]] == sorted(NAMES)
    assert sorted(name for names in folds() for name in names) == sorted(NAMES)
    stored = {path.stem for path in WORKSPACE.glob("preprocessed/*/*.json")}
    assert stored == set(NAMES)


def test_unusual_names_are_segmented_and_evaluated_under_the_same_name(make, write_model, capsys):
    for seed, name in enumerate(NAMES):
        image = make.zipped(make.nifti(make.voxels(seed=seed)))
        make.write(Path("imgs") / f"{name}.nii.gz", image)
        make.write(Path("references") / f"{name}.nii.gz", make.zipped(make.nifti(make.mask())))
    arguments = ["-o", "masks", "-m", str(write_model()), "--device", "cpu"]
    assert main(["predict", "-i", "imgs", *arguments]) == 0
    assert {path.name for path in Path("masks").glob("*.nii.gz")} == {
        f"{name}.nii.gz" for name in NAMES
    }
    manifest = json.loads(Path("masks/autoseg_prediction.json").read_text(encoding="utf-8"))
    assert [case["case"] for case in manifest["cases"]] == sorted(NAMES)
    capsys.readouterr()
    assert main(["evaluate", "-i", "masks", "-r", "references", "--workers", "0", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert sorted(case["case"] for case in scores["cases"]) == sorted(NAMES)


@pytest.mark.parametrize(
    ("names", "rule", "says"),
    [
        pytest.param(("a\nb", "c"), "E-SET-45", r"'a\nb_0000.nii.gz' holds a control", id="45"),
        pytest.param(("scan", "Scan", "c"), "E-SET-43", "belong to the same case", id="43-case"),
        pytest.param((NFC, NFD, "c"), "E-SET-43", "belong to the same case", id="43-accents"),
        pytest.param(("strasse", "straße"), "E-SET-43", "the same case", id="43-sharp-s"),
    ],
)
def test_names_that_break_lines_or_look_alike_are_refused(names, rule, says, make, capsys):
    write_cases(make, *names)
    assert main(PLAN) == 3
    first = errors(capsys)[0]
    assert first.startswith(f"error: {rule} ")
    assert says in first
    assert not WORKSPACE.exists()


def test_images_to_predict_whose_names_look_alike_are_refused(make, write_model, capsys):
    for name in (NFC, NFD):
        make.write(Path(f"imgs/{name}.nii.gz"), make.zipped(make.nifti(make.voxels())))
    arguments = ["predict", "-i", "imgs", "-o", "masks", "-m", str(write_model())]
    assert main([*arguments, "--device", "cpu"]) == 3
    assert "error: E-SET-43" in errors(capsys)[0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b'{"labels": 1, "labels": 2}', "keys ['labels'] occur twice", id="twice"),
        pytest.param(b'{"numTraining": NaN}', "holds NaN", id="nan"),
        pytest.param(b'{"a": ' * 100_000, "deep", id="nested"),
        pytest.param(b'{"a": "' + b" " * LARGEST_BYTES + b'"}', f"{LARGEST_BYTES}", id="huge"),
        pytest.param(b'{"a": 1', "line 1, column 8", id="cut"),
    ],
)
def test_a_description_that_is_no_sound_json_is_refused(content, says, make, capsys):
    raw = write_cases(make, "a", "b")
    (raw / "dataset.json").write_bytes(content)
    assert main(PLAN) == 3
    (line,) = errors(capsys)
    assert line.startswith("error: E-SET-46 ")
    assert says in line
    assert "Dataset003_Faults/dataset.json" in line


def test_a_wrong_number_of_cases_is_refused_with_both_numbers(make, capsys):
    write_cases(make, "a", "b", numTraining=7)
    assert main(PLAN) == 3
    assert "E-SET-46" in (line := errors(capsys)[0])
    assert "numTraining is 7, but 2 cases were found" in line


@pytest.mark.parametrize("count", [2, 3, 4])
def test_few_cases_are_left_out_one_by_one(count, make, capsys):
    names = [f"case_{number}" for number in range(count)]
    write_cases(make, *names)
    assert main([*PLAN, "-c", "2d"]) == 0
    assert sorted(folds()) == [[name] for name in names]
    capsys.readouterr()
    assert main(["explain", "-d", "Dataset003_Faults"]) == 0
    assert "fewer cases than 5 folds" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("names", "says"),
    [
        pytest.param((), "there are 0 training cases", id="none"),
        pytest.param(("a",), "needs at least 2 cases, found 1", id="one"),
    ],
)
def test_no_case_or_a_single_one_is_refused(names, says, make, capsys):
    raw = write_cases(make, *names)
    (raw / "imagesTr").mkdir(exist_ok=True)
    assert main(PLAN) == 3
    line = errors(capsys)[0]
    assert line.startswith("error: E-SET-47 ")
    assert says in line


SCANS = ("P1_early", "P1_late", "P2_early", "P2_late", "P3_early", "P4_early")
BY_PATIENT = [["P1_early", "P1_late"], ["P2_early", "P2_late"], ["P3_early"], ["P4_early"]]


def test_scans_of_a_patient_stay_in_one_fold(make, capsys):
    write_cases(make, *SCANS)
    Path("patients.json").write_text(json.dumps({name: name[:2] for name in SCANS}))
    assert main([*PLAN, "-c", "2d", "--patients", "patients.json"]) == 0
    assert sorted(folds()) == BY_PATIENT
    assert main([*PLAN, "-c", "2d", "--patient-pattern", "^(P[0-9])_"]) == 0  # the same folds
    capsys.readouterr()
    assert main([*PLAN, "-c", "2d", "--patient-pattern", "_(early|late)$"]) == 2
    assert "holds other folds" in errors(capsys)[0]


def test_cases_without_a_patient_are_refused_and_unnamed_patients_are_told(make, capsys):
    write_cases(make, *SCANS)
    assert main([*PLAN, "-c", "2d", "--patient-pattern", "^P[0-9]_(late)"]) == 3
    line = errors(capsys)[0]
    assert "error: E-SET-48" in line
    assert "finds no patient in the names of 4 cases: 'P1_early', 'P2_early'" in line
    assert main([*PLAN, "-c", "2d", "--quiet"]) == 0
    capsys.readouterr()
    assert main(["explain", "-d", "Dataset003_Faults"]) == 0
    assert "not named: every case counts as one" in " ".join(capsys.readouterr().out.split())
