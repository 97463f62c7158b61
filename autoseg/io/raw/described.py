"""The layouts that ``dataset.json`` describes: those of nnU-Net and of the Decathlon."""

from dataclasses import replace
from pathlib import Path

from autoseg.core.errors import AutosegError, DatasetError, ResourceError, UsageError
from autoseg.io.raw.dataset_json import (
    Entries,
    Layout,
    channel_names,
    layout_of,
    patients,
    read_json,
    text,
    whole_number,
)
from autoseg.io.raw.declared_labels import parse_labels
from autoseg.io.raw.layouts import Listing, RawDataset, list_nnunet
from autoseg.io.raw.listed_cases import list_named
from autoseg.io.raw.listing import visible_names
from autoseg.io.raw.places import DATASET_JSON
from autoseg.io.raw.training_list import list_decathlon


def read_described(folder: Path, exclude: frozenset[str]) -> RawDataset:
    """Read a dataset that ``dataset.json`` describes.

    Parameters
    ----------
    folder : Path
        Folder with ``dataset.json``.
    exclude : frozenset of str
        Cases to leave out, whatever their entries and files are like.

    Raises
    ------
    UsageError
        If there is no such folder.
    DatasetError
        If ``dataset.json`` is missing or says something that no dataset can be.
    DocumentError
        If it is no strict JSON.

    Notes
    -----
    The key ``patients``, ``{case: patient}``, may be added to any layout. The key ``numTraining``
    may count the excluded cases or not.
    """
    entries, where = _read_entries(folder)
    layout = layout_of(entries, where)
    labels = parse_labels(entries, layout, where)
    channels = channel_names(entries, layout, where)
    named = patients(entries, where)
    listing = _listing(folder, entries, layout, len(channels), exclude)
    problems = (*listing.problems, *_wrong_count(entries, listing, len(exclude), where))
    return RawDataset(
        name=folder.resolve().name,
        folder=folder,
        where=where,
        channels=channels,
        labels=labels,
        patients=named,
        listing=replace(listing, problems=problems),
    )


def _listing(
    folder: Path, entries: Entries, layout: Layout, channels: int, exclude: frozenset[str]
) -> Listing:
    if layout == "decathlon":
        return list_decathlon(folder, entries["training"], channels, exclude)
    ending = text(entries, "file_ending", str(folder / DATASET_JSON))
    if "dataset" in entries:
        return list_named(folder, entries["dataset"], channels, ending, exclude)
    return list_nnunet(folder, channels, ending, exclude)


def _read_entries(folder: Path) -> tuple[Entries, str]:
    path = folder / DATASET_JSON
    if not folder.is_dir():
        raise UsageError(
            f"{folder}: there is no such folder or file",
            hint="give the folder of a raw dataset, the one that holds dataset.json, or a manifest",
        )
    try:
        entries = read_json(path)
    except PermissionError as error:
        raise ResourceError(
            f"{path}: cannot be read ({error.strerror})",
            rule="E-RES-62",
            hint="check the permissions of the file",
        ) from error
    except OSError as error:
        raise DatasetError(
            f"{folder}: dataset.json cannot be read ({error.strerror}); "
            f"the folder holds {visible_names(folder)[:5]}",
            rule="E-SET-42",
            hint="give the folder that holds dataset.json, or write one",
        ) from error
    if not isinstance(entries, dict):
        raise DatasetError(
            f"{path}: holds {str(entries)[:40]!r}, needed is an object with keys",
            rule="E-SET-46",
            hint="write dataset.json as the documentation of the dataset format shows",
        )
    return entries, str(path)


def _wrong_count(
    entries: Entries, listing: Listing, excluded: int, where: str
) -> list[AutosegError]:
    if not listing.seen and not listing.problems:
        return [
            DatasetError(
                f"{where}: there are 0 training cases, needed is at least 1",
                rule="E-SET-47",
                hint="put images into imagesTr and segmentations into labelsTr",
            ).about(file=where)
        ]
    announced, found = whole_number(entries, "numTraining", where), len(listing.cases)
    if announced is None or found <= announced <= found + excluded:
        return []
    return [
        DatasetError(
            f"{where}: numTraining is {announced}, but {found} cases were found",
            rule="E-SET-46",
            hint="correct numTraining, or find the cases that are missing",
        ).about(file=where)
    ]
