"""A dataset that changes: what is measured again, and that the fingerprint keeps no trace of it."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from autoseg.core.fingerprint import Fingerprint
from autoseg.execution.progress import Silence
from autoseg.io.workspace import Workspace
from autoseg.pipeline.fingerprint import measure_dataset


def add_case(raw: Path, name: str, content: str = "") -> None:
    """Write a case of two structures, the same voxels for the same content or name."""
    rng = np.random.default_rng(list((content or name).encode()))
    image = np.rint(rng.normal(-900, 30, (9, 8, 5))).astype(np.int16)
    labels = np.zeros(image.shape, np.uint8)
    labels[2:7, 1:5, 1:3], labels[3:5, 6:8, 2:5] = 1, 2
    image[labels > 0] = rng.integers(0, 90, np.count_nonzero(labels))
    for voxels, path in (
        (image, f"imagesTr/{name}_0000.nii.gz"),
        (labels, f"labelsTr/{name}.nii.gz"),
    ):
        file = nibabel.Nifti1Image(voxels, np.diag([0.5, 0.75, 2.5, 1.0]))
        file.header.set_xyzt_units("mm")
        nibabel.save(file, raw / path)


def remove_case(raw: Path, name: str) -> None:
    (raw / "imagesTr" / f"{name}_0000.nii.gz").unlink()
    (raw / "labelsTr" / f"{name}.nii.gz").unlink()


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "Dataset007_Growing"
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for name in ("case_1", "case_2", "case_3"):
        add_case(folder, name)
    return folder


def measure(raw: Path, workspace: Path) -> Fingerprint:
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "organ": 1, "lesion": 2},
        "numTraining": len(list((raw / "labelsTr").iterdir())),
        "file_ending": ".nii.gz",
    }
    (raw / "dataset.json").write_text(json.dumps(description))
    measured = measure_dataset(raw, Workspace(path=workspace), workers=0, progress=Silence())
    return measured.fingerprint


def records(workspace: Path) -> dict[str, int]:
    """Return when each case was measured; none is written twice in a nanosecond."""
    return {path.stem: path.stat().st_mtime_ns for path in workspace.rglob("measured/*.json")}


def test_cases_that_came_and_went_leave_the_fingerprint_as_it_was(raw, tmp_path):
    before = measure(raw, tmp_path / "kept")
    add_case(raw, "case_0")
    remove_case(raw, "case_2")
    between = measure(raw, tmp_path / "kept")
    assert between == measure(raw, tmp_path / "anew")
    assert [case.name for case in between.cases] == ["case_0", "case_1", "case_3"]
    assert between.channels != before.channels
    remove_case(raw, "case_0")
    add_case(raw, "case_2")
    assert measure(raw, tmp_path / "kept") == before


def test_only_a_case_that_is_new_or_changed_is_measured(raw, tmp_path):
    measure(raw, tmp_path / "kept")
    first = records(tmp_path / "kept")
    assert sorted(first) == ["case_1", "case_2", "case_3"]
    remove_case(raw, "case_1")
    add_case(raw, "case_4")
    (raw / "labelsTr" / "case_3.nii.gz").touch()  # the same bytes
    add_case(raw, "case_2", content="other voxels")
    measure(raw, tmp_path / "kept")
    second = records(tmp_path / "kept")
    assert {name for name in second if second[name] != first.get(name)} == {"case_2", "case_4"}
