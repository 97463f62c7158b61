"""The picture size that a JPEG, JPEG-LS or JPEG 2000 stream itself declares.

Decoders go by the stream and not by the DICOM header: a size that differs must not be spread over
the slice.
"""

import struct
from typing import Final

_J2K_START: Final = b"\xff\x4f\xff\x51"
_JPEG_START: Final = b"\xff\xd8"
_FRAME_MARKERS: Final = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
"""Second bytes of the markers that begin a frame: SOF0 to SOF15, and that of JPEG-LS."""
_SCAN_MARKER: Final = 0xDA


def declared_size(stream: bytes) -> tuple[int, int] | None:
    """Return rows and columns of a compressed picture; None if the stream does not say them."""
    if stream.startswith(_J2K_START) and len(stream) >= 24:
        right, bottom, left, top = struct.unpack_from(">4I", stream, 8)
        return bottom - top, right - left
    if not stream.startswith(_JPEG_START):
        return None
    offset = len(_JPEG_START)
    while offset + 9 <= len(stream) and stream[offset] == 0xFF:
        marker, length = stream[offset + 1], int.from_bytes(stream[offset + 2 : offset + 4], "big")
        if marker in _FRAME_MARKERS:
            rows, columns = struct.unpack_from(">2H", stream, offset + 5)
            return rows, columns
        if marker == 0xFF:  # a fill byte before a marker
            offset += 1
        elif marker == _SCAN_MARKER:
            return None
        else:
            offset += 2 + length
    return None
