"""Rows 15 to 41 that are noted: a dataset of odd cases is planned, preprocessed and trained."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from autoseg.cli.main import main
from autoseg.io.store import open_case, read_record

SHAPE = (24, 20, 10)  # i, j, k
LABELS = {"0": "background", "1": "left", "2": "right", "3": "never"}
TRAIN = ["--preset", "fast", "--epochs", "1", "--steps-per-epoch", "2", "--device", "cpu"]
TRAIN += ["--workers", "0"]
WORKSPACE = Path("autoseg_workspace/Task03_Odd")


def gz(make: Any, *arguments: Any, **keywords: Any) -> bytes:
    return bytes(make.zipped(make.nifti(*arguments, **keywords)))


def write_dataset(
    make: ModuleType, cases: dict[str, tuple[bytes, bytes]], channel: str = "MRI"
) -> Path:
    """Write the files of all cases and the description that lists them."""
    entries = [
        {"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"}
        for name in cases
    ]
    raw: Path = make.decathlon(
        Path("Task03_Odd").absolute(),
        modality={"0": channel},
        labels=LABELS,
        numTraining=len(cases),
        training=entries,
    )
    for usual in raw.glob("*/*.nii.gz"):
        usual.unlink()
    for name, (image, segmentation) in cases.items():
        make.write(raw / f"imagesTr/{name}.nii.gz", image)
        make.write(raw / f"labelsTr/{name}.nii.gz", segmentation)
    return raw


def odd_cases(make: Any) -> dict[str, tuple[bytes, bytes]]:
    """Return images and segmentations that are accepted, each odd in its way."""
    one = (make.mask(SHAPE) > 0).astype("u1")
    lone = np.zeros(SHAPE, "f4")
    lone[7, 3, 2] = 40
    long = (2201, 3, 2)
    return {
        "normal1": (gz(make, make.voxels(SHAPE, seed=1)), gz(make, one)),
        "normal2": (gz(make, make.voxels(SHAPE, seed=2)), gz(make, one)),
        "two_labels": (gz(make, make.voxels(SHAPE, seed=3)), gz(make, make.mask(SHAPE))),
        "empty": (gz(make, make.voxels(SHAPE, seed=4)), gz(make, one * 0)),
        "full": (gz(make, make.voxels(SHAPE, seed=5)), gz(make, one * 0 + 1)),
        "zeros": (gz(make, np.zeros(SHAPE, "f4")), gz(make, one)),
        "constant": (gz(make, np.full(SHAPE, 9.5, "f4")), gz(make, one)),
        "one_voxel": (gz(make, lone), gz(make, one)),
        "long": (gz(make, make.voxels(long, seed=6)), gz(make, np.ones(long, "u1"))),
    }


def stored(case: str) -> tuple[Any, Any]:
    """Return the record and the arrays of a preprocessed case."""
    (folder,) = {path.parent for path in WORKSPACE.glob("preprocessed/*/*.json")}
    record = read_record(folder, case)
    return record, open_case(folder, record)


def test_a_dataset_of_odd_cases_is_planned_preprocessed_and_trained(make, capsys):
    raw = write_dataset(make, odd_cases(make))
    arguments = ["plan_and_preprocess", "-d", str(raw), "-c", "2d", "--workers", "0"]
    assert main(arguments) == 0  # warnings, such as of a division by zero, are errors
    message = capsys.readouterr().err
    for note in (
        "label 'right' (value 2) is in a single case: two_labels",
        "label 'never' (value 3) is in no case",
        "1 of 9 cases has no foreground: empty",
        "2 of 9 cases have no background: full, long",
        "zeros: zeros.nii.gz: holds 0 in every voxel",
        "constant: constant.nii.gz: holds 9.5 in every voxel",
    ):
        assert f"note: {note}\n" in message
    for case in ("zeros", "constant"):
        assert not stored(case)[1].image[...].any()
    record, arrays = stored("one_voxel")
    assert (record.crop.start, record.shape) == ((2, 3, 7), (1, 1, 1))  # z, y, x
    assert arrays.segmentation[...].shape == (1, 1, 1)
    # Edges of 2.5, 0.9 and 0.8 mm are those of every case, so the grid stays.
    assert stored("long")[0].shape == (2, 3, 2201)
    assert main(["train", "2d", "0", *TRAIN]) == 0
    summary = json.loads(
        next(WORKSPACE.glob("models/*/2d/*/fold_0/validation/summary.json")).read_text()
    )
    assert {label["label"] for label in summary["labels"]} == {"left", "right", "never"}


def test_what_a_reader_assumed_is_told_with_the_file_and_kept(make, capsys):
    sheared = make.AFFINE.copy()
    sheared[1, 0] = 1e-3  # leaves 1e-3 / (2 * 0.8) = 6.25e-4 in two directions
    labels = make.mask(SHAPE)
    near = labels.astype("f4")
    near[near == 2] += 5e-5
    images: dict[str, Callable[[], tuple[bytes, bytes]]] = {
        "a": lambda: (
            gz(make, make.voxels(SHAPE), sheared, codes=(1, 0)),
            gz(make, labels, sheared, codes=(1, 0)),
        ),
        "b": lambda: (gz(make, make.voxels(SHAPE, seed=1), xyzt_units=0), gz(make, near)),
        "c": lambda: (
            gz(make, make.voxels((*SHAPE, 1), seed=2), scl_slope=0),
            gz(make, labels, scl_slope=np.nan),
        ),
        "d": lambda: (
            # Accepted without a word: float64 that float32 holds, labels scaled to whole numbers.
            gz(make, make.voxels(SHAPE, "float64", seed=3).round()),
            gz(make, 2 * labels, scl_slope=0.5),
        ),
    }
    raw = write_dataset(make, {name: build() for name, build in images.items()})
    assert main(["fingerprint", "-d", str(raw), "--workers", "0"]) == 0
    message = capsys.readouterr().err
    notes = [
        "a: a.nii.gz: shear of 0.00062 in the sform was removed",
        "b: b.nii.gz: spatial units are not stated, taken as mm",
        "b: b.nii.gz: labels up to 5e-05 away from whole numbers were rounded",
        "c: c.nii.gz: axes of length 1 behind the third were dropped from shape (24, 20, 10, 1)",
        "c: c.nii.gz: scl_slope 0 and scl_inter 0 taken as 1 and 0",
        "c: c.nii.gz: scl_slope nan and scl_inter 0 taken as 1 and 0",
    ]
    fingerprint = json.loads((WORKSPACE / "fingerprint.json").read_text())
    for note in notes:
        assert f"note: {note}\n" in message
        assert note in fingerprint["notes"]
    assert not [note for note in fingerprint["notes"] if note.startswith("d:")]
    # In make.mask, label 2 covers the voxels (i, j, k) = (1, 2 to 5, 3).
    assert [case["class_voxels"][2] for case in fingerprint["cases"]] == [4, 4, 4, 4]


@pytest.mark.parametrize(
    ("channel", "shift", "says"),
    [
        pytest.param("CT", 0.0, "no intensity is below 0, but in HU air is about -1000", id="ct"),
        pytest.param("T1", -160.0, "intensities reach below 0, but magnitudes", id="mr"),
        pytest.param("PET", -160.0, "", id="other"),
    ],
)
def test_intensities_that_do_not_fit_their_channel_are_noted_and_accepted(
    channel, shift, says, make, capsys
):
    usual = -1000.0 if channel == "CT" else 0.0
    segmentation = gz(make, make.mask(SHAPE))
    cases = {
        name: (gz(make, make.voxels(SHAPE, seed=seed) + usual), segmentation)
        for seed, name in enumerate("ab")
    }
    cases["c"] = (gz(make, make.voxels(SHAPE, seed=2) + shift), segmentation)
    raw = write_dataset(make, cases, channel)
    assert main(["plan_and_preprocess", "-d", str(raw), "--workers", "0"]) == 0
    message = capsys.readouterr().err
    assert (f"note: channel {channel!r}: in 1 of 3 cases {says}" in message) == bool(says)
    assert ("was a slope, an offset or another normalization left in? c (" in message) == bool(says)


def test_colors_beyond_255_are_refused_with_the_case(make, capsys):
    segmentation = gz(make, make.mask(SHAPE))
    images = {name: make.voxels(SHAPE, seed=seed) for seed, name in enumerate("abc")}
    images["b"][3, 4, 5] = 300
    cases = {name: (gz(make, image), segmentation) for name, image in images.items()}
    raw = write_dataset(make, cases, "rgb_to_0_1")
    assert main(["plan_and_preprocess", "-d", str(raw), "--workers", "0"]) == 4
    message = capsys.readouterr().err
    assert "1 of 3 cases could not be preprocessed; the others are done and kept" in message
    assert "error: E-VAL-41 case 'b': channel 0 holds values from " in message
    assert " to 300; allowed in a channel called rgb_to_0_1 are 0 to 255" in message
    assert "hint: call the channel otherwise in dataset.json" in message
