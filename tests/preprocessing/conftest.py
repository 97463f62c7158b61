"""Grids that images and label maps are resampled between, and slow resampling to compare with."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d, map_coordinates, zoom
from skimage.transform import resize

GRIDS = [
    pytest.param(((7, 23, 16), (14, 17, 40)), id="3d-up-down-up"),
    pytest.param(((20, 9, 13), (11, 31, 13)), id="3d-one-axis-kept"),
    pytest.param(((5, 18, 30), (5, 7, 11)), id="3d-down"),
    pytest.param(((3, 4, 6), (10, 17, 29)), id="3d-tiny-up"),
    pytest.param(((33, 12, 8), (2, 3, 5)), id="3d-far-down"),
    pytest.param(((1, 12, 9), (4, 15, 7)), id="3d-one-slice"),
    pytest.param(((9, 8, 14), (1, 8, 13)), id="3d-to-one-slice"),
    pytest.param(((2, 40, 3), (3, 41, 2)), id="3d-nearly-the-same"),
    pytest.param(((31, 18), (17, 50)), id="2d-down-up"),
    pytest.param(((12, 25), (36, 25)), id="2d-one-axis-kept"),
    pytest.param(((64, 10), (9, 4)), id="2d-far-down"),
    pytest.param(((5, 3), (21, 20)), id="2d-up"),
]
APART = [
    pytest.param(((6, 15, 22), (13, 20, 17), 0), id="up-along-0"),
    pytest.param(((11, 14, 9), (4, 9, 16), 0), id="down-along-0"),
    pytest.param(((15, 7, 12), (10, 12, 19), 1), id="up-along-1"),
    pytest.param(((15, 12, 8), (22, 10, 3), 2), id="down-along-2"),
    pytest.param(((5, 12, 9), (5, 8, 13), 0), id="slices-kept"),
    pytest.param(((5, 12, 9), (9, 12, 9), 0), id="only-slices-change"),
]


@pytest.fixture(params=GRIDS)
def grid(request):
    """A shape, and the one to reach."""
    return request.param


@pytest.fixture(params=APART)
def apart_grid(request):
    """A shape, the one to reach, and the axis whose slices are placed by nearest neighbor."""
    return request.param


@pytest.fixture
def axis_matrix():
    """Resample one axis by scipy in double precision: (n_out, n_in), nothing left out."""
    return _axis_matrix


@pytest.fixture
def resized():
    """Resize one channel by skimage in double precision."""
    return _resized


@pytest.fixture
def resized_apart():
    """Resize slice by slice, then place slices by nearest neighbor: the slow way."""
    return _resized_apart


def _axis_matrix(n_in, n_out, order, *, sigma=0.0):
    units = (
        gaussian_filter1d(np.eye(n_in), sigma, axis=0, mode="nearest") if sigma else np.eye(n_in)
    )
    return zoom(units, (n_out / n_in, 1), order=order, mode="nearest", grid_mode=True)


def _resized(voxels, shape, order):
    exact = voxels.astype(np.float64)
    return resize(exact, shape, order=order, mode="edge", anti_aliasing=False, clip=True)


def _resized_apart(voxels, shape, order, axis):
    slices = np.moveaxis(voxels, axis, 0)
    in_plane = [n for other, n in enumerate(shape) if other != axis]
    stack = np.stack([_resized(one, in_plane, order) for one in slices])
    ratio = len(stack) / shape[axis]
    positions = np.indices((shape[axis], *in_plane)).astype(float)
    positions[0] = ratio * (positions[0] + 0.5) - 0.5
    placed = map_coordinates(stack, positions, order=0, mode="nearest")
    return np.moveaxis(placed, 0, axis)
