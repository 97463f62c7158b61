"""A manifest of images to segment: one CSV or JSON file that lists them, wherever they lie.

It is a dataset's manifest whose cases need no segmentation; one that has them will do.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from autoseg.core.dataset import Case, DatasetDescription
from autoseg.core.errors import AutosegError
from autoseg.io.raw.dataset_json import read_json, refuse
from autoseg.io.raw.manifest_checks import list_entries
from autoseg.io.raw.manifest_entries import Entry, Rules
from autoseg.io.raw.manifest_list import listed_entries
from autoseg.io.raw.manifest_table import read_table

_CASES: Final = "cases"


def listed_images(
    path: Path, description: DatasetDescription
) -> tuple[tuple[Case, ...], tuple[AutosegError, ...]]:
    """Return the cases of a manifest of images, and every fault of its entries.

    Parameters
    ----------
    path : Path
        CSV with the columns ``case`` and ``image``, or ``image:<channel>`` for each channel; or
        JSON such as ``{"cases": [{"name": "a", "images": ["a.nii.gz"]}]}``.
    description : DatasetDescription
        Channels and format that the model was trained on. Columns are taken by their channels'
        names, in whichever order they stand.

    Returns
    -------
    tuple of Case
        Sorted by name; paths in full, no segmentation.
    tuple of AutosegError
        What is wrong with the others.

    Raises
    ------
    DatasetError
        If columns or channels are wrong.
    DocumentError
        If it is no strict JSON or no table.
    """
    is_table = path.suffix.lower() == ".csv"
    read = _tabled if is_table else _listed
    entries, problems = read(path, description)
    rules = Rules(
        where=str(path),
        folder=path.parent,
        channels=len(description.channels),
        labels=description.labels,
        ending=description.file_ending,
        needs_segmentation=False,
    )
    listing = list_entries(entries, rules, frozenset())
    cases = tuple(_in_full(case, path.parent.absolute()) for case in listing.cases)
    return cases, (*problems, *listing.problems)


def _tabled(
    path: Path, description: DatasetDescription
) -> tuple[Sequence[Entry], Sequence[AutosegError]]:
    table = read_table(path, needs_segmentation=False)
    if table.channels and sorted(table.channels) != sorted(description.channels):
        refuse(
            str(path),
            f"columns for the channels {list(table.channels)}, but the model takes "
            f"{list(description.channels)}",
            "name the channels as the model's dataset does",
        )
    return list(table.entries(description.channels)), table.problems()


def _listed(
    path: Path, description: DatasetDescription
) -> tuple[Sequence[Entry], Sequence[AutosegError]]:
    held = read_json(path)
    listed = held.get(_CASES) if isinstance(held, dict) else None
    stated = held.get("channels", list(description.channels)) if isinstance(held, dict) else None
    if stated is not None and stated != list(description.channels):
        refuse(
            str(path),
            f"names the channels {stated}, but the model takes {list(description.channels)}",
            "list the images of each case in the model's order, and name the channels so",
        )
    if not isinstance(listed, list):
        refuse(
            str(path),
            f"has no list {_CASES!r}",
            'write for example {"cases": [{"name": "a", "images": ["a.nii.gz"]}]}',
        )
    return listed_entries(listed, str(path), frozenset())


def _in_full(case: Case, folder: Path) -> Case:
    return replace(case, images=tuple(str(folder / image) for image in case.images))
