"""The chain of directories of a TIFF file, one per page: all of it must lie in the file.

Readers stop at the first page that they cannot find, and so take a stack that was cut for a
shorter one.
"""

import struct
from dataclasses import dataclass
from typing import Final

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


def missing_directory(data: bytes | bytearray) -> tuple[int, str]:
    """Count the pages of a TIFF file, and say what of them lies outside of it.

    Parameters
    ----------
    data : bytes
        The whole file, with a signature of TIFF or BigTIFF.

    Returns
    -------
    int
        Pages found.
    str
        What is missing; empty if nothing is.
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
    try:
        (place,) = struct.unpack_from(order + layout.address, data, layout.start)
        while place:
            if place in seen:
                return len(seen), f"the directory at byte {place} comes after itself"
            seen.add(place)
            place = _next_directory(data, place, layout)
    except (struct.error, OverflowError):
        return len(seen), f"directory {max(len(seen), 1)} reaches beyond the file"
    return len(seen), ""


def _next_directory(data: bytes | bytearray, place: int, layout: _Layout) -> int:
    """Return the address behind a directory; `struct.error` if a part of it is missing."""
    order, width = layout.order, struct.calcsize("=" + layout.address)
    (count,) = struct.unpack_from(order + layout.count, data, place)
    first = place + struct.calcsize("=" + layout.count)
    step = struct.calcsize("=" + layout.entry) + width
    after = first + count * step
    (following,) = struct.unpack_from(order + layout.address, data, after)
    for entry in range(first, after, step):
        _, kind, number = struct.unpack_from(order + layout.entry, data, entry)
        size = _VALUE_BYTES.get(kind, 0) * number
        if size > width:
            (value,) = struct.unpack_from(order + layout.address, data, entry + step - width)
            if value + size > len(data):
                raise struct.error("a value lies outside")
    return int(following)
