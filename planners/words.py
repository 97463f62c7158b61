"""How numbers are written in decisions and refusals."""

from collections.abc import Iterable

from planners.device_memory import GIB

Numbers = tuple[tuple[str, str], ...]
"""Named numbers, as `Decision.numbers` holds them."""


def times(values: Iterable[float]) -> str:
    """Return one number per axis as a person writes it, without a unit: ``5 x 0.79 x 0.79``."""
    return " x ".join(f"{value:.4g}" if value < 1e4 else f"{value:.10g}" for value in values)


def sizes(values: Iterable[float], unit: str) -> str:
    """Return one number per axis as a person writes it: ``5 x 0.79 x 0.79 mm``."""
    return f"{times(values)} {unit}"


def percent(fraction: float) -> str:
    """Return a fraction in percent."""
    return f"{fraction * 100:.3g} %"


def gib(size_bytes: float) -> str:
    """Return a number of bytes in GiB."""
    return f"{size_bytes / GIB:.3g} GiB"


def millions(elements: float) -> str:
    """Return a number of elements in millions."""
    return f"{elements / 1e6:.4g} million elements"
