"""Row 24: every way to store the axes of an image, straight and oblique, left-handed ones too."""

import itertools
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest

from autoseg.io import images

ORDERS = [
    pytest.param(order, signs, id="".join(map(str, order)) + "".join("+-"[s < 0] for s in signs))
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]
TILT = np.deg2rad(20)
OBLIQUE = np.array(
    [[np.cos(TILT), -np.sin(TILT), 0], [np.sin(TILT), np.cos(TILT), 0], [0, 0, 1]]
) @ np.array([[1, 0, 0], [0, np.cos(TILT), -np.sin(TILT)], [0, np.sin(TILT), np.cos(TILT)]])


def affine_of(order: tuple[int, ...], signs: tuple[int, ...], turn: np.ndarray) -> np.ndarray:
    """File axis n runs along world axis order[n] before the turn; edges 0.8, 0.9 and 2.5 mm."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (world, sign, edge) in enumerate(zip(order, signs, (0.8, 0.9, 2.5), strict=True)):
        affine[world, axis] = sign * edge
    affine[:3, :3] = turn @ affine[:3, :3]
    affine[:3, 3] = (-12.5, 7.25, 31.0)
    return affine


@pytest.mark.parametrize("turn", [np.eye(3), OBLIQUE], ids=["straight", "oblique"])
@pytest.mark.parametrize(("order", "signs"), ORDERS)
def test_48_orientations_read_to_the_same_world_and_are_written_back_to_their_file(
    order: tuple[int, ...],
    signs: tuple[int, ...],
    turn: np.ndarray,
    make: ModuleType,
    tmp_path: Path,
):
    affine = affine_of(order, signs, turn)
    numbered = np.arange(1.0, 386.0, dtype=np.float32).reshape(make.SHAPE)  # each voxel its own
    path = make.write(tmp_path / "image.nii", make.nifti(numbered, affine))
    stored = nib.load(path).affine  # float32

    image = images.read_image(path)

    # Oracle: the world position of every array voxel leads to the file voxel with its number.
    indices = np.indices(image.geometry.shape).reshape(3, -1)
    world = image.geometry.affine @ np.vstack([indices, np.ones(indices.shape[1])])
    i, j, k = np.rint(np.linalg.inv(stored) @ world)[:3].astype(int)
    assert np.array_equal(image.voxels[0].ravel(), numbered[i, j, k])
    # z is slowest, and every axis runs towards R, A or S.
    directions = image.geometry.affine[:3, :3]
    assert np.abs(directions).argmax(axis=0).tolist() == [2, 1, 0]
    assert (directions[[2, 1, 0], [0, 1, 2]] > 0).all()

    objects = np.isin(image.voxels[0], numbered[make.mask() > 0]).astype(np.uint8)
    images.write_segmentation(tmp_path / "mask.nii.gz", objects, image.geometry)
    written = nib.load(tmp_path / "mask.nii.gz")
    assert written.shape == make.SHAPE
    assert np.abs(written.affine - stored).max() < 1e-6
    assert np.array_equal(np.asarray(written.dataobj), make.mask() > 0)
