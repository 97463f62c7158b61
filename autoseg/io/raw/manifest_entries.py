"""What a manifest says of its cases, whichever file it is, before anything of it is checked."""

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from autoseg.core.labels import Labels
from autoseg.io.guard import file_ending
from autoseg.io.raw.channel_files import PICTURE_ENDINGS

IGNORE: Final = "ignore"
"""Name of the ignore label in files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One value of an entry."""

    place: str
    """Where it stands in the manifest, such as ``row 4, column 'image'``."""
    value: object
    """What stands there; None or empty if nothing does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One case as the manifest writes it; nothing of it is checked yet."""

    place: str
    """Where it stands in the manifest, such as ``row 4``."""
    name: Cell
    """Name of the case."""
    images: tuple[Cell, ...]
    """Paths of the images."""
    segmentation: Cell
    """Path of the segmentation."""
    patient: Cell
    """Name of the patient."""
    labels: tuple[tuple[str, Cell], ...]
    """Name of a label, and its value in the segmentation of this case."""

    @property
    def case(self) -> str:
        """Name of the case as text, sound or not; empty if there is none."""
        return str(self.name.value or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What all entries of a manifest are held against."""

    where: str
    """Path of the manifest; names it in errors."""
    folder: Path
    """Folder that relative paths start from."""
    channels: int
    """Channels of every case."""
    labels: Labels
    """Labels of the dataset."""
    ending: str
    """Ending of predictions."""
    needs_segmentation: bool = True
    """Whether cases have segmentations; where they need none, those that they have do not count."""


def shared_ending(paths: Iterable[str]) -> str:
    """Return the ending that all images share, or else the usual one of their family.

    Examples
    --------
    >>> shared_ending(["a.nrrd", "b.nrrd"]), shared_ending(["a.nrrd", "b.nii"])
    ('.nrrd', '.nii.gz')
    """
    endings = {file_ending(Path(path)) for path in paths} - {""}
    if len(endings) == 1:
        return endings.pop()
    return ".png" if endings and endings.issubset(PICTURE_ENDINGS) else ".nii.gz"


def misspelled(names: Iterable[str], allowed: Collection[str]) -> str:
    """Write names that are not allowed, each with the one that may be meant.

    Examples
    --------
    >>> misspelled(["Case", "age"], ["case", "image"])
    "'Case' (meant 'case'?), 'age'"
    """
    known = {name.casefold(): name for name in allowed}
    written = []
    for name in names:
        near = difflib.get_close_matches(name.casefold(), known, n=1, cutoff=0.8)
        written.append(f"{name!r} (meant {known[near[0]]!r}?)" if near else repr(name))
    return ", ".join(written)


def label_names(labels: Labels) -> tuple[str, ...]:
    """Return the names that values may be given for, in the order of `Labels.stored_values`."""
    return labels.names if labels.ignore is None else (*labels.names, IGNORE)
