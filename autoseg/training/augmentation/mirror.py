"""Mirroring along the axes that a plan allows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from torch import Tensor

from autoseg.training.augmentation.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """A drawn set of mirrored axes."""

    axes: tuple[int, ...]
    """Spatial axes, ascending; not empty."""

    @classmethod
    def draw(
        cls, rng: np.random.Generator, policy: Policy, mirror_axes: Sequence[int]
    ) -> Self | None:
        """Draw for each allowed axis whether it is mirrored; None if none is."""
        axes = tuple(axis for axis in sorted(mirror_axes) if rng.random() < policy.mirror)
        return cls(axes=axes) if axes else None

    def apply(self, array: Tensor) -> Tensor:
        """Mirror a (C, *spatial) tensor of any type."""
        return array.flip([axis + 1 for axis in self.axes])
