from dataclasses import replace

import numpy as np
import pytest
import torch

from autoseg.training.augmentation.mirror import Mirror
from autoseg.training.augmentation.policy import FULL, NONE


@pytest.mark.parametrize("axes", [(0,), (2,), (0, 1), (0, 1, 2)])
def test_mirroring_flips_exactly_the_drawn_axes(axes):
    array = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    mirrored = Mirror(axes=axes).apply(torch.tensor(array)).numpy()
    np.testing.assert_array_equal(mirrored, np.flip(array, [axis + 1 for axis in axes]))


def test_mirroring_twice_is_nothing():
    array = torch.arange(24).reshape(1, 4, 6)
    mirror = Mirror(axes=(0, 1))
    assert torch.equal(mirror.apply(mirror.apply(array)), array)


def test_only_allowed_axes_are_drawn_each_half_of_the_time():
    rng = np.random.default_rng(4)
    draws = [Mirror.draw(rng, FULL, (2, 0)) for _ in range(2000)]
    axes = [draw.axes if draw else () for draw in draws]
    assert set(axes) == {(), (0,), (2,), (0, 2)}
    for axis in (0, 2):
        # 4 sigma of 2000 coins: 4 * sqrt(2000 / 4) = 89
        assert abs(sum(axis in drawn for drawn in axes) - 1000) < 89


def test_nothing_allowed_or_never_drawn_is_none():
    rng = np.random.default_rng(4)
    assert Mirror.draw(rng, replace(FULL, mirror=1.0), ()) is None
    assert Mirror.draw(rng, NONE, (0, 1, 2)) is None
