from math import pi

import numpy as np
import pytest

from autoseg.training.augmentation.rotation import is_in_plane, rotation_matrix, rotation_ranges


@pytest.mark.parametrize(
    ("patch_size", "degrees"),
    [
        pytest.param((200, 310), (15,), id="2d-elongated"),
        pytest.param((200, 300), (180,), id="2d-exactly-at-the-ratio"),
        pytest.param((310, 200), (15,), id="2d-elongated-other-way"),
        pytest.param((20, 320, 256), (180,), id="3d-thin"),
        pytest.param((40, 120, 100), (30, 30, 30), id="3d-exactly-at-the-ratio"),
        pytest.param((120, 40, 100), (30, 30, 30), id="3d-thin-along-another-axis"),
    ],
)
def test_rotation_ranges_follow_the_patch(patch_size, degrees):
    assert rotation_ranges(patch_size) == pytest.approx([d * pi / 180 for d in degrees])


def test_only_3d_patches_thin_along_the_first_axis_are_in_plane():
    assert is_in_plane((20, 61, 40))
    assert not is_in_plane((20, 60, 40))
    assert not is_in_plane((61, 20, 40))
    assert not is_in_plane((20, 200))


@pytest.mark.parametrize("axes", [(1, 2), (2, 0), (0, 1)], ids=["about-0", "about-1", "about-2"])
def test_rotation_turns_as_rot90(axes):
    first, second = axes
    about = 3 - first - second
    image = np.zeros((5, 5, 5))
    offset = np.array([1, 2, -1])
    image[tuple(2 + offset)] = 1
    found = np.argwhere(np.rot90(image, axes=axes))[0] - 2
    np.testing.assert_allclose(rotation_matrix(about, pi / 2, 3) @ found, offset, atol=1e-12)
