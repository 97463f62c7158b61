from math import ceil

import numpy as np
import pytest

from autoseg.inference.tiling import (
    LEAST_WEIGHT,
    gaussian_weights,
    padding_to,
    tile_boxes,
    tile_starts,
)


@pytest.mark.parametrize(
    ("size", "tile", "starts"),
    [
        pytest.param(110, 64, (0, 23, 46), id="110-by-64"),
        pytest.param(200, 128, (0, 36, 72), id="200-by-128"),
        pytest.param(170, 128, (0, 42), id="170-by-128"),
        pytest.param(65, 64, (0, 1), id="one-voxel-more"),
        pytest.param(128, 128, (0,), id="exactly-one"),
        pytest.param(300, 128, (0, 57, 115, 172), id="300-by-128"),
    ],
)
def test_tiles_start_where_nnunets_do(size, tile, starts):
    assert tile_starts(size, tile) == starts


@pytest.mark.parametrize("step_fraction", [0.25, 0.5, 0.7, 1.0])
def test_tiles_cover_every_voxel_in_steps_no_larger_than_asked(step_fraction):
    for tile in (1, 2, 5, 8, 13):
        for size in range(tile, 5 * tile + 3):
            starts = tile_starts(size, tile, step_fraction)
            assert starts[0] == 0
            assert starts[-1] == size - tile
            assert set(np.diff(starts)) <= set(range(1, ceil(tile * step_fraction) + 1))


def test_slices_are_taken_once():
    assert tile_starts(5, 1) == (0, 1, 2, 3, 4)


def test_boxes_are_every_combination_the_last_axis_fastest():
    boxes = list(tile_boxes((6, 5, 12), (4, 5, 8)))
    assert boxes == [(0, 0, 0), (0, 0, 4), (2, 0, 0), (2, 0, 4)]


@pytest.mark.parametrize(("shape", "tile"), [((17, 9, 30), (8, 9, 12)), ((23, 41), (10, 16))])
def test_every_voxel_is_covered_with_a_positive_weight(shape, tile):
    total = np.zeros(shape, np.float32)
    for start in tile_boxes(shape, tile):
        total[tuple(slice(a, a + n) for a, n in zip(start, tile, strict=True))] += gaussian_weights(
            tile
        )
    assert total.min() >= LEAST_WEIGHT


@pytest.mark.parametrize(
    ("voxel", "weight"),
    [
        pytest.param((8, 8), 1.0, id="center"),
        pytest.param((8, 4), 0.13535, id="2-sigma"),  # exp(-2)
        pytest.param((4, 4), 0.018311, id="2-sigma-on-both-axes"),  # exp(-4)
        pytest.param((8, 0), 0.00033550, id="4-sigma"),  # exp(-8)
        pytest.param((0, 0), LEAST_WEIGHT, id="corner"),  # exp(-16) is below the least weight
    ],
)
def test_weights_are_nnunets_scaled_to_1_with_a_floor(voxel, weight):
    assert gaussian_weights((16, 16))[voxel] == pytest.approx(weight, rel=1e-3)


def test_each_axis_has_a_width_of_its_own():
    weights = gaussian_weights((8, 16, 4))
    assert weights.shape == (8, 16, 4)
    assert weights.dtype == np.float32
    # One sigma off the center (4, 8, 2) is 1, 2 and half a voxel.
    assert weights[5, 8, 2] == weights[3, 8, 2] == pytest.approx(np.exp(-0.5))
    assert weights[4, 10, 2] == pytest.approx(np.exp(-0.5))
    assert weights[4, 8, 3] == pytest.approx(np.exp(-2))


def test_weights_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        gaussian_weights((4, 6))[0, 0] = 1


@pytest.mark.parametrize(
    ("shape", "tile", "padding"),
    [
        pytest.param((9, 20), (8, 16), ((0, 0), (0, 0)), id="fits"),
        pytest.param((4, 20), (8, 16), ((2, 2), (0, 0)), id="even"),
        pytest.param((5, 1, 7), (8, 8, 7), ((1, 2), (3, 4), (0, 0)), id="odd-voxel-behind"),
    ],
)
def test_padding(shape, tile, padding):
    assert padding_to(shape, tile) == padding
