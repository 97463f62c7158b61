"""Changes of intensity in a part of the patch: blank boxes, bumps of brightness, local gamma."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Self

import numpy as np
from torch import Tensor

from autoseg.training.augmentation.intensity import bend, extremes, per_channel
from autoseg.training.augmentation.parts import change_channels, column, on_device
from autoseg.training.augmentation.policy import Policy

_SMALL = 1e-7
"""Below this a range counts as zero."""

Box = tuple[tuple[int, int], ...]
"""First voxel and the one behind the last, for each axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rectangles:
    """Boxes filled with their mean."""

    boxes: tuple[tuple[Box, ...] | None, ...]
    """Boxes per channel, in order; None leaves a channel alone."""

    @classmethod
    def draw(
        cls, rng: np.random.Generator, policy: Policy, patch_size: Sequence[int], channels: int
    ) -> Self | None:
        """Draw which channels get boxes, and how many, where and how large."""
        if rng.random() >= policy.rectangles:
            return None
        low, high = policy.rectangles_count_range

        def boxes() -> tuple[Box, ...]:
            count = int(rng.integers(low, high + 1))
            return tuple(_draw_box(rng, policy, patch_size) for _ in range(count))

        return cls(boxes=per_channel(rng, policy.rectangles_channel, channels, boxes))

    @classmethod
    def apply(cls, images: Tensor, drawn: Sequence[Self]) -> Tensor:
        """Fill one box after the other; they are too small to gain from being filled together."""
        return change_channels(images, [one.boxes for one in drawn], _fill)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bump:
    """A Gaussian, wider than a part of the patch; 0 at its lowest voxel and 1 at its highest."""

    centers: tuple[float, ...]
    """Place of its top along each axis, voxels; it may lie outside of the patch."""
    widths: tuple[float, ...]
    """Standard deviation along each axis, voxels."""

    @classmethod
    def draw(cls, rng: np.random.Generator, policy: Policy, patch_size: Sequence[int]) -> Self:
        """Draw a center up to half a patch outside, and widths."""
        low, high = policy.bump_width_range
        return cls(
            centers=tuple(rng.uniform(-0.5, 1.5) * size for size in patch_size),
            widths=tuple(exp(rng.uniform(log(low), log(high))) * size for size in patch_size),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gradient:
    """Bumps of brightness."""

    bumps: tuple[tuple[Bump, float] | None, ...]
    """Per channel a bump and its height in units of the normalized image, or None."""

    @classmethod
    def draw(
        cls, rng: np.random.Generator, policy: Policy, patch_size: Sequence[int], channels: int
    ) -> Self | None:
        """Draw which channels get a bump, and which."""
        if rng.random() >= policy.gradient:
            return None

        def height() -> float:
            sign = 1.0 if rng.random() < 0.5 else -1.0
            return sign * rng.uniform(*policy.gradient_range)

        draw = _with_bump(rng, policy, patch_size, height)
        return cls(bumps=per_channel(rng, policy.gradient_channel, channels, draw))

    @classmethod
    def apply(cls, images: Tensor, drawn: Sequence[Self]) -> Tensor:
        """Add its bump to each channel."""
        return change_channels(images, [one.bumps for one in drawn], _add_bumps)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalGamma:
    """Gamma curves over the range of a channel that take full effect at the top of a bump only."""

    bumps: tuple[tuple[Bump, float] | None, ...]
    """Per channel a bump and the exponent, or None."""

    @classmethod
    def draw(
        cls, rng: np.random.Generator, policy: Policy, patch_size: Sequence[int], channels: int
    ) -> Self | None:
        """Draw which channels are changed, where and how."""
        if rng.random() >= policy.local_gamma:
            return None

        def exponent() -> float:
            low, high = policy.local_gamma_low_range, policy.local_gamma_high_range
            return rng.uniform(*(low if rng.random() < 0.5 else high))

        draw = _with_bump(rng, policy, patch_size, exponent)
        return cls(bumps=per_channel(rng, policy.local_gamma_channel, channels, draw))

    @classmethod
    def apply(cls, images: Tensor, drawn: Sequence[Self]) -> Tensor:
        """Blend each channel with its bent copy; the bump is the share of the copy."""
        return change_channels(images, [one.bumps for one in drawn], _bend_locally)


def _with_bump(
    rng: np.random.Generator,
    policy: Policy,
    patch_size: Sequence[int],
    number: Callable[[], float],
) -> Callable[[], tuple[Bump, float]]:
    return lambda: (Bump.draw(rng, policy, patch_size), number())


def _draw_box(rng: np.random.Generator, policy: Policy, patch_size: Sequence[int]) -> Box:
    box = []
    for size in patch_size:
        # The small number keeps a tenth of 10 from being counted as less than 1.
        low, high = (int(part * size + 1e-9) for part in policy.rectangles_edge_range)
        low = min(size, max(1, low))
        edge = int(rng.integers(low, max(low + 1, high)))
        first = int(rng.integers(size - edge + 1))
        box.append((first, first + edge))
    return tuple(box)


def _fill(rows: Tensor, boxes: Sequence[Sequence[Box]]) -> Tensor:
    for row, of_row in zip(rows, boxes, strict=True):
        for box in of_row:
            part = row[tuple(slice(*edges) for edges in box)]
            part.copy_(part.mean().expand_as(part))
    return rows


def _add_bumps(rows: Tensor, bumps: Sequence[tuple[Bump, float]]) -> Tensor:
    heights = column([height for _, height in bumps], rows)
    return rows.add_(_bumps(rows, [bump for bump, _ in bumps]).mul_(heights))


def _bend_locally(rows: Tensor, bumps: Sequence[tuple[Bump, float]]) -> Tensor:
    low, high = extremes(rows)
    extent = (high - low).clamp_min_(_SMALL)
    rows.sub_(low).div_(extent)
    bent = bend(rows.clone(), [exponent for _, exponent in bumps])
    rows.lerp_(bent, _bumps(rows, [bump for bump, _ in bumps]))
    return rows.mul_(extent).add_(low)


def _bumps(rows: Tensor, bumps: Sequence[Bump]) -> Tensor:
    """Return (R, *spatial) bumps as products of one profile per axis, which the host computes."""
    sizes = rows.shape[1:]
    profiles = [
        np.stack([_profile(bump.centers[axis], bump.widths[axis], size) for bump in bumps])
        for axis, size in enumerate(sizes)
    ]
    least = np.prod([profile.min(axis=1) for profile in profiles], axis=0)
    extent = np.where(1 - least > _SMALL, 1 - least, np.inf)  # a flat bump is 0
    profiles[0] /= extent[:, None]
    product = column([1.0] * len(bumps), rows)
    for axis, profile in enumerate(profiles):
        shape = [size if other == axis else 1 for other, size in enumerate(sizes)]
        product = product * on_device(profile, rows.device).view(-1, *shape)
    return product.sub_(column(least / extent, rows))


def _profile(
    center: float, width: float, size: int
) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Return a Gaussian whose largest voxel is 1."""
    exponents = -0.5 * ((np.arange(size) - center) / width) ** 2
    profile: np.ndarray[tuple[int], np.dtype[np.float64]] = np.exp(exponents - exponents.max())
    return profile
