"""Intensities made comparable between cases, by the scheme that the plan chose for each channel.

The formulas are nnU-Net's (Isensee et al. 2021, doi:10.1038/s41592-020-01008-z, online methods).
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from autoseg.core.errors import VoxelError
from autoseg.core.plan import Normalization

Floats = npt.NDArray[np.float32]

EPSILON: Final = 1e-8
"""Smallest divisor, so that a constant image becomes 0 instead of NaN."""


def normalize(
    image: Floats,
    nonzero: npt.NDArray[np.bool_],
    schemes: Sequence[Normalization],
    *,
    where: str = "image",
) -> Floats:
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
    normalized = np.empty_like(image, dtype=np.float32)
    for channel, scheme in enumerate(schemes):
        if scheme.scheme == "rgb_to_0_1":
            _check_rgb(image[channel], f"{where}: channel {channel}")
        normalized[channel] = _SCHEMES[scheme.scheme](image[channel], nonzero, scheme)
    return normalized


def _check_rgb(x: Floats, where: str) -> None:
    if x.min() < 0 or x.max() > 255:
        raise VoxelError(
            f"{where} holds values from {x.min():g} to {x.max():g}; allowed in a channel called "
            "rgb_to_0_1 are 0 to 255",
            rule="E-VAL-41",
            hint="call the channel otherwise in dataset.json: any other name takes what there is",
        )


def _zscore(x: Floats, nonzero: npt.NDArray[np.bool_], scheme: Normalization) -> Floats:
    inside = x[nonzero] if scheme.inside_nonzero_only else x
    mean, std = float(inside.mean(dtype=np.float64)), float(inside.std(dtype=np.float64))
    scaled: Floats = ((x - np.float32(mean)) / np.float32(max(std, EPSILON))).astype(np.float32)
    return np.where(nonzero, scaled, x) if scheme.inside_nonzero_only else scaled


def _ct(x: Floats, _: npt.NDArray[np.bool_], scheme: Normalization) -> Floats:
    s = scheme.statistics
    clipped: Floats = np.clip(x, np.float32(s.percentile_00_5), np.float32(s.percentile_99_5))
    scaled: Floats = (clipped - np.float32(s.mean)) / np.float32(max(s.std, EPSILON))
    return scaled


def _rescale(x: Floats, _: npt.NDArray[np.bool_], __: Normalization) -> Floats:
    low, high = x.min(), x.max()
    scaled: Floats = (x - low) / np.maximum(high - low, np.float32(EPSILON))
    return scaled


def _rgb(x: Floats, _: npt.NDArray[np.bool_], __: Normalization) -> Floats:
    return x / np.float32(255)


def _unchanged(x: Floats, _: npt.NDArray[np.bool_], __: Normalization) -> Floats:
    return x


_SCHEMES: Final[dict[str, Callable[[Floats, npt.NDArray[np.bool_], Normalization], Floats]]] = {
    "zscore": _zscore,
    "ct": _ct,
    "rescale_to_0_1": _rescale,
    "rgb_to_0_1": _rgb,
    "none": _unchanged,
}
