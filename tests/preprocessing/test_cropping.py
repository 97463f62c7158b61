import numpy as np
import pytest
from scipy.ndimage import binary_fill_holes, gaussian_filter

from autoseg.core.geometry import Box
from preprocessing.cropping import nonzero_box, nonzero_mask


def ragged(shape, seed):
    """A random mask, mostly set, with holes inside and holes that open to its border."""
    smooth = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 0.6)
    return smooth > -0.9 * smooth.std()


def test_box_is_the_tightest_around_nonzero_voxels():
    image = np.zeros((1, 6, 9, 11), np.float32)
    image[0, 2, 3, 5] = image[0, 4, 3, 9] = -7
    assert nonzero_box(image) == Box(start=(2, 3, 5), stop=(5, 4, 10))


def test_box_is_around_every_channel():
    image = np.zeros((2, 8, 5), np.float32)
    image[0, 1, 3] = image[1, 6, 2] = 0.001
    assert nonzero_box(image) == Box(start=(1, 2), stop=(7, 4))


def test_box_of_an_all_zero_image_is_the_image():
    assert nonzero_box(np.zeros((2, 4, 5, 6))) == Box(start=(0, 0, 0), stop=(4, 5, 6))


def test_box_may_end_at_the_border():
    image = np.zeros((1, 3, 7), np.float32)
    image[0, 0, 0] = image[0, 2, 6] = 1
    assert nonzero_box(image) == Box(start=(0, 0), stop=(3, 7))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("shape", [(9, 14, 11), (23, 17)], ids=["3d", "2d"])
def test_holes_of_the_cut_are_those_of_the_whole(shape, seed):
    whole = np.zeros(tuple(n + 7 for n in shape), bool)
    # On some axes the body touches the image's border, on others it is surrounded by air.
    place = tuple(slice(seed % 4, seed % 4 + n) for n in shape)
    whole[place] = ragged(shape, seed)
    box = nonzero_box(whole[None])
    filled = binary_fill_holes(whole)[box.slices]
    assert whole.sum() < filled.sum() < filled.size
    np.testing.assert_array_equal(nonzero_mask(whole[None][:, *box.slices]), filled)


def test_hole_that_opens_to_the_border_is_not_filled():
    ring = np.ones((1, 5, 6), np.float32)
    ring[0, 2, 2:4] = 0
    assert nonzero_mask(ring).all()
    ring[0, 2, 0:4] = 0
    expected = np.ones((5, 6), bool)
    expected[2, 0:4] = False
    np.testing.assert_array_equal(nonzero_mask(ring), expected)


def test_mask_joins_channels_before_it_fills_holes():
    image = np.zeros((2, 3, 4, 4), np.float32)
    image[0, :, :2] = 1
    image[1, :, 2:] = -1
    image[:, 1, 1:3, 1:3] = 0
    assert nonzero_mask(image).all()


def test_mask_of_an_all_zero_image_is_full():
    assert nonzero_mask(np.zeros((3, 4, 5, 2))).all()
