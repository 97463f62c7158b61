"""The files of a folder that holds DICOM: which there are, safely opened, and whether they stay."""

import hashlib
import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from autoseg.core.errors import DatasetError, ImageFileError, InputError, ResourceError
from autoseg.io.guard import check_regular

LARGEST_FILES: Final = 20_000
"""Files that a folder may hold; the headers of each are read."""

_DICOMDIR: Final = "DICOMDIR"
_PREFIX: Final = b"DICM"
_PREAMBLE_BYTES: Final = 128
_ENDINGS: Final = (".dcm", ".dicom", ".ima")
_CHUNK_BYTES: Final = 2**18

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file of the folder, as the folder shows it."""

    path: Path
    """The file, or a link to it."""
    size: int
    """Its length in bytes."""
    stamp: tuple[int, int]
    """Time of the last change in ns, and inode: they differ once another file has its place."""


class BoundedFile(io.BufferedReader):
    """A file that makes no room for more bytes than it has left, whatever a header declares."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Return at most the bytes that are left."""
        left = max(0, os.fstat(self.fileno()).st_size - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left))


def holds_dicom(folder: Path) -> bool:
    """Return whether a regular file of a folder begins as DICOM does; sub-folders are not entered.

    A folder that cannot be read holds none.
    """
    try:
        with os.scandir(folder) as found:
            visible = (entry for entry in found if not entry.name.startswith("."))
            return any(_looks_like_dicom(Path(entry.path)) for entry in visible if entry.is_file())
    except OSError:
        return False


def listing(folder: Path) -> tuple[Entry, ...]:
    """Return the visible files of a folder by name; links are followed, sub-folders left out.

    Raises
    ------
    DatasetError
        E-SET-42 if it is no folder, or a link leads nowhere.
    ImageFileError
        E-FILE-06 if it holds more than `LARGEST_FILES`, E-FILE-11 if it holds a pipe or device.
    ResourceError
        E-RES-62 if it cannot be read.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: there is no such folder", rule="E-SET-42")
    with reading(folder):
        names = sorted(name for name in os.listdir(folder) if not name.startswith("."))  # noqa: PTH208
        if len(names) > LARGEST_FILES:
            raise ImageFileError(
                f"{folder}: holds {len(names)} files, allowed are {LARGEST_FILES}",
                rule="E-FILE-06",
                hint="give each series a folder of its own",
            )
        found = [(folder / name, (folder / name).stat()) for name in names]
    files = [(path, status) for path, status in found if not stat.S_ISDIR(status.st_mode)]
    for path, status in files:
        check_regular(path, status.st_mode)
    return tuple(
        Entry(path=path, size=s.st_size, stamp=(s.st_mtime_ns, s.st_ino)) for path, s in files
    )


def dicom_files(entries: tuple[Entry, ...], folder: Path) -> tuple[Entry, ...]:
    """Return those files that begin as DICOM does, without a DICOMDIR, which is never followed.

    Raises
    ------
    DatasetError
        E-SET-42 if there are none, E-DCM-55 if there is a DICOMDIR only.
    ImageFileError
        E-FILE-01 if a file is empty, E-FILE-07 if a name promises DICOM and the content is not.
    """
    files, directories = [], 0
    for entry in entries:
        if entry.path.name.upper() == _DICOMDIR:
            directories += 1
        elif _is_dicom(entry):
            files.append(entry)
    if files:
        return tuple(files)
    if directories:
        raise DatasetError(
            f"{folder}: holds a DICOMDIR, which is never followed, and no DICOM image beside it",
            rule="E-DCM-55",
            hint="give the folder that holds the slices themselves",
        )
    raise DatasetError(
        f"{folder}: holds no DICOM file among {len(entries)} files; sub-folders are not entered",
        rule="E-SET-42",
        hint="give the folder that holds the slices themselves",
    )


def steady(folder: Path, read: Callable[[tuple[Entry, ...]], Result]) -> Result:
    """Return what is read from the files of a folder; read once more if they changed meanwhile.

    Raises
    ------
    ImageFileError
        E-FILE-12 if files came, went or changed during both readings.
    """
    for _ in range(2):
        before = listing(folder)
        try:
            result = read(before)
        except InputError:
            if listing(folder) == before:
                raise
            continue
        if listing(folder) == before:
            return result
    raise changed(folder)


def changed(path: Path) -> ImageFileError:
    """Return the error for a folder or file that is being written."""
    return ImageFileError(
        f"{path}: changed twice while it was being read",
        rule="E-FILE-12",
        hint="wait until the program that writes it is done",
    )


@contextmanager
def opened(path: Path) -> Iterator[BoundedFile]:
    """Open a regular file for a moment; `ResourceError` if it cannot be read."""
    with reading(path):
        # A FIFO that takes the file's place after the listing must not block the open.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with BoundedFile(io.FileIO(os.open(path, flags))) as file:
            check_regular(path, os.fstat(file.fileno()).st_mode)
            yield file


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into an error that names the file."""
    try:
        yield
    except (InputError, ResourceError):
        raise
    except FileNotFoundError as error:
        raise DatasetError(
            f"{error.filename or path}: there is no such file",
            rule="E-SET-42",
            hint="put the file in its place, or remove the link to it",
        ) from error
    except OSError as error:
        raise ResourceError(
            f"{error.filename or path}: cannot be read ({error.strerror or error})",
            rule="E-RES-62",
            hint="check the disk and the permissions of the folder and its files",
        ) from error


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, read piece by piece."""
    hasher = hashlib.sha256()
    with opened(path) as file:
        while chunk := file.read(_CHUNK_BYTES):
            hasher.update(chunk)
    return hasher.hexdigest()


def combined_digest(digests: list[str]) -> str:
    """Return the digest of a series: the SHA-256 of its files' digests, sorted, one per line.

    File names do not weigh in; a copy of a slice does.
    """
    return hashlib.sha256("".join(f"{digest}\n" for digest in sorted(digests)).encode()).hexdigest()


def _is_dicom(entry: Entry) -> bool:
    if not entry.size:
        raise ImageFileError(
            f"{entry.path}: empty file (0 bytes)", rule="E-FILE-01", hint="copy or export it again"
        )
    with opened(entry.path) as file:
        if _begins_as_dicom(file):
            return True
    if entry.path.suffix.lower() in _ENDINGS:
        raise ImageFileError(
            f"{entry.path}: does not begin as DICOM files do (DICM at byte {_PREAMBLE_BYTES}), but "
            "its name promises one",
            rule="E-FILE-07",
            hint="copy the file again, or remove it from the folder",
        )
    return False


def _looks_like_dicom(path: Path) -> bool:
    try:
        with opened(path) as file:
            return _begins_as_dicom(file)
    except (InputError, ResourceError):
        return False


def _begins_as_dicom(file: BoundedFile) -> bool:
    return file.read(_PREAMBLE_BYTES + len(_PREFIX))[_PREAMBLE_BYTES:] == _PREFIX
