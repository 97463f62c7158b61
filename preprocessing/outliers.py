"""When a number counts as an outlier among those of the other cases.

A number stands out where it lies far from the median: beyond a fixed ratio, and beyond
`ROBUST_SDS` times the spread of the others, which the median absolute deviation measures. The
fixed ratio keeps equal cases from making an outlier of a slightly different one; the spread lets
lesions vary as they do. Few cases make no norm, and many odd ones are a group of their own.
"""

from collections.abc import Sequence
from math import log
from typing import Final

import numpy as np
import numpy.typing as npt

LEAST_CASES: Final = 6
"""Fewer cases make no norm: with 5, one in 20 datasets of log-normal volumes has an outlier."""
ROBUST_SDS: Final = 8.0
"""Distance from the median, in standard deviations estimated by the median absolute deviation.
Of 1500 simulated datasets of 6 to 200 log-normal volumes with a spread of 0.2 to 2, at most 2 %
had a case beyond it that was 4 times off; with 5 standard deviations up to 7 %."""
RARE_FRACTION: Final = 0.1
"""Share of the cases up to which those that differ stand out; above it they are a group."""
SD_OF_MAD: Final = 1.4826
"""Standard deviation of normal numbers over their median absolute deviation."""


def outliers(values: Sequence[float], *, ratio: float) -> tuple[int, ...]:
    """Return which of some positive numbers lie far off the median.

    Parameters
    ----------
    values : sequence of float
        Positive numbers.
    ratio : float
        How many times larger or smaller than the median an outlier at least is.

    Returns
    -------
    tuple of int
        Positions of the outliers; none among fewer than `LEAST_CASES` numbers, nor where more
        than `most_rare` of them lie that far off.
    """
    if len(values) < LEAST_CASES:
        return ()
    logs: npt.NDArray[np.float64] = np.log(np.array(values))
    away = np.abs(logs - np.median(logs))
    limit = max(log(ratio) - 1e-9, ROBUST_SDS * SD_OF_MAD * float(np.median(away)))
    found = tuple(int(position) for position in np.flatnonzero(away >= limit))
    return found if len(found) <= most_rare(len(values)) else ()


def most_rare(cases: int) -> int:
    """Return how many of some cases may differ and still stand out, at least one."""
    return max(1, int(RARE_FRACTION * cases))
