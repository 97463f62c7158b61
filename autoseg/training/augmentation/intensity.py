"""Changes of intensity, voxel by voxel: noise, brightness, shifts, contrast and gamma curves.

Each class holds what was drawn for one sample: ``draw`` takes it from a policy and returns None
where the sample is left alone; ``apply`` changes a batch of samples that all drew this kind, and
may do so in place. Labels are never touched.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Protocol, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from autoseg.training.augmentation.parts import change_channels, column
from autoseg.training.augmentation.policy import Policy

V = TypeVar("V")

_SMALL = 1e-7
"""Below this a range or a standard deviation counts as zero."""


class IntensityTransform(Protocol):
    """What every drawn change of intensity can do."""

    @classmethod
    def apply(cls, images: Tensor, drawn: Sequence[Self]) -> Tensor:
        """Return the changed (N, C, *spatial) images, for each of which one of this kind is drawn.

        The images are contiguous float32 and may be changed in place.
        """
        ...


Draw = Callable[[np.random.Generator, Policy, Sequence[int], int], IntensityTransform | None]
"""Generator, policy, patch size and channels -> the drawn change, or None."""


def per_channel(
    rng: np.random.Generator, probability: float, channels: int, draw: Callable[[], V]
) -> tuple[V | None, ...]:
    """Draw for each channel with a probability, else None."""
    return tuple(draw() if rng.random() < probability else None for _ in range(channels))


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Gaussian noise, independent in every voxel and channel."""

    std: float
    """Standard deviation, in units of the normalized image."""
    seed: int
    """Seed of the noise field, 63 bits; the field depends on the kind of device too."""

    @classmethod
    def draw_first(
        cls, rng: np.random.Generator, policy: Policy, patch_size: Sequence[int], channels: int
    ) -> Self | None:
        """Draw one strength for all channels, if noise comes before smoothing."""
        return cls._draw(rng, policy) if policy.noise_first else None

    @classmethod
    def draw_later(
        cls, rng: np.random.Generator, policy: Policy, patch_size: Sequence[int], channels: int
    ) -> Self | None:
        """Draw one strength for all channels, if noise comes after smoothing."""
        return None if policy.noise_first else cls._draw(rng, policy)

    @classmethod
    def _draw(cls, rng: np.random.Generator, policy: Policy) -> Self | None:
        if rng.random() >= policy.noise:
            return None
        return cls(std=rng.uniform(*policy.noise_std_range), seed=int(rng.integers(2**63)))

    @classmethod
    def apply(cls, images: Tensor, drawn: Sequence[Self]) -> Tensor:
        """Add to each sample the noise field that its seed stands for, whatever the batch."""
        for image, noise in zip(images, drawn, strict=True):
            generator = torch.Generator(image.device).manual_seed(noise.seed)
            field = torch.randn(
                image.shape, generator=generator, device=image.device, dtype=image.dtype
            )
            image.add_(field, alpha=noise.std)
        return images


@dataclass(frozen=True, slots=True, kw_only=True)
class Brightness:
    """Multiplication of the intensities."""

    factors: tuple[float, ...]
    """Factor per channel."""

    @classmethod
    def draw(
        cls, rng: np.random.Generator, policy: Policy, patch_size: Sequence[int], channels: int
    ) -> Self | None:
        """Draw one factor per channel."""
        if rng.random() >= policy.brightness:
            return None
        return cls(factors=tuple(split(rng, policy.brightness_range) for _ in range(channels)))

    @classmethod
    def apply(cls, images: Tensor, drawn: Sequence[Self]) -> Tensor:
        """Multiply each channel by its factor."""
        return change_channels(
            images, [one.factors for one in drawn], lambda rows, by: rows.mul_(column(by, rows))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """Addition of a number to the intensities."""

    offsets: tuple[float | None, ...]
    """Number per channel, in units of the normalized image; None leaves a channel alone."""

    @classmethod
    def draw(
        cls, rng: np.random.Generator, policy: Policy, patch_size: Sequence[int], channels: int
    ) -> Self | None:
        """Draw which channels are shifted, and by how much."""
        if rng.random() >= policy.shift:
            return None
        return cls(
            offsets=per_channel(
                rng, policy.shift_channel, channels, lambda: rng.normal(0.0, policy.shift_std)
            )
        )

    @classmethod
    def apply(cls, images: Tensor, drawn: Sequence[Self]) -> Tensor:
        """Add its number to each channel."""
        return change_channels(
            images, [one.offsets for one in drawn], lambda rows, by: rows.add_(column(by, rows))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """Stretching of the intensities around their mean."""

    factors: tuple[float | None, ...]
    """Factor per channel; None leaves a channel alone."""
    clamped: bool
    """Whether the intensities stay within their former range."""

    @classmethod
    def draw(
        cls, rng: np.random.Generator, policy: Policy, patch_size: Sequence[int], channels: int
    ) -> Self | None:
        """Draw which channels are stretched, how far, and whether they are clamped."""
        if rng.random() >= policy.contrast:
            return None
        return cls(
            factors=per_channel(
                rng,
                policy.contrast_channel,
                channels,
                lambda: split(rng, policy.contrast_range),
            ),
            clamped=rng.random() < policy.contrast_clamped,
        )

    @classmethod
    def apply(cls, images: Tensor, drawn: Sequence[Self]) -> Tensor:
        """Stretch each channel around its mean."""
        values = [
            [None if factor is None else (factor, one.clamped) for factor in one.factors]
            for one in drawn
        ]
        return change_channels(images, values, _stretch)


def _stretch(rows: Tensor, values: Sequence[tuple[float, bool]]) -> Tensor:
    low, high = extremes(rows)
    slack = column([0.0 if clamped else inf for _, clamped in values], rows)
    low, high, mean = low - slack, high + slack, _mean(rows)
    rows.sub_(mean).mul_(column([factor for factor, _ in values], rows)).add_(mean)
    return rows.clamp_(low, high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gamma:
    """A gamma curve over the range of each channel, which keeps its mean and spread."""

    exponents: tuple[float, ...]
    """Exponent per channel; above 1 darkens the middle of the range."""
    inverted: bool
    """Whether the curve is applied to the negated image."""

    @classmethod
    def draw(
        cls, rng: np.random.Generator, policy: Policy, patch_size: Sequence[int], channels: int
    ) -> Self | None:
        """Draw one exponent per channel."""
        if rng.random() >= policy.gamma:
            return None
        return cls._draw(rng, policy, channels, inverted=False)

    @classmethod
    def draw_inverted(
        cls, rng: np.random.Generator, policy: Policy, patch_size: Sequence[int], channels: int
    ) -> Self | None:
        """Draw one exponent per channel for the negated image."""
        if rng.random() >= policy.inverted_gamma:
            return None
        return cls._draw(rng, policy, channels, inverted=True)

    @classmethod
    def _draw(
        cls, rng: np.random.Generator, policy: Policy, channels: int, *, inverted: bool
    ) -> Self:
        exponents = tuple(split(rng, policy.gamma_range) for _ in range(channels))
        return cls(exponents=exponents, inverted=inverted)

    @classmethod
    def apply(cls, images: Tensor, drawn: Sequence[Self]) -> Tensor:
        """Bend each channel's intensities, then restore its mean and standard deviation."""
        values = [
            [(exponent, -1.0 if one.inverted else 1.0) for exponent in one.exponents]
            for one in drawn
        ]
        return change_channels(images, values, _bend_and_restore)


def _bend_and_restore(rows: Tensor, values: Sequence[tuple[float, float]]) -> Tensor:
    low, high = extremes(rows)
    sign = column([sign for _, sign in values], rows)
    mean = _mean(rows)
    # The extreme that the curve leaves in place: the lowest of the image or of its negative.
    origin = torch.where(sign > 0, low, high).sub_(mean)
    rows.sub_(mean)
    std = _std_of_centered(rows)
    rows.sub_(origin).mul_(sign / (high - low).clamp_min_(_SMALL))
    bend(rows, [exponent for exponent, _ in values])
    rows.sub_(_mean(rows))
    # The scale of the range drops out: whatever it is, mean and spread are set here.
    factor = sign * std / _std_of_centered(rows).clamp_min_(_SMALL)
    return rows.mul_(factor).add_(mean)


def bend(rows: Tensor, exponents: Sequence[float]) -> Tensor:
    """Raise (R, *spatial) rows from 0 to 1 to powers above 0, in place.

    Exponential and logarithm take half the time of a power, and 0 stays 0.
    """
    return rows.log_().mul_(column(exponents, rows)).exp_()


def extremes(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the least and the largest value of each row, as (R, 1, ...) tensors."""
    flat, shape = rows.flatten(1), (-1, *(1,) * (rows.ndim - 1))
    return flat.amin(1).view(shape), flat.amax(1).view(shape)


def split(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    """Draw below or above 1 with equal probability, uniformly on either side."""
    low, high = limits
    return rng.uniform(low, 1.0) if rng.random() < 0.5 else rng.uniform(1.0, high)


def _mean(rows: Tensor) -> Tensor:
    return rows.flatten(1).mean(1).view(-1, *(1,) * (rows.ndim - 1))


def _std_of_centered(rows: Tensor) -> Tensor:
    """Return the standard deviation of rows of mean 0; several times faster than `torch.std`."""
    slices = torch.linalg.vector_norm(rows.flatten(2), dim=2)  # in parts: fewer digits are lost
    norm: Tensor = torch.linalg.vector_norm(slices, dim=1)
    return norm.view(-1, *(1,) * (rows.ndim - 1)).div_(rows[0].numel() ** 0.5)
