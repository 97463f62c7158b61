"""How the learning rate rises and falls: pure functions of the fraction of the training done."""

from math import cos, pi
from typing import Final

from autoseg.core.errors import UsageError
from autoseg.core.training_config import Schedule

ONE_CYCLE_RISE: Final = 0.3
"""Share of the training in which ``one_cycle`` rises (Smith and Topin 2018 rise for 0.3 to 0.5)."""
ONE_CYCLE_START: Final = 1 / 25
"""Share of the peak at which ``one_cycle`` starts."""


def scheduled(schedule: Schedule, fraction: float, peak: float, *, warmup: float = 0.0) -> float:
    """Return the learning rate of a schedule.

    Parameters
    ----------
    schedule : {"polynomial", "cosine", "one_cycle"}
        Which one.
    fraction, peak, warmup : float
        As in the function of that name; ``one_cycle`` rises in a way of its own.

    Raises
    ------
    UsageError
        If the fraction is not from 0 to 1, or the warmup not from 0 to below 1.
    """
    if schedule == "one_cycle":
        return one_cycle(fraction, peak)
    falling = cosine if schedule == "cosine" else polynomial
    return falling(fraction, peak, warmup=warmup)


def polynomial(fraction: float, peak: float, *, warmup: float = 0.0) -> float:
    """Return ``peak * (1 - fraction) ** 0.9``, which nnU-Net trains with, behind a linear rise.

    Parameters
    ----------
    fraction : float
        Fraction of the training that is done, 0 to 1.
    peak : float
        Largest learning rate, reached when the rise ends.
    warmup : float
        Fraction of the training that the rise from 0 takes, from 0 to below 1. With a rise, the
        rate at fraction 0 is 0: count the step that is being made as done.

    Raises
    ------
    UsageError
        If the fraction is not from 0 to 1, or the warmup not from 0 to below 1.

    References
    ----------
    Chen et al. 2018, "DeepLab", section 4.1.1 (doi:10.1109/TPAMI.2017.2699184).

    Examples
    --------
    >>> round(polynomial(0.5, 0.01), 8)
    0.00535887
    """
    risen, fallen = _behind_rise(fraction, warmup)
    return float(peak * risen * (1.0 - fallen) ** 0.9)


def cosine(fraction: float, peak: float, *, warmup: float = 0.0) -> float:
    """Return half a cosine wave from the peak to 0, behind a linear rise.

    Parameters
    ----------
    fraction, peak, warmup : float
        As in `polynomial`.

    Raises
    ------
    UsageError
        If the fraction is not from 0 to 1, or the warmup not from 0 to below 1.

    References
    ----------
    Loshchilov and Hutter 2017, "SGDR", equation 5 (arXiv:1608.03983), without restarts.
    """
    risen, fallen = _behind_rise(fraction, warmup)
    return peak * risen * _half_wave(fallen)


def one_cycle(fraction: float, peak: float) -> float:
    """Return a rise by half a cosine wave to the peak, and a fall by another one to 0.

    Parameters
    ----------
    fraction : float
        Fraction of the training that is done, 0 to 1; the peak is at `ONE_CYCLE_RISE`.
    peak : float
        Largest learning rate; the first is `ONE_CYCLE_START` of it.

    Raises
    ------
    UsageError
        If the fraction is not from 0 to 1.

    References
    ----------
    Smith and Topin 2018, "Super-convergence" (arXiv:1708.07120); the momentum stays as it is.
    """
    _check_fraction(fraction)
    if fraction < ONE_CYCLE_RISE:
        risen = 1.0 - _half_wave(fraction / ONE_CYCLE_RISE)
        return peak * (ONE_CYCLE_START + (1.0 - ONE_CYCLE_START) * risen)
    return peak * _half_wave((fraction - ONE_CYCLE_RISE) / (1.0 - ONE_CYCLE_RISE))


def _half_wave(fraction: float) -> float:
    """Return half a cosine wave from 1 to 0."""
    return 0.5 * (1.0 + cos(pi * fraction))


def _behind_rise(fraction: float, warmup: float) -> tuple[float, float]:
    """Return how much of the rise, and of the fall behind it, is done."""
    _check_fraction(fraction)
    if not 0.0 <= warmup < 1.0:
        raise UsageError(f"learning rate: warmup {warmup} must be from 0 to below 1")
    if fraction < warmup:
        return fraction / warmup, 0.0
    return 1.0, (fraction - warmup) / (1.0 - warmup)


def _check_fraction(fraction: float) -> None:
    if not 0.0 <= fraction <= 1.0:
        raise UsageError(f"learning rate: fraction {fraction} must be from 0 to 1")
