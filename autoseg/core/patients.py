"""Which patient a case is of, told from its name."""

import re
from collections.abc import Iterable
from typing import Final

from autoseg.core.dataset import near_misses
from autoseg.core.errors import DatasetError, UsageError

LONGEST_NAME: Final = 100
"""Letters of a case name that a pattern is tried on. It bounds the time of patterns that take a
power of the length. One of nested repeats, such as ``(a+)+$``, takes twice the time for each letter
and has no end at 30: the pattern is the user's own, no file gives it."""


def patients_by_pattern(names: Iterable[str], pattern: str) -> dict[str, str]:
    """Return the patient of each case: what a pattern's one group finds in the case's name.

    Parameters
    ----------
    names : iterable of str
        Case names.
    pattern : str
        Regular expression, sought anywhere in the name: ``^`` and ``$`` tie it to its ends.

    Raises
    ------
    UsageError
        If the pattern is no regular expression of one group.
    DatasetError
        E-SET-48 if a name does not match, its group is empty, or it is longer than `LONGEST_NAME`.

    Examples
    --------
    >>> patients_by_pattern(["P07_scan1", "P07_scan2"], "^(P[0-9]+)_")
    {'P07_scan1': 'P07', 'P07_scan2': 'P07'}
    """
    expression = _compiled(pattern)
    found = {}
    unmatched = []
    for name in names:
        match = expression.search(name) if len(name) <= LONGEST_NAME else None
        if match and match[1]:
            found[name] = match[1]
        else:
            unmatched.append(name)
    if unmatched:
        raise DatasetError(
            f"pattern {pattern!r} finds no patient in the names of {len(unmatched)} cases: "
            f"{near_misses(unmatched, ())}; allowed are matches of at least one letter in names of "
            f"up to {LONGEST_NAME}",
            rule="E-SET-48",
            hint="widen the pattern, or name the patients in a JSON file {case: patient}",
        )
    return found


def _compiled(pattern: str) -> re.Pattern[str]:
    hint = r"write one group around the patient's part of the name, such as '^(P\d+)_'"
    try:
        expression = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(
            f"pattern {pattern!r}: is no regular expression ({error})", hint=hint
        ) from error
    if expression.groups != 1:
        raise UsageError(
            f"pattern {pattern!r}: has {expression.groups} groups, allowed is 1", hint=hint
        )
    return expression
