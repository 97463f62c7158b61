"""Images of rows 15 to 33 that are accepted: each is segmented on its own grid and noted."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import nibabel as nib
import numpy as np
import pytest

import autoseg
from autoseg.cli.main import main
from autoseg.io import images


def predicted(model: Path, *more: str) -> dict[str, Any]:
    """Segment the folder ``imgs`` and return what the manifest says of each case."""
    arguments = ["predict", "-i", "imgs", "-o", "masks", "-m", str(model), "--device", "cpu"]
    assert main([*arguments, *more]) == 0
    manifest = json.loads(Path("masks/autoseg_prediction.json").read_text())
    return {case["case"]: case for case in manifest["cases"]}


def sheared(make: Any) -> bytes:
    affine = make.AFFINE.copy()
    affine[1, 0] = 1e-3  # leaves 1e-3 / (2 * 0.8) = 6.25e-4 in two directions
    return bytes(make.nifti(make.voxels(), affine, codes=(1, 0)))


def unusual(edge: float) -> Callable[[Any], bytes]:
    return lambda make: make.nifti(make.voxels(), np.diag([2.0, 2.0, edge, 1.0]))


NOTED = {
    "15-shear": (sheared, "shear of 0.00062 in the sform was removed"),
    "18-units": (
        lambda make: make.nifti(make.voxels(), xyzt_units=0),
        "spatial units are not stated, taken as mm",
    ),
    "19-edge": (unusual(60.0), "spacing (2.0, 2.0, 60.0) mm is unusual"),
    "19-ratio": (unusual(110.0), "spacing (2.0, 2.0, 110.0) mm is very anisotropic"),
    "25-slice": (lambda make: make.nifti(make.voxels((9, 7))), "2D image taken as one slice"),
    "26-t1": (
        lambda make: make.nifti(make.voxels((5, 7, 11, 1))),
        "axes of length 1 behind the third were dropped from shape (5, 7, 11, 1)",
    ),
    "29-zeros": (lambda make: make.nifti(np.zeros((5, 7, 11), "f4")), "holds 0 in every voxel"),
    "29-constant": (
        lambda make: make.nifti(np.full((5, 7, 11), 3e4, "f4")),
        "holds 30000 in every voxel",
    ),
    "32-slope-0": (
        lambda make: make.nifti(make.voxels(), scl_slope=0),
        "scl_slope 0 and scl_inter 0 taken as 1 and 0",
    ),
    "32-slope-nan": (
        lambda make: make.nifti(make.voxels(), scl_slope=np.nan),
        "scl_slope nan and scl_inter 0 taken as 1 and 0",
    ),
}


def test_what_is_assumed_or_odd_is_segmented_and_noted_with_the_file(make, write_model):
    for name, (content, _) in NOTED.items():
        make.write(Path("imgs") / f"{name}.nii.gz", make.zipped(content(make)))
    make.write(Path("imgs/plain.nii.gz"), make.zipped(make.nifti(make.voxels())))
    cases = predicted(write_model())
    assert cases.pop("plain")["notes"] == []
    assert cases.keys() == NOTED.keys()
    for name, (_, note) in NOTED.items():
        assert f"{name}.nii.gz: {note}" in cases[name]["notes"]
        source = images.read_image(Path("imgs") / f"{name}.nii.gz")
        made = images.read_image(Path("masks") / f"{name}.nii.gz")
        assert made.voxels.shape == source.voxels.shape
        assert np.abs(made.geometry.affine - source.geometry.affine).max() < 1e-6


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param((9, 7, 1), id="25-one-slice"),
        pytest.param((3, 2, 5), id="25-smaller-than-the-patch"),
        pytest.param((1, 1, 1), id="25-one-voxel"),
        pytest.param((2601, 1, 1), id="27-one-long-row"),
        pytest.param((1, 3, 2203), id="27-thin-volume"),
    ],
)
def test_an_image_of_any_shape_is_segmented_on_its_own_grid(shape, make, write_model):
    make.write(Path("imgs/a.nii.gz"), make.zipped(make.nifti(make.voxels(shape))))
    predicted(write_model())
    made = nib.load("masks/a.nii.gz")
    assert made.shape == shape
    assert np.abs(made.affine - make.AFFINE).max() < 1e-6
    assert set(np.unique(made.dataobj)) <= {0, 1, 2}


@pytest.mark.parametrize("shape", [(1, 2600), (2600, 3), (1, 1)])
def test_a_picture_of_any_shape_is_segmented_on_its_own_grid(shape, make, write_model):
    pixels = make.voxels(shape, "uint8")
    make.write(Path("imgs/a.png"), make.png(pixels))
    predicted(write_model((1.0, 1.0), (8, 12), ending=".png"))
    assert images.read_image(Path("masks/a.png")).voxels.shape == (1, *shape)


@pytest.mark.parametrize("where", [(0, 0, 0), (2, 3, 7), (4, 6, 10)])
def test_a_crop_of_one_voxel_is_segmented_in_its_place(where, make, write_model):
    lone = np.zeros(make.SHAPE, "f4")
    lone[where] = 7
    make.write(Path("imgs/a.nii.gz"), make.zipped(make.nifti(lone)))
    predicted(write_model(inside_nonzero_only=True))
    mask = np.asarray(nib.load("masks/a.nii.gz").dataobj)
    assert mask.shape == make.SHAPE
    mask[where] = 0
    assert not mask.any()  # what lies outside of the crop is background


@pytest.mark.parametrize("scheme", ["zscore", "ct", "rescale_to_0_1", "rgb_to_0_1", "none"])
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("value", [0.0, 0.1, 255.0])
def test_a_constant_image_divides_by_nothing(scheme, inside, value, write_model):
    model = autoseg.load(write_model(scheme=scheme, inside_nonzero_only=inside), device="cpu")
    constant = np.full((1, 6, 9, 13), value, np.float32)
    mask = model.predict(constant, (2.5, 1.0, 0.75))  # warnings are errors
    assert mask.shape == (6, 9, 13)
    assert mask.dtype == np.uint8
    assert mask.max() <= 2


def test_an_image_that_is_constant_inside_its_mask_becomes_zero():
    from autoseg.core.fingerprint import ChannelStatistics
    from autoseg.core.plan import Normalization
    from preprocessing.normalization import normalize

    nothing = dict.fromkeys(("mean", "median", "minimum", "maximum"), 5.0)
    statistics = ChannelStatistics(**nothing, std=0.0, percentile_00_5=5.0, percentile_99_5=5.0)
    inside = np.zeros((4, 5, 6), bool)
    inside[1:3, 2:4, 3:5] = True
    image = np.where(inside, np.float32(16777.25), np.float32(0))[None]
    for scheme in ("zscore", "ct"):
        asked = Normalization(
            scheme=scheme, inside_nonzero_only=scheme == "zscore", statistics=statistics
        )
        assert (normalize(image, inside, (asked,))[0] == 0).all()


def test_a_pipe_in_the_place_of_an_image_is_refused_without_waiting(
    make: ModuleType, write_model, capsys
):
    for name in ("a", "b"):
        make.write(Path(f"imgs/{name}.nii.gz"), make.zipped(make.nifti(make.voxels())))
    header = make.metaimage(make.voxels(), data=b"", ElementDataFile="c.raw")
    make.write(Path("imgs/c.mhd"), header)
    make.write(Path("imgs/c.raw"), make.voxels().tobytes(order="F"))
    model = write_model()
    assert len(predicted(model)) == 3
    for name in ("b.nii.gz", "c.raw"):
        (Path("imgs") / name).unlink()
        os.mkfifo(Path("imgs") / name)
    arguments = ["predict", "-i", "imgs", "-o", "masks", "-m", str(model), "--device", "cpu"]
    assert main(arguments) == 4
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "E-FILE-11" in errors[0]
    assert "b.nii.gz: is a pipe" in errors[0]
    assert "c.raw: is a pipe" in errors[1]
    assert "2 of 3 cases are refused" in errors[2]
