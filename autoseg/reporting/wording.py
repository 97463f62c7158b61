"""Words that a plan's page and its figures have in common."""

from collections.abc import Iterable

from autoseg.core.network_spec import Block


def per_axis(values: Iterable[float], *, sign: str = "x") -> str:
    """Write one number per axis, with up to four digits, or more from 1000 on.

    Examples
    --------
    >>> per_axis((5.0, 0.78125, 12800))
    '5 x 0.7812 x 12800'
    """
    return f" {sign} ".join(f"{n:.4g}" if abs(n) < 1000 else f"{n:.10g}" for n in values)


def count(number: int, noun: str, plural: str = "") -> str:
    """Write a number of things.

    Examples
    --------
    >>> count(1, "patch", "patches"), count(6, "stage")
    ('1 patch', '6 stages')
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def operations(block: Block, stage: int) -> str:
    """Write what a stage of the network consists of, such as ``2 convolutions``."""
    if block.shortcut == "residual":
        return count(block.blocks(stage), "residual block")
    return count(block.blocks(stage) * block.convolutions(stage), "convolution")
