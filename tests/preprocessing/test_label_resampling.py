import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates
from skimage.transform import resize

from preprocessing.label_resampling import resample_mask, resample_segmentation

GRIDS = [
    pytest.param((7, 23, 16), (14, 17, 40), id="3d-up-down-up"),
    pytest.param((20, 9, 13), (11, 31, 13), id="3d-one-axis-kept"),
    pytest.param((5, 18, 30), (5, 7, 11), id="3d-down"),
    pytest.param((3, 4, 6), (10, 17, 29), id="3d-tiny-up"),
    pytest.param((33, 12, 8), (2, 3, 5), id="3d-far-down"),
    pytest.param((1, 12, 9), (4, 15, 7), id="3d-one-slice"),
    pytest.param((9, 8, 14), (1, 8, 13), id="3d-to-one-slice"),
    pytest.param((2, 40, 3), (3, 41, 2), id="3d-nearly-the-same"),
    pytest.param((31, 18), (17, 50), id="2d-down-up"),
    pytest.param((12, 25), (36, 25), id="2d-one-axis-kept"),
    pytest.param((64, 10), (9, 4), id="2d-far-down"),
    pytest.param((5, 3), (21, 20), id="2d-up"),
]
APART = [
    pytest.param((6, 15, 22), (13, 20, 17), 0, id="up-along-0"),
    pytest.param((11, 14, 9), (4, 9, 16), 0, id="down-along-0"),
    pytest.param((15, 7, 12), (10, 12, 19), 1, id="up-along-1"),
    pytest.param((15, 12, 8), (22, 10, 3), 2, id="down-along-2"),
    pytest.param((5, 12, 9), (5, 8, 13), 0, id="slices-kept"),
    pytest.param((5, 12, 9), (9, 12, 9), 0, id="only-slices-change"),
]


def blobs(shape, labels=4, seed=3):
    smooth = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.2)
    edges = np.quantile(smooth, np.linspace(0, 1, labels + 1)[1:-1])
    return np.digitize(smooth, edges).astype(np.uint8)


def resized(voxels, shape, order):
    """Resize one channel by skimage in double precision."""
    exact = voxels.astype(np.float64)
    return resize(exact, shape, order=order, mode="edge", anti_aliasing=False, clip=True)


def resized_apart(voxels, shape, order, axis):
    """Resize slice by slice, then place slices by nearest neighbor: the slow way."""
    slices = np.moveaxis(voxels, axis, 0)
    in_plane = [n for other, n in enumerate(shape) if other != axis]
    stack = np.stack([resized(one, in_plane, order) for one in slices])
    ratio = len(stack) / shape[axis]
    positions = np.indices((shape[axis], *in_plane)).astype(float)
    positions[0] = ratio * (positions[0] + 0.5) - 0.5
    placed = map_coordinates(stack, positions, order=0, mode="nearest")
    return np.moveaxis(placed, 0, axis)


def winner(segmentation, resize_one):
    """Return the label of the largest indicator, and where the two largest are clearly apart."""
    labels = np.unique(segmentation)
    shares = np.stack([resize_one((segmentation == label).astype(np.float64)) for label in labels])
    ordered = np.sort(shares, axis=0)
    return labels[shares.argmax(0)], ordered[-1] - ordered[-2] > 1e-6


@pytest.mark.parametrize(("shape", "wanted"), GRIDS)
def test_segmentation_takes_the_label_of_the_largest_indicator(shape, wanted):
    segmentation = blobs(shape)
    expected, clear = winner(segmentation, lambda one: resized(one, wanted, 1))
    resampled = resample_segmentation(segmentation, wanted)
    assert resampled.dtype == segmentation.dtype
    np.testing.assert_array_equal(resampled[clear], expected[clear])


@pytest.mark.parametrize(("shape", "wanted", "axis"), APART)
def test_segmentation_with_a_separate_axis_takes_whole_slices(shape, wanted, axis):
    segmentation = blobs(shape)
    expected, clear = winner(segmentation, lambda one: resized_apart(one, wanted, 1, axis))
    resampled = resample_segmentation(segmentation, wanted, separate=axis)
    assert clear.mean() > 0.5
    np.testing.assert_array_equal(resampled[clear], expected[clear])


def test_tie_goes_to_the_nearest_voxel():
    # Halving averages neighbors: each pair below is a tie, and the second one counts as nearest.
    pairs = np.array([[0, 7], [7, 0], [7, 9], [9, 7], [9, 9]], np.uint16)
    np.testing.assert_array_equal(resample_segmentation(pairs, (5, 1)), [[7], [0], [9], [7], [9]])


def test_tie_goes_to_the_smallest_of_the_best_where_the_nearest_is_not_among_them():
    # Eight voxels become one: 1 and 2 have three each, 3 has two, one of them the nearest.
    block = np.array([[[3, 1], [1, 1]], [[2, 2], [2, 3]]], np.uint8)
    assert resample_segmentation(block, (1, 1, 1)).tolist() == [[[1]]]


def test_labels_that_lie_between_others_do_not_appear():
    segmentation = np.zeros((4, 9, 11), np.uint8)
    segmentation[:, 3:, 5:] = 200
    assert set(np.unique(resample_segmentation(segmentation, (7, 20, 17)))) == {0, 200}


def test_full_mask_stays_full():
    assert resample_mask(np.ones((3, 4, 5), bool), (6, 2, 9)).all()


def test_mask_is_resampled_as_a_segmentation_of_two_labels():
    mask = blobs((9, 14, 12), labels=2).astype(bool)
    expected, clear = winner(mask, lambda one: resized(one, (13, 9, 20), 1))
    resampled = resample_mask(mask, (13, 9, 20))
    assert resampled.dtype == bool
    np.testing.assert_array_equal(resampled[clear], expected[clear])


@pytest.mark.parametrize("separate", [None, 0])
def test_same_shape_returns_the_same_object(separate):
    segmentation = blobs((3, 5, 4))
    assert resample_segmentation(segmentation, (3, 5, 4), separate=separate) is segmentation


def test_argument_is_left_unchanged():
    segmentation = blobs((6, 5, 9))
    before = segmentation.copy()
    resample_segmentation(segmentation, (4, 7, 9))
    np.testing.assert_array_equal(segmentation, before)


@pytest.mark.parametrize("separate", [None, 0, 1])
def test_every_voxel_at_a_boundary_of_many_labels_is_counted_exactly(separate):
    # Noise of 90 labels: no two corners agree, so every voxel is voted on.
    segmentation = np.random.default_rng(5).integers(0, 90, (9, 14, 11)).astype(np.uint16)
    wanted = (13, 10, 17)
    resize_one = (
        (lambda one: resized(one, wanted, 1))
        if separate is None
        else (lambda one: resized_apart(one, wanted, 1, separate))
    )
    expected, clear = winner(segmentation, resize_one)
    resampled = resample_segmentation(segmentation, wanted, separate=separate)
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(resampled[clear], expected[clear])


def test_shares_of_three_axes_are_added_up_exactly():
    # 3 voxels to 2: the weights 3/4 and 1/4 of each axis are exact. The eight corners of the first
    # voxel weigh 27, 9, 9, 3, 9, 3, 3 and 1 of 64.
    corner = np.full((3, 3, 3), 9, np.uint8)
    corner[0, 0, 0], corner[0, 0, 1], corner[0, 1, 0] = 5, 2, 2  # 27 for 5, 18 for 2, 19 for 9
    assert resample_segmentation(corner, (2, 2, 2))[0, 0, 0] == 5
    corner[1, 0, 0] = 2  # 27 for 5, which is the nearest, 27 for 2, 10 for 9
    assert resample_segmentation(corner, (2, 2, 2))[0, 0, 0] == 5
    corner[0, 1, 1] = 2  # 30 for 2
    assert resample_segmentation(corner, (2, 2, 2))[0, 0, 0] == 2


@pytest.mark.parametrize("separate", [None, 0, 2])
def test_number_of_threads_changes_no_voxel(separate):
    segmentation = blobs((50, 31, 44), labels=6)
    once = resample_segmentation(segmentation, (61, 40, 29), separate=separate)
    again = resample_segmentation(segmentation, (61, 40, 29), separate=separate, threads=3)
    np.testing.assert_array_equal(again, once)


def test_turned_view_gives_what_its_copy_gives():
    view = blobs((9, 6, 11)).transpose(2, 0, 1)
    resampled = resample_segmentation(view, (8, 13, 6))
    np.testing.assert_array_equal(
        resampled, resample_segmentation(np.ascontiguousarray(view), (8, 13, 6))
    )


@pytest.mark.parametrize("order", [0, 3])
def test_other_orders_are_those_of_the_indicators(order):
    segmentation, wanted = blobs((7, 12, 9)), (9, 7, 14)
    expected, clear = winner(segmentation, lambda one: resized(one, wanted, order))
    resampled = resample_segmentation(segmentation, wanted, order=order)
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(resampled[clear], expected[clear])
