"""The sanity of a GIPL header: 256 bytes that end with a magic number.

The format holds spacing and origin, but no orientation.
"""

import struct
from typing import Final

from autoseg.io.formats.header_faults import cut_header, impossible
from autoseg.io.formats.volume_header import (
    VolumeHeader,
    check_edges,
    misplaced,
    refused_type,
)

HEADER_BYTES: Final = 256
"""Length of the header."""

_MAGIC: Final = (0xEFFFE9B0, 0x2AE389B8)
_TYPES: Final = {
    7: "i1",
    8: "u1",
    15: "i2",
    16: "u2",
    31: "u4",
    32: "i4",
    64: "f4",
    65: "f8",
}
_REFUSED: Final = {
    1: "single bits",
    144: "complex numbers",
    160: "complex numbers",
    192: "complex numbers",
    193: "complex numbers",
    200: "surfaces",
    201: "polygons",
}


def is_gipl(data: bytes | bytearray) -> bool:
    """Whether data begins with a GIPL header."""
    return bool(_byte_order(data))


def parse_gipl(data: bytes | bytearray, where: str) -> VolumeHeader:
    """Read and check the header at the beginning of a GIPL file.

    Raises
    ------
    ImageFileError
        E-FILE-02 if the file ends within the header, E-FILE-09 if a value is impossible.
    GeometryError
        E-GEO-17 for impossible numbers.
    VoxelError
        E-VAL-30 for complex numbers and their kind.
    """
    if len(data) < HEADER_BYTES:
        raise cut_header(where, len(data))
    order = _byte_order(data)
    if not order:
        raise impossible(where, f"it ends with {bytes(data[252:256])!r}, not GIPL's magic number")
    sizes = struct.unpack_from(f"{order}4H", data)
    if min(sizes[:3]) < 1:
        raise impossible(where, f"the shape is {sizes[:3]}, every axis needs at least 1 voxel")
    (kind,) = struct.unpack_from(f"{order}H", data, 8)
    if kind in _REFUSED:
        raise refused_type(where, f"{_REFUSED[kind]} (type {kind})")
    if kind not in _TYPES:
        raise impossible(where, f"the voxel type {kind} is unknown")
    check_edges(struct.unpack_from(f"{order}3f", data, 10), "the spacing", where)
    origin = struct.unpack_from(f"{order}3d", data, 204)
    if not all(abs(value) < float("inf") for value in origin):
        raise misplaced(where, f"the origin is {origin}")
    several = sizes[3] > 1
    return VolumeHeader(
        sizes=sizes if several else sizes[:3],
        channel_axis=3 if several else None,
        dtype=order + _TYPES[kind],
        encoding="raw",
        length=HEADER_BYTES,
    )


def _byte_order(data: bytes | bytearray) -> str:
    if len(data) < HEADER_BYTES:
        return ""
    return next((o for o in "><" if struct.unpack_from(f"{o}I", data, 252)[0] in _MAGIC), "")
