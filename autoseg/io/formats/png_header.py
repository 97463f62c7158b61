"""The sanity of a PNG file: signature, declared size, and the checksum of every chunk."""

import struct
import zlib
from dataclasses import dataclass
from typing import Final

from autoseg.core.errors import ImageFileError
from autoseg.io.formats.header_faults import damaged, impossible, truncated

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
"""First bytes of every PNG file."""

_SAMPLES: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples per pixel by color type: grey, RGB, palette, grey and alpha, RGB and alpha."""
_BITS: Final = (1, 2, 4, 8, 16)
_CHUNK_FRAME_BYTES: Final = 12
"""Length, type and checksum around a chunk's content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PngHeader:
    """What a PNG file declares about itself."""

    shape: tuple[int, int]
    """Rows and columns."""
    bits: int
    """Bits per sample."""
    color_type: int
    """0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha."""

    @property
    def declared_bytes(self) -> int:
        """Size of the decoded pixels."""
        rows, columns = self.shape
        return rows * columns * _SAMPLES[self.color_type] * max(1, self.bits // 8)


def parse_png_header(data: bytes | bytearray, where: str) -> PngHeader:
    """Read the header at the beginning of a PNG file.

    Raises
    ------
    ImageFileError
        E-FILE-09 if a value is impossible, E-FILE-02 if the file ends within the header.

    References
    ----------
    .. [1] ISO/IEC 15948, Portable Network Graphics
    """
    if len(data) < 29:
        raise _truncated(where, len(data), "its header needs 29")
    columns, rows, bits, color_type = struct.unpack_from(">2I2B", data, 16)
    if (
        data[12:16] != b"IHDR"
        or not (rows and columns)
        or color_type not in _SAMPLES
        or bits not in _BITS
    ):
        raise impossible(
            where,
            f"{rows} x {columns} pixels, color type {color_type}, {bits} bits; each axis needs at "
            "least 1 pixel",
            "PNG",
        )
    return PngHeader(shape=(rows, columns), bits=bits, color_type=color_type)


def check_chunks(data: bytes | bytearray, where: str, *, slack_bytes: int) -> None:
    """Walk through the chunks of a PNG file, comparing every checksum, up to its end chunk.

    Raises
    ------
    ImageFileError
        E-FILE-02 if the file is truncated, E-FILE-04 if a checksum is wrong, E-FILE-05 if more than
        ``slack_bytes`` follow the end.
    """
    view = memoryview(data)
    start, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        if start + _CHUNK_FRAME_BYTES > len(data):
            raise _truncated(where, len(data), "the end chunk is missing")
        (length,) = struct.unpack_from(">I", data, start)
        kind = bytes(view[start + 4 : start + 8])
        stop = start + _CHUNK_FRAME_BYTES + length
        if stop > len(data):
            raise _truncated(where, len(data), f"chunk {kind!r} needs {stop}")
        if zlib.crc32(view[start + 4 : stop - 4]) != struct.unpack_from(">I", data, stop - 4)[0]:
            raise damaged(where, f"the checksum of chunk {kind!r} at byte {start} is wrong", "PNG")
        start = stop
    if len(data) - start > slack_bytes:
        raise ImageFileError(
            f"{where}: {len(data) - start} bytes follow the end of the PNG image, "
            f"allowed are {slack_bytes}",
            rule="E-FILE-05",
            hint="the file hides other data; export the image again",
        )


def _truncated(where: str, found: int, needed: str) -> ImageFileError:
    return truncated(where, f"{found} bytes found, {needed}", "PNG")
