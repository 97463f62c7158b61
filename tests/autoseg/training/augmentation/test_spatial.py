from itertools import product
from math import pi, prod

import numpy as np
import pytest
import torch
from scipy import ndimage

from autoseg.training.augmentation.policy import FULL, STRONG
from autoseg.training.augmentation.rotation import rotation_ranges
from autoseg.training.augmentation.spatial import Spatial, centered_crop, sample_patches

HALF_TURN, QUARTER_TURN = pi, pi / 2


def phantom(shape, *, seed=1):
    """Noise with a value in every voxel: no symmetry is left to hide behind."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def blobs(shape, *, labels=4, seed=2):
    """A label map of large smooth regions."""
    smooth = ndimage.gaussian_filter(phantom(shape, seed=seed), 2.0)
    return np.digitize(smooth, np.quantile(smooth, np.linspace(0, 1, labels + 1)[1:-1]))


def cropped(array, patch_size):
    return centered_crop(torch.tensor(array), patch_size).numpy()


def turn(*angles, factor=1.0):
    """A rotation by three angles, or one in the plane, and one factor for all axes."""
    return Spatial(angles=angles, factors=(factor,) * max(2, len(angles)))


def apply(spatial, image, labels, patch_size):
    """Sample one image and its label maps."""
    image, maps = sample_patches(
        [torch.tensor(image)], [[torch.tensor(one)] for one in labels], [spatial], patch_size
    )
    return image[0].numpy(), np.concatenate([one.numpy() for one in maps])


def sampled(array, matrix, patch_size, order):
    """Sample a centered patch with scipy; the matrix acts on the last axes."""
    full = np.eye(array.ndim)
    full[-len(matrix) :, -len(matrix) :] = matrix
    start = [(n - p) // 2 for n, p in zip(array.shape, patch_size, strict=True)]
    center = (np.asarray(patch_size) - 1) / 2
    offsets = np.moveaxis(np.indices(patch_size), 0, -1) - center
    positions = np.moveaxis(offsets @ full.T + center + start, -1, 0)
    return ndimage.map_coordinates(array, positions, order=order, mode="grid-constant")


@pytest.mark.parametrize(
    ("patch_size", "angles", "axes"),
    [
        pytest.param((6, 10), (QUARTER_TURN,), (0, 1), id="2d"),
        pytest.param((2, 6, 10), (QUARTER_TURN,), (1, 2), id="in-plane"),
        pytest.param((8, 6, 10), (QUARTER_TURN, 0.0, 0.0), (1, 2), id="about-0"),
        pytest.param((8, 6, 10), (0.0, QUARTER_TURN, 0.0), (2, 0), id="about-1"),
        pytest.param((8, 6, 10), (0.0, 0.0, QUARTER_TURN), (0, 1), id="about-2"),
    ],
)
def test_quarter_turn_is_rot90(patch_size, angles, axes):
    spatial = turn(*angles)
    source = tuple(size + 8 for size in patch_size)
    image, labels = phantom((2, *source)), blobs(source)[None]
    turned, moved = apply(spatial, image, labels, patch_size)
    for result, given in ((turned, image), (moved, labels)):
        expected = np.rot90(given, axes=[axis + 1 for axis in axes])
        np.testing.assert_allclose(result, cropped(expected.copy(), patch_size), atol=1e-5)


def test_image_is_turned_about_the_last_axis_first():
    image = phantom((1, 10, 10, 10))
    angles = (QUARTER_TURN, QUARTER_TURN, QUARTER_TURN)
    turned, _ = apply(turn(*angles), image, image, (10, 10, 10))
    expected = image[0]
    for axes in ((0, 1), (2, 0), (1, 2)):
        expected = np.rot90(expected, axes=axes)
    np.testing.assert_allclose(turned[0], expected, atol=1e-5)


def test_quarter_turn_with_an_odd_margin_turns_about_the_middle_of_the_crop():
    image = phantom((1, 9, 13))
    middle = cropped(image, (6, 6))
    turned, _ = apply(turn(QUARTER_TURN), image, image, (6, 6))
    np.testing.assert_allclose(turned, np.rot90(middle, axes=(1, 2)), atol=1e-5)


@pytest.mark.parametrize("source", [(11, 14, 17), (10, 15, 16)])
def test_no_turn_is_the_centered_crop(source):
    image = phantom((2, *source))
    still, _ = apply(turn(0.0, 0.0, 0.0), image, image, (5, 8, 7))
    np.testing.assert_allclose(still, cropped(image, (5, 8, 7)), atol=1e-5)


@pytest.mark.parametrize(
    ("patch_size", "angles", "source"),
    [
        pytest.param((16, 22), (0.7,), (21, 28), id="2d"),
        pytest.param((4, 14, 20), (-2.1,), (5, 20, 22), id="in-plane"),
        pytest.param((10, 14, 8), (0.4, -0.3, 0.5), (15, 20, 11), id="3d"),
    ],
)
@pytest.mark.parametrize("factor", [0.75, 1.3])
def test_any_turn_and_zoom_agrees_with_scipy(patch_size, angles, source, factor):
    spatial = turn(*angles, factor=factor)
    image, labels = phantom((2, *source)), blobs(source)[None]
    result, moved = apply(spatial, image, labels, patch_size)
    for channel, given in zip(result, image, strict=True):
        expected = sampled(given, spatial.matrix, patch_size, 1)
        np.testing.assert_allclose(channel, expected, atol=1e-4)
    nearest = sampled(labels[0], spatial.matrix, patch_size, 0)
    # Points halfway between two voxels may go to either.
    assert np.mean(moved[0] != nearest) < 0.01


@pytest.mark.parametrize("patch_size", [(24, 20), (8, 24, 20)], ids=["2d", "3d"])
@pytest.mark.parametrize(("factor", "extent"), [(2.0, 4), (0.5, 16)])
def test_factor_above_one_shrinks_a_box(patch_size, factor, extent):
    # A box of 8 voxels along the last axis, whole along the others, in twice the patch.
    source = tuple(2 * size for size in patch_size)
    box = np.zeros(source, dtype=np.uint8)
    middle = source[-1] // 2
    box[..., middle - 4 : middle + 4] = 1
    spatial = turn(*(0.0,) * (1 if len(patch_size) == 2 else 3), factor=factor)
    image, labels = apply(spatial, box[None].astype(np.float32), box[None], patch_size)
    row = tuple(size // 2 for size in patch_size[:-1])
    assert labels[0][row].sum() == extent
    assert image[0][row].sum() == pytest.approx(extent, abs=1e-3)


def test_in_plane_zoom_leaves_the_first_axis():
    slices = np.broadcast_to(np.arange(6, dtype=np.float32)[:, None, None], (6, 40, 40)).copy()
    image, _ = apply(turn(0.3, factor=1.4), slices[None], slices[None], (4, 16, 14))
    # The middle 4 of 6 slices, each constant.
    expected = np.broadcast_to(np.arange(1, 5)[:, None, None], (4, 16, 14))
    np.testing.assert_allclose(image[0], expected, atol=1e-4)


def test_outside_of_the_source_is_zero():
    ones = np.ones((1, 8, 12), dtype=np.float32)
    image, labels = apply(turn(0.0, factor=2.0), ones, ones, (8, 12))
    # Zoomed out twice, the source covers the middle 4 x 6 voxels.
    expected = np.zeros((8, 12))
    expected[2:6, 3:9] = 1
    np.testing.assert_array_equal(labels[0], expected)
    assert np.all(image[0][expected == 0] < 1e-5)
    assert np.all(image[0][3:5, 4:8] > 1 - 1e-5)


@pytest.mark.parametrize("patch_size", [(40, 28), (5, 40, 28), (24, 32, 20)])
def test_label_map_moves_with_the_image(patch_size):
    source = tuple(int(1.5 * size) for size in patch_size)
    labels = (blobs(source) == 1).astype(np.int16)[None]
    angles = (1.1,) if len(patch_size) == 2 or patch_size[0] == 5 else (0.3, -0.5, 0.2)
    image, moved = apply(turn(*angles, factor=1.2), labels.astype(np.float32), labels, patch_size)
    # Interpolated linearly, a mask crosses 1/2 where the nearest voxel changes, give or take the
    # cells whose corners disagree.
    sure = np.abs(image - 0.5) > 0.49
    assert sure.mean() > 0.3
    np.testing.assert_array_equal(moved[sure], image[sure] > 0.5)


def touched(spatial, patch_size, margin):
    """Half extent of the offsets in the source that carry weight, by brute force."""
    source = tuple(size + 2 * margin for size in patch_size)
    reach = np.zeros(len(patch_size))
    for axis, size in enumerate(source):
        ramp = np.arange(size, dtype=np.float32) - (size - 1) / 2
        shape = [-1 if a == axis else 1 for a in range(len(source))]
        image = np.broadcast_to(ramp.reshape(shape), source).copy()[None]
        result, _ = apply(spatial, image, image, patch_size)
        reach[axis] = np.abs(result).max()
    return reach


@pytest.mark.parametrize(
    ("patch_size", "angles"),
    [((13, 20), (0.6,)), ((4, 16, 21), (2.0,)), ((12, 9, 16), (0.5, 0.2, -0.4))],
    ids=["2d", "in-plane", "3d"],
)
@pytest.mark.parametrize("factor", [0.7, 1.4])
def test_source_shape_holds_what_is_taken_and_no_more(patch_size, angles, factor):
    spatial = turn(*angles, factor=factor)
    needed = 2 * touched(spatial, patch_size, 20) + 1
    found = np.array(spatial.source_shape(patch_size))
    assert np.all((found - patch_size) % 2 == 0)
    assert np.all(found >= needed - 1e-3)
    assert np.all(found < np.maximum(needed + 2, np.array(patch_size) + 1))


REGIONS = [
    pytest.param((24, 20), id="2d"),
    pytest.param((40, 18), id="2d-elongated"),
    pytest.param((4, 22, 30), id="in-plane"),
    pytest.param((14, 14, 14), id="isotropic"),
    pytest.param((10, 24, 16), id="anisotropic"),
]


def extremes(patch_size, count=40):
    """Zoom out all the way, turned by every combination of limits and by some angles within."""
    limits = rotation_ranges(patch_size)
    signs = product((-1, 0, 1), repeat=len(limits))
    within = np.random.default_rng(7).uniform(-1, 1, (count, len(limits)))
    return [
        turn(*np.multiply(part, limits), factor=FULL.scaling_range[1]) for part in (*signs, *within)
    ]


def least(spatial, source, patch_size):
    """Least intensity and label of a patch that is taken from ones."""
    ones = np.ones((1, *source))
    image, labels = apply(spatial, ones.astype(np.float32), ones.astype(np.uint8), patch_size)
    return image.min(), labels.min()


@pytest.mark.parametrize("patch_size", REGIONS)
def test_no_zero_enters_from_beyond_the_region_that_is_read(patch_size):
    for spatial in extremes(patch_size):
        source = spatial.source_shape(patch_size)
        assert least(spatial, source, patch_size) == (pytest.approx(1, abs=1e-4), 1)


@pytest.mark.parametrize("patch_size", REGIONS)
def test_a_region_with_fewer_voxels_or_swapped_axes_would_let_zeros_in(patch_size):
    spatial = extremes(patch_size)[0]
    source = spatial.source_shape(patch_size)
    swapped = (*source[:-2], source[-1], source[-2])
    turning = len(spatial.matrix)  # the first axis of an in-plane patch is as long as the patch
    narrower = [
        tuple(size - 2 * (axis == less) for axis, size in enumerate(source))
        for less in range(len(source) - turning, len(source))
    ]
    for other in (*narrower, *({swapped} - {source})):
        assert least(spatial, other, patch_size)[0] < 0.99


def test_what_is_read_is_half_more_than_the_patches_on_average():
    # 1 - 0.8**2 of the samples are turned or scaled; the others need their patch only.
    patch_size, rng = (96, 128, 112), np.random.default_rng(3)
    drawn = [Spatial.draw(rng, FULL, patch_size) for _ in range(4000)]
    read = [prod(one.source_shape(patch_size)) if one else prod(patch_size) for one in drawn]
    assert 1.4 < np.mean(read) / prod(patch_size) < 1.6


def test_reading_the_source_shape_gives_the_same_patch_as_reading_more():
    spatial, patch_size = turn(0.3, 0.5, -0.2, factor=1.3), (10, 7, 12)
    image = phantom((1, 40, 41, 40))
    enough = cropped(image, spatial.source_shape(patch_size))
    for given in (image, enough):
        assert given.shape[1:] >= spatial.source_shape(patch_size)
    wide, _ = apply(spatial, image, image, patch_size)
    narrow, _ = apply(spatial, enough, enough, patch_size)
    np.testing.assert_allclose(narrow, wide, atol=1e-4)


def test_half_turn_needs_no_margin():
    assert turn(HALF_TURN).source_shape((7, 12)) == (7, 12)


@pytest.mark.parametrize("patch_size", [(64, 40), (8, 64, 40), (32, 64, 40)])
def test_draws_stay_within_their_ranges(patch_size):
    rng = np.random.default_rng(0)
    draws = [d for d in (Spatial.draw(rng, FULL, patch_size) for _ in range(2000)) if d]
    limit = 15 if patch_size == (64, 40) else 30 if patch_size[0] == 32 else 180
    angles = np.degrees([d.angles for d in draws])
    factors = np.array([d.factors for d in draws])
    assert np.all(factors == factors[:, :1])
    assert angles.shape[1] == (3 if patch_size[0] == 32 else 1)
    assert 0.9 * limit < np.abs(angles).max() <= limit
    assert 0.7 <= factors.min() < 0.75
    assert 1.35 < factors.max() <= 1.4


def test_strong_scales_each_axis_by_its_own_factor_and_turns_about_some_axes():
    rng = np.random.default_rng(8)
    count = 4000
    found = [d for _ in range(count) if (d := Spatial.draw(rng, STRONG, (32, 64, 40)))]
    angles, factors = (
        np.array([getattr(d, name) for d in found]) for name in ("angles", "factors")
    )
    # rotated with 0.4, about each axis with 0.5
    for axis in range(3):
        assert abs((angles[:, axis] != 0).sum() - 0.2 * count) < 4 * np.sqrt(count * 0.16)
    scaled = factors[(factors != 1).any(axis=1)]
    assert abs(len(scaled) - 0.2 * count) < 4 * np.sqrt(count * 0.16)
    assert all(len(set(row)) == 3 for row in scaled.tolist())
    assert 0.7 <= scaled.min() < 0.72
    assert 1.41 < scaled.max() <= 1.43
    # neither scaled nor, in one of 8 rotated samples, turned about any axis
    still = count - len(found)
    assert abs(still / count - 0.8 * (0.6 + 0.4 / 8)) < 4 * np.sqrt(0.25 / count)


@pytest.mark.parametrize(
    ("patch_size", "angles", "factors"),
    [
        pytest.param((16, 22), (0.0,), (0.8, 1.3), id="2d-zoom"),
        pytest.param((16, 22), (0.6,), (0.8, 1.3), id="2d-turn"),
        pytest.param((4, 14, 20), (0.0,), (1.2, 0.75), id="in-plane-zoom"),
        pytest.param((10, 14, 8), (0.0, 0.0, 0.0), (1.3, 0.8, 1.1), id="3d-zoom"),
        pytest.param((10, 14, 8), (0.0, 0.4, 0.0), (1.3, 0.8, 1.1), id="3d-turn"),
    ],
)
def test_factors_per_axis_agree_with_scipy(patch_size, angles, factors):
    spatial = Spatial(angles=angles, factors=factors)
    source = spatial.source_shape(patch_size)
    image, labels = phantom((2, *source)), blobs(source)[None]
    result, moved = apply(spatial, image, labels, patch_size)
    for channel, given in zip(result, image, strict=True):
        expected = sampled(given, spatial.matrix, patch_size, 1)
        np.testing.assert_allclose(channel, expected, atol=1e-4)
    assert np.mean(moved[0] != sampled(labels[0], spatial.matrix, patch_size, 0)) < 0.01
    no_room = np.array(source) - 2 * (np.array(source) > np.array(patch_size))
    assert least(spatial, source, patch_size)[0] > 0.999
    if tuple(no_room) != source:
        assert least(spatial, no_room.tolist(), patch_size)[0] < 0.999


@pytest.mark.parametrize("policy", [FULL, STRONG], ids=["full", "strong"])
def test_a_cube_is_read_less_than_one_and_a_half_times_on_average(policy):
    patch_size, rng = (128, 128, 128), np.random.default_rng(2)
    drawn = [Spatial.draw(rng, policy, patch_size) for _ in range(8000)]
    read = [prod(one.source_shape(patch_size)) if one else prod(patch_size) for one in drawn]
    # The bound is 1.5; over 40000 draws it is 1.477 and 1.446, here the standard error is 0.011.
    assert np.mean(read) / prod(patch_size) < 1.54
