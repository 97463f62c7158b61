import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.transform import resize

from preprocessing.resampling import resample_image, separate_axis


def noise(shape, seed=0):
    """Rough voxels far from 0: the hardest case for cubic splines, whose clipping then matters."""
    return (200 + 90 * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def resized_smoothly(voxels, shape, resized):
    """Resize one channel by skimage once the axes that shrink by more than two are smoothed."""
    factors = np.divide(voxels.shape, shape)
    is_smoothed = np.array(voxels.shape) > 2 * (np.array(shape) + 0.5)  # half a voxel is rounding
    sigmas = np.where(is_smoothed, (factors - 1) / 2, 0)
    return resized(gaussian_filter(voxels.astype(np.float64), sigmas, mode="nearest"), shape, 3)


@pytest.mark.parametrize(
    ("spacing", "target", "axis"),
    [
        pytest.param((5, 1, 1), (1, 1, 1), 0, id="coarse-now"),
        pytest.param((1, 1, 1), (4, 1, 1), 0, id="coarse-then"),
        pytest.param((1, 1, 5), (6, 1, 1), 2, id="the-present-one-first"),
        pytest.param((3, 1, 1), (1, 1, 1), None, id="exactly-at-the-ratio"),
        pytest.param((0.24, 1.25, 1.25), (1, 1, 1), None, id="two-tie-for-coarsest"),
        pytest.param((0.24, 1.25, 1.25), (5, 1, 1), None, id="a-tie-now-decides"),
        pytest.param((5, 1), (1, 1), None, id="2d"),
    ],
)
def test_separate_axis(spacing, target, axis):
    assert separate_axis(spacing, target) == axis


@pytest.mark.parametrize("order", [1, 3])
def test_image_is_resampled_as_skimage_resizes_it(grid, order, resized):
    shape, wanted = grid
    image = np.stack([noise(shape, 1), -5 * noise(shape, 2)])
    resampled = resample_image(image, wanted, order=order)
    assert resampled.dtype == np.float32
    for channel, given in zip(resampled, image, strict=True):
        expected = resized(given, wanted, order)
        np.testing.assert_allclose(channel, expected, rtol=0, atol=1e-4 * given.std())


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        pytest.param((33, 20, 47), (13, 6, 9), id="3d"),  # factors 2.5, 3.3 and 5.2
        pytest.param((9, 40, 30), (1, 18, 13), id="3d-to-one-slice"),
        pytest.param((64, 21), (9, 8), id="2d"),
    ],
)
@pytest.mark.parametrize("order", [1, 3])
def test_image_that_shrinks_by_more_than_two_is_smoothed_as_skimage_does(shape, wanted, order):
    image = np.stack([noise(shape, 1), -5 * noise(shape, 2)])
    resampled = resample_image(image, wanted, order=order, anti_aliasing=True)
    for channel, given in zip(resampled, image.astype(np.float64), strict=True):
        expected = resize(given, wanted, order=order, mode="edge", anti_aliasing=True)
        np.testing.assert_allclose(channel, expected, rtol=0, atol=1e-4 * given.std())
    assert np.abs(resampled - resample_image(image, wanted, order=order)).max() > image[0].std() / 4


def test_only_the_axes_that_shrink_by_more_than_two_are_smoothed(grid, resized):
    shape, wanted = grid
    image = noise((1, *shape))
    expected = resized_smoothly(image[0], wanted, resized)
    resampled = resample_image(image, wanted, anti_aliasing=True)[0]
    np.testing.assert_allclose(resampled, expected, rtol=0, atol=1e-4 * image.std())


def test_axis_that_shrinks_by_exactly_two_is_not_smoothed():
    image = noise((1, 12, 10, 22))
    smoothed = resample_image(image, (6, 5, 11), anti_aliasing=True)
    np.testing.assert_array_equal(smoothed, resample_image(image, (6, 5, 11)))


def test_checkerboard_that_the_new_grid_cannot_hold_becomes_flat():
    # Every third, fifth and seventh voxel, from 1, 2 and 3 on: samples of the board are a board.
    board = np.where(np.indices((27, 35, 63)).sum(0) % 2, -1, 1).astype(np.float32)
    aliased = resample_image(board[None], (9, 7, 9))[0]
    np.testing.assert_allclose(aliased, board[1::3, 2::5, 3::7], atol=1e-4)
    flat = resample_image(board[None], (9, 7, 9), anti_aliasing=True)
    # Least flat in the corners: beyond the edges the outermost voxel repeats.
    assert np.abs(flat).max() < 0.003


def test_wave_that_the_new_grid_holds_keeps_what_the_gaussian_leaves_of_it():
    # A third of 120 voxels, sigma 1, a wave of 20: exp(-2 (pi / 20)**2) is left of it.
    wave = np.sin(2 * np.pi * (np.arange(120) + 0.5) / 20).astype(np.float32)
    thinned = resample_image(np.tile(wave, (1, 4, 1)), (4, 40), anti_aliasing=True)[0, 1]
    inner = slice(3, -3)  # beyond the edges the wave does not go on
    expected = np.exp(-2 * (np.pi / 20) ** 2) * wave[1::3]
    np.testing.assert_allclose(thinned[inner], expected[inner], atol=1e-3)


@pytest.mark.parametrize("order", [1, 3])
def test_slices_are_averaged_and_not_dropped_where_the_separate_axis_shrinks_far(order):
    stack = np.zeros((1, 4, 12, 5), np.float32)
    stack[:, :, 5] = 1  # between the slices 4 and 7, which are the nearest of two new ones
    assert not resample_image(stack, (4, 4, 5), order=order, separate=1).any()
    averaged = resample_image(stack, (4, 4, 5), order=order, separate=1, anti_aliasing=True)
    gaussian = np.exp(-0.5 * np.arange(-4, 5) ** 2)  # a third as many slices: sigma is 1
    expected = gaussian[[4 - 4, 4 - 1, 4 + 2, 4 + 4]] / gaussian.sum()  # 1, 4, 7 and 10 from 5
    expected[3] = 0
    np.testing.assert_allclose(averaged[0, 2, :, 3], expected, atol=1e-6)


def test_separate_axis_stays_apart_unless_it_shrinks_far(apart_grid):
    shape, wanted, axis = apart_grid
    image = noise((1, *shape))
    apart = shape[axis] / wanted[axis] <= 2
    smoothed = resample_image(image, wanted, separate=axis, anti_aliasing=True)
    # Of these grids no other axis shrinks far.
    expected = resample_image(
        image, wanted, separate=axis if apart else None, anti_aliasing=not apart
    )
    np.testing.assert_array_equal(smoothed, expected)


@pytest.mark.parametrize("order", [1, 3])
def test_image_with_a_separate_axis_is_resampled_slice_by_slice(apart_grid, order, resized_apart):
    shape, wanted, axis = apart_grid
    image = noise((2, *shape))
    resampled = resample_image(image, wanted, order=order, separate=axis)
    for channel, given in zip(resampled, image, strict=True):
        expected = resized_apart(given, wanted, order, axis)
        np.testing.assert_allclose(channel, expected, rtol=0, atol=1e-4 * given.std())


@pytest.mark.parametrize("separate", [None, 0])
def test_same_shape_returns_the_same_object(separate):
    image = noise((2, 3, 5, 4))
    assert resample_image(image, (3, 5, 4), separate=separate) is image


def test_argument_is_left_unchanged():
    image = noise((1, 6, 5, 9))
    before = image.copy()
    resample_image(image, (4, 7, 9))
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("separate", [None, 0, 2])
def test_number_of_threads_changes_no_voxel(separate):
    # More slices than a band, and more columns than are mixed at a time.
    image = noise((2, 70, 97, 81))
    once = resample_image(image, (83, 120, 77), separate=separate)
    for threads in (2, 5):
        again = resample_image(image, (83, 120, 77), separate=separate, threads=threads)
        np.testing.assert_array_equal(again, once)


def test_slabs_that_overlap_give_what_the_dense_matrices_do(axis_matrix):
    # Several bands along the first axis: their slabs are carried over, growing and shrinking.
    for n_in, n_out in ((150, 190), (190, 70), (40, 130)):
        image = noise((1, n_in, 5, 6))
        spline = axis_matrix(n_in, n_out, 3)
        expected = np.einsum("oi,ciyx->coyx", spline, image.astype(np.float64))
        expected = expected.clip(image.min(), image.max())
        resampled = resample_image(image, (n_out, 5, 6))
        np.testing.assert_allclose(resampled, expected, rtol=0, atol=1e-5 * image.std())


@pytest.mark.parametrize("separate", [None, 0, 2])
def test_turned_view_gives_what_its_copy_gives(separate):
    view = noise((2, 9, 6, 11)).transpose(0, 3, 1, 2)
    resampled = resample_image(view, (8, 13, 6), separate=separate)
    copied = resample_image(np.ascontiguousarray(view), (8, 13, 6), separate=separate)
    np.testing.assert_allclose(resampled, copied, rtol=1e-6)


def test_overshoot_is_clipped_to_the_range_of_the_channel():
    edge = np.zeros((2, 8, 10), np.float32)
    edge[0, :, 5:], edge[1, :, 5:] = 1, 1000
    resampled = resample_image(edge, (16, 23))
    assert [(c.min(), c.max()) for c in resampled] == [(0, 1), (0, 1000)]


def test_overshoot_is_clipped_to_the_range_of_the_slice_where_an_axis_is_apart():
    edge = np.zeros((1, 2, 8, 10), np.float32)
    edge[0, 0, :, 5:], edge[0, 1, :, 5:] = 1, 1000
    resampled = resample_image(edge, (2, 16, 23), separate=0)[0]
    assert [(one.min(), one.max()) for one in resampled] == [(0, 1), (0, 1000)]


@pytest.mark.parametrize("size", [100, 101, 102, 103, 104])
def test_images_of_one_spacing_are_treated_alike_whatever_the_parity_of_their_size(size):
    # At half the spacing: 101 voxels become 50, which is a factor of 2.02 by rounding only.
    image = noise((1, size, 6))
    wanted = (round(size / 2), 6)

    np.testing.assert_array_equal(
        resample_image(image, wanted, anti_aliasing=True), resample_image(image, wanted)
    )
