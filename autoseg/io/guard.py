"""The guard before every decoder: takes in a file only if it is intact and what its name says.

One pass over the file in bounded memory: its kind by content, checksum, declared and actual length
and digest. What the voxels mean is not looked at.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Final, Protocol

from autoseg.core.errors import ImageFileError, ResourceError
from autoseg.io.gzip_stream import inflated
from autoseg.io.nifti_header import LONGEST_HEADER_BYTES, Header, is_nifti, parse_header
from autoseg.io.png_header import SIGNATURE, check_chunks, parse_png_header

FILE_ENDINGS: Final = (".nii.gz", ".nii", ".png")
"""Endings of the image files that autoseg reads and writes."""
SLACK_BYTES: Final = 64 * 2**10
"""Bytes tolerated behind the last voxel: some writers pad."""
LARGEST_VOLUME_BYTES: Final = 8 * 2**30
"""Largest declared size of a file, decompressed, unless a caller says otherwise."""
LARGEST_MEMORY_FRACTION: Final = 0.4
"""Share of the machine's memory that one file may take, unless a caller says otherwise."""

_CHUNK_BYTES: Final = 2**18
_KINDS: Final = (
    (b"\x1f\x8b", "a gzip file"),
    (SIGNATURE, "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"PK\x03\x04", "a zip archive"),
    (b"NRRD", "an NRRD image"),
    (b"ObjectType", "a MetaImage header"),
    (b"\x89HDF", "an HDF5 file"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
)


class _Hasher(Protocol):
    def update(self, data: bytes, /) -> None:
        """Take in data."""

    def hexdigest(self) -> str:
        """Return the digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """An intact file."""

    data: bytes | bytearray
    """Content: of NIfTI decompressed, header and voxels; of PNG as it is stored."""
    digest: str
    """SHA-256 of the file as it is stored."""


def file_ending(path: Path) -> str:
    """Return which of `FILE_ENDINGS` a file name has, in lower case, or an empty string."""
    name = path.name.lower()
    return next((ending for ending in FILE_ENDINGS if name.endswith(ending)), "")


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
                f"{path}: there is no such file",
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


def _read_once(path: Path, ending: str, limit_bytes: int) -> Guarded | None:
    """Read the file; None if it changed meanwhile."""
    _check_regular(path, path.stat().st_mode)
    # A FIFO that takes the file's place after the check must not block the open.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb", buffering=0) as file:
        before = os.fstat(file.fileno())
        _check_regular(path, before.st_mode)
        hasher = hashlib.sha256()
        try:
            data = _content(file, hasher, ending, path, limit_bytes)
        except ImageFileError:
            if _has_changed(file, before):
                return None
            raise
        return None if _has_changed(file, before) else Guarded(data=data, digest=hasher.hexdigest())


def _has_changed(file: IO[bytes], before: os.stat_result) -> bool:
    after = os.fstat(file.fileno())
    return (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns)


def _check_regular(path: Path, mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"
    raise ImageFileError(
        f"{path}: is {kind}, allowed are regular files and links to them",
        rule="E-FILE-11",
        hint="put the image file itself in its place",
    )


def _content(
    file: IO[bytes], hasher: _Hasher, ending: str, path: Path, limit_bytes: int
) -> bytes | bytearray:
    chunks = _chunks(file, hasher)
    first = next(chunks, b"")
    _check_kind(first, ending, path)
    chunks = _with_first(first, chunks)
    if ending == ".png":
        return _whole_png(chunks, path, limit_bytes)
    pieces = inflated(chunks, str(path)) if ending == ".nii.gz" else chunks
    return _whole_nifti(pieces, path, limit_bytes)


def _chunks(file: IO[bytes], hasher: _Hasher) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK_BYTES):
        hasher.update(chunk)
        yield chunk


def _with_first(first: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from chunks


def _check_kind(first: bytes, ending: str, path: Path) -> None:
    """Compare the kind that the content shows with the kind that the name promises."""
    if not first:
        raise ImageFileError(
            f"{path}: empty file (0 bytes)", rule="E-FILE-01", hint="copy or export it again"
        )
    kind = _kind(first)
    promised = {".nii.gz": "a gzip file", ".nii": "a plain NIfTI file", ".png": "a PNG image"}
    if kind == promised[ending] or (ending == ".nii" and not kind):
        return
    real = {"a gzip file": ".nii.gz", "a plain NIfTI file": ".nii", "a PNG image": ".png"}.get(kind)
    raise ImageFileError(
        f"{path}: is {kind or 'of unknown kind'}, but its name promises {promised[ending]}",
        rule="E-FILE-07",
        hint=f"rename it to end with {real}" if real else f"convert the image to {ending}",
    )


def _kind(data: bytes | bytearray) -> str:
    """Name the kind of file that data begins, or return an empty string."""
    for signature, kind in _KINDS:
        if data.startswith(signature):
            return kind
    if data[128:132] == b"DICM":
        return "a DICOM file"
    if is_nifti(data):
        return "a plain NIfTI file"
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in data[:64]):
        return "a text file"
    return ""


def _whole_nifti(pieces: Iterator[bytes], path: Path, limit_bytes: int) -> bytearray:
    """Join the pieces of a NIfTI file; stop as soon as it is longer than its header declares."""
    data = bytearray()
    header: Header | None = None
    for piece in pieces:
        data += piece
        if header is None and len(data) >= LONGEST_HEADER_BYTES:
            header = _affordable_header(data, path, limit_bytes)
        if header and len(data) > header.declared_bytes + SLACK_BYTES:
            raise ImageFileError(
                f"{path}: more than {SLACK_BYTES} bytes follow the {header.declared_bytes} bytes "
                f"that the header declares for shape {header.shape}",
                rule="E-FILE-05",
                hint="the header is wrong or the file hides other data; export the image again",
            )
    header = header or _affordable_header(data, path, limit_bytes)
    if len(data) < header.declared_bytes:
        raise ImageFileError(
            f"{path}: truncated: {header.declared_bytes} bytes expected for shape {header.shape}, "
            f"{len(data)} found",
            rule="E-FILE-02",
            hint="copy or export it again",
        )
    return data


def _affordable_header(data: bytearray, path: Path, limit_bytes: int) -> Header:
    if not is_nifti(data) and (kind := _kind(data)):
        raise ImageFileError(
            f"{path}: holds {kind}, but its name promises NIfTI",
            rule="E-FILE-07",
            hint=f"convert the image to {file_ending(path)}",
        )
    header = parse_header(data, str(path))
    _check_affordable(path, header.declared_bytes, header.shape, limit_bytes)
    return header


def _whole_png(chunks: Iterator[bytes], path: Path, limit_bytes: int) -> bytearray:
    """Join a PNG file; stop where it could not be paid for."""
    data = bytearray()
    for chunk in chunks:
        if not data:
            header = parse_png_header(chunk, str(path))
            _check_affordable(path, header.declared_bytes, header.shape, limit_bytes)
        data += chunk
        _check_affordable(path, len(data), header.shape, limit_bytes)
    check_chunks(data, str(path), slack_bytes=SLACK_BYTES)
    return data


def _check_affordable(path: Path, size: int, shape: tuple[int, ...], limit_bytes: int) -> None:
    if size > limit_bytes:
        raise ImageFileError(
            f"{path}: declares shape {shape}, {size} bytes; allowed are {limit_bytes}",
            rule="E-FILE-06",
            hint="crop the image, use a machine with more memory, or raise the limit for a volume",
        )
