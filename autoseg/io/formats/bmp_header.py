"""The sanity of a BMP file: its declared size, and whether its pixels are plain."""

import struct
from dataclasses import dataclass
from typing import Final

from autoseg.core.errors import ImageFileError
from autoseg.io.formats.header_faults import impossible, truncated

_SHORTEST_BYTES: Final = 26
"""Length of the shortest header, of OS/2."""
_BITS: Final = (1, 4, 8, 16, 24, 32)
_PLAIN: Final = (0, 3, 6)
"""Compression codes without compression: plain, bit fields, bit fields with alpha."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BmpHeader:
    """What a BMP file declares about itself."""

    shape: tuple[int, int]
    """Rows and columns."""
    declared_bytes: int
    """Length of the file up to the last pixel."""


def parse_bmp_header(data: bytes | bytearray, where: str) -> BmpHeader:
    """Read the header at the beginning of a BMP file.

    Raises
    ------
    ImageFileError
        E-FILE-02 if the file ends within the header, E-FILE-08 for compressed pixels, E-FILE-09 if
        a value is impossible.
    """
    length = struct.unpack_from("<I", data, 14)[0] if len(data) >= 18 else 0
    if len(data) < max(_SHORTEST_BYTES, 34 if length > 12 else 0):
        raise truncated(where, f"it ends after {len(data)} bytes, within its header", "BMP")
    (offset,) = struct.unpack_from("<I", data, 10)
    if length == 12:
        columns, rows, planes, bits = struct.unpack_from("<4H", data, 18)
        compression = 0
    else:
        columns, rows, planes, bits, compression = struct.unpack_from("<2i2HI", data, 18)
    rows = abs(rows)  # negative: the first row is the top one
    if min(rows, columns) < 1 or planes != 1 or bits not in _BITS or offset < 14 + length:
        raise impossible(
            where,
            f"{rows} x {columns} pixels, {planes} planes, {bits} bits, pixels from byte {offset}; "
            "each axis needs at least 1 pixel",
            "BMP",
        )
    if compression not in _PLAIN:
        raise ImageFileError(
            f"{where}: its pixels are compressed (code {compression}), allowed are plain ones",
            rule="E-FILE-08",
            hint="convert the image to .png",
        )
    row_bytes = -(-columns * bits // 32) * 4
    return BmpHeader(shape=(rows, columns), declared_bytes=offset + rows * row_bytes)
