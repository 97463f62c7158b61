"""One fault of each format as a user meets it: training commands say 3, predict 4."""

import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from autoseg.cli.main import main

VOLUME = (5, 7, 11)
PICTURE = (9, 14)


@dataclass(frozen=True)
class Format:
    """How good images of a format are made, and one fault."""

    ending: str
    """Ending of the files."""
    encode: Callable[[Any, np.ndarray], bytes]
    """Builds a good file, given the module ``make``."""
    shape: tuple[int, ...]
    """Shape of good images."""
    rule: str
    """Rule that the fault breaks."""
    says: str
    """Words of the message: the measured value."""
    fault: Callable[[Any], bytes]
    """Builds the faulty image."""


def pixels(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 200, PICTURE, dtype=np.uint8)


def zipped_nrrd(make: Any) -> bytes:
    stream = gzip.compress(make.voxels().tobytes(order="F"), mtime=0)
    return bytes(make.nrrd(make.voxels(), encoding="gzip", data=stream[:-9]))


FORMATS = {
    "nrrd-truncated": Format(
        ".nrrd",
        lambda make, array: make.nrrd(array),
        VOLUME,
        "E-FILE-02",
        "bytes expected for shape (5, 7, 11)",
        lambda make: make.nrrd(make.voxels())[:-100],
    ),
    "nrrd-gzip-ends-early": Format(
        ".nrrd",
        lambda make, array: make.nrrd(array),
        VOLUME,
        "E-FILE-03",
        "gzip ends early",
        zipped_nrrd,
    ),
    "mha-of-5-axes": Format(
        ".mha",
        lambda make, array: make.metaimage(array),
        VOLUME,
        "E-GEO-26",
        "(3, 4, 5, 1, 2)",
        lambda make: make.metaimage(make.voxels((3, 4, 5, 1, 2))),
    ),
    "mhd-external": Format(
        ".mhd",
        lambda make, array: make.metaimage(array),
        VOLUME,
        "E-FILE-10",
        "/etc/passwd",
        lambda make: make.metaimage(make.voxels(), data=b"", ElementDataFile="/etc/passwd"),
    ),
    "gipl-unknown-type": Format(
        ".gipl",
        lambda make, array: make.gipl(array),
        VOLUME,
        "E-FILE-09",
        "77 is unknown",
        lambda make: make.gipl(make.voxels(), type=77),
    ),
    "tif-palette": Format(
        ".tif",
        lambda make, array: make.tiff(array),
        PICTURE,
        "E-VAL-30",
        "palette colors",
        lambda make: make.tiff(
            pixels(), photometric="palette", colormap=np.zeros((3, 256), np.uint16)
        ),
    ),
    "bmp-cut": Format(
        ".bmp",
        lambda make, array: make.bmp(array),
        PICTURE,
        "E-FILE-02",
        "bytes expected for shape (9, 14)",
        lambda make: make.bmp(pixels())[:-1],
    ),
    "png-grey-and-alpha": Format(
        ".png",
        lambda make, array: make.png(array),
        PICTURE,
        "E-VAL-30",
        "grey and an alpha channel",
        lambda make: make.png(np.zeros((*PICTURE, 2), np.uint8)),
    ),
}


def image(make: Any, kind: Format, seed: int) -> bytes:
    array = pixels(seed) if kind.shape == PICTURE else make.voxels(seed=seed)
    return bytes(kind.encode(make, array))


def write_dataset(make: ModuleType, kind: Format) -> Path:
    """Write an nnU-Net dataset of cases a, b and c with one channel."""
    raw = Path("Dataset003_Formats").absolute()
    segmentation = np.zeros(kind.shape, np.uint8)
    segmentation[1:4, 2:5] = 1
    for seed, name in enumerate("abc"):
        make.write(raw / f"imagesTr/{name}_0000{kind.ending}", image(make, kind, seed))
        make.write(raw / f"labelsTr/{name}{kind.ending}", kind.encode(make, segmentation))
    entries = {"channel_names": {"0": "T1"}, "file_ending": kind.ending}
    make.write(raw / "dataset.json", json.dumps(make.description(**entries)).encode())
    return raw


def refusals(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the error lines; each one has its hint below it."""
    lines = capsys.readouterr().err.splitlines()
    places = [at for at, line in enumerate(lines) if line.startswith("error: ")]
    assert all(lines[at + 1].startswith("hint: ") for at in places)
    assert len([line for line in lines if line.startswith("hint: ")]) == len(places)
    assert "Traceback" not in "".join(lines)
    return [lines[at] for at in places]


@pytest.mark.parametrize("kind", FORMATS.values(), ids=FORMATS)
def test_planning_refuses_the_case_and_goes_through_without_it(kind, make, capsys):
    raw = write_dataset(make, kind)
    make.write(raw / f"imagesTr/b_0000{kind.ending}", kind.fault(make))
    arguments = ["fingerprint", "-d", str(raw), "--workers", "0"]
    assert main(arguments) == 3
    case, dataset = refusals(capsys)
    assert case.startswith(f"error: {kind.rule} ")
    assert kind.says in case
    assert f"b_0000{kind.ending}" in case
    assert "1 of 3 cases are refused; no plan was made" in dataset
    assert main([*arguments, "--exclude", "b"]) == 0


@pytest.mark.parametrize("kind", FORMATS.values(), ids=FORMATS)
def test_prediction_goes_on_with_the_other_cases(kind, make, write_model, capsys):
    for seed, name in enumerate("abc"):
        make.write(Path(f"imgs/{name}{kind.ending}"), image(make, kind, seed))
    make.write(Path(f"imgs/b{kind.ending}"), kind.fault(make))
    flat = ((1.0, 1.0), (8, 12)) if kind.shape == PICTURE else ()
    model = write_model(*flat, ending=kind.ending)
    arguments = ["predict", "-i", "imgs", "-o", "masks", "-m", str(model), "--device", "cpu"]
    assert main(arguments) == 4
    case, summary = refusals(capsys)
    assert case.startswith(f"error: {kind.rule} ")
    assert kind.says in case
    assert f"b{kind.ending}" in case
    assert "1 of 3 cases are refused; the others are in masks" in summary
    written = sorted(path.name for path in Path("masks").glob(f"*{kind.ending}"))
    assert written == [f"a{kind.ending}", f"c{kind.ending}"]


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif"])
def test_a_segmentation_in_colors_is_refused(ending, make, capsys):
    kind = next(kind for kind in FORMATS.values() if kind.ending == ending)
    raw = write_dataset(make, kind)
    colors = np.zeros((*PICTURE, 3), np.uint8)
    make.write(raw / f"labelsTr/b{ending}", kind.encode(make, colors))
    assert main(["plan_and_preprocess", "-d", str(raw), "--workers", "0"]) == 3
    case, _ = refusals(capsys)
    assert case.startswith("error: E-VAL-30 ")
    assert "holds 3 color channels; a segmentation is grey" in case
    assert f"labelsTr/b{ending}" in case


def test_evaluation_refuses_a_prediction_in_colors_and_scores_the_others(make, capsys):
    raw = write_dataset(make, FORMATS["png-grey-and-alpha"])
    shutil.copytree(raw / "labelsTr", "masks")
    make.write(Path("masks/b.png"), make.png(np.zeros((*PICTURE, 3), np.uint8)))
    assert main(["fingerprint", "-d", str(raw), "--workers", "0", "--quiet"]) == 0
    assert main(["evaluate", "-i", "masks", "-d", "3", "--workers", "0"]) == 4
    assert refusals(capsys)[0].startswith("error: E-VAL-30 ")
    scores = json.loads(Path("masks/summary.json").read_text())
    assert [case["case"] for case in scores["cases"]] == ["a", "c"]
