"""The guard before every decoder: takes in a file only if it is intact and what its name says.

One pass over the file in bounded memory: its kind by content, checksum, declared and actual length
and digest. What the voxels mean is not looked at.
"""

import hashlib
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from pathlib import Path
from typing import IO, Final, Protocol

from autoseg.core.errors import ImageFileError, InputError, ResourceError
from autoseg.io.formats.content import Source, read_content
from autoseg.io.formats.kinds import check_kind
from autoseg.io.formats.tiff_sidecar import LARGEST_SIDECAR_BYTES, TIFF_ENDINGS, sidecar_names

FILE_ENDINGS: Final = (
    ".nii.gz",
    ".nii",
    ".nrrd",
    ".mha",
    ".mhd",
    ".gipl",
    ".tif",
    ".tiff",
    ".png",
    ".bmp",
)
"""Endings of the image files that autoseg reads and writes."""
ANATOMICAL_ENDINGS: Final = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
"""Those of files that say where left, front and top of a patient are."""
LARGEST_VOLUME_BYTES: Final = 8 * 2**30
"""Largest declared size of a file, decompressed, unless a caller says otherwise."""
LARGEST_MEMORY_FRACTION: Final = 0.4
"""Share of the machine's memory that one file may take, unless a caller says otherwise."""

_CHUNK_BYTES: Final = 2**18


class Hasher(Protocol):
    """What computes a digest piece by piece."""

    def update(self, data: bytes, /) -> None:
        """Take in data."""

    def hexdigest(self) -> str:
        """Return the digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """An intact file, with what lies beside it and belongs to it."""

    data: bytes | bytearray
    """Content: of a volume decompressed, header and voxels; of a picture as it is stored."""
    sidecar: bytes = b""
    """Content of the spacing of a TIFF stack."""
    digest: str
    """SHA-256 of the file as it is stored, followed by its data file or sidecar."""


@dataclass(slots=True, kw_only=True)
class _Attempt:
    """One reading of a file and of what lies beside it."""

    path: Path
    """The file."""
    stack: ExitStack
    """Closes what was opened."""
    hasher: Hasher = field(default_factory=hashlib.sha256)
    """Takes in every byte."""
    opened: list[tuple[IO[bytes], os.stat_result]] = field(default_factory=list)
    """Files, and what they were when they were opened."""

    def chunks(self, name: str) -> Iterator[bytes]:
        """Open a regular file in the folder and return its content piece by piece."""
        path = self.path.with_name(name)
        check_regular(path, path.stat().st_mode)
        # A FIFO that takes the file's place after the check must not block the open.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        file = self.stack.enter_context(os.fdopen(os.open(path, flags), "rb", buffering=0))
        before = os.fstat(file.fileno())
        check_regular(path, before.st_mode)
        self.opened.append((file, before))
        return self._pieces(file)

    def has_changed(self) -> bool:
        """Whether a file was written since it was opened."""
        return any(_stamp(os.fstat(file.fileno())) != _stamp(old) for file, old in self.opened)

    def _pieces(self, file: IO[bytes]) -> Iterator[bytes]:
        while chunk := file.read(_CHUNK_BYTES):
            self.hasher.update(chunk)
            yield chunk


def file_ending(path: Path) -> str:
    """Return which of `FILE_ENDINGS` a file name has, in lower case, or an empty string."""
    name = path.name.lower()
    return next((ending for ending in FILE_ENDINGS if name.endswith(ending)), "")


def is_series(path: Path) -> bool:
    """Whether a path stands for a DICOM series: a folder that is not called like an image file."""
    return path.is_dir() and not file_ending(path)


@cache
def default_limit_bytes() -> int:
    """Return the smaller of `LARGEST_VOLUME_BYTES` and `LARGEST_MEMORY_FRACTION` of the memory."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not POSIX
        return LARGEST_VOLUME_BYTES
    return min(LARGEST_VOLUME_BYTES, int(LARGEST_MEMORY_FRACTION * memory))


def guarded_bytes(path: Path, *, limit_bytes: int) -> Guarded:
    """Read a file, refusing it unless it is whole, unharmed and of the kind its name says.

    Parameters
    ----------
    path : Path
        File whose name has one of `FILE_ENDINGS`.
    limit_bytes : int
        Largest declared size, decompressed. It is compared before anything of that size is made.

    Raises
    ------
    ImageFileError
        With the rule E-FILE-01 to E-FILE-12 that the file breaks.
    InputError
        If a header of text says nothing sound of the place of its voxels, or of their type.
    ResourceError
        If the file may not be read.

    Notes
    -----
    Symbolic links to regular files are followed. A file that changes under the reader is read
    once more.
    """
    ending = file_ending(path)
    if not ending:
        raise ImageFileError(
            f"{path}: ends with {''.join(path.suffixes) or 'nothing'}, "
            f"allowed are {', '.join(FILE_ENDINGS)}",
            rule="E-FILE-07",
            hint="convert the image to .nii.gz",
        )
    for _ in range(2):
        try:
            guarded = _read_once(path, ending, limit_bytes)
        except FileNotFoundError as error:
            raise ImageFileError(
                f"{error.filename or path}: there is no such file",
                rule="E-SET-42",
                hint="check the path, or remove the case from the dataset",
            ) from error
        except OSError as error:
            raise ResourceError(
                f"{path}: cannot be read ({error.strerror or error})",
                rule="E-RES-62",
                hint="check the disk and the permissions of the file",
            ) from error
        if guarded is not None:
            return guarded
    raise ImageFileError(
        f"{path}: changed twice while it was being read",
        rule="E-FILE-12",
        hint="wait until the program that writes it is done",
    )


def unpacked_bytes(path: Path) -> int:
    """Guess how large a file, or the files of a folder, are once they are unpacked.

    Of a gzip file the size is what its last four bytes claim, modulo 2^32; the claim is not
    checked here. What cannot be read counts as nothing: whoever reads it says why.
    """
    try:
        if path.is_dir():
            return sum(part.stat().st_size for part in path.iterdir() if part.is_file())
        stored = path.stat().st_size
        if not path.name.lower().endswith(".gz") or not path.is_file() or stored < 18:
            return stored
        with path.open("rb") as file:
            file.seek(-4, os.SEEK_END)
            return max(stored, int.from_bytes(file.read(4), "little"))
    except OSError:
        return 0


def guarded_content(data: bytes, path: Path, ending: str, *, sidecar: bytes = b"") -> Guarded:
    """Return bytes that are not yet a file as the guard returns those of one.

    Parameters
    ----------
    data : bytes
        The whole file.
    path : Path
        Where it is to be written; names it in errors.
    ending : str
        One of `FILE_ENDINGS`.
    sidecar : bytes
        The spacing that goes beside it.

    Raises
    ------
    InputError
        As `guarded_bytes`.
    """
    source = Source(
        pieces=iter((data,)),
        path=path,
        limit_bytes=sys.maxsize,
        sibling=_no_sibling,
    )
    return Guarded(
        data=read_content(source, ending),
        sidecar=sidecar,
        digest=hashlib.sha256(data + sidecar).hexdigest(),
    )


def _no_sibling(name: str) -> Iterator[bytes]:
    raise FileNotFoundError(name)


def _read_once(path: Path, ending: str, limit_bytes: int) -> Guarded | None:
    """Read the file; None if it changed meanwhile."""
    with ExitStack() as stack:
        attempt = _Attempt(path=path, stack=stack)
        try:
            data, sidecar = _content(attempt, ending, limit_bytes)
        except InputError:
            if attempt.has_changed():
                return None
            raise
        if attempt.has_changed():
            return None
        return Guarded(data=data, sidecar=sidecar, digest=attempt.hasher.hexdigest())


def _content(attempt: _Attempt, ending: str, limit_bytes: int) -> tuple[bytes | bytearray, bytes]:
    """Return the content of a file and of its sidecar."""
    path = attempt.path
    chunks = attempt.chunks(path.name)
    first = next(chunks, b"")
    check_kind(first, ending, path)
    source = Source(
        pieces=chain((first,), chunks),
        path=path,
        limit_bytes=limit_bytes,
        sibling=attempt.chunks,
    )
    data = read_content(source, ending)
    return data, _sidecar(attempt) if ending in TIFF_ENDINGS else b""


def _sidecar(attempt: _Attempt) -> bytes:
    """Return the spacing beside a TIFF image; nothing where there is none."""
    path = attempt.path
    for name in sidecar_names(path.stem):
        if not path.with_name(name).is_file():
            continue
        data = b""
        for chunk in attempt.chunks(name):
            data += chunk
            if len(data) > LARGEST_SIDECAR_BYTES:
                raise ImageFileError(
                    f"{path.with_name(name)}: has more than {LARGEST_SIDECAR_BYTES} bytes, which "
                    f"are allowed for the spacing of {path.name}",
                    rule="E-FILE-06",
                    hint='leave only {"spacing": [z, y, x]} in it',
                )
        return data
    return b""


def _stamp(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def check_regular(path: Path, mode: int) -> None:
    """Refuse what is no regular file (E-FILE-11), given its mode: a pipe would be waited for."""
    if stat.S_ISREG(mode):
        return
    kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"
    raise ImageFileError(
        f"{path}: is {kind}, allowed are regular files and links to them",
        rule="E-FILE-11",
        hint="put the image file itself in its place",
    )
