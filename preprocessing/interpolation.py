"""One axis on another grid over the same extent: which voxels each new one is made of, by how much.

Voxel ``i`` of ``n_out`` lies at ``(i + 0.5) * n_in / n_out - 0.5`` of the ``n_in`` old ones; beyond
the edge the outermost voxel repeats. That is skimage's ``resize`` with ``mode="edge"``, and scipy's
``zoom`` with ``mode="nearest"`` and ``grid_mode=True``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]

ANTI_ALIASING_FACTOR: Final = 2.0
"""An axis is smoothed where its voxels become fewer by a larger factor. Our choice: beyond it some
voxels lie more than one away from every sample and hardly count, up to it all do, and the Gaussian
of skimage, which smooths from 1 on, is at most half a voxel wide."""
ANTI_ALIASING_TRUNCATE: Final = 4.0
"""Where the Gaussian ends, in standard deviations: scipy's default, which skimage takes."""
CUT: Final = 1e-7
"""Weights up to this are left out. The response of a cubic spline falls by a factor of 3.7 per
voxel, so all that is left out of one new voxel weighs less than 1e-6 together."""
UNIT_VECTORS: Final = 512
"""Columns of the matrix that are made at a time."""
BAND_VOXELS: Final = 32
"""New voxels that are made at a time. Measured on 100x384x384 to 125x300x300 on one core: 70 ms by
16 and by 32, 78 ms by 64, 207 ms by all at once, which multiplies mostly zeros."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Some neighboring new voxels of an axis and all old ones that they are made of."""

    new: slice
    """The new voxels."""
    old: slice
    """The old ones."""
    weights: Floats
    """(new, old) matrix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbors:
    """The two old voxels on either side of each new one, and their weights."""

    low: Indices
    """(n_out,) the old voxel before."""
    high: Indices
    """(n_out,) the old voxel behind; the same one at the edge."""
    low_weight: npt.NDArray[np.float64]
    """(n_out,) weights from 0 to 1."""
    high_weight: npt.NDArray[np.float64]
    """(n_out,) what is left to 1."""
    nearest: Indices
    """(n_out,) the one of the two whose center is nearest, ties to the higher."""


@lru_cache(maxsize=128)
def axis_bands(
    n_in: int, n_out: int, order: int, *, anti_aliasing: bool = False
) -> tuple[Band, ...]:
    """Return the matrix (n_out, n_in) that resamples one axis, as the bands around its diagonal.

    Parameters
    ----------
    n_in, n_out : int
        Voxels before and after, at least 1.
    order : int
        Spline order, 0 to 5.
    anti_aliasing : bool
        Whether an axis that shrinks by more than `ANTI_ALIASING_FACTOR` is smoothed before.

    Notes
    -----
    Spline interpolation, its prefilter and edge rule included, is linear: the columns are scipy's
    own response to unit vectors. They are made some at a time, lest a long axis fill the memory.
    """
    parts: list[list[tuple[int, Floats]]] = [[] for _ in range(0, n_out, BAND_VOXELS)]
    for start in range(0, n_in, UNIT_VECTORS):
        columns = range(start, min(start + UNIT_VECTORS, n_in))
        response = _response(n_in, n_out, order, columns, anti_aliasing=anti_aliasing)
        for index, part in enumerate(parts):
            rows = response[index * BAND_VOXELS : (index + 1) * BAND_VOXELS]
            used = np.flatnonzero((np.abs(rows) > CUT).any(axis=0))
            if used.size:
                part.append((start + int(used[0]), rows[:, used[0] : used[-1] + 1]))
    return tuple(_band(index * BAND_VOXELS, part) for index, part in enumerate(parts))


def _response(n_in: int, n_out: int, order: int, columns: range, *, anti_aliasing: bool) -> Floats:
    """Return what becomes of an axis with a 1 at each of some voxels: (n_out, columns)."""
    from scipy.ndimage import gaussian_filter1d, zoom

    units = np.zeros((n_in, len(columns)))
    units[columns, range(len(columns))] = 1
    if anti_aliasing and (sigma := smoothing(n_in, n_out)):
        units = gaussian_filter1d(
            units, sigma, axis=0, mode="nearest", truncate=ANTI_ALIASING_TRUNCATE
        )
    # The second axis is kept: the prefilter along it is undone to the last but one bit.
    response = zoom(units, (n_out / n_in, 1), order=order, mode="nearest", grid_mode=True)
    narrow: Floats = response.astype(np.float32)
    return narrow


def _band(start: int, parts: Sequence[tuple[int, Floats]]) -> Band:
    """Join what the columns of one band are from left to right."""
    first = parts[0][0]
    last = parts[-1][0] + parts[-1][1].shape[1]
    weights = np.zeros((len(parts[0][1]), last - first), np.float32)
    for column, values in parts:
        weights[:, column - first : column - first + values.shape[1]] = values
    return Band(new=slice(start, start + len(weights)), old=slice(first, last), weights=weights)


def smoothing(n_in: int, n_out: int) -> float:
    """Return the standard deviation that anti-aliasing smooths an axis by, old voxels; or 0."""
    # Half a voxel of the output is rounding: sizes of one dataset shall not differ by parity.
    if n_in <= ANTI_ALIASING_FACTOR * (n_out + 0.5):
        return 0.0
    return (n_in / n_out - 1) / 2


def nearest_indices(n_in: int, n_out: int) -> Indices:
    """Return for each new voxel the old one whose center is nearest, ties to the higher."""
    return np.floor(_positions(n_in, n_out) + 0.5).astype(np.intp)


def linear_neighbors(n_in: int, n_out: int) -> Neighbors:
    """Return what linear interpolation makes each new voxel of."""
    positions = _positions(n_in, n_out)
    low = np.floor(positions)
    beyond = positions - low
    return Neighbors(
        low=low.astype(np.intp),
        high=np.minimum(low + 1, n_in - 1).astype(np.intp),
        low_weight=1 - beyond,
        high_weight=beyond,
        nearest=nearest_indices(n_in, n_out),
    )


def _positions(n_in: int, n_out: int) -> npt.NDArray[np.float64]:
    """Return where the new voxels lie among the old ones, as scipy computes it, to the last bit."""
    positions = (np.arange(n_out) + 0.5) * (n_in / n_out) - 0.5
    return positions.clip(0, n_in - 1)


def nearest_neighbors(old: Indices) -> Neighbors:
    """Return neighbors that are one given old voxel for each new one."""
    ones = np.ones(len(old))
    return Neighbors(low=old, high=old, low_weight=ones, high_weight=0 * ones, nearest=old)
