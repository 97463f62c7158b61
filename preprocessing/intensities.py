"""Foreground intensities: a sketch of each case, and the statistics that all cases pool to.

Every case weighs the same. Sums are rounded once and quantiles are counted, so that equal cases
give the same statistics to the last bit, in whatever order they came; memory is that of the
counters, however many cases there are.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import floor, fsum
from typing import Final

import numpy as np
import numpy.typing as npt

from autoseg.core.fingerprint import RANKS, ChannelMoments, ChannelStatistics

PERCENTILES: Final = (0.5, 50.0, 99.5)
"""Percentiles of the pool, as nnU-Net takes them."""
SLAB_VOXELS: Final = 2**20
"""Voxels that are summed up at a time; bounds their float64 copies to 8 MiB."""

Floats = npt.NDArray[np.float32]
Keys = npt.NDArray[np.uint32]
Counts = npt.NDArray[np.int64]
Passes = Callable[[], Iterable[Sequence[bytes | None]]]
"""Gives the quantiles of every case by channel, case by case, each time that it is called."""

_STORED: Final = "<f4"
"""Type of the quantiles in a document."""
_STORED_KEY: Final = "<u4"
"""The same bits as a whole number."""
_ALL_BITS: Final = 2**32 - 1
_SIGN: Final = 2**31
_HALF_BITS: Final = 16
"""Bits of a key that one pass counts."""
_LOWER_HALF: Final = 2**_HALF_BITS - 1


def sketch_channel(values: Floats) -> tuple[ChannelMoments, bytes] | None:
    """Reduce the foreground of one channel of one case to its moments and quantiles.

    Parameters
    ----------
    values : (n,) array of float32
        Finite intensities in any order; sorted in place.

    Returns
    -------
    ChannelMoments, bytes
        Moments to the accuracy of float64, and `RANKS` of the values themselves, at the ranks
        (i + 1/2) / RANKS; None if there is no value.

    Notes
    -----
    The quantiles are no interpolations: between the intensities of a case with a few voxels there
    is nothing. The share of them that is at most x is within 0.5 / RANKS of that of the voxels,
    for every x.
    """
    if not values.size:
        return None
    values += np.float32(0)  # -0.0 becomes 0.0
    values.sort()
    # Voxel k is the first with (k + 1) / n >= (i + 1/2) / RANKS; in whole numbers, as n is large.
    ranks = -(-(2 * np.arange(RANKS, dtype=np.int64) + 1) * values.size // (2 * RANKS)) - 1
    moments = _moments(values)
    return moments, values[ranks].astype(_STORED).tobytes()


def pool_channels(
    moments: Sequence[Sequence[ChannelMoments]], passes: Passes
) -> tuple[ChannelStatistics, ...]:
    """Return the statistics of each channel over all cases.

    Parameters
    ----------
    moments : sequence of sequences of ChannelMoments
        By channel those of each case that has foreground, at least one.
    passes : callable
        Gives the quantiles of the cases; called twice.

    Notes
    -----
    Mean, deviation and extremes are exact. Percentiles are those of the pooled quantiles (midpoint
    ranks): their rank is off by at most 0.1 %, and by hardly more than 0.05 % over many cases.
    """
    percentiles = _percentiles(passes, len(moments))
    return tuple(
        _statistics(cases, *found) for cases, found in zip(moments, percentiles, strict=True)
    )


def _moments(ordered: Floats) -> ChannelMoments:
    # Distances from the median are of the size of the deviation: no digits cancel.
    middle = float(ordered[ordered.size // 2])
    sums, squares = [], []
    for start in range(0, ordered.size, SLAB_VOXELS):
        apart = ordered[start : start + SLAB_VOXELS].astype(np.float64) - middle
        sums.append(float(apart.sum()))
        squares.append(float(np.square(apart, out=apart).sum()))
    shift = fsum(sums) / ordered.size
    return ChannelMoments(
        mean=middle + shift,
        variance=max(fsum(squares) / ordered.size - shift**2, 0.0),
        minimum=float(ordered[0]),
        maximum=float(ordered[-1]),
    )


def _statistics(
    cases: Sequence[ChannelMoments], low: float, median: float, high: float
) -> ChannelStatistics:
    mean = fsum(case.mean for case in cases) / len(cases)
    spread = fsum(case.variance for case in cases)
    apart = fsum((case.mean - mean) ** 2 for case in cases)
    return ChannelStatistics(
        mean=mean,
        median=median,
        std=float(((spread + apart) / len(cases)) ** 0.5),
        minimum=min(case.minimum for case in cases),
        maximum=max(case.maximum for case in cases),
        percentile_00_5=low,
        percentile_99_5=high,
    )


def _percentiles(passes: Passes, channels: int) -> list[list[float]]:
    """Return by channel the `PERCENTILES` of the pooled quantiles, counted in two passes."""
    upper = [_no_counts() for _ in range(channels)]
    for channel, keys in _keys(passes):
        np.add.at(upper[channel], keys >> _HALF_BITS, 1)
    lower = [_halves_to_count(counts) for counts in upper]
    for channel, keys in _keys(passes):
        for half, counts in lower[channel].items():
            np.add.at(counts, keys[keys >> _HALF_BITS == half] & _LOWER_HALF, 1)
    return [
        [_percentile(*counts, percentile) for percentile in PERCENTILES]
        for counts in zip(upper, lower, strict=True)
    ]


def _no_counts() -> Counts:
    return np.zeros(2**_HALF_BITS, np.int64)


def _halves_to_count(upper: Counts) -> dict[int, Counts]:
    """Return empty counts for the upper halves of all keys that percentiles may be made of."""
    neighbors = [_neighbors(int(upper.sum()), percentile)[:2] for percentile in PERCENTILES]
    halves = np.searchsorted(upper.cumsum(), np.ravel(neighbors), side="right")
    return {int(half): _no_counts() for half in halves}


def _percentile(upper: Counts, lower: dict[int, Counts], percentile: float) -> float:
    below, above, weight = _neighbors(int(upper.sum()), percentile)
    low, high = (_order_statistic(upper, lower, rank) for rank in (below, above))
    return low + (high - low) * weight


def _neighbors(total: int, percentile: float) -> tuple[int, int, float]:
    """Return the ranks of the two values around a percentile, and the weight of the second."""
    place = total * percentile / 100 - 0.5
    return floor(place), floor(place) + 1, place - floor(place)


def _order_statistic(upper: Counts, lower: dict[int, Counts], rank: int) -> float:
    half = int(np.searchsorted(upper.cumsum(), rank, side="right"))
    rest = rank - int(upper[:half].sum())
    key = half << _HALF_BITS | int(np.searchsorted(lower[half].cumsum(), rest, side="right"))
    bits = key ^ _SIGN if key & _SIGN else ~key & _ALL_BITS
    return float(np.uint32(bits).view(np.float32))


def _keys(passes: Passes) -> Iterator[tuple[int, Keys]]:
    """Yield the quantiles of every channel of every case as whole numbers of the same order."""
    for case in passes():
        for channel, held in enumerate(case):
            if held is not None:
                bits = np.frombuffer(held, _STORED_KEY).astype(np.uint32)
                # Floats are ordered by size, then sign: those below 0 are turned around.
                yield channel, np.where(bits & _SIGN, ~bits, bits | _SIGN)
