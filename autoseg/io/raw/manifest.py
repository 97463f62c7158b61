"""Manifests: one CSV or JSON file that lists the cases of a dataset, wherever their files lie.

A JSON manifest says everything. A CSV manifest lists the cases; the channels and labels are in the
JSON file of the same name beside it.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from autoseg.core.errors import AutosegError, DatasetError, ResourceError
from autoseg.core.labels import Labels
from autoseg.io.guard import FILE_ENDINGS
from autoseg.io.raw.channel_files import is_there
from autoseg.io.raw.dataset_json import Entries, read_json, refuse, text
from autoseg.io.raw.declared_labels import parse_labels
from autoseg.io.raw.layouts import RawDataset
from autoseg.io.raw.listed_cases import check_case_name
from autoseg.io.raw.manifest_checks import list_entries
from autoseg.io.raw.manifest_entries import (
    Entry,
    Rules,
    label_names,
    misspelled,
    shared_ending,
)
from autoseg.io.raw.manifest_list import listed_entries
from autoseg.io.raw.manifest_table import Table, read_table

_CASES: Final = "cases"
_KEYS: Final = (
    "name",
    "description",
    "channels",
    "labels",
    "regions_class_order",
    "file_ending",
    _CASES,
)
_EXAMPLE: Final = '{"channels": ["CT"], "labels": {"background": 0, "liver": 1}}'


@dataclass(frozen=True, slots=True, kw_only=True)
class _Description:
    """What a manifest says of all cases."""

    name: str
    """Name of the dataset."""
    channels: tuple[str, ...]
    """Name of each channel."""
    labels: Labels
    """The labels."""
    file_ending: str
    """Ending of predictions; empty if it is not said."""


def read_manifest(path: Path, exclude: frozenset[str]) -> RawDataset:
    """Read a dataset that a manifest lists.

    Parameters
    ----------
    path : Path
        JSON or CSV file; of a CSV file and its JSON file, either.
    exclude : frozenset of str
        Cases to leave out, whatever their entries and files are like.

    Raises
    ------
    DatasetError
        If the channels, labels or columns are wrong. What is wrong with cases is in the listing.
    DocumentError
        If a file is no strict JSON or no table.
    """
    is_table = path.suffix.lower() == ".csv"
    described = path.with_suffix(".json") if is_table else path
    listed = path if is_table else path.with_suffix(".csv")
    entries = _read_entries(described, listed)
    if not is_there(listed):
        return _read_listed(entries, path, exclude)
    if _CASES in entries:
        refuse(
            str(described),
            f"lists cases, and so does {listed.name}; allowed is one list",
            f"remove the key {_CASES!r}, or rename the other file",
        )
    return _read_tabled(entries, _read_table(listed), described, exclude)


def _read_listed(entries: Entries, path: Path, exclude: frozenset[str]) -> RawDataset:
    """Read the cases that JSON lists."""
    where = str(path)
    description = _description(entries, path, ())
    listed = entries.get(_CASES)
    if not isinstance(listed, list):
        refuse(
            where,
            f"{_CASES} is {str(listed)[:40]}, needed is a list",
            f"list the cases, or write them into {path.with_suffix('.csv').name}",
        )
    cases, problems = listed_entries(listed, where, exclude)
    return _dataset(description, cases, path, problems, exclude)


def _read_tabled(
    entries: Entries, table: Table, described: Path, exclude: frozenset[str]
) -> RawDataset:
    """Read the cases of a table."""
    description = _description(entries, described, table.channels)
    names = label_names(description.labels)
    if unknown := [name for name in table.labels if name not in names]:
        refuse(
            str(table.path),
            f"columns for the labels {misspelled(unknown, names)}; allowed are {', '.join(names)}",
            f"name the labels as {described.name} does",
        )
    if table.channels and sorted(table.channels) != sorted(description.channels):
        refuse(
            str(table.path),
            f"columns for the channels {list(table.channels)}, but {described.name} names "
            f"{list(description.channels)}",
            f"name the same channels in both, or leave 'channels' out of {described.name}",
        )
    cases = list(table.entries(description.channels))
    problems = [each for each in table.problems() if exclude.isdisjoint(each.cases)]
    return _dataset(description, cases, table.path, problems, exclude)


def _dataset(
    description: _Description,
    entries: list[Entry],
    path: Path,
    problems: list[AutosegError],
    exclude: frozenset[str],
) -> RawDataset:
    images = (str(cell.value) for entry in entries for cell in entry.images)
    rules = Rules(
        where=str(path),
        folder=path.parent,
        channels=len(description.channels),
        labels=description.labels,
        ending=description.file_ending or shared_ending(images),
    )
    listing = list_entries(entries, rules, exclude)
    problems = [*problems, *listing.problems] if entries or problems else [_no_case(rules.where)]
    return RawDataset(
        name=description.name,
        folder=path.parent,
        where=str(path),
        manifest=str(path),
        channels=description.channels,
        labels=description.labels,
        listing=replace(listing, problems=tuple(problems)),
    )


def _description(entries: Entries, path: Path, columns: tuple[str, ...]) -> _Description:
    """Return what a manifest says of all cases; ``columns`` are the channels of a table."""
    where = str(path)
    if unknown := [key for key in entries if key not in _KEYS]:
        refuse(
            where,
            f"unknown keys {misspelled(unknown, _KEYS)}; allowed are {', '.join(_KEYS)}",
            "correct or remove them",
        )
    ending = text(entries, "file_ending", where) if "file_ending" in entries else ""
    if ending and ending not in FILE_ENDINGS:
        refuse(
            where,
            f"file_ending is {ending!r}, allowed are {', '.join(FILE_ENDINGS)}",
            "leave it out to take that of the images",
        )
    return _Description(
        name=_name(entries, path),
        channels=columns if columns and "channels" not in entries else _channels(entries, where),
        labels=parse_labels(entries, "nnunet", where),
        file_ending=ending,
    )


def _name(entries: Entries, path: Path) -> str:
    """Return the name of the dataset: its own, that of the manifest, or that of its folder."""
    if "name" not in entries:
        return path.stem if path.stem != "manifest" else path.resolve().parent.name
    name = text(entries, "name", str(path))
    where = f"{path}: name"
    try:
        check_case_name(name, where)
    except DatasetError as error:
        raise DatasetError(
            f"{where} is {name!r}; allowed are names that a folder can have, without '/' and a "
            "dot in front",
            rule="E-SET-45",
            hint="write a plain name, or leave it out to take that of the file",
        ) from error
    return name


def _channels(entries: Entries, where: str) -> tuple[str, ...]:
    names = entries.get("channels")
    if not isinstance(names, list) or not names:
        refuse(
            where,
            f"channels is {str(names)[:40]}, needed is a list of names",
            'name the channel of each image, such as "channels": ["CT"]',
        )
    if not all(isinstance(name, str) and name for name in names):
        refuse(where, f"channels holds the names {names}, allowed are texts", "name each")
    return tuple(names)


def _read_entries(described: Path, listed: Path) -> Entries:
    try:
        entries = read_json(described)
    except OSError as error:
        raise DatasetError(
            f"{listed}: {described.name}, which says its channels and labels, cannot be read "
            f"({error.strerror})",
            rule="E-SET-42",
            hint=f"write {described.name} beside it, such as {_EXAMPLE}",
        ) from error
    if not isinstance(entries, dict):
        refuse(
            str(described),
            f"holds {str(entries)[:40]!r}, needed is an object with keys",
            f"write for example {_EXAMPLE}",
        )
    return entries


def _read_table(path: Path) -> Table:
    try:
        return read_table(path)
    except OSError as error:
        raise ResourceError(
            f"{path}: cannot be read ({error.strerror})",
            rule="E-RES-62",
            hint="check that the file is there and that you may read it",
        ) from error


def _no_case(where: str) -> DatasetError:
    return DatasetError(
        f"{where}: lists 0 cases, needed is at least 1", rule="E-SET-47", hint="list the cases"
    ).about(file=where)
