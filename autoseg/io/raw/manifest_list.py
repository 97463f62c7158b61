"""A manifest's list of cases in JSON."""

from collections.abc import Iterator, Sequence
from typing import Final

from autoseg.core.errors import AutosegError
from autoseg.io.raw.dataset_json import Entries
from autoseg.io.raw.layouts import wrong
from autoseg.io.raw.manifest_entries import Cell, Entry, misspelled

_CASE_KEYS: Final = ("name", "images", "segmentation", "patient", "labels")


def listed_entries(
    listed: Sequence[object], where: str, exclude: frozenset[str]
) -> tuple[list[Entry], list[AutosegError]]:
    """Return the entries of a list of cases, and an error for each part that has another form.

    Parameters
    ----------
    listed : sequence of object
        The key ``cases``.
    where : str
        Path of the manifest; names it in errors.
    exclude : frozenset of str
        Cases whose form does not matter.
    """
    entries: list[Entry] = []
    problems: list[AutosegError] = []
    for number, value in enumerate(listed):
        place = f"cases[{number}]"
        entry = _entry(value, place) if isinstance(value, dict) else None
        case = entry.case if entry else ""
        if case not in exclude:
            faults = _faults(value, f"{where}: {place}")
            problems += [fault.about(case, file=where) for fault in faults]
        entries += [entry] if entry else []
    return entries, problems


def _faults(entry: object, where: str) -> Iterator[AutosegError]:
    """Yield what is wrong with the form of a case in JSON."""
    if not isinstance(entry, dict):
        yield wrong(f"{where} is {str(entry)[:80]!r}, needed is an object", "name its files")
        return
    if unknown := [key for key in entry if key not in _CASE_KEYS]:
        yield wrong(
            f"{where} has the unknown keys {misspelled(unknown, _CASE_KEYS)}; allowed are "
            f"{', '.join(_CASE_KEYS)}",
            "correct or remove them",
        )
    images, labels = entry.get("images"), entry.get("labels", {})
    if not isinstance(images, list) or not images:
        yield wrong(f"{where}.images is {images!r}, needed is a list of paths", "list the images")
    if not isinstance(labels, dict):
        yield wrong(
            f"{where}.labels is {labels!r}, needed is an object such as {{'liver': 7}}",
            "write the value of each label in this case's segmentation, or leave it out",
        )


def _entry(entry: Entries, place: str) -> Entry:
    """Return a case in JSON as far as its form is sound."""
    images, labels = entry.get("images"), entry.get("labels")
    return Entry(
        place=place,
        name=_cell(entry, "name", place),
        images=tuple(
            Cell(place=f"{place}.images[{number}]", value=value)
            for number, value in enumerate(images if isinstance(images, list) else ())
        ),
        segmentation=_cell(entry, "segmentation", place),
        patient=_cell(entry, "patient", place),
        labels=tuple(
            (name, Cell(place=f"{place}.labels.{name}", value=value))
            for name, value in (labels.items() if isinstance(labels, dict) else ())
        ),
    )


def _cell(entry: Entries, key: str, place: str) -> Cell:
    return Cell(place=f"{place}.{key}", value=entry.get(key))
