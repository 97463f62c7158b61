"""Which image files lie in a folder, and which of their names cannot be told apart safely."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from autoseg.core.errors import AutosegError, DatasetError, ResourceError
from autoseg.io.formats.metaimage_header import DATA_ENDINGS
from autoseg.io.formats.tiff_sidecar import TIFF_ENDINGS, sidecar_names
from autoseg.io.guard import file_ending

CaseFile = tuple[str, str]
"""The name of a case, empty if there is none, and the name or path of a file of it."""
_Thing = TypeVar("_Thing")


def visible_names(folder: Path) -> list[str]:
    """Return the sorted names in a folder, without hidden ones; nothing if there is no folder."""
    try:
        return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ResourceError(
            f"{folder}: cannot be listed ({error.strerror})",
            rule="E-RES-62",
            hint="check the permissions of the folder",
        ) from error


def stem(name: str) -> str:
    """Return a file name without its image ending."""
    return name[: len(name) - len(file_ending(Path(name)))]


def companions(names: Iterable[str]) -> frozenset[str]:
    """Return the names that belong to another file of the same folder.

    Parameters
    ----------
    names : iterable of str
        All file names in a folder.

    Returns
    -------
    frozenset of str
        The data files of MetaImage headers, ``a.raw`` or ``a.zraw`` beside ``a.mhd``, and the
        spacings of TIFF stacks, ``a.json`` beside ``a.tif`` or ``a_0000.tif`` (and ``.tiff``).

    Examples
    --------
    >>> sorted(companions(["a.mhd", "a.zraw", "b.raw", "c_0000.tif", "c.json", "d.json"]))
    ['a.zraw', 'c.json']
    """
    present = frozenset(names)
    wanted: set[str] = set()
    for name in present:
        kind, start = file_ending(Path(name)), stem(name)
        if kind == ".mhd":
            wanted |= {start + ending for ending in DATA_ENDINGS}
        elif kind in TIFF_ENDINGS:
            wanted.update(sidecar_names(start))
    return present & wanted


def check_safe_name(name: str, where: str) -> None:
    """Refuse (E-SET-45) a name that holds a line break, NUL or no valid text."""
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
        raise DatasetError(
            f"{where}: the name {name!r} holds a control or undecodable character; "
            "allowed are printable ones",
            rule="E-SET-45",
            hint="rename the file",
        )


def unsafe_names(files: Iterable[CaseFile], folder: Path) -> list[AutosegError]:
    """Return a problem for each file that `check_safe_name` refuses.

    Parameters
    ----------
    files : iterable of CaseFile
        Cases and files in the folder.
    folder : Path
        The folder.
    """
    problems: list[AutosegError] = []
    for case, path in files:
        try:
            check_safe_name(path, str(folder))
        except DatasetError as error:
            problems.append(error.about(case, file=str(folder / path)))
    return problems


def look_alikes(files: Iterable[CaseFile], where: str) -> list[AutosegError]:
    """Return a problem for each group of cases that some file system or reader would confuse.

    Parameters
    ----------
    files : iterable of CaseFile
        Each case with the file that it comes from.
    where : str
        Names the folder in errors.

    Notes
    -----
    Names are the same here if they are equal after Unicode normalization (NFC) and case folding.
    """
    return _confused(((case, (case, file)) for case, file in files), where)


def look_alike_files(files: Iterable[CaseFile], where: str) -> list[AutosegError]:
    """Return a problem for each group of files whose names are the same but for their endings.

    As `look_alikes`, which compares the names of cases.
    """
    return _confused(((stem(file), (case, file)) for case, file in files), where)


def _confused(named: Iterable[tuple[str, CaseFile]], where: str) -> list[AutosegError]:
    """Return a problem for each group of cases and files that have the same name."""
    return [
        DatasetError(
            f"{where}: files {', '.join(repr(file) for _, file in group)} belong to the same "
            "case; allowed is one",
            rule="E-SET-43",
            hint="rename or remove all but one of them",
        ).about(*(case for case, _ in group))
        for group in equal_names(named)
    ]


def equal_names(named: Iterable[tuple[str, _Thing]]) -> list[list[_Thing]]:
    """Return the groups of two or more things that have the same name, for `look_alikes`.

    Parameters
    ----------
    named : iterable of (str, thing)
        Name, and what has it.
    """
    groups: defaultdict[str, list[_Thing]] = defaultdict(list)
    for name, thing in named:
        groups[unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())].append(
            thing
        )
    return [group for group in groups.values() if len(group) > 1]
