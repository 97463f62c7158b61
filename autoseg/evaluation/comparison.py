"""Whether one way of segmenting is better than another, or only luckier on these cases."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from autoseg.core.geometry import STRICT
from autoseg.evaluation.scoring import CaseScores

Floats = npt.NDArray[np.float64]

RESAMPLES: Final = 2000
"""Times that cases are drawn anew; the ends of a 95 % interval then vary by a few percent of it."""
FLIPS: Final = 10000
"""Sign changes that are tried where there are too many to try all."""
EXACT_CASES: Final = 13
"""Differences up to which all sign changes are tried, 2^13."""
SIGNIFICANT: Final = 0.05
"""Probability of a difference by chance below which it counts."""
_CHUNK: Final = 1000
"""Resamples that are worked on at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Where a mean lies in 95 of 100 draws of as many cases."""

    __pydantic_config__: ClassVar = STRICT

    low: float
    """Lower end."""
    high: float
    """Upper end."""


def dice_table(cases: Sequence[CaseScores]) -> Floats:
    """Return the Dice of every case and structure, (cases, structures); NaN where there is none."""
    return np.array(
        [
            [np.nan if overlap.dice is None else overlap.dice for overlap in case.overlaps]
            for case in cases
        ]
    )


def mean_dice(table: Floats) -> float | None:
    """Return the mean over structures of their means over cases; None where nothing counts."""
    value = _means(table[None])[0]
    return None if np.isnan(value) else float(value)


def bootstrap_interval(table: Floats, *, seed: int = 0) -> Interval | None:
    """Return the interval of `mean_dice` over cases drawn with replacement; None without cases.

    References
    ----------
    Efron 1979, doi:10.1214/aos/1176344552.
    """
    if not len(table):
        return None
    rng = np.random.default_rng(seed)
    drawn = [
        _means(table[rng.integers(len(table), size=(_CHUNK, len(table)))])
        for _ in range(RESAMPLES // _CHUNK)
    ]
    values = np.concatenate(drawn)
    values = values[~np.isnan(values)]
    if not values.size:
        return None
    low, high = np.percentile(values, (2.5, 97.5))
    return Interval(low=float(low), high=float(high))


def case_differences(first: Floats, second: Floats) -> Floats:
    """Return the mean difference second - first of each case over the structures of both."""
    both = ~(np.isnan(first) | np.isnan(second))
    counted = both.sum(axis=1)
    total = np.where(both, second - first, 0).sum(axis=1)
    differences: Floats = total[counted > 0] / counted[counted > 0]
    return differences


def paired_test(differences: Floats, *, seed: int = 0) -> float:
    """Return how probable so large a mean difference is by chance, 0 to 1.

    Parameters
    ----------
    differences : (cases,) array
        Of the same cases in two ways.
    seed : int
        Start of the randomness.

    Notes
    -----
    Two-sided. If neither way is better, the sign of every difference is a coin: the share of sign
    changes is counted that lead to a mean at least as far from 0. All are tried for up to
    `EXACT_CASES` differences, else `FLIPS` of them and the one that was found.

    References
    ----------
    Fisher 1935, The Design of Experiments; Phipson and Smyth 2010, doi:10.2202/1544-6115.1585.
    """
    nonzero = differences[differences != 0]
    if not nonzero.size:
        return 1.0
    found = abs(nonzero.sum())
    exact = len(nonzero) <= EXACT_CASES
    if exact:
        signs = 1 - 2 * (np.arange(2 ** len(nonzero))[:, None] >> np.arange(len(nonzero)) & 1)
    else:
        rng = np.random.default_rng(seed)
        signs = rng.choice(np.array([-1, 1], np.int8), size=(FLIPS, len(nonzero)))
    as_far = int(np.count_nonzero(np.abs(signs @ nonzero) >= found * (1 - 1e-12)))
    return as_far / len(signs) if exact else (as_far + 1) / (FLIPS + 1)


def _means(tables: Floats) -> Floats:
    """Return the mean of each of some tables (n, cases, structures); NaN where nothing counts."""
    there = ~np.isnan(tables)
    counted = there.sum(axis=1)
    sums = np.where(there, tables, 0).sum(axis=1)
    means = np.divide(sums, counted, out=np.full(sums.shape, np.nan), where=counted > 0)
    known = ~np.isnan(means)
    total, number = np.where(known, means, 0).sum(axis=1), known.sum(axis=1)
    found: Floats = np.divide(total, number, out=np.full(len(tables), np.nan), where=number > 0)
    return found
