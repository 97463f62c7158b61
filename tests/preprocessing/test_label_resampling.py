import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from preprocessing.label_resampling import resample_mask, resample_segmentation


def blobs(shape, labels=4, seed=3):
    smooth = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.2)
    edges = np.quantile(smooth, np.linspace(0, 1, labels + 1)[1:-1])
    return np.digitize(smooth, edges).astype(np.uint8)


def winner(segmentation, resize_one):
    """Return the label of the largest indicator, and where the two largest are clearly apart."""
    labels = np.unique(segmentation)
    shares = np.stack([resize_one((segmentation == label).astype(np.float64)) for label in labels])
    ordered = np.sort(shares, axis=0)
    return labels[shares.argmax(0)], ordered[-1] - ordered[-2] > 1e-6


def test_segmentation_takes_the_label_of_the_largest_indicator(grid, resized):
    shape, wanted = grid
    segmentation = blobs(shape)
    expected, clear = winner(segmentation, lambda one: resized(one, wanted, 1))
    resampled = resample_segmentation(segmentation, wanted)
    assert resampled.dtype == segmentation.dtype
    np.testing.assert_array_equal(resampled[clear], expected[clear])


def test_segmentation_with_a_separate_axis_takes_whole_slices(apart_grid, resized_apart):
    shape, wanted, axis = apart_grid
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


def test_mask_is_resampled_as_a_segmentation_of_two_labels(resized):
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
def test_every_voxel_at_a_boundary_of_many_labels_is_counted_exactly(
    separate, resized, resized_apart
):
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
def test_other_orders_are_those_of_the_indicators(order, resized):
    segmentation, wanted = blobs((7, 12, 9)), (9, 7, 14)
    expected, clear = winner(segmentation, lambda one: resized(one, wanted, order))
    resampled = resample_segmentation(segmentation, wanted, order=order)
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(resampled[clear], expected[clear])
