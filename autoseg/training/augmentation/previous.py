"""Random faults in the prediction of the previous stage, lest a cascade believe every voxel of it.

A prediction gives each voxel one label, so what nnU-Net does to one-hot channels is done here to
the label map: what a label gains the others lose, and what it loses becomes background.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor
from typing import Final, Literal, Self

import numpy as np
import torch
from torch import Tensor

from autoseg.training.augmentation.policy import Policy

Operation = Literal["dilate", "erode", "close", "open"]
OPERATIONS: Final[tuple[Operation, ...]] = ("dilate", "erode", "close", "open")
LARGEST_BALL: Final = 1 / 8
"""Largest radius that a label grows or shrinks by, as a fraction of the patch's shortest edge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reshaping:
    """Labels that grow or shrink."""

    changes: tuple[tuple[int, Operation, float], ...]
    """Label, operation, and radius of the ball in voxels; in the order of application."""

    @classmethod
    def draw(
        cls, rng: np.random.Generator, policy: Policy, labels: int, patch_size: Sequence[int]
    ) -> Self | None:
        """Draw for a prediction of ``labels`` foreground labels; None if it stays as it is.

        The radius ends at `LARGEST_BALL` of the patch's shortest edge: nnU-Net's 8 voxels are meant
        for patches of 64 and more, and would wipe out what a small patch shows.
        """
        if rng.random() >= policy.reshaping:
            return None
        low, high = policy.reshaping_radius_range
        high = max(low, min(high, LARGEST_BALL * min(patch_size)))
        changes = tuple(
            (
                label,
                OPERATIONS[int(rng.integers(len(OPERATIONS)))],
                float(rng.uniform(low, high)),
            )
            for label in range(1, labels + 1)
            if rng.random() < policy.reshaping_label
        )
        return cls(changes=changes) if changes else None

    def apply(self, prediction: Tensor) -> Tensor:
        """Change a label map (*spatial)."""
        for label, operation, radius in self.changes:
            before = prediction == label
            after = reshaped(before, operation, radius)
            prediction = torch.where(before & ~after, 0, torch.where(after, label, prediction))
        return prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """Connected components that vanish."""

    places: tuple[tuple[int, float], ...]
    """Label, and which of its small components goes, as a place from 0 to 1 among them."""
    largest_fraction: float
    """Components up to this share of the patch are small."""

    @classmethod
    def draw(cls, rng: np.random.Generator, policy: Policy, labels: int) -> Self | None:
        """Draw for a prediction of ``labels`` foreground labels; None if it stays as it is."""
        if rng.random() >= policy.removal:
            return None
        places = tuple(
            (label, float(rng.random()))
            for label in range(1, labels + 1)
            if rng.random() < policy.removal_label
        )
        largest = policy.removal_largest_fraction
        return cls(places=places, largest_fraction=largest) if places else None

    def apply(self, prediction: Tensor) -> Tensor:
        """Change a label map (*spatial); components are counted on the CPU."""
        from scipy import ndimage

        kept = prediction.cpu().numpy()
        gone = np.zeros(kept.shape, bool)
        for label, place in self.places:
            numbered, count = ndimage.label(kept == label, np.ones((3,) * kept.ndim))
            sizes = np.bincount(numbered.ravel(), minlength=count + 1)[1:]
            small = np.flatnonzero(sizes <= self.largest_fraction * kept.size)
            if small.size:
                gone |= numbered == small[floor(place * small.size)] + 1
        return prediction.masked_fill(torch.from_numpy(gone).to(prediction.device), 0)


PreviousTransform = Reshaping | Removal


def draw_previous(
    rng: np.random.Generator, policy: Policy, labels: int, patch_size: Sequence[int]
) -> tuple[PreviousTransform, ...]:
    """Draw the faults of one prediction, in order; nothing is drawn where there are no labels."""
    if not labels:
        return ()
    drawn = (
        Reshaping.draw(rng, policy, labels, patch_size),
        Removal.draw(rng, policy, labels),
    )
    return tuple(transform for transform in drawn if transform is not None)


def reshaped(mask: Tensor, operation: Operation, radius: float) -> Tensor:
    """Dilate, erode, close or open a mask with a ball.

    Parameters
    ----------
    mask : (*spatial) bool tensor
        What lies outside of it takes no part: it neither grows inward nor erodes the border.
    operation : Operation
        What to do.
    radius : float
        Radius of the ball, voxels.
    """
    if operation == "dilate":
        return _near(mask, radius)
    if operation == "erode":
        return ~_near(~mask, radius)
    if operation == "close":
        return ~_near(~_near(mask, radius), radius)
    return _near(~_near(~mask, radius), radius)


def _near(mask: Tensor, radius: float) -> Tensor:
    """Tell which voxels lie within a distance of the mask, axis by axis.

    The squared distance is the least sum of squares over the axes, so one axis after the other may
    take its minimum; a few shifts per axis suffice for a small radius, on any device.
    """
    reach = floor(radius)
    squared = torch.where(mask, 0.0, radius**2 + 1.0)
    for axis, size in enumerate(mask.shape):
        nearest = squared.clone()
        for step in range(1, min(reach, size - 1) + 1):
            earlier, later = _shifted(squared, axis, step)
            for there, here in ((earlier, later), (later, earlier)):
                part = nearest[here]
                torch.minimum(part, squared[there] + step**2, out=part)
        squared = nearest
    return squared <= radius**2


def _shifted(array: Tensor, axis: int, step: int) -> tuple[Sequence[slice], Sequence[slice]]:
    """Return indices of all but the last, and of all but the first, ``step`` voxels of an axis."""
    size = array.shape[axis]
    before = [slice(None)] * axis
    return (*before, slice(0, size - step)), (*before, slice(step, size))
