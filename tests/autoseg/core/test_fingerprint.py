"""What follows from measured values."""

import pytest

from autoseg.core.fingerprint import CaseGrid, Fingerprint


def _grid(shape, cropped, spacing):
    return CaseGrid(
        name="a", shape=shape, shape_after_crop=cropped, spacing=spacing, class_voxels=(5, 1)
    )


def test_relative_size_is_the_share_of_voxels_that_cropping_keeps():
    grid = _grid((10, 40, 20), (5, 30, 20), (5.0, 0.5, 0.75))
    assert grid.relative_size_after_crop == pytest.approx(5 * 30 * 20 / (10 * 40 * 20))


@pytest.mark.parametrize("spacing", [(1.0, 0.5), (5.0, 0.5, 0.75)], ids=["2d", "3d"])
def test_axes_are_counted_from_the_spacing(spacing):
    grid = _grid((4,) * len(spacing), (4,) * len(spacing), spacing)
    assert Fingerprint(dataset="Task01", cases=(grid,), channels=()).ndim == len(spacing)
