"""Changes of intensity: noise, blur, brightness, contrast, coarser grids and gamma curves.

Each class holds what was drawn for one sample: ``draw`` takes it from a policy and returns None
where the sample is left alone, ``apply`` maps a (C, *spatial) float32 tensor to one of the same
shape and leaves its argument as it is. Labels are never touched.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp
from typing import Final, Protocol, Self

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its customary name
from torch import Tensor

from autoseg.training.augmentation.policy import Policy, is_in_plane

_SMALL = 1e-7
"""Below this a range or a standard deviation counts as zero."""


class IntensityTransform(Protocol):
    """What every drawn change of intensity can do."""

    def apply(self, image: Tensor) -> Tensor:
        """Return the changed (C, *spatial) image."""
        ...


Draw = Callable[[np.random.Generator, Policy, Sequence[int], int], IntensityTransform | None]
"""Generator, policy, patch size and channels -> the drawn change, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Gaussian noise, independent in every voxel and channel."""

    std: float
    """Standard deviation, in units of the normalized image."""
    seed: int
    """Seed of the noise field, 63 bits; the field depends on the kind of device too."""

    @classmethod
    def draw(
        cls, rng: np.random.Generator, policy: Policy, patch_size: Sequence[int], channels: int
    ) -> Self | None:
        """Draw one strength for all channels."""
        if rng.random() >= policy.noise:
            return None
        return cls(std=rng.uniform(*policy.noise_std_range), seed=int(rng.integers(2**63)))

    def apply(self, image: Tensor) -> Tensor:
        """Add the noise field that the seed stands for."""
        generator = torch.Generator(image.device).manual_seed(self.seed)
        field = torch.randn(
            image.shape, generator=generator, device=image.device, dtype=image.dtype
        )
        return field.mul_(self.std).add_(image)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blur:
    """Gaussian blur."""

    sigmas: tuple[tuple[float, ...] | None, ...]
    """Per channel the standard deviation along each axis, voxels; None leaves a channel alone."""

    @classmethod
    def draw(
        cls, rng: np.random.Generator, policy: Policy, patch_size: Sequence[int], channels: int
    ) -> Self | None:
        """Draw which channels are blurred, and how far along each axis."""
        if rng.random() >= policy.blur:
            return None
        low, high = policy.blur_sigma_range
        return cls(
            sigmas=tuple(
                tuple(rng.uniform(low, high, len(patch_size)).tolist())
                if rng.random() < policy.blur_channel
                else None
                for _ in range(channels)
            )
        )

    def apply(self, image: Tensor) -> Tensor:
        """Convolve along one axis after the other, mirroring at the borders."""
        blurred = list(image)
        for channel, sigmas in enumerate(self.sigmas):
            for axis, sigma in enumerate(sigmas or ()):
                blurred[channel] = _blur_axis(blurred[channel], axis, sigma)
        return torch.stack(blurred)


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
        return cls(factors=_split(rng, policy.brightness_range, channels))

    def apply(self, image: Tensor) -> Tensor:
        """Multiply each channel by its factor."""
        return image * _per_channel(self.factors, image)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """Stretching of the intensities around their mean, within their former range."""

    factors: tuple[float, ...]
    """Factor per channel."""

    @classmethod
    def draw(
        cls, rng: np.random.Generator, policy: Policy, patch_size: Sequence[int], channels: int
    ) -> Self | None:
        """Draw one factor per channel."""
        if rng.random() >= policy.contrast:
            return None
        return cls(factors=_split(rng, policy.contrast_range, channels))

    def apply(self, image: Tensor) -> Tensor:
        """Stretch each channel around its mean and clamp it to its former extremes."""
        axes = _spatial(image)
        mean = image.mean(axes, keepdim=True)
        stretched = (image - mean).mul_(_per_channel(self.factors, image)).add_(mean)
        return stretched.clamp_(image.amin(axes, keepdim=True), image.amax(axes, keepdim=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class LowResolution:
    """The look of an image that was recorded on a coarser grid."""

    factors: tuple[float | None, ...]
    """Per channel the voxels per axis kept, as a fraction; None leaves a channel alone."""
    in_plane: bool
    """Whether the first axis keeps its voxels."""

    @classmethod
    def draw(
        cls, rng: np.random.Generator, policy: Policy, patch_size: Sequence[int], channels: int
    ) -> Self | None:
        """Draw which channels are coarsened, and how far."""
        if rng.random() >= policy.low_resolution:
            return None
        return cls(
            factors=tuple(
                rng.uniform(*policy.low_resolution_range)
                if rng.random() < policy.low_resolution_channel
                else None
                for _ in range(channels)
            ),
            in_plane=is_in_plane(patch_size),
        )

    def apply(self, image: Tensor) -> Tensor:
        """Pick the nearest voxels of a coarser grid and interpolate back linearly."""
        coarsened = [
            channel if factor is None else self._coarsen(channel, factor)
            for channel, factor in zip(image, self.factors, strict=True)
        ]
        return torch.stack(coarsened)

    def _coarsen(self, channel: Tensor, factor: float) -> Tensor:
        shape = list(channel.shape)
        coarse = [max(1, round(size * factor)) for size in shape]
        if self.in_plane:
            coarse[0] = shape[0]
        picked = F.interpolate(channel[None, None], size=coarse, mode="nearest-exact")
        mode = "bilinear" if len(shape) == 2 else "trilinear"
        return F.interpolate(picked, size=shape, mode=mode, align_corners=False)[0, 0]


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
        return cls(exponents=_split(rng, policy.gamma_range, channels), inverted=False)

    @classmethod
    def draw_inverted(
        cls, rng: np.random.Generator, policy: Policy, patch_size: Sequence[int], channels: int
    ) -> Self | None:
        """Draw one exponent per channel for the negated image."""
        if rng.random() >= policy.inverted_gamma:
            return None
        return cls(exponents=_split(rng, policy.gamma_range, channels), inverted=True)

    def apply(self, image: Tensor) -> Tensor:
        """Bend each channel's intensities, then restore its mean and standard deviation."""
        source = -image if self.inverted else image
        axes = _spatial(source)
        low = source.amin(axes, keepdim=True)
        extent = (source.amax(axes, keepdim=True) - low).clamp_min_(_SMALL)
        bent = ((source - low) / extent) ** _per_channel(self.exponents, source)
        std, mean = torch.std_mean(source, axes, correction=0, keepdim=True)
        bent_std, bent_mean = torch.std_mean(bent, axes, correction=0, keepdim=True)
        # The scale of the range drops out: whatever it is, mean and spread are set afterwards.
        restored = (bent - bent_mean) * (std / bent_std.clamp_min(_SMALL)) + mean
        return -restored if self.inverted else restored


DRAWS: Final[tuple[Draw, ...]] = (
    Noise.draw,
    Blur.draw,
    Brightness.draw,
    Contrast.draw,
    LowResolution.draw,
    Gamma.draw_inverted,
    Gamma.draw,
)
"""Draws of every change of intensity, in the order in which they are applied."""


def _split(
    rng: np.random.Generator, limits: tuple[float, float], channels: int
) -> tuple[float, ...]:
    """Draw per channel below or above 1 with equal probability, uniformly on either side."""
    low, high = limits
    return tuple(
        rng.uniform(low, 1.0) if rng.random() < 0.5 else rng.uniform(1.0, high)
        for _ in range(channels)
    )


def _spatial(image: Tensor) -> tuple[int, ...]:
    return tuple(range(1, image.ndim))


def _per_channel(values: Sequence[float], image: Tensor) -> Tensor:
    """Values as a (C, 1, ...) tensor beside the image."""
    column = torch.tensor(values, dtype=image.dtype, device=image.device)
    return column.reshape(-1, *(1,) * (image.ndim - 1))


def _blur_axis(channel: Tensor, axis: int, sigma: float) -> Tensor:
    """Convolve with a Gaussian cut at 3 sigma.

    Shifted copies are added up instead of calling a convolution: the same code serves every axis
    and dimension, and no device computes it in reduced precision.
    """
    radius = int(3.0 * sigma + 0.5)
    size = channel.shape[axis]
    weights = [exp(-0.5 * (offset / sigma) ** 2) for offset in range(radius + 1)]
    total = weights[0] + 2 * sum(weights[1:])
    padded = channel.index_select(axis, _padded_index(size, radius, channel.device))
    blurred = channel * (weights[0] / total)
    for offset in range(1, radius + 1):
        pair = padded.narrow(axis, radius - offset, size) + padded.narrow(
            axis, radius + offset, size
        )
        blurred.add_(pair, alpha=weights[offset] / total)
    return blurred


def _padded_index(size: int, radius: int, device: torch.device) -> Tensor:
    """Voxels of an axis padded by ``radius``: mirrored without the border, or else repeated."""
    index = torch.arange(-radius, size + radius, device=device)
    if radius >= size:
        return index.clamp_(0, size - 1)
    last = size - 1
    return last - (last - index.abs()).abs()
