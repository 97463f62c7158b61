"""Where raw datasets are: which folders and files are one, told by names alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from autoseg.io.raw.channel_files import is_there

DATASET_JSON: Final = "dataset.json"
"""Describes the layouts of nnU-Net and of the Medical Segmentation Decathlon."""
BIDS_JSON: Final = "dataset_description.json"
"""Lies in every BIDS dataset."""
DESCRIPTIONS: Final = (DATASET_JSON, "manifest.json", "manifest.csv", BIDS_JSON)
"""Files that make a folder a raw dataset; the first that is there counts."""
MANIFEST_ENDINGS: Final = (".csv", ".json")
"""Endings of manifests, in lower case."""


def description_in(folder: Path) -> Path | None:
    """Return the file that makes a folder a raw dataset, if there is one."""
    return next((folder / name for name in DESCRIPTIONS if is_there(folder / name)), None)


def raw_dataset_at(path: Path) -> Path | None:
    """Return the folder or manifest of the raw dataset that a path means; None if it means none.

    A manifest may be named itself, and so may the file that describes the dataset of its folder.
    """
    if path.is_dir():
        return path if description_in(path) else None
    if path.suffix.lower() not in MANIFEST_ENDINGS or not path.is_file():
        return None
    return path.parent if path.name in (DATASET_JSON, BIDS_JSON) else path


def dataset_folders(place: Path) -> Iterator[str]:
    """Yield the names of the raw datasets among the folders in a folder."""
    for name in DESCRIPTIONS:
        yield from (found.parent.name for found in place.glob(f"*/{name}"))
