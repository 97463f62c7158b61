from math import pi

import numpy as np
import pytest

from autoseg.core.errors import UsageError
from autoseg.training.augmentation.policy import (
    LIGHT,
    Policy,
    is_in_plane,
    policy_named,
    rotation_matrix,
    rotation_ranges,
)


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


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("blur", 1.2, "blur 1.2 must be from 0 to 1"),
        ("mirror", -0.5, "mirror -0.5 must be from 0 to 1"),
        ("scaling_range", (1.4, 0.7), r"scaling_range \(1.4, 0.7\) must rise"),
        ("noise_std_range", (-0.1, 0.1), r"noise_std_range \(-0.1, 0.1\) must rise"),
        ("scaling_range", (0.0, 1.4), r"scaling_range \(0.0, 1.4\) must be above 0"),
        ("gamma_range", (1.1, 1.5), r"gamma_range \(1.1, 1.5\) must contain 1"),
    ],
)
def test_impossible_policy_is_refused(field, value, message):
    with pytest.raises(UsageError, match=message):
        Policy(**{field: value})


def test_policies_are_found_by_name():
    assert policy_named("light") is LIGHT
    with pytest.raises(UsageError, match="'strong' is unknown; known are full, light, none"):
        policy_named("strong")
