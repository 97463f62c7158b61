"""The chain of directories of a TIFF file, one per page: all of it must lie in the file.

Readers stop at the first page that they cannot find, and so take a stack that was cut for a
shorter one.
"""

import struct
from dataclasses import dataclass
from typing import Final

from autoseg.core.errors import ImageFileError
from autoseg.io.formats.header_faults import impossible, truncated

MOST_PAGES: Final = 10_000
"""Longest stack that is read: tifffile takes 4 KiB and 0.1 ms for each page, however small."""
MOST_SHARED: Final = 2
"""How many times the bytes of a file its directories may list: honest writers share a few values
at the most, while each reader loads the values of each directory anew."""

_VALUE_BYTES: Final = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
"""Size of a value by the code of its type, TIFF 6.0 and BigTIFF."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Where numbers lie in the file."""

    order: str
    """``<`` or ``>``, as in `struct`."""
    start: int
    """Byte of the first directory's address."""
    count: str
    """Number of entries of a directory."""
    entry: str
    """Tag, type, and number of values of an entry."""
    address: str
    """Address of a value or of the next directory."""


def check_directories(data: bytes | bytearray, where: str) -> int:
    """Walk through the directories of a TIFF file before any reader loads what they list.

    Parameters
    ----------
    data : bytes
        The whole file, with a signature of TIFF or BigTIFF.
    where : str
        Names the file in errors.

    Returns
    -------
    int
        Number of pages.

    Raises
    ------
    ImageFileError
        E-FILE-02 if a directory or one of its values reaches beyond the file, or one comes after
        itself; E-FILE-06 if there are more than `MOST_PAGES`; E-FILE-09 if they share their bytes.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    layout = _Layout(
        order=order,
        start=8 if big else 4,
        count="Q" if big else "H",
        entry="2HQ" if big else "2HI",
        address="Q" if big else "I",
    )
    seen: set[int] = set()
    listed_bytes = 0
    try:
        (place,) = struct.unpack_from(order + layout.address, data, layout.start)
        while place:
            if place in seen:
                raise truncated(where, f"the directory at byte {place} comes after itself", "TIFF")
            seen.add(place)
            place, size = _directory(data, place, layout)
            listed_bytes += size
            _check_affordable(len(seen), listed_bytes, len(data), where)
    except (struct.error, OverflowError):
        problem = f"directory {max(len(seen), 1)} reaches beyond the file"
        raise truncated(where, problem, "TIFF") from None
    return len(seen)


def _check_affordable(pages: int, listed_bytes: int, file_bytes: int, where: str) -> None:
    if pages > MOST_PAGES:
        raise ImageFileError(
            f"{where}: holds more than {MOST_PAGES} pages, which are allowed",
            rule="E-FILE-06",
            hint="convert the stack to .nii.gz or .nrrd",
        )
    if listed_bytes > MOST_SHARED * file_bytes:
        raise impossible(
            where,
            f"its first {pages} directories list {listed_bytes} bytes in a file of {file_bytes}, "
            "so that they share them",
            "TIFF",
        )


def _directory(data: bytes | bytearray, place: int, layout: _Layout) -> tuple[int, int]:
    """Return the address behind a directory, and the bytes of the directory and its values.

    `struct.error` if a part of it is missing.
    """
    order, width = layout.order, struct.calcsize("=" + layout.address)
    (count,) = struct.unpack_from(order + layout.count, data, place)
    first = place + struct.calcsize("=" + layout.count)
    step = struct.calcsize("=" + layout.entry) + width
    after = first + count * step
    (following,) = struct.unpack_from(order + layout.address, data, after)
    listed_bytes = after - place
    for entry in range(first, after, step):
        _, kind, number = struct.unpack_from(order + layout.entry, data, entry)
        size = _VALUE_BYTES.get(kind, 0) * number
        if size > width:
            (value,) = struct.unpack_from(order + layout.address, data, entry + step - width)
            if value + size > len(data):
                raise struct.error("a value lies outside")
            listed_bytes += size
    return int(following), listed_bytes
