"""Whether one way of segmenting is better than another, or only luckier on these cases."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from autoseg.core.geometry import STRICT
from autoseg.evaluation.scoring import CaseScores

Floats = npt.NDArray[np.float64]

RESAMPLES: Final = 2000
"""Times that patients are drawn; the ends of a 95 % interval then vary by a few percent of it."""
FLIPS: Final = 10000
"""Sign changes that are tried where there are too many to try all."""
EXACT_PATIENTS: Final = 13
"""Differences, one of each patient, up to which all sign changes are tried, 2^13."""
SIGNIFICANT: Final = 0.05
"""Probability of a difference by chance below which it counts."""
LEAST_PATIENTS: Final = 6
"""Patients below which no difference can count: all of 5 on one side are so in 2 of 32 draws."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Where a mean lies in 95 of 100 draws of as many patients."""

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
    there = ~np.isnan(table)
    sums = np.where(there, table, 0).sum(axis=0, keepdims=True)
    value = _means(sums, there.sum(axis=0, keepdims=True))[0]
    return None if np.isnan(value) else float(value)


def bootstrap_interval(
    table: Floats, patients: Sequence[str] = (), *, seed: int = 0
) -> Interval | None:
    """Return the interval of `mean_dice` over patients drawn with replacement; None without cases.

    Parameters
    ----------
    table : (cases, structures) array
        Dice; NaN where there is none.
    patients : sequence of str
        The patient of each case, all of whose cases are drawn together; empty where every case is
        one.
    seed : int
        Start of the randomness.

    References
    ----------
    Efron 1979, doi:10.1214/aos/1176344552.
    """
    if not len(table):
        return None
    there = ~np.isnan(table)
    patient = _numbers(patients, len(table))
    count = patient.max() + 1
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)[:, patient]
    values = _means(drawn @ np.where(there, table, 0.0), drawn @ there.astype(np.int64))
    values = values[~np.isnan(values)]
    if not values.size:
        return None
    low, high = np.percentile(values, (2.5, 97.5))
    return Interval(low=float(low), high=float(high))


def case_contributions(first: Floats, second: Floats) -> Floats:
    """Return what each case adds to the difference second - first of two tables' mean Dice.

    Parameters
    ----------
    first, second : (cases, structures) array
        Dice of the same cases in two ways; NaN where a structure is in neither reference nor
        prediction.

    Returns
    -------
    (cases,) array
        They add up to the mean over structures of the mean difference over cases. Where one way
        alone leaves a structure empty that is not there, it is right and has a Dice of 1: else
        what the other one sees wrongly would not count.
    """
    empty = np.isnan(first) & np.isnan(second)
    change = np.where(empty, 0, np.nan_to_num(second, nan=1.0) - np.nan_to_num(first, nan=1.0))
    counted = (~empty).sum(axis=0)
    there = counted > 0
    if not there.any():
        return np.zeros(len(first))
    contributions: Floats = (change[:, there] / counted[there]).sum(axis=1) / there.sum()
    return contributions


def paired_test(contributions: Floats, patients: Sequence[str] = (), *, seed: int = 0) -> float:
    """Return how often chance alone gives so large a difference, 0 to 1.

    Parameters
    ----------
    contributions : (cases,) array
        What each case adds to it; see `case_contributions`.
    patients : sequence of str
        The patient of each case; empty where every case is one.
    seed : int
        Start of the randomness.

    Notes
    -----
    Two-sided. If neither way is better, the sign of what every patient contributes is a coin: the
    share of sign changes is counted that lead to a sum at least as far from 0. All are tried for up
    to `EXACT_PATIENTS` patients, else `FLIPS` of them and the one that was found.

    References
    ----------
    Fisher 1935, The Design of Experiments; Phipson and Smyth 2010, doi:10.2202/1544-6115.1585.
    """
    patient = _numbers(patients, len(contributions))
    differences = np.bincount(patient, contributions).astype(float)
    nonzero = differences[differences != 0]
    if not nonzero.size:
        return 1.0
    found = abs(nonzero.sum())
    exact = len(nonzero) <= EXACT_PATIENTS
    if exact:
        signs = 1 - 2 * (np.arange(2 ** len(nonzero))[:, None] >> np.arange(len(nonzero)) & 1)
    else:
        rng = np.random.default_rng(seed)
        signs = rng.choice(np.array([-1, 1], np.int8), size=(FLIPS, len(nonzero)))
    as_far = int(np.count_nonzero(np.abs(signs @ nonzero) >= found * (1 - 1e-12)))
    return as_far / len(signs) if exact else (as_far + 1) / (FLIPS + 1)


def count_patients(patients: Sequence[str], cases: int) -> int:
    """Return of how many patients cases are; empty ``patients`` mean that every case is one."""
    return len(set(patients)) if patients else cases


def _numbers(patients: Sequence[str], cases: int) -> npt.NDArray[np.intp]:
    """Return the number of each case's patient, from 0."""
    if not patients:
        return np.arange(cases)
    return np.unique(np.array(patients), return_inverse=True)[1].reshape(cases)


def _means(sums: npt.NDArray[Any], counted: npt.NDArray[np.int64]) -> Floats:
    """Return the mean over structures of sums / counts (n, structures); NaN where none counts."""
    means = np.divide(sums, counted, out=np.zeros(sums.shape), where=counted > 0)
    number = (counted > 0).sum(axis=1)
    found: Floats = np.divide(
        means.sum(axis=1), number, out=np.full(len(sums), np.nan), where=number > 0
    )
    return found
