"""In what two values of one type differ, for a person who wonders why they are not the same."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Final

LISTED: Final = 4
"""Differences that are told."""
LONGEST: Final = 60
"""Characters of a value that are told."""


def differences(before: object, now: object) -> tuple[str, ...]:
    """Return the fields in which two values of one dataclass differ, with both values.

    Parameters
    ----------
    before, now : dataclass instances
        Of the same type; fields that are dataclasses are looked into, tuples are not.

    Returns
    -------
    tuple of str
        Such as ``training.learning_rate (0.01, now 0.003)``; at most `LISTED`, then how many more.

    Examples
    --------
    >>> from autoseg.core.folds import Fold
    >>> differences(
    ...     Fold(training=("a",), validation=("c",)), Fold(training=("b",), validation=("c",))
    ... )
    ("training (('a',), now ('b',))",)
    """
    found = list(_walk(before, now, ""))
    more = [f"{len(found) - LISTED} more"] if len(found) > LISTED else []
    return (*found[:LISTED], *more)


def _walk(before: object, now: object, path: str) -> Iterator[str]:
    if before == now:
        return
    if not (is_dataclass(before) and is_dataclass(now) and type(before) is type(now)):
        yield f"{path} ({_short(before)}, now {_short(now)})"
        return
    for field in fields(before):
        name = f"{path}.{field.name}" if path else field.name
        yield from _walk(getattr(before, field.name), getattr(now, field.name), name)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
