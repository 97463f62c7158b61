"""How the learning rate falls: pure functions of the fraction of the training that is done."""

from math import cos, pi

from autoseg.core.errors import UsageError


def polynomial(fraction: float, peak: float) -> float:
    """Return ``peak * (1 - fraction) ** 0.9``, which nnU-Net trains with.

    Parameters
    ----------
    fraction : float
        Fraction of the training that is done, 0 to 1.
    peak : float
        Learning rate at the start.

    Raises
    ------
    UsageError
        If the fraction is not from 0 to 1.

    References
    ----------
    Chen et al. 2018, "DeepLab", section 4.1.1 (doi:10.1109/TPAMI.2017.2699184).

    Examples
    --------
    >>> round(polynomial(0.5, 0.01), 8)
    0.00535887
    """
    _check_fraction(fraction)
    return float(peak * (1.0 - fraction) ** 0.9)


def cosine(fraction: float, peak: float, *, warmup: float = 0.0) -> float:
    """Return half a cosine wave from the peak to 0, behind a linear rise.

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
    Loshchilov and Hutter 2017, "SGDR", equation 5 (arXiv:1608.03983), without restarts.
    """
    _check_fraction(fraction)
    if not 0.0 <= warmup < 1.0:
        raise UsageError(f"learning rate: warmup {warmup} must be from 0 to below 1")
    if fraction < warmup:
        return peak * fraction / warmup
    return peak * 0.5 * (1.0 + cos(pi * (fraction - warmup) / (1.0 - warmup)))


def _check_fraction(fraction: float) -> None:
    if not 0.0 <= fraction <= 1.0:
        raise UsageError(f"learning rate: fraction {fraction} must be from 0 to 1")
