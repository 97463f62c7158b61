"""Resampling by position in space, against a loop over voxels, and what is refused all the same."""

import numpy as np
import pytest

from autoseg.core.acceptance import parse_accepted
from autoseg.core.errors import GeometryError
from autoseg.core.geometry import Geometry
from autoseg.io import grids

RESAMPLE = parse_accepted(["E-GEO-20", "E-GEO-21", "E-GEO-23"])


def grid(shape: tuple[int, ...], affine: np.ndarray) -> Geometry:
    """Return a grid whose array axes are the file's, reversed: (z, y, x) of (x, y, z)."""
    return Geometry(
        file_shape=tuple(reversed(shape)),
        file_affine=tuple(tuple(row) for row in affine.tolist()),
        file_axes=(2, 1, 0),
        reversed_axes=(False, False, True),
    )


def straight(*edges: float, origin: tuple[float, ...] = (0.0, 0.0, 0.0)) -> np.ndarray:
    affine = np.diag([*edges, 1.0])
    affine[:3, 3] = origin
    return affine


def oblique(*edges: float) -> np.ndarray:
    """Return a grid turned by 20 degrees about z and 10 about x."""
    a, b = np.deg2rad(20), np.deg2rad(10)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = about_z @ about_x @ np.diag(edges)
    affine[:3, 3] = (1.0, -2.0, 0.5)
    return affine


def slowly(
    voxels: np.ndarray, source: Geometry, target: Geometry, *, order: int, outside: float
) -> tuple[np.ndarray, int]:
    """Ask of every voxel where it lies in the other grid, and what is there."""
    result, count = np.empty(target.shape), 0
    inverse = np.linalg.inv(source.affine)
    for index in np.ndindex(*target.shape):
        place = (inverse @ target.affine @ [*index, 1.0])[:3]
        if any(p < -0.5 or p > n - 0.5 for p, n in zip(place, source.shape, strict=True)):
            result[index], count = outside, count + 1
            continue
        inside = np.clip(place, 0, np.array(source.shape) - 1)
        if order == 0:
            result[index] = voxels[tuple(np.floor(inside + 0.5).astype(int))]
            continue
        low = np.minimum(np.floor(inside).astype(int), np.array(source.shape) - 2)
        part = inside - low
        result[index] = sum(
            voxels[tuple(low + corner)] * np.prod(np.where(corner, part, 1 - part))
            for corner in (np.array(c) for c in np.ndindex(2, 2, 2))
        )
    return result, count


@pytest.mark.parametrize("order", [0, 1])
def test_resampling_is_that_of_a_loop_over_voxels(order: int):
    source = grid((5, 7, 6), oblique(0.9, 0.7, 2.3))
    target = grid((6, 5, 9), straight(0.77, 1.1, 1.9, origin=(0.31, -1.7, 0.13)))
    rng = np.random.default_rng(3)
    voxels = rng.integers(0, 5, source.shape).astype(np.uint8 if order == 0 else np.float32)
    found, outside = grids.resampled(voxels, source, target, order=order, outside=0)
    expected, count = slowly(voxels, source, target, order=order, outside=0)
    assert 0 < count < found.size
    assert outside == count
    assert found.dtype == voxels.dtype
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_labels_of_half_the_slices_go_to_both_slices_of_the_image():
    # Slices of 5 mm around z = 2 and 7; the image's of 2.5 mm around 0.75, 3.25, 5.75 and 8.25.
    source = grid((2, 2, 3), straight(0.8, 0.9, 5.0, origin=(0, 0, 2.0)))
    image = grid((4, 2, 3), straight(0.8, 0.9, 2.5, origin=(0, 0, 0.75)))
    labels = np.array([[[1, 0, 2], [0, 1, 1]], [[0, 3, 3], [2, 0, 0]]], np.uint8)
    moved, (note,) = grids.labels_on_grid(labels, source, image, "case 'a'", RESAMPLE)
    assert moved.tolist() == np.repeat(labels, 2, axis=0).tolist()
    volume = 7 * 0.8 * 0.9 * 5  # seven voxels of foreground, fourteen of half the size
    assert f"{volume:.6g} mm³ of foreground became {volume:.6g} mm³, 0 voxels lie outside" in note
    assert note.endswith("(accepted: E-GEO-20=resample)")


def test_labels_that_lie_elsewhere_are_moved_and_the_rest_is_background():
    source = grid((1, 1, 4), straight(0.5, 1.0, 2.0))
    image = grid((1, 1, 4), straight(0.5, 1.0, 2.0, origin=(1.0, 0, 0)))  # 2 voxels to the right
    # Arrays run from right to left here: x = 1.5, 1, 0.5, 0 and 2.5, 2, 1.5, 1.
    labels = np.array([[[1, 2, 3, 4]]], np.uint8)
    moved, (note,) = grids.labels_on_grid(labels, source, image, "", RESAMPLE)
    assert moved.tolist() == [[[0, 0, 1, 2]]]
    assert "2 voxels lie outside of it and became background (accepted: E-GEO-21=" in note


@pytest.mark.parametrize("rule", ["E-GEO-20", "E-GEO-21"])
def test_each_rule_is_accepted_by_its_own_name_only(rule: str):
    source = grid((1, 1, 4), straight(0.5, 1.0, 2.0))
    shape = (1, 1, 5) if rule == "E-GEO-20" else (1, 1, 4)
    image = grid(shape, straight(0.5, 1.0, 2.0, origin=(1.0, 0, 0)))
    labels = np.ones(source.shape, np.uint8)
    other = {"E-GEO-20": "E-GEO-21", "E-GEO-21": "E-GEO-20"}[rule]
    with pytest.raises(GeometryError, match=r"case 'a': ") as caught:
        grids.labels_on_grid(labels, source, image, "case 'a'", parse_accepted([other]))
    assert caught.value.rule == rule
    assert caught.value.hint.endswith(f", or --accept {rule}=resample")
    with pytest.raises(GeometryError) as plain:
        grids.check_grid(image, source, "case 'a'")
    assert str(plain.value) == str(caught.value)
    assert "--accept" not in plain.value.hint


def test_grids_that_do_not_meet_are_refused_whatever_is_accepted():
    source = grid((1, 1, 4), straight(0.5, 1.0, 2.0))
    image = grid((1, 1, 4), straight(0.5, 1.0, 2.0, origin=(300.0, 0, 0)))
    with pytest.raises(GeometryError, match="do not meet anywhere in space") as caught:
        grids.labels_on_grid(np.ones((1, 1, 4), np.uint8), source, image, "case 'a'", RESAMPLE)
    assert caught.value.rule == "E-GEO-21"
    with pytest.raises(GeometryError, match="do not meet anywhere in space") as caught:
        grids.channel_on_grid(np.ones((1, 1, 4), np.float32), source, image, "case 'a'", RESAMPLE)
    assert caught.value.rule == "E-GEO-23"


def test_labels_of_which_nothing_would_be_left_are_refused():
    # The image shows the last two of six voxels; the foreground is the first.
    source = grid((1, 1, 6), straight(1.0, 1.0, 2.0))
    image = grid((1, 1, 2), straight(1.0, 1.0, 2.0))
    labels = np.array([[[3, 0, 0, 0, 0, 0]]], np.uint8)
    with pytest.raises(GeometryError, match=r"of its 2 mm³ of foreground nothing would be left"):
        grids.labels_on_grid(labels, source, image, "case 'a'", RESAMPLE)
    moved, _ = grids.labels_on_grid(labels[..., ::-1].copy(), source, image, "case 'a'", RESAMPLE)
    assert np.count_nonzero(moved) == 1


@pytest.mark.parametrize("edge", [0.1, 0.3, 0.6, 0.7, 0.9, 1.1])
def test_voxels_on_the_outer_edge_are_inside(edge: float):
    # Two voxels end half an edge behind their centers, where those of the other grid lie.
    source = grid((1, 1, 7), straight(edge, 1.0, 2.0))
    target = grid((1, 1, 8), straight(edge, 1.0, 2.0, origin=(-edge / 2, 0, 0)))
    _, outside = grids.resampled(np.ones((1, 1, 7)), source, target, order=0, outside=0)
    assert outside == 0


def test_pictures_lie_nowhere_and_are_not_resampled():
    flat = [
        Geometry(
            file_shape=shape,
            file_affine=((1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0)),
            file_axes=(0, 1),
            reversed_axes=(False, False),
        )
        for shape in ((3, 4), (3, 5))
    ]
    with pytest.raises(GeometryError, match="segmentation shape") as caught:
        grids.labels_on_grid(np.ones((3, 4), np.uint8), *flat, "case 'a'", RESAMPLE)
    assert "--accept" not in caught.value.hint
    with pytest.raises(GeometryError, match="different grids") as caught:
        grids.channel_on_grid(np.ones((3, 4), np.float32), *flat, "case 'a'", RESAMPLE)
    assert "--accept" not in caught.value.hint


def test_a_channel_is_interpolated_and_holds_its_smallest_value_beyond_itself():
    # From right to left at x = 3, 2, 1, 0 mm; wanted at 5, 3.5, 2, 0.5: the half voxel is inside.
    source = grid((1, 1, 4), straight(1.0, 1.0, 2.0))
    first = grid((1, 1, 4), straight(1.5, 1.0, 2.0, origin=(0.5, 0, 0)))
    channel = np.array([[[-3.0, 4.0, 8.0, 16.0]]], np.float32)
    moved, (note,) = grids.channel_on_grid(channel, source, first, "a and b", RESAMPLE)
    assert moved.tolist() == [[[-3.0, -3.0, 4.0, 12.0]]]
    assert "1 voxels lie outside of it and became -3 (accepted: E-GEO-23=resample)" in note


def test_equal_grids_are_left_alone():
    source = grid((1, 2, 4), straight(1.0, 1.0, 2.0))
    labels, channel = np.ones(source.shape, np.uint8), np.ones(source.shape, np.float32)
    assert grids.labels_on_grid(labels, source, source, "", RESAMPLE) == (labels, ())
    assert grids.channel_on_grid(channel, source, source, "", RESAMPLE) == (channel, ())
