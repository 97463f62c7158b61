"""The sanity of a NIfTI header: what the file declares about itself, before any voxel is read.

A pure function of bytes. It knows nothing of world space; `autoseg.io.formats.nifti_geometry` does.
"""

import math
import struct
from dataclasses import dataclass
from typing import Final

from autoseg.core.errors import ImageFileError
from autoseg.io.formats.header_faults import impossible

LONGEST_HEADER_BYTES: Final = 540
"""Length of a NIfTI-2 header; a NIfTI-1 header has 348 bytes."""

_VERSIONS: Final = {348: 1, 540: 2}
_BITS: Final = {
    1: 1,
    2: 8,
    4: 16,
    8: 32,
    16: 32,
    32: 64,
    64: 64,
    128: 24,
    256: 8,
    512: 16,
    768: 32,
    1024: 64,
    1280: 64,
    1536: 128,
    1792: 128,
    2048: 256,
    2304: 32,
}
"""Bits per voxel of every datatype code of the NIfTI-1.1 header file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a NIfTI header declares about the file's layout."""

    version: int
    """1 or 2."""
    byte_order: str
    """``<`` or ``>``, as in `struct`."""
    shape: tuple[int, ...]
    """Voxels per axis in the file's order, fastest first."""
    datatype: int
    """NIfTI code of the voxel type."""
    voxel_offset: int
    """Where the voxels begin, in bytes."""
    bits_per_voxel: int
    """Size of a voxel in bits."""

    @property
    def declared_bytes(self) -> int:
        """Length of the decompressed file up to the last voxel."""
        return self.voxel_offset + -(-math.prod(self.shape) * self.bits_per_voxel // 8)


def parse_header(data: bytes | bytearray, where: str) -> Header:
    """Read and check the header at the beginning of a decompressed NIfTI file.

    Parameters
    ----------
    data : bytes
        The file's beginning, `LONGEST_HEADER_BYTES` or the whole file if it is shorter.
    where : str
        Names the file in errors.

    Raises
    ------
    ImageFileError
        E-FILE-02 if the file ends within the header, E-FILE-08 if it is another format, E-FILE-09
        if a value is impossible.

    References
    ----------
    .. [1] NIfTI-1.1 and NIfTI-2 header files, https://nifti.nimh.nih.gov
    """
    version, order = _recognize(data, where)
    length = 348 if version == 1 else LONGEST_HEADER_BYTES
    if len(data) < length:
        raise ImageFileError(
            f"{where}: ends after {len(data)} bytes, a NIfTI-{version} header has {length}",
            rule="E-FILE-02",
            hint="the file is truncated; copy or export it again",
        )
    if version == 1:
        dim = struct.unpack_from(f"{order}8h", data, 40)
        datatype, bits = struct.unpack_from(f"{order}2h", data, 70)
        offset = struct.unpack_from(f"{order}f", data, 108)[0]
        magic = bytes(data[344:348])
    else:
        magic = bytes(data[4:12])
        datatype, bits = struct.unpack_from(f"{order}2h", data, 12)
        dim = struct.unpack_from(f"{order}8q", data, 16)
        offset = struct.unpack_from(f"{order}q", data, 168)[0]
    _check_magic(magic, version, where)
    return Header(
        version=version,
        byte_order=order,
        shape=_shape(dim, where),
        datatype=datatype,
        voxel_offset=_voxel_offset(offset, length + 4, where),
        bits_per_voxel=_bits_per_voxel(datatype, bits, where),
    )


def is_nifti(data: bytes | bytearray) -> bool:
    """Whether data begins with the header length of a NIfTI or Analyze file."""
    return len(data) >= 4 and any(
        struct.unpack_from(f"{order}i", data)[0] in _VERSIONS for order in "<>"
    )


def _recognize(data: bytes | bytearray, where: str) -> tuple[int, str]:
    for order in "<>":
        length = struct.unpack(f"{order}i", data[:4].ljust(4, b"\0"))[0]
        if length in _VERSIONS:
            return _VERSIONS[length], order
    raise ImageFileError(
        f"{where}: is no NIfTI file: it begins with {bytes(data[:4])!r}; "
        "a NIfTI file begins with its header's length, 348 or 540",
        rule="E-FILE-08",
        hint="export the image as NIfTI again",
    )


def _check_magic(magic: bytes, version: int, where: str) -> None:
    expected = b"n+1\0" if version == 1 else b"n+2\0\r\n\x1a\n"
    if magic == expected:
        return
    if magic[:4] in (b"ni1\0", b"ni2\0"):
        problem = "is the header of a two-file pair (.hdr and .img)"
    elif not magic.strip(b"\0"):
        problem = "is an Analyze 7.5 file, which holds no orientation"
    else:
        problem = "has a broken header"
    raise ImageFileError(
        f"{where}: {problem}: its magic is {magic!r}, allowed is {expected!r}",
        rule="E-FILE-08",
        hint="convert the original to single-file NIfTI (.nii.gz), with its orientation",
    )


def _shape(dim: tuple[int, ...], where: str) -> tuple[int, ...]:
    ndim = dim[0]
    if not 1 <= ndim <= 7:
        raise impossible(where, f"the number of axes (dim[0]) is {ndim}, allowed are 1 to 7")
    shape = dim[1 : ndim + 1]
    if min(shape) < 1:
        raise impossible(where, f"the shape is {shape}, every axis needs at least 1 voxel")
    return shape


def _bits_per_voxel(datatype: int, bits: int, where: str) -> int:
    if datatype not in _BITS:
        raise impossible(where, f"the voxel type (datatype) {datatype} is unknown")
    if bits != _BITS[datatype]:
        raise impossible(
            where, f"bitpix is {bits}, but voxel type {datatype} has {_BITS[datatype]} bits"
        )
    return bits


def _voxel_offset(offset: float, smallest: int, where: str) -> int:
    if not (math.isfinite(offset) and offset >= smallest and offset == int(offset)):
        raise impossible(
            where, f"vox_offset is {offset:g}, allowed are whole numbers from {smallest}"
        )
    return int(offset)
