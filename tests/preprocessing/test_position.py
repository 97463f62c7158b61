"""Where a case and its labels lie."""

from pathlib import Path

import numpy as np
import pytest

from autoseg.core.geometry import Geometry
from autoseg.core.labels import Labels
from preprocessing.position import body_center, label_centers, orientation_code, voxel_digest
from preprocessing.symmetry import locate_labels


def grid(affine=None, *, file_axes=(2, 1, 0), reversed_axes=(False,) * 3, shape=(5, 7, 11)):
    affine = np.diag([0.5, 0.75, 3.0, 1.0]) if affine is None else affine
    return Geometry(
        file_shape=shape,
        file_affine=tuple(tuple(float(v) for v in row) for row in affine),
        file_axes=file_axes,
        reversed_axes=reversed_axes,
    )


@pytest.mark.parametrize(
    ("file_axes", "reversed_axes", "code"),
    [
        pytest.param((2, 1, 0), (False, False, False), "RAS", id="as-nifti-recommends"),
        pytest.param((2, 1, 0), (False, True, True), "LPS", id="as-dicom"),
        # z runs along the first axis of the file, y along the second against it, x along the third.
        pytest.param((0, 1, 2), (False, True, False), "SPR", id="slices-first"),
        pytest.param((1, 0, 2), (True, False, True), "AIL", id="coronal"),
    ],
)
def test_the_code_names_where_the_axes_of_the_file_lead(file_axes, reversed_axes, code):
    geometry = grid(file_axes=file_axes, reversed_axes=reversed_axes)
    assert orientation_code(geometry, Path("a.nii.gz")) == code
    assert orientation_code(geometry, Path("folder of a series")) == code


@pytest.mark.parametrize("name", ["a.tif", "a.gipl"])
def test_formats_without_sides_have_no_code(name):
    assert orientation_code(grid(), Path(name)) == ""


def test_a_picture_has_no_code():
    picture = Geometry(
        file_shape=(4, 5),
        file_affine=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
        file_axes=(0, 1),
        reversed_axes=(False, False),
    )
    assert orientation_code(picture, Path("a.nii")) == ""


def test_label_centers_are_mm_from_the_middle_of_the_image():
    label_map = np.zeros((11, 7, 5), np.uint8)  # z, y, x; the middle is at (5, 3, 2)
    label_map[0:3, 6, 4] = 3
    label_map[5, 3, 1:3] = 1
    labels = Labels(names=("background", "one", "two", "three"))
    assert label_centers(locate_labels(label_map, labels), labels, grid()) == (
        (0.0, 0.0, -0.5 * 0.5),
        None,
        ((1 - 5) * 3.0, (6 - 3) * 0.75, (4 - 2) * 0.5),
    )


def test_the_body_is_what_is_brighter_than_the_mean():
    image = np.zeros((11, 7, 5), np.float32)
    image[2:4, 1, 3:5] = 100  # z 2.5, y 1, x 3.5; the middle is at (5, 3, 2)
    assert body_center(image, (3.0, 0.75, 0.5)) == (-2.5 * 3, -2 * 0.75, 1.5 * 0.5)
    assert body_center(np.ones((11, 7, 5), np.float32), (3.0, 0.75, 0.5)) == ()


def test_large_images_are_looked_at_in_steps():
    image = np.zeros((3, 4, 1000), np.float32)  # every 7th voxel along x
    image[1, 1, 700:800] = 1  # 700 to 798 are seen
    center = body_center(image, (1.0, 1.0, 0.5))
    assert center == (0.0, -0.5, pytest.approx((749 - 499.5) * 0.5, abs=2))


def test_equal_voxels_have_the_digest_of_their_shape_and_no_other():
    voxels = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    assert voxel_digest(voxels) == voxel_digest(voxels.copy())
    others = [voxels.reshape(1, 3, 2, 4), voxels + np.float32(1e-6), np.flip(voxels, 3)]
    assert voxel_digest(voxels) not in {voxel_digest(other) for other in others}
