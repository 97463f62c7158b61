from dataclasses import replace

import numpy as np
import pytest
import torch

from autoseg.training.augmentation.mirror import Mirror
from autoseg.training.augmentation.policy import FULL, NONE, STRONG


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
    draws = [Mirror.draw(rng, FULL, (2, 0), (8, 8, 8)) for _ in range(2000)]
    axes = [draw.axes if draw else () for draw in draws]
    assert set(axes) == {(), (0,), (2,), (0, 2)}
    for axis in (0, 2):
        # 4 sigma of 2000 coins: 4 * sqrt(2000 / 4) = 89
        assert abs(sum(axis in drawn for drawn in axes) - 1000) < 89


def test_nothing_allowed_or_never_drawn_is_none():
    rng = np.random.default_rng(4)
    assert Mirror.draw(rng, replace(FULL, mirror=1.0), (), (8, 8, 8)) is None
    assert Mirror.draw(rng, NONE, (0, 1, 2), (8, 8, 8)) is None


def test_axes_are_exchanged_before_they_are_mirrored():
    array = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    result = Mirror(axes=(0,), order=(2, 0, 1)).apply(torch.tensor(array)).numpy()
    np.testing.assert_array_equal(result, np.flip(array.transpose(0, 3, 1, 2), 1))


def replayed(rng, array):
    """Do with numpy what `Mirror.draw` draws for a cube, in nnU-Net's order."""
    if rng.random() < STRONG.quarter_turns:
        axes = sorted(rng.choice([0, 1, 2], 2, replace=False))
        array = np.rot90(array, rng.integers(4), axes)
    if rng.random() < STRONG.exchange:
        array = array.transpose(rng.permutation([0, 1, 2]))
    return np.flip(array, [axis for axis in range(3) if rng.random() < STRONG.mirror])


@pytest.mark.parametrize("seed", range(40))
def test_turns_exchanges_and_mirrors_follow_each_other_as_in_numpy(seed):
    array = np.arange(27).reshape(3, 3, 3)
    mirror = Mirror.draw(np.random.default_rng(seed), STRONG, (0, 1, 2), (3, 3, 3))
    got = mirror.apply(torch.tensor(array), 0).numpy() if mirror else array
    np.testing.assert_array_equal(got, replayed(np.random.default_rng(seed), array))


def test_every_order_and_direction_of_a_cube_is_equally_likely():
    rng = np.random.default_rng(3)
    count = 9600
    drawn = [Mirror.draw(rng, STRONG, (0, 1, 2), (9, 9, 9)) for _ in range(count)]
    found = [(d.order, d.axes) if d else ((), ()) for d in drawn]
    orders = {order for order, _ in found}
    assert len(orders) == 6
    assert len(set(found)) == 48
    for axis in range(3):
        mirrored = sum(axis in axes for _, axes in found)
        assert abs(mirrored - count / 2) < 4 * np.sqrt(count / 4)
    # Without an exchange 3 of 4 keep their order: no turn, or an even one of 0 to 3 quarters. An
    # exchange leads to each of the 6 orders equally often.
    kept = sum(order == () for order, _ in found) / count
    assert kept == pytest.approx((1 / 2) * (3 / 4) + (1 / 2) * (1 / 6), abs=0.02)


@pytest.mark.parametrize(
    ("patch_size", "mirror_axes", "exchanged"),
    [
        ((12, 16, 16), (0, 1, 2), {1, 2}),
        ((16, 12, 16), (0, 1, 2), {0, 2}),
        ((16, 16, 16), (0, 2), {0, 2}),
        ((16, 16, 16), (1,), set()),
        ((12, 16, 20), (0, 1, 2), set()),
        ((20, 20), (0, 1), {0, 1}),
    ],
)
def test_only_allowed_axes_of_equal_size_change_places(patch_size, mirror_axes, exchanged):
    rng = np.random.default_rng(6)
    drawn = [Mirror.draw(rng, STRONG, mirror_axes, patch_size) for _ in range(300)]
    moved = {axis for d in drawn if d for axis, source in enumerate(d.order) if axis != source}
    assert moved == exchanged
    array = torch.zeros(1, *patch_size)
    assert {tuple(d.apply(array).shape) for d in drawn if d} == {(1, *patch_size)}
