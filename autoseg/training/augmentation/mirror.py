"""Mirroring along the axes that a plan allows, and exchanges of such axes that are equally long."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from torch import Tensor

from autoseg.training.augmentation.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """A drawn order and direction of the axes."""

    axes: tuple[int, ...]
    """Mirrored spatial axes of the result, ascending; they may be none."""
    order: tuple[int, ...] = ()
    """For each spatial axis of the result which axis it was; empty if all are as they were."""

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        policy: Policy,
        mirror_axes: Sequence[int],
        patch_size: Sequence[int],
    ) -> Self | None:
        """Draw for each allowed axis whether it is mirrored, and which axes are exchanged.

        Quarter turns and exchanges may mirror as well, so they keep to the allowed axes. In
        nnU-Net they come before the changes of intensity; as those treat equally long axes alike,
        it makes no difference that they come behind them here.
        """
        order, mirrored = list(range(len(patch_size))), set[int]()
        equal = _longest_equal(mirror_axes, patch_size)
        if equal and rng.random() < policy.quarter_turns:
            first, second = sorted(rng.choice(equal, 2, replace=False).tolist())
            turns = int(rng.integers(4))
            if turns % 2:
                order[first], order[second] = second, first
            # As `numpy.rot90`: a quarter turn mirrors one of the axes, a half turn both.
            mirrored = (set[int](), {first}, {first, second}, {second})[turns]
        if equal and rng.random() < policy.exchange:
            places = list(range(len(patch_size)))
            for axis, other in zip(equal, rng.permutation(equal).tolist(), strict=True):
                places[axis] = other
            order = [order[place] for place in places]
            mirrored = {axis for axis, place in enumerate(places) if place in mirrored}
        mirrored ^= {axis for axis in sorted(mirror_axes) if rng.random() < policy.mirror}
        moved = tuple(order) if order != sorted(order) else ()
        return cls(axes=tuple(sorted(mirrored)), order=moved) if mirrored or moved else None

    def apply(self, array: Tensor, leading: int = 1) -> Tensor:
        """Mirror and exchange the axes of a tensor of any type behind its ``leading`` ones."""
        if self.order:
            axes = (axis + leading for axis in self.order)
            array = array.permute(*range(leading), *axes)
        return array.flip([axis + leading for axis in self.axes])


def _longest_equal(axes: Sequence[int], patch_size: Sequence[int]) -> list[int]:
    """Return those of some axes whose size most of them share; none if all sizes differ."""
    groups: dict[int, list[int]] = {}
    for axis in sorted(axes):
        groups.setdefault(patch_size[axis], []).append(axis)
    largest = max(groups.values(), key=len, default=[])
    return largest if len(largest) > 1 else []
