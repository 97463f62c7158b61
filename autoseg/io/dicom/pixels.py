"""The pixels of one slice, exactly as its file stores them, and the digest of that very file."""

import hashlib
import io
from typing import TYPE_CHECKING, Final

import numpy as np

from autoseg.core.errors import AutosegError, VoxelError
from autoseg.core.geometry import Array
from autoseg.io.dicom.codestream import declared_size
from autoseg.io.dicom.faults import shielded, unreadable
from autoseg.io.dicom.folder import changed, opened
from autoseg.io.dicom.headers import Header, check_size, parsed
from autoseg.io.dicom.series import Group

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_LITTLE_ENDIAN: Final = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")
"""Uncompressed pixels that are taken from the file without a decoder: implicit and explicit VR."""
_BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"
_GREY: Final = ("MONOCHROME1", "MONOCHROME2")
_BITS: Final = (8, 16, 32)
_COMPRESSED_SLACK_BYTES: Final = 2**16
"""What a compressed picture may take beyond twice its pixels; more cannot be honest."""


def check_readable(group: Group) -> None:
    """Refuse slices that are no grey picture of one frame, or that no decoder can read.

    Raises
    ------
    ImageFileError
        E-DCM-54 for several frames, odd bits and a missing decoder.
    VoxelError
        E-VAL-30 for colors.
    """
    for header in group.slices:
        _check_kind(header)
        if header.photometric != group.first.photometric:
            raise unreadable(
                header.where,
                f"is {header.photometric}, other slices of its series are "
                f"{group.first.photometric}: what is bright in one is dark in the other",
            )
    by_syntax = {header.syntax: header for header in group.slices}
    for header in by_syntax.values():
        _check_codec(header)


def read_slice(header: Header, *, limit_bytes: int) -> tuple[Array, str]:
    """Read a file and return its stored pixels (rows, columns), and its SHA-256.

    Raises
    ------
    ImageFileError
        E-DCM-54 if the pixels are short, damaged or other than declared, E-FILE-06 if the file is
        larger than ``limit_bytes``, E-FILE-12 if it is not the one whose header was read.
    ResourceError
        E-RES-62 if it cannot be read.
    """
    with opened(header.path) as file:
        data = file.read(limit_bytes + 1)
    check_size(header.path, len(data), limit_bytes)
    dataset, again = parsed(io.BytesIO(data), header.path, pixels=True)
    if again != header:
        raise changed(header.path)
    with shielded(header.where, "pixels"):
        value = dataset.get("PixelData")
        if not isinstance(value, bytes):
            raise unreadable(header.where, "holds no PixelData")
        if header.syntax in _LITTLE_ENDIAN:
            pixels = _uncompressed(value, header)
        else:
            pixels = _decompressed(value, dataset, header)
        return _in_stored_bits(pixels, header), hashlib.sha256(data).hexdigest()


def _check_kind(header: Header) -> None:
    if header.unread:
        raise unreadable(
            header.where,
            f"holds {header.unread}; allowed is one grey slice per file",
            "convert the series to NIfTI, or export it with one slice per file",
        )
    if header.photometric not in _GREY:
        raise _colors(header)
    if header.bits_allocated not in _BITS or header.bits_stored > header.bits_allocated:
        raise unreadable(
            header.where,
            f"stores {header.bits_stored} bits in {header.bits_allocated} per pixel; allowed are "
            f"up to as many in {', '.join(map(str, _BITS))}",
        )


def _colors(header: Header) -> AutosegError:
    kind = header.photometric if header.photometric.replace("_", " ").isalnum() else "unknown"
    return VoxelError(
        f"{header.where}: holds pixels of kind {kind or 'unknown'}; allowed are grey ones "
        f"({', '.join(_GREY)})",
        rule="E-VAL-30",
        hint="export the series in grey, or convert it to PNG pictures",
    )


def _check_codec(header: Header) -> None:
    """Refuse, before any pixel is read, what no installed decoder can decode."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    if header.syntax in _LITTLE_ENDIAN:
        return
    name = f"{UID(header.syntax).name} ({header.syntax})"
    try:
        is_available = get_decoder(header.syntax).is_available
    except NotImplementedError as error:
        raise unreadable(
            header.where,
            f"is encoded as {name}, which is not read",
            "convert the series to Explicit VR Little Endian",
        ) from error
    if not is_available:
        raise unreadable(
            header.where,
            f"is compressed as {name}; the codec is not installed",
            "pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg, or decompress the series",
        )


def _uncompressed(value: bytes, header: Header) -> Array:
    size = header.rows * header.columns * header.bits_allocated // 8
    if len(value) not in (size, size + size % 2):  # values are padded to an even length
        raise unreadable(
            header.where,
            f"holds {len(value)} bytes of PixelData; {header.rows} x {header.columns} pixels of "
            f"{header.bits_allocated} bits take {size}",
        )
    count = header.rows * header.columns
    pixels: Array = np.frombuffer(value, dtype=_stored_type(header), count=count)
    return pixels.reshape(header.rows, header.columns)


def _decompressed(value: bytes, dataset: "Dataset", header: Header) -> Array:
    from pydicom.encaps import get_frame
    from pydicom.pixels.decoders.base import get_decoder

    shape = (header.rows, header.columns)
    size = header.rows * header.columns * header.bits_allocated // 8
    if len(value) > 2 * size + _COMPRESSED_SLACK_BYTES:
        raise unreadable(
            header.where, f"holds {len(value)} bytes of compressed pixels that take {size} plain"
        )
    if header.syntax != _BIG_ENDIAN:
        found = declared_size(get_frame(value, 0, number_of_frames=1))
        if found not in (None, shape):
            raise unreadable(
                header.where,
                f"holds a compressed picture of shape {found}, its header says {shape}",
            )
    pixels, _ = get_decoder(header.syntax).as_array(dataset, index=0, raw=True)
    if pixels.shape != shape or pixels.dtype.kind not in "iu":
        raise unreadable(
            header.where, f"holds pixels of shape {pixels.shape}, its header says {shape}"
        )
    return pixels.astype(_stored_type(header), casting="same_kind")


def _in_stored_bits(pixels: Array, header: Header) -> Array:
    """Return pixels whose unused bits say nothing, refusing bits that say something else.

    Negative numbers may be extended into the unused bits, or have zeros there.
    """
    unused = header.bits_allocated - header.bits_stored
    if not unused:
        return pixels
    extended = (pixels << unused) >> unused
    raw = pixels.view(f"<u{pixels.itemsize}")
    wrong = (extended != pixels) & (raw >> header.bits_stored != 0)
    if wrong.any():
        raise unreadable(
            header.where,
            f"uses bits above the {header.bits_stored} stored ones in {np.count_nonzero(wrong)} "
            f"of {wrong.size} pixels, for an overlay or by a wrong header",
            "export the series again, with overlays beside the pixels",
        )
    return extended


def _stored_type(header: Header) -> "np.dtype[np.generic]":
    return np.dtype(f"<{'i' if header.is_signed else 'u'}{header.bits_allocated // 8}")
