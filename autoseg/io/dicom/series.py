"""Which files of a folder make up the image: groups of slices that can share a grid, and a choice.

A group is of one series, one shape and one orientation. Nothing is guessed: where several groups
could be the image, they are listed.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from autoseg.core.errors import DatasetError
from autoseg.io.dicom.headers import Header

SAME_STACK_DEGREES: Final = 30.0
"""Slices that are turned by less against another one of a group belong to it. Views of a localizer
are 90 degrees apart; slices of a fan, which are refused, are a few."""

_BESIDE: Final = ("SEG", "RTDOSE")
"""Modalities that hold pixels beside an image, never the image."""
_LISTED: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Slices of one series, shape and orientation."""

    name: str
    """SeriesInstanceUID; with ``#2`` and so on behind it where a series falls into groups."""
    slices: tuple[Header, ...]
    """In no order that means anything."""

    @property
    def first(self) -> Header:
        """A slice, for what all of them share."""
        return self.slices[0]

    @property
    def is_placed(self) -> bool:
        """Whether the slices say where they lie."""
        return self.first.direction is not None

    @property
    def text(self) -> str:
        """Series, modality, number of slices and shape; nothing of the patient."""
        first, count = self.first, len(self.slices)
        facts = [
            first.modality or "no modality",
            f"{count} slice{'s' * (count > 1)} of {first.rows} x {first.columns} pixels",
            *(["localizer"] if first.is_localizer else []),
            *([] if self.is_placed else ["no place in space"]),
        ]
        return f"{self.name} ({', '.join(facts)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The image of a folder."""

    group: Group
    """Its slices."""
    notes: tuple[str, ...]
    """What was left out."""


def chosen(headers: tuple[Header, ...], folder: Path, series: str | None) -> Choice:
    """Return the group that is the image.

    Parameters
    ----------
    headers : tuple of Header
        All images of the folder.
    folder : Path
        Names it in errors.
    series : str or None
        Name of a group, as an error listed it; None if there must be only one.

    Raises
    ------
    DatasetError
        E-DCM-53 if several groups could be the image, or none is called ``series``; E-SET-42 if
        there is no image at all.
    """
    groups = grouped(headers)
    if not groups:
        raise DatasetError(
            f"{folder}: none of its DICOM files holds an image",
            rule="E-SET-42",
            hint="give the folder that holds the slices themselves",
        )
    if series is not None:
        named = [group for group in groups if group.name == series]
        if not named:
            raise _ambiguous(folder, groups, f"no series {series!r} among its {len(groups)}")
        note = f"series {series} was taken by choice, others left out: {len(groups) - 1}"
        return Choice(group=named[0], notes=(note,) if len(groups) > 1 else ())
    candidates = _candidates(groups)
    if len(candidates) > 1:
        raise _ambiguous(folder, candidates, f"{len(candidates)} series that could be the image")
    left_out = sum(len(group.slices) for group in groups) - len(candidates[0].slices)
    note = f"files of localizers, dose maps or pictures without a place, left out: {left_out}"
    return Choice(group=candidates[0], notes=(note,) if left_out else ())


def grouped(headers: tuple[Header, ...]) -> tuple[Group, ...]:
    """Return the groups of a folder, those with the most slices first; file names do not matter."""
    by_series: dict[str, list[list[Header]]] = defaultdict(list)
    alike: dict[tuple[object, ...], list[Header]] = defaultdict(list)
    for header in headers:
        alike[header.series, header.rows, header.columns, header.is_localizer].append(header)
    for slices in alike.values():
        by_series[slices[0].series] += _stacks(slices)
    groups = []
    for name, stacks in by_series.items():
        stacks.sort(key=_rank)
        for number, slices in enumerate(stacks, 1):
            label = name if len(stacks) == 1 else f"{name}#{number}"
            groups.append(Group(name=label, slices=tuple(slices)))
    return tuple(sorted(groups, key=lambda group: (-len(group.slices), group.name)))


def _rank(slices: list[Header]) -> tuple[object, ...]:
    """Order the groups of a series by what they hold."""
    directions = sorted(header.direction or () for header in slices)
    return -len(slices), slices[0].is_localizer, slices[0].rows, slices[0].columns, directions


def _stacks(slices: list[Header]) -> list[list[Header]]:
    """Part slices by orientation, linking each to all that are turned only slightly against it."""
    similar: dict[tuple[float, ...], list[Header]] = defaultdict(list)
    for header in slices:
        similar[tuple(round(value, 2) for value in header.direction or ())].append(header)
    stacks: list[list[tuple[float, ...]]] = []
    for direction in similar:
        near, far = [direction], []
        for stack in stacks:
            if _is_turned_slightly(direction, stack):
                near += stack
            else:
                far.append(stack)
        stacks = [*far, near]
    return [[header for direction in stack for header in similar[direction]] for stack in stacks]


def _is_turned_slightly(direction: tuple[float, ...], others: list[tuple[float, ...]]) -> bool:
    """Whether both rows and columns are nearly those of another slice, or none has a place."""
    if not direction or not others[0]:
        return not direction and not others[0]
    products = np.array(others).reshape(-1, 2, 3) * np.array(direction).reshape(2, 3)
    cosines = products.sum(axis=2).min(axis=1)
    return bool(cosines.max() > np.cos(np.radians(SAME_STACK_DEGREES)))


def _candidates(groups: tuple[Group, ...]) -> tuple[Group, ...]:
    """Return the groups that could be the image: not what only lies beside one."""
    found = _unless_all(groups, lambda group: group.first.is_localizer)
    found = _unless_all(found, lambda group: group.first.modality in _BESIDE)
    placed = {group.first.series for group in found if group.is_placed}
    # A slice that lost its place may belong to the stack of its own series.
    return _unless_all(
        found, lambda group: not group.is_placed and group.first.series not in placed
    )


def _unless_all(groups: tuple[Group, ...], drop: Callable[[Group], bool]) -> tuple[Group, ...]:
    return tuple(group for group in groups if not drop(group)) or groups


def _ambiguous(folder: Path, groups: tuple[Group, ...], found: str) -> DatasetError:
    listed = "; ".join(group.text for group in groups[:_LISTED])
    more = f" and {len(groups) - _LISTED} more" if len(groups) > _LISTED else ""
    return DatasetError(
        f"{folder}: holds {found}: {listed}{more}; an image is one of them",
        rule="E-DCM-53",
        hint="choose one with --accept E-DCM-53=<UID>, or give each series a folder of its own",
    )
