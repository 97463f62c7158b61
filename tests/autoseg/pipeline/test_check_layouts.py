"""A check reads the cases that are whole although others lack files, in every layout."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from autoseg.core.check_report import CheckReport
from autoseg.execution.progress import Silence
from autoseg.io.workspace import Workspace
from autoseg.pipeline.check import check_dataset
from autoseg.pipeline.repair import repair_dataset

CASES = ("c_1", "c_2", "c_3", "c_4")
LABELS = {"background": 0, "liver": 1}
NUMBERED = {"0": "T1", "1": "T2"}


def write(path: Path, voxels: np.ndarray) -> None:
    file = nibabel.Nifti1Image(voxels, np.diag([0.5, 0.75, 2.5, 1.0]))
    file.header.set_xyzt_units("mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(file, path)


def write_files(folder: Path, *, one_file: bool = False) -> None:
    """Write the four cases, each of two channels: two files, or one of four axes."""
    for number, case in enumerate(CASES):
        rng = np.random.default_rng(number)
        image = rng.integers(0, 900, (14, 10, 7, 2), np.int16)
        labels = np.zeros(image.shape[:3], np.uint8)
        labels[3:9, 2:8, 1:6] = 1
        if one_file:
            write(folder / "imagesTr" / f"{case}.nii.gz", image)
        else:
            for channel in (0, 1):
                path = folder / "imagesTr" / f"{case}_000{channel}.nii.gz"
                write(path, image[..., channel])
        write(folder / "labelsTr" / f"{case}.nii.gz", labels)


def describe(folder: Path, file: str = "dataset.json", **entries: Any) -> Path:
    (folder / file).write_text(json.dumps(entries))
    return folder


def channels(case: str) -> list[str]:
    return [f"imagesTr/{case}_000{channel}.nii.gz" for channel in (0, 1)]


def nnunet(folder: Path) -> Path:
    write_files(folder)
    return describe(
        folder, channel_names=NUMBERED, labels=LABELS, file_ending=".nii.gz", numTraining=5
    )


def training() -> dict[str, Any]:
    files = [{"image": f"./imagesTr/{c}.nii.gz", "label": f"./labelsTr/{c}.nii.gz"} for c in CASES]
    labels = {"0": "background", "1": "liver"}
    return {"modality": NUMBERED, "labels": labels, "numTraining": 5, "training": files}


def nnunet_1(folder: Path) -> Path:
    write_files(folder)
    return describe(folder, **training())


def decathlon(folder: Path) -> Path:
    write_files(folder, one_file=True)
    return describe(folder, **training())


def named(folder: Path) -> Path:
    write_files(folder)
    files = {c: {"images": channels(c), "label": f"labelsTr/{c}.nii.gz"} for c in CASES}
    about = {"channel_names": NUMBERED, "labels": LABELS, "file_ending": ".nii.gz"}
    return describe(folder, **about, numTraining=5, dataset=files)


def manifest(folder: Path) -> Path:
    write_files(folder)
    files = [
        {"name": c, "images": channels(c), "segmentation": f"labelsTr/{c}.nii.gz"} for c in CASES
    ]
    return describe(folder, "manifest.json", channels=["T1", "T2"], labels=LABELS, cases=files)


MASK = ("E-SET-42", "c_1", "labelsTr/c_1.nii.gz")
CHANNEL = ("E-SET-42", "c_2", "imagesTr/c_2_0001.nii.gz")
IMAGE = ("E-SET-42", "c_2", "imagesTr/c_2.nii.gz")
STRAY = ("E-SET-42", "", "imagesTr/notes.txt")
COUNT = ("E-SET-46", "", "dataset.json")
LAYOUTS = [
    pytest.param(nnunet, {MASK, CHANNEL, STRAY, COUNT}, id="nnunet"),
    pytest.param(nnunet_1, {MASK, CHANNEL, STRAY, COUNT}, id="nnunet-1"),
    pytest.param(decathlon, {MASK, IMAGE, STRAY, COUNT}, id="decathlon"),
    # These name the files of their cases, so that others may lie beside them.
    pytest.param(named, {MASK, CHANNEL, COUNT}, id="named"),
    pytest.param(manifest, {MASK, CHANNEL}, id="manifest"),
]


def broken(build: Callable[[Path], Path], faults: set[tuple[str, str, str]], folder: Path) -> Path:
    """Build a dataset that announces five cases; take two files away and put one in."""
    raw = build(folder)
    for _, case, file in faults:
        if case:
            (raw / file).unlink()
    (raw / "imagesTr" / "notes.txt").write_text("x")
    return raw


def check(raw: Path, place: Path) -> CheckReport:
    return check_dataset(raw, Workspace(path=place), workers=0, progress=Silence())[0]


@pytest.mark.parametrize(("build", "faults"), LAYOUTS)
def test_the_whole_cases_are_read_and_each_fault_tells_its_case_and_file(
    build: Callable[[Path], Path], faults: set[tuple[str, str, str]], tmp_path: Path
):
    raw = broken(build, faults, tmp_path / "Dataset007_Whole")
    report = check(raw, tmp_path / "workspace")
    told = [(r.rule, r.case, r.file.removeprefix(f"{raw}/")) for r in report.refused]
    assert (len(told), set(told)) == (len(faults), faults)
    assert (report.cases, report.read) == (4, 2)
    measured = {path.stem for path in (tmp_path / "workspace").rglob("measured/*.json")}
    assert measured == {"c_3", "c_4"}


@pytest.mark.parametrize(("build", "faults"), LAYOUTS)
def test_the_whole_cases_are_copied_by_a_repair(
    build: Callable[[Path], Path], faults: set[tuple[str, str, str]], tmp_path: Path
):
    raw = broken(build, faults, tmp_path / "Dataset007_Whole")
    report = repair_dataset(raw, tmp_path / "mended", workers=0, progress=Silence())
    assert [mended.case for mended in report.cases] == ["c_3", "c_4"]
    assert sorted(each.case for each in report.left_out) == sorted(case for _, case, _ in faults)
    mended = check(tmp_path / "mended", tmp_path / "workspace")
    assert (mended.refused, mended.cases, mended.read) == ((), 2, 2)


def test_a_session_of_bids_with_two_images_is_left_out(tmp_path: Path):
    raw = tmp_path / "Lesions"
    for number, name in enumerate(("sub-1", "sub-2", "sub-3")):
        rng = np.random.default_rng(number)
        image = rng.integers(0, 900, (14, 10, 7), np.int16)
        write(raw / name / "anat" / f"{name}_T1w.nii.gz", image)
        mask = np.zeros((14, 10, 7), np.uint8)
        mask[3:9, 2:8, 1:6] = 1
        write(raw / name / "anat" / f"{name}_label-cyst_mask.nii.gz", mask)
    describe(raw, "dataset_description.json", Name="Lesions", BIDSVersion="1.8.0")
    again = raw / "sub-2" / "anat" / "sub-2_run-2_T1w.nii.gz"
    again.write_bytes((raw / "sub-2" / "anat" / "sub-2_T1w.nii.gz").read_bytes())
    alone = raw / "sub-3" / "anat" / "sub-3_T1w.nii.gz"
    alone.unlink()
    report = check(raw, tmp_path / "workspace")
    assert [(r.rule, r.case, r.file) for r in report.refused] == [
        ("E-SET-42", "sub-3", str(alone.with_name("sub-3_label-cyst_mask.nii.gz"))),
        ("E-SET-43", "sub-2", ""),  # two files, so not one
    ]
    assert (report.cases, report.read) == (3, 1)
