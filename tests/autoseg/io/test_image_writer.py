"""Images are written without losing a value, in the smallest usual type."""

import nibabel as nib
import numpy as np
import pytest

from autoseg.core.errors import GeometryError, VoxelError
from autoseg.core.geometry import Geometry
from autoseg.io import images

# File axes run towards P, R and I; the array's towards head, front and right.
AFFINE = ((0, 0.5, 0, -20.0), (-0.75, 0, 0, 35.0), (0, 0, -3.0, 8.0), (0, 0, 0, 1.0))
GEOMETRY = Geometry(
    file_shape=(4, 6, 3),
    file_affine=AFFINE,
    file_axes=(2, 0, 1),
    reversed_axes=(True, True, False),
)


def numbered(low: float, high: float) -> np.ndarray:
    """Return an image (3, 4, 6) of whole numbers between two that it holds."""
    image = np.linspace(low, high, 72).round().astype(np.float32).reshape(3, 4, 6)
    image[1, 2, 3], image[2, 0, 5] = low, high
    return image


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [
        pytest.param(0, 255, "uint8", id="uint8"),
        pytest.param(0, 256, "int16", id="one-more-than-uint8"),
        pytest.param(-1024, 3071, "int16", id="ct"),
        pytest.param(0, 65535, "uint16", id="uint16"),
        pytest.param(-1, 40000, "int32", id="int32"),
        pytest.param(0, 2**32, "float32", id="beyond-int32"),
    ],
)
def test_whole_numbers_take_the_smallest_usual_type(low, high, dtype, tmp_path):
    image = numbered(low, high)
    images.write_image(tmp_path / "a.nii.gz", image, GEOMETRY)
    written = nib.load(tmp_path / "a.nii.gz")
    assert written.get_data_dtype() == dtype
    # Array axes 0, 1, 2 are file axes 2 and 0 backwards, and 1.
    stored = image[::-1, ::-1].transpose(1, 2, 0)
    assert np.array_equal(np.asarray(written.dataobj), stored)
    assert np.array_equal(images.read_image(tmp_path / "a.nii.gz").voxels[0], image)


def test_other_numbers_stay_float32_to_the_last_bit(tmp_path):
    image = numbered(-3, 200)
    image[0, 1, 2] = np.nextafter(np.float32(0.1), np.float32(1))
    images.write_image(tmp_path / "a.nii", image, GEOMETRY)
    assert nib.load(tmp_path / "a.nii").get_data_dtype() == np.float32
    read = images.read_image(tmp_path / "a.nii")
    assert np.array_equal(read.voxels[0], image)
    header = nib.load(tmp_path / "a.nii").header
    np.testing.assert_allclose(header.get_sform(), AFFINE, rtol=1e-7)
    np.testing.assert_allclose(header.get_qform(), AFFINE, atol=1e-6)
    assert header.get_xyzt_units()[0] == "mm"
    assert read.notes == ()


@pytest.mark.parametrize(
    ("name", "image", "kind", "says"),
    [
        ("a.nii", np.zeros((3, 4, 5), np.float32), GeometryError, r"image shape \(3, 4, 5\)"),
        (
            "a.nrrd",
            numbered(0, 9),
            GeometryError,
            r"a\.nrrd: images are written to .* \.nii\.gz or",
        ),
        ("a.nii", np.full((3, 4, 6), np.nan, np.float32), VoxelError, "the image holds NaN"),
    ],
)
def test_what_cannot_be_written_is_refused(name, image, kind, says, tmp_path):
    with pytest.raises(kind, match=says):
        images.write_image(tmp_path / name, image, GEOMETRY)
    assert not (tmp_path / name).exists()
