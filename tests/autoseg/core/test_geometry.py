"""Turned grids against a voxel-by-voxel oracle, shapes by hand, and when two grids differ."""

from itertools import permutations, product
from math import cos, sin

import numpy as np
import pytest

from autoseg.core.errors import GeometryError
from autoseg.core.geometry import Box, Geometry, grids_differ, resampled_shape

TURNS = [
    pytest.param(axes, backwards, id=f"{axes}-{backwards}")
    for d in (2, 3)
    for axes in permutations(range(d))
    for backwards in product((False, True), repeat=d)
]
"""8 turns in 2D, 48 in 3D."""


def _grid(file_axes=(2, 1, 0), reversed_axes=(False, False, False), *, origin=(0.0, 0.0, 0.0)):
    """Build a grid of 5 x 4 x 3 voxels of 0.5 x 0.75 x 2 mm along x, y and z."""
    affine = np.diag((0.5, 0.75, 2.0, 1.0))
    affine[:3, 3] = origin
    return Geometry(
        file_shape=(5, 4, 3),
        file_affine=tuple(map(tuple, affine.tolist())),
        file_axes=file_axes,
        reversed_axes=reversed_axes,
    )


def _oblique(file_axes, reversed_axes):
    """Build an anisotropic grid whose axes lie askew in the world, in 2D or 3D."""
    d = len(file_axes)
    turn = np.array([[cos(0.3), -sin(0.3), 0], [sin(0.3), cos(0.3), 0], [0, 0, 1]])[:d, :d]
    affine = np.eye(d + 1)
    affine[:d, :d] = turn * np.array((0.5, 0.75, 2.0))[:d]
    affine[:d, d] = (-7.0, 11.0, 3.0)[:d]
    return Geometry(
        file_shape=(5, 4, 3)[:d],
        file_affine=tuple(map(tuple, affine.tolist())),
        file_axes=file_axes,
        reversed_axes=reversed_axes,
    )


def _with_affine(grid, affine):
    return Geometry(
        file_shape=grid.file_shape,
        file_affine=tuple(map(tuple, affine.tolist())),
        file_axes=grid.file_axes,
        reversed_axes=grid.reversed_axes,
    )


@pytest.mark.parametrize(("axes", "backwards"), TURNS)
def test_affine_puts_every_voxel_of_the_array_where_the_file_has_it(axes, backwards):
    grid = _oblique(axes, backwards)
    d = grid.ndim
    centers = np.empty((*grid.file_shape, d))
    for voxel in np.ndindex(*grid.file_shape):
        centers[voxel] = (np.array(grid.file_affine) @ [*voxel, 1.0])[:d]
    turned = np.stack([grid.to_array(centers[..., axis]) for axis in range(d)], axis=-1)
    for index in np.ndindex(*grid.shape):
        np.testing.assert_allclose((grid.affine @ [*index, 1.0])[:d], turned[index], atol=1e-12)


@pytest.mark.parametrize(("axes", "backwards"), TURNS)
def test_to_file_undoes_to_array(axes, backwards):
    grid = _oblique(axes, backwards)
    voxels = np.arange(np.prod(grid.file_shape)).reshape(grid.file_shape)
    array = grid.to_array(voxels)
    assert array.shape == grid.shape
    assert np.shares_memory(array, voxels)
    np.testing.assert_array_equal(grid.to_file(array), voxels)


def test_to_array_moves_a_marked_voxel_to_its_mirrored_transposed_place():
    grid = _grid((2, 0, 1), (True, False, True))  # z backwards, x, y backwards
    voxels = np.zeros((5, 4, 3))
    voxels[4, 0, 1] = 1  # x 4, y 0, z 1 becomes z 3-1-1, x 4, y 4-1-0
    np.testing.assert_array_equal(np.argwhere(grid.to_array(voxels)), [[1, 4, 3]])


@pytest.mark.parametrize(("axes", "backwards"), TURNS)
def test_spacing_and_shape_follow_the_array_axes(axes, backwards):
    grid = _oblique(axes, backwards)
    assert grid.spacing == tuple((0.5, 0.75, 2.0)[axis] for axis in axes)
    assert grid.shape == tuple((5, 4, 3)[axis] for axis in axes)


def test_spacing_forgets_the_rounding_of_a_float32_affine():
    grid = _grid()
    noisy = np.diag((*np.float32((0.7, 0.7, 2.6)).astype(float), 1.0))
    assert _with_affine(grid, noisy).spacing == (2.6, 0.7, 0.7)


@pytest.mark.parametrize(
    ("axes", "backwards"),
    [
        pytest.param((2, 1, 1), (False,) * 3, id="axis-twice"),
        pytest.param((3, 1, 0), (False,) * 3, id="axis-unknown"),
        pytest.param((1, 0), (False,) * 3, id="axis-missing"),
        pytest.param((2, 1, 0), (False,) * 2, id="direction-missing"),
    ],
)
def test_each_axis_is_named_once(axes, backwards):
    with pytest.raises(GeometryError, match=r"file_axes \(.*\) and reversed_axes .* of the 3 axes"):
        _grid(axes, backwards)


@pytest.mark.parametrize("affine", [np.eye(3), np.eye(4)[:3], np.eye(4)[:, :3]])
def test_affine_has_a_row_and_column_more_than_axes(affine):
    with pytest.raises(GeometryError, match="file_affine must be 4 x 4 for a shape of 3 axes"):
        _with_affine(_grid(), affine)


@pytest.mark.parametrize(
    ("shape", "spacing", "target", "expected"),
    [
        pytest.param((512, 512, 100), (0.7, 0.7, 2.5), (1, 1, 1), (358, 358, 250), id="nnunet"),
        pytest.param((1, 40, 30), (1, 1, 2), (3, 1, 1), (1, 40, 60), id="thin-axis-stays"),
        pytest.param((5, 7, 3), (0.5, 0.5, 1), (1, 1, 1), (2, 4, 3), id="half-to-even"),
        pytest.param((33, 20), (2.0, 0.5), (1.0, 1.0), (66, 10), id="2d"),
    ],
)
def test_resampled_shape_covers_the_same_extent(shape, spacing, target, expected):
    assert resampled_shape(shape, spacing, target) == expected


def test_resampled_shape_needs_one_entry_per_axis():
    with pytest.raises(GeometryError, match=r"shape \(4, 5, 6\), spacing \(1, 1\) and target"):
        resampled_shape((4, 5, 6), (1, 1), (1, 1, 1))


@pytest.mark.parametrize("edge", [0.0, -0.5, float("nan"), float("inf")])
@pytest.mark.parametrize("place", ["spacing", "target_spacing"])
def test_resampled_shape_refuses_impossible_voxels(edge, place):
    edges = {"spacing": (2.0, 1.0), "target_spacing": (1.0, 1.0), place: (2.0, edge)}
    with pytest.raises(GeometryError, match=rf"\(2\.0, {edge}\).* mm must be positive and finite"):
        resampled_shape((4, 5), **edges)


def test_box_cuts_and_permutes_with_its_array():
    box = Box(start=(1, 0, 2), stop=(3, 4, 7))
    array = np.arange(4 * 5 * 8).reshape(4, 5, 8)
    assert box.shape == array[box.slices].shape == (2, 4, 5)
    turned = array.transpose(2, 0, 1)[box.permuted((2, 0, 1)).slices]
    np.testing.assert_array_equal(turned, array[box.slices].transpose(2, 0, 1))


def test_equal_grids_do_not_differ():
    assert grids_differ(_grid(origin=(3.0, -4.0, 5.0)), _grid(origin=(3.0, -4.0, 5.0))) == ""


def test_another_way_of_storing_the_same_voxels_is_the_same_grid():
    # x runs backwards in the file from x = 4 * 0.5 mm, and the reader turned it round.
    stored = np.diag((-0.5, 0.75, 2.0, 1.0))
    stored[0, 3] = 2.0
    turned = _with_affine(_grid(reversed_axes=(False, False, True)), stored)
    assert grids_differ(_grid(), turned) == ""


@pytest.mark.parametrize(
    ("shift_mm", "differ"),
    [
        pytest.param(0.0234375, False, id="under"),  # allowed: 0.05 * 0.5 mm, the finest edge
        pytest.param(0.0265625, True, id="over"),
    ],
)
def test_a_shift_may_be_a_twentieth_of_the_finest_voxel_edge(shift_mm, differ):
    found = grids_differ(_grid(), _grid(origin=(0.0, 0.0, shift_mm)))
    assert bool(found) is differ


def test_a_shift_is_told_in_mm():
    found = grids_differ(_grid(), _grid(origin=(3.0, 0.0, 4.0)))
    assert found == "corners lie up to 5 mm apart, allowed are 0.025 mm"


@pytest.mark.parametrize(
    ("factor", "differ"), [(1.0009765625, False), (1.001953125, True)], ids=["2^-10", "2^-9"]
)
def test_spacings_may_differ_by_a_thousandth(factor, differ):
    affine = np.diag((0.5, 0.75 * factor, 2.0, 1.0))
    found = grids_differ(_grid(), _with_affine(_grid(), affine), shift_voxels=1.0)
    # 0.75 / 1024 is below 1e-3 of the larger, 0.75 / 512 above; array axis 1 is y.
    assert ("differ along array axis 1" in found) is differ


def test_a_turned_grid_differs_though_origin_and_spacing_agree():
    angle = 0.02
    turn = np.array([[cos(angle), -sin(angle), 0], [sin(angle), cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag((0.5, 0.75, 2.0))
    # The far corner (2, 2.25) mm moves by 2 sin(angle / 2) * |(2, 2.25)| = 0.0602 mm.
    assert "corners lie up to 0.0602 mm apart" in grids_differ(
        _grid(), _with_affine(_grid(), affine)
    )


def test_a_mirrored_grid_differs():
    mirrored = _grid(reversed_axes=(False, False, True))
    assert "corners lie up to 2 mm apart" in grids_differ(_grid(), mirrored)  # 4 * 0.5 mm


def test_float32_noise_of_a_large_image_is_no_difference():
    def large(noise):
        affine = np.diag((0.8 * (1 + noise), 0.8, 0.5, 1.0))
        return Geometry(
            file_shape=(512, 500, 900),
            file_affine=tuple(map(tuple, affine.tolist())),
            file_axes=(2, 1, 0),
            reversed_axes=(False,) * 3,
        )

    # 511 * 0.8 mm * 1e-4 = 0.0409 mm: above 0.05 * 0.5 mm, below 1e-4 of 900 * 0.5 mm.
    assert grids_differ(large(0.0), large(1e-4)) == ""
    assert "apart" in grids_differ(large(0.0), large(1.2e-4))
