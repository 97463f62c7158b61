"""File names of BIDS: which session a file belongs to, and what kind of image it is."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from autoseg.io.guard import file_ending
from autoseg.io.raw.listing import stem, visible_names

ENDINGS: Final = (".nii.gz", ".nii")
"""Endings of images in BIDS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BidsFile:
    """An image or a segmentation."""

    path: str
    """Path in the dataset's folder."""
    entities: tuple[str, ...]
    """Pairs such as ``acq-mprage`` in its name, in their order."""
    suffix: str
    """What it is, such as ``T1w`` or ``dseg``."""

    @property
    def ending(self) -> str:
        """Ending of its name."""
        return file_ending(Path(self.path))

    @property
    def case(self) -> str:
        """Subject and session that its name gives."""
        return "_".join(e for e in self.entities if e.startswith(("sub-", "ses-")))

    @property
    def kind(self) -> str:
        """Suffix and entities but those that only count subjects, sessions and repetitions."""
        own = [e for e in self.entities if not e.startswith(("sub-", "ses-", "run-"))]
        return "_".join([*own, self.suffix])


def parse(path: str) -> BidsFile:
    """Take a file name apart.

    Examples
    --------
    >>> parse("sub-1/anat/sub-1_acq-fast_run-2_T1w.nii.gz").kind
    'acq-fast_T1w'
    """
    *entities, suffix = stem(Path(path).name).split("_")
    return BidsFile(path=path, entities=tuple(entities), suffix=suffix)


def by_case(place: Path, folder: Path) -> dict[str, list[BidsFile]]:
    """Return the files of the anatomical folders in a dataset or a pipeline's folder.

    Parameters
    ----------
    place : Path
        The dataset's folder or ``derivatives/<pipeline>`` in it.
    folder : Path
        The dataset's folder, which paths start from.

    Returns
    -------
    dict
        Files by case, ``sub-*`` or ``sub-*_ses-*``, sorted. Those that name another session than
        their folder does belong to no case.
    """
    found: defaultdict[str, list[BidsFile]] = defaultdict(list)
    for session in _sessions(place):
        case = "_".join(session.relative_to(place).parts)
        for name in visible_names(session / "anat"):
            if name.startswith(f"{case}_") and file_ending(Path(name)) in ENDINGS:
                file = parse((session / "anat" / name).relative_to(folder).as_posix())
                if file.case == case:
                    found[case].append(file)
    return dict(found)


def _sessions(place: Path) -> Iterator[Path]:
    """Yield the folders of all subjects, each followed by those of its sessions."""
    for subject in visible_names(place):
        if subject.startswith("sub-"):
            yield place / subject
            for session in visible_names(place / subject):
                if session.startswith("ses-"):
                    yield place / subject / session
