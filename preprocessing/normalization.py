"""Intensities made comparable between cases, by the scheme that the plan chose for each channel.

The formulas are nnU-Net's (Isensee et al. 2021, doi:10.1038/s41592-020-01008-z, online methods).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from autoseg.core.errors import VoxelError
from autoseg.core.plan import Normalization

Floats = npt.NDArray[np.float32]

EPSILON: Final = 1e-8
"""Smallest divisor, so that a constant image becomes 0 instead of NaN."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelScaling:
    """How one channel becomes comparable: clip, subtract, divide."""

    low: float | None = None
    """Smaller intensities become this one; None where nothing is clipped."""
    high: float | None = None
    """Larger intensities become this one."""
    shift: float = 0.0
    """What is subtracted."""
    divisor: float = 1.0
    """What the rest is divided by, positive."""
    inside_only: bool = False
    """Whether voxels outside the nonzero mask stay as they are."""


def normalize(
    image: Floats,
    nonzero: npt.NDArray[np.bool_],
    schemes: Sequence[Normalization],
    *,
    where: str = "image",
) -> tuple[Floats, tuple[ChannelScaling, ...]]:
    """Normalize every channel by its scheme.

    Parameters
    ----------
    image : (C, *spatial) array of float32
        Raw intensities, e.g. HU; left unchanged.
    nonzero : (*spatial) array of bool
        Voxels inside the imaged body.
    schemes : sequence of Normalization
        One per channel.
    where : str
        Names the image in errors.

    Returns
    -------
    (C, *spatial) array of float32
        C-contiguous.
    tuple of ChannelScaling
        What was done to each channel.

    Raises
    ------
    VoxelError
        E-VAL-41 if ``rgb_to_0_1`` meets values outside 0 to 255.

    Notes
    -----
    ``zscore``: (x - mean) / std of the image, or of its nonzero voxels, all others staying as
    they are. ``ct``: clip to the dataset's 0.5th and 99.5th foreground percentiles, subtract the
    foreground mean, divide by its standard deviation. ``rescale_to_0_1``: by the image's minimum
    and maximum. ``rgb_to_0_1``: divide by 255. ``none``: unchanged.
    """
    normalized = np.empty(image.shape, np.float32)
    scalings = []
    for channel, scheme in enumerate(schemes):
        if scheme.scheme == "rgb_to_0_1":
            _check_rgb(image[channel], f"{where}: channel {channel}")
        scaling = _SCHEMES[scheme.scheme](image[channel], nonzero, scheme)
        # Slice by slice, lest every operation fetch the image from memory.
        for raw, inside, result in zip(image[channel], nonzero, normalized[channel], strict=True):
            _apply(scaling, raw, inside, result)
        scalings.append(scaling)
    return normalized, tuple(scalings)


def _apply(
    scaling: ChannelScaling, raw: Floats, inside: npt.NDArray[np.bool_], result: Floats
) -> None:
    if scaling.low is None:
        np.subtract(raw, np.float32(scaling.shift), out=result)
    else:
        np.clip(raw, np.float32(scaling.low), np.float32(scaling.high), out=result)
        result -= np.float32(scaling.shift)
    result /= np.float32(scaling.divisor)
    if scaling.inside_only:
        np.copyto(result, raw, where=~inside)


def _check_rgb(x: Floats, where: str) -> None:
    if x.min() < 0 or x.max() > 255:
        raise VoxelError(
            f"{where} holds values from {x.min():g} to {x.max():g}; allowed in a channel called "
            "rgb_to_0_1 are 0 to 255",
            rule="E-VAL-41",
            hint="call the channel otherwise in dataset.json: any other name takes what there is",
        )


def _zscore(x: Floats, nonzero: npt.NDArray[np.bool_], scheme: Normalization) -> ChannelScaling:
    inside_only = scheme.inside_nonzero_only
    count = int(np.count_nonzero(nonzero)) if inside_only else x.size

    def average(of: Callable[[Floats], npt.NDArray[np.floating]]) -> float:
        parts = (
            raw[inside] if inside_only else raw for raw, inside in zip(x, nonzero, strict=True)
        )
        return float(sum(of(part).sum(dtype=np.float64) for part in parts)) / count

    mean = average(lambda part: part)
    variance = average(lambda part: np.square(np.subtract(part, mean, dtype=np.float64)))
    return ChannelScaling(shift=mean, divisor=max(variance**0.5, EPSILON), inside_only=inside_only)


def _ct(_: Floats, __: npt.NDArray[np.bool_], scheme: Normalization) -> ChannelScaling:
    s = scheme.statistics
    return ChannelScaling(
        low=s.percentile_00_5,
        high=s.percentile_99_5,
        shift=s.mean,
        divisor=max(s.std, EPSILON),
    )


def _rescale(x: Floats, _: npt.NDArray[np.bool_], __: Normalization) -> ChannelScaling:
    low, high = float(x.min()), float(x.max())
    return ChannelScaling(shift=low, divisor=max(high - low, EPSILON))


def _rgb(_: Floats, __: npt.NDArray[np.bool_], ___: Normalization) -> ChannelScaling:
    return ChannelScaling(divisor=255.0)


def _unchanged(_: Floats, __: npt.NDArray[np.bool_], ___: Normalization) -> ChannelScaling:
    return ChannelScaling()


_SCHEMES: Final[
    dict[str, Callable[[Floats, npt.NDArray[np.bool_], Normalization], ChannelScaling]]
] = {
    "zscore": _zscore,
    "ct": _ct,
    "rescale_to_0_1": _rescale,
    "rgb_to_0_1": _rgb,
    "none": _unchanged,
}
