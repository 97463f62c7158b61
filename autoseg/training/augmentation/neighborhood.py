"""Changes of intensity that look at the neighbors: blur, median, coarser grids, sharpening."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from autoseg.training.augmentation.intensity import per_channel
from autoseg.training.augmentation.interpolation import interpolated_along
from autoseg.training.augmentation.parts import (
    change_channels,
    change_places,
    column,
    on_device,
    places_of,
)
from autoseg.training.augmentation.policy import Policy
from autoseg.training.augmentation.rotation import is_in_plane


@dataclass(frozen=True, slots=True, kw_only=True)
class Blur:
    """Gaussian blur."""

    sigmas: tuple[tuple[float, ...] | None, ...]
    """Per channel the standard deviation along each axis, voxels; None leaves a channel alone."""

    @classmethod
    def draw(cls, rng: np.random.Generator, policy: Policy, axes: int, channels: int) -> Self:
        """Draw which channels are blurred, and how far along each axis."""
        count = 1 if policy.blur_together else axes

        def sigma() -> tuple[float, ...]:
            drawn = rng.uniform(*policy.blur_sigma_range, count)
            return tuple(np.broadcast_to(drawn, axes).tolist())

        return cls(sigmas=per_channel(rng, policy.blur_channel, channels, sigma))

    @classmethod
    def apply(cls, images: Tensor, drawn: Sequence[Self]) -> Tensor:
        """Convolve along one axis after the other, mirroring at the borders."""
        return change_channels(images, [one.sigmas for one in drawn], _blur)


@dataclass(frozen=True, slots=True, kw_only=True)
class Median:
    """Median filters along one axis after the other.

    nnU-Net's variant DA5 takes the median of a cube, whose cost grows with the cube of its edge
    and which no device sorts quickly. Medians along the axes in turn keep edges and remove
    outliers too (Narendra 1981, doi:10.1109/TPAMI.1981.4767047).
    """

    sizes: tuple[int | None, ...]
    """Edge per channel, voxels; None leaves a channel alone."""

    @classmethod
    def draw(cls, rng: np.random.Generator, policy: Policy, channels: int) -> Self:
        """Draw which channels are filtered, and how far."""
        low, high = policy.median_size_range
        return cls(
            sizes=per_channel(
                rng, policy.blur_channel, channels, lambda: int(rng.integers(low, high + 1))
            )
        )

    @classmethod
    def apply(cls, images: Tensor, drawn: Sequence[Self]) -> Tensor:
        """Filter the channels of each size together."""
        return change_channels(images, [one.sizes for one in drawn], _take_medians)


def draw_smoothing(
    rng: np.random.Generator, policy: Policy, patch_size: Sequence[int], channels: int
) -> Blur | Median | None:
    """Draw a blur or a median filter, or None if the sample stays sharp."""
    if rng.random() >= policy.blur:
        return None
    if rng.random() < policy.median_fraction:
        return Median.draw(rng, policy, channels)
    return Blur.draw(rng, policy, len(patch_size), channels)


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
            factors=per_channel(
                rng,
                policy.low_resolution_channel,
                channels,
                lambda: rng.uniform(*policy.low_resolution_range),
            ),
            in_plane=is_in_plane(patch_size),
        )

    @classmethod
    def apply(cls, images: Tensor, drawn: Sequence[Self]) -> Tensor:
        """Pick the nearest voxels of a coarser grid and interpolate back linearly."""
        first = 1 if drawn[0].in_plane else 0
        return change_channels(
            images,
            [one.factors for one in drawn],
            lambda rows, factors: _coarsen(rows, factors, range(first, rows.ndim - 1)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharpening:
    """Subtraction of the Laplacian."""

    strengths: tuple[float | None, ...]
    """Share of the Laplacian per channel; None leaves a channel alone."""

    @classmethod
    def draw(
        cls, rng: np.random.Generator, policy: Policy, patch_size: Sequence[int], channels: int
    ) -> Self | None:
        """Draw which channels are sharpened, and how far."""
        if rng.random() >= policy.sharpening:
            return None
        return cls(
            strengths=per_channel(
                rng,
                policy.sharpening_channel,
                channels,
                lambda: rng.uniform(*policy.sharpening_range),
            )
        )

    @classmethod
    def apply(cls, images: Tensor, drawn: Sequence[Self]) -> Tensor:
        """Add to each voxel how far it differs from its neighbors."""
        return change_channels(images, [one.strengths for one in drawn], _sharpen)


def _blur(rows: Tensor, sigmas: Sequence[tuple[float, ...]]) -> Tensor:
    for axis in range(rows.ndim - 1):
        rows = _blur_axis(rows, axis + 1, np.array([sigma[axis] for sigma in sigmas]))
    return rows


def _blur_axis(rows: Tensor, axis: int, sigmas: npt.NDArray[np.float64]) -> Tensor:
    """Convolve each row with its Gaussian, cut at 3 sigma.

    Shifted copies are added up instead of calling a convolution: the same code serves every axis
    and dimension, and no device computes it in reduced precision.
    """
    radii = (3.0 * sigmas + 0.5).astype(int)
    offsets = np.arange(radii.max() + 1)
    weights = np.exp(-0.5 * (offsets / sigmas[:, None]) ** 2) * (offsets <= radii[:, None])
    weights /= weights[:, :1] + 2 * weights[:, 1:].sum(axis=1, keepdims=True)
    widest, size = len(offsets) - 1, rows.shape[axis]
    padded = _mirrored(rows, axis, widest, widest)
    blurred = rows * column(weights[:, 0], rows)
    pair = torch.empty_like(rows)
    for offset in range(1, widest + 1):
        earlier = padded.narrow(axis, widest - offset, size)
        torch.add(earlier, padded.narrow(axis, widest + offset, size), out=pair)
        blurred.add_(pair.mul_(column(weights[:, offset], rows)))
    return blurred


def _mirrored(rows: Tensor, axis: int, before: int, after: int) -> Tensor:
    """Pad an axis with its mirror image, in which the border voxel is not repeated."""
    size = rows.shape[axis]
    period = max(1, 2 * (size - 1))

    def margin(start: int, stop: int) -> Tensor:
        folded = np.arange(start, stop) % period
        index = np.minimum(folded, period - folded) if size > 1 else folded
        return rows.index_select(axis, on_device(index, rows.device, torch.int64))

    return torch.cat([margin(-before, 0), rows, margin(size, size + after)], axis)


def _take_medians(rows: Tensor, sizes: Sequence[int]) -> Tensor:
    for size, places in places_of(sizes).items():
        change_places(rows, places, partial(_median, size=size))
    return rows


def _median(rows: Tensor, size: int) -> Tensor:
    """Take the middle of ``size`` neighbors; of an even number the larger of the middle two."""
    before = size // 2
    for axis in range(1, rows.ndim):
        padded = _mirrored(rows, axis, before, size - 1 - before)
        values = [padded.narrow(axis, step, rows.shape[axis]) for step in range(size)]
        # The largest rises to the end of what is left, as in bubble sort, until the middle has.
        for last in range(size - 1, before - 1, -1):
            for place in range(last):
                lower, upper = values[place], values[place + 1]
                values[place] = torch.minimum(lower, upper)
                values[place + 1] = torch.maximum(lower, upper)
        rows = values[before]
    return rows


def _coarsen(rows: Tensor, factors: Sequence[float], axes: Sequence[int]) -> Tensor:
    for axis in axes:
        tables = [_coarse_table(rows.shape[axis + 1], factor) for factor in factors]
        low, high, share = (np.stack(column) for column in zip(*tables, strict=True))
        rows = interpolated_along(rows, axis, low.astype(np.int64), high.astype(np.int64), share)
    return rows


def _coarse_table(size: int, factor: float) -> tuple[npt.NDArray[np.float64], ...]:
    """Return per voxel the voxels shown by its coarse neighbors, and the share of the second."""
    coarse = max(1, round(size * factor))
    picked = (2 * np.arange(coarse) + 1) * size // (2 * coarse)  # holds the coarse voxel's center
    position = np.maximum((np.arange(size) + 0.5) * coarse / size - 0.5, 0.0)
    low = np.floor(position).astype(int)
    high = np.minimum(low + 1, coarse - 1)
    return picked[low], picked[high], position - low


def _sharpen(rows: Tensor, strengths: Sequence[float]) -> Tensor:
    laplacian = rows * (2.0 * (rows.ndim - 1))
    for axis in range(1, rows.ndim):
        size = rows.shape[axis]
        # Beyond the border its voxels are repeated.
        for here, there in ((0, 0), (size - 1, size - 1)):
            laplacian.narrow(axis, here, 1).sub_(rows.narrow(axis, there, 1))
        laplacian.narrow(axis, 1, size - 1).sub_(rows.narrow(axis, 0, size - 1))
        laplacian.narrow(axis, 0, size - 1).sub_(rows.narrow(axis, 1, size - 1))
    return rows.add_(laplacian.mul_(column(strengths, rows)))
