"""The cases that can be read although the layout of their dataset has faults."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from autoseg.core.check_report import Refusal
from autoseg.core.dataset import Dataset
from autoseg.core.errors import AutosegError, InputError, RefusedCasesError, UsageError
from autoseg.io.datasets import read_dataset
from autoseg.io.raw.channel_files import case_names

MOST_TRIED: Final = 200
"""Names that are tried to find the cases of a layout's faults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The cases that a layout leaves whole, and its faults."""

    dataset: Dataset | None
    """The dataset without the cases that are at fault; None where nothing can be read."""
    faults: tuple[Refusal, ...]
    """What is wrong with the layout."""
    left_out: frozenset[str]
    """Cases that are at fault."""


def whole_cases(raw: Path, exclude: Sequence[str] = ()) -> Layout:
    """Read a raw dataset without the cases that the faults of its layout are about.

    Parameters
    ----------
    raw : Path
        Folder or manifest of the raw dataset.
    exclude : sequence of str
        Cases to leave out anyway.

    Raises
    ------
    UsageError
        If a case to leave out is not in the dataset.
    InputError
        If the description of the dataset cannot be read.

    Notes
    -----
    The errors of the layout tell cases and files by their text; the names found in it are tried
    as cases to leave out.
    """
    try:
        dataset = read_dataset(raw, exclude=exclude)
    except RefusedCasesError as error:
        problems = error.problems
    else:
        return Layout(dataset=dataset, faults=(), left_out=frozenset())
    names = {problem: _names_in(problem) for problem in problems}
    known = _known_names(raw, exclude, sorted({name for held in names.values() for name in held}))
    faults = tuple(
        Refusal(
            rule=problem.rule,
            case=next((name for name in names[problem] if name in known), ""),
            file=_path_before(problem, raw),
            problem=str(problem.args[0]),
            fix=problem.hint,
        )
        for problem in problems
    )
    try:
        dataset = read_dataset(raw, exclude=(*exclude, *known))
    except InputError:
        return Layout(dataset=None, faults=faults, left_out=known)
    dataset = replace(dataset, excluded=tuple(sorted(exclude)))
    return Layout(dataset=dataset, faults=faults, left_out=known)


def _names_in(problem: AutosegError) -> tuple[str, ...]:
    """Return what the cases that a fault of the layout is about may be called."""
    text = str(problem.args[0])
    named = re.findall(r"\bcase '([^']+)'", text)
    files_named = re.findall(r"[^/'\"\s,]+\.[A-Za-z][\w.]*", text)
    files_named.append(Path(text.partition(": ")[0]).name)  # may hold spaces
    return tuple(dict.fromkeys([*named, *(name for f in files_named for name in case_names(f))]))


def _known_names(raw: Path, exclude: Sequence[str], names: Sequence[str]) -> frozenset[str]:
    """Return those names that cases of the dataset have."""
    known = set()
    for name in names[:MOST_TRIED]:
        try:
            read_dataset(raw, exclude=(*exclude, name))
        except UsageError:
            continue
        except InputError:
            pass  # of other faults
        known.add(name)
    return frozenset(known)


def _path_before(problem: AutosegError, raw: Path) -> str:
    """Return the path that a message of the layout begins with."""
    path, colon, _ = str(problem.args[0]).partition(": ")
    return path if colon and path.startswith(str(raw.absolute())) else ""
