"""File names of images: which channel of which case they hold, and which endings are alike."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from autoseg.io.formats.tiff_sidecar import TIFF_ENDINGS
from autoseg.io.guard import FILE_ENDINGS, file_ending
from autoseg.io.raw.listing import stem

CHANNEL: Final = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})", re.DOTALL | re.ASCII)
"""Stem of a channel's file: the case's name and the four digits of the channel's number."""
PICTURE_ENDINGS: Final = (".png", ".bmp", *TIFF_ENDINGS)
"""Endings of files that may hold colors, which are channels."""


def same_family(ending: str) -> tuple[str, ...]:
    """Return the endings that can stand for each other: of pictures, or of volumes."""
    is_picture = ending in PICTURE_ENDINGS
    return tuple(other for other in FILE_ENDINGS if (other in PICTURE_ENDINGS) == is_picture)


def channel_groups(names: Iterable[str]) -> tuple[dict[str, dict[int, str]], list[str]]:
    """Group file names ``<case>_<4 digits><ending>`` by case and channel; return others beside."""
    groups: defaultdict[str, dict[int, str]] = defaultdict(dict)
    strays = []
    for name in names:
        match = CHANNEL.fullmatch(stem(name))
        if match:
            groups[match["case"]][int(match["channel"])] = name
        else:
            strays.append(name)
    return dict(groups), strays


def group_by_case(
    images: Sequence[str], segmentations: Iterable[str]
) -> tuple[dict[str, dict[int, str]], list[str]]:
    """Group files to cases: by channel number, or each on its own if named as its segmentation.

    Returns
    -------
    dict
        File name by channel, by case name.
    list of str
        Names that belong to no case.
    """
    numbered = any(stem(name).endswith("_0000") for name in images)
    if numbered or not {stem(name) for name in images} & {stem(name) for name in segmentations}:
        return channel_groups(images)
    return {stem(name): {0: name} for name in images}, []


def case_names(name: str) -> tuple[str, ...]:
    """Return what the case of a file may be called: the stem, and that without a channel's number.

    Examples
    --------
    >>> case_names("a_0001.nii.gz")
    ('a_0001', 'a')
    """
    match = CHANNEL.fullmatch(stem(name))
    return (stem(name), match["case"]) if match else (stem(name),)


def likely_case(name: str, known: Collection[str]) -> str:
    """Return the case that a left over file tells of: a known one, if its name fits one.

    Parameters
    ----------
    name : str
        Name of the file; if it does not end like an image, its case is empty.
    known : collection of str
        Names of the cases that other files tell of.

    Examples
    --------
    >>> likely_case("a_0007.nii.gz", {"a"}), likely_case("b_0007.nii.gz", {"a"})
    ('a', 'b')
    >>> likely_case("a_0007.nii.gz", {"a", "a_0007"}), likely_case("a.txt", {"a"})
    ('a_0007', '')
    """
    if not file_ending(Path(name)):
        return ""
    names = case_names(name)
    return next((case for case in names if case in known), names[-1])


def is_whole(case: str, files: Mapping[int, str]) -> bool:
    """Whether a case is one file without a channel number, which holds all channels."""
    return [stem(name) for name in files.values()] == [case]


def is_there(path: Path) -> bool:
    """Whether there is a file; one that may not be looked at counts, the reader will say so."""
    try:
        return path.exists()
    except OSError:
        return True


def numbered(path: str, channel: int) -> str:
    """Return the path of a channel's file: the number goes before the ending."""
    name = PurePosixPath(path).name
    ending = name[len(stem(name)) :]
    return str(PurePosixPath(path).with_name(f"{stem(name)}_{channel:04d}{ending}"))
