"""Reads the pieces of an image file to the end: declared size first, then every byte and checksum.

One function per format, each in bounded memory. What the voxels mean is not looked at.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

from autoseg.core.errors import ImageFileError
from autoseg.io.formats import gipl_header, metaimage_header, nrrd_header
from autoseg.io.formats.bmp_header import parse_bmp_header
from autoseg.io.formats.gzip_stream import inflated
from autoseg.io.formats.header_faults import overfull, truncated
from autoseg.io.formats.kinds import kind_of
from autoseg.io.formats.nifti_header import LONGEST_HEADER_BYTES, is_nifti, parse_header
from autoseg.io.formats.png_header import check_chunks, parse_png_header
from autoseg.io.formats.tiff_header import check_tiff
from autoseg.io.formats.volume_header import VolumeHeader

SLACK_BYTES: Final = 64 * 2**10
"""Bytes tolerated behind the last voxel: some writers pad."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file whose content is to be read."""

    pieces: Iterator[bytes]
    """The file as it is stored."""
    path: Path
    """Names the file in errors."""
    limit_bytes: int
    """Largest declared size, decompressed."""
    sibling: Callable[[str], Iterator[bytes]]
    """Gives the pieces of another file in the same folder."""

    @property
    def where(self) -> str:
        """The path as errors write it."""
        return str(self.path)

    def check_affordable(self, size: int, shape: tuple[int, ...]) -> None:
        """Refuse a declared size (E-FILE-06) above the limit."""
        if size > self.limit_bytes:
            raise ImageFileError(
                f"{self.path}: declares shape {shape}, {size} bytes; allowed are "
                f"{self.limit_bytes}",
                rule="E-FILE-06",
                hint="crop the image, use a machine with more memory, or raise the limit for a "
                "volume",
            )


def read_content(source: Source, ending: str) -> bytes | bytearray:
    """Return the content of an intact file.

    Parameters
    ----------
    source : Source
        The file.
    ending : str
        One of the endings that autoseg reads.

    Returns
    -------
    bytes
        Header and voxels of a volume, decompressed; a picture as it is stored.

    Raises
    ------
    InputError
        With the rule that the file or its header breaks.
    """
    return _READERS[ending](source)


def _plain_nifti(source: Source) -> bytearray:
    data = _beginning(source.pieces, lambda data: len(data) >= LONGEST_HEADER_BYTES)
    if not is_nifti(data) and (kind := kind_of(data)):
        raise ImageFileError(
            f"{source.path}: holds {kind}, but its name promises NIfTI",
            rule="E-FILE-07",
            hint="convert the image to .nii.gz",
        )
    header = parse_header(data, source.where)
    source.check_affordable(header.declared_bytes, header.shape)
    return _filled(data, source, source.pieces, header.declared_bytes, header.shape)


def _zipped_nifti(source: Source) -> bytearray:
    return _plain_nifti(
        Source(
            pieces=inflated(source.pieces, source.where),
            path=source.path,
            limit_bytes=source.limit_bytes,
            sibling=source.sibling,
        )
    )


def _nrrd(source: Source) -> bytearray:
    data = _beginning(source.pieces, nrrd_header.header_is_complete)
    return _volume(data, source, nrrd_header.parse_nrrd(data, source.where))


def _metaimage(source: Source) -> bytearray:
    data = _beginning(source.pieces, metaimage_header.header_is_complete)
    return _volume(data, source, metaimage_header.parse_metaimage(data, source.where))


def _gipl(source: Source) -> bytearray:
    data = _beginning(source.pieces, lambda data: len(data) >= gipl_header.HEADER_BYTES)
    return _volume(data, source, gipl_header.parse_gipl(data, source.where))


def _volume(data: bytearray, source: Source, header: VolumeHeader) -> bytearray:
    """Return header and voxels, wherever they are and however they are packed."""
    source.check_affordable(header.declared_bytes, header.shape)
    voxels = chain((bytes(data[header.length :]),), source.pieces)
    start = data[: header.length]
    if header.data_file:
        # The header file is read to its end, for its digest and what it may hide.
        _filled(start.copy(), source, voxels, header.length, header.shape)
        voxels = chain(source.sibling(header.data_file))
    if header.encoding == "gzip":
        voxels = chain(inflated(voxels, source.where))
    elif header.encoding == "zlib":
        voxels = chain(inflated(voxels, source.where, coding="zlib"))
    return _filled(start, source, voxels, header.declared_bytes, header.shape)


def _png(source: Source) -> bytearray:
    data = _beginning(source.pieces, lambda data: len(data) >= 29)
    header = parse_png_header(data, source.where)
    source.check_affordable(header.declared_bytes, header.shape)
    _append(data, source, header.shape)
    check_chunks(data, source.where, slack_bytes=SLACK_BYTES)
    return data


def _bmp(source: Source) -> bytearray:
    data = _beginning(source.pieces, lambda data: len(data) >= 64)
    header = parse_bmp_header(data, source.where)
    source.check_affordable(header.declared_bytes, header.shape)
    return _filled(data, source, source.pieces, header.declared_bytes, header.shape)


def _tiff(source: Source) -> bytearray:
    data = bytearray()
    _append(data, source, ())
    check_tiff(
        data,
        source.where,
        check_affordable=source.check_affordable,
        slack_bytes=SLACK_BYTES,
    )
    return data


def _beginning(pieces: Iterator[bytes], is_enough: Callable[[bytearray], bool]) -> bytearray:
    """Join pieces until they are enough, or all there are."""
    data = bytearray()
    for piece in pieces:
        data += piece
        if is_enough(data):
            break
    return data


def _append(data: bytearray, source: Source, shape: tuple[int, ...]) -> None:
    """Append the rest of a file whose stored length says little of its pixels."""
    for piece in source.pieces:
        data += piece
        source.check_affordable(len(data), shape)


def _filled(
    data: bytearray,
    source: Source,
    pieces: Iterator[bytes],
    declared_bytes: int,
    shape: tuple[int, ...],
) -> bytearray:
    """Append pieces; stop as soon as they are more than declared."""
    for piece in chain((b"",), pieces):
        data += piece
        if len(data) > declared_bytes + SLACK_BYTES:
            raise overfull(
                source.where,
                f"more than {SLACK_BYTES} bytes follow the {declared_bytes} bytes that the header "
                f"declares for shape {shape}",
            )
    if len(data) < declared_bytes:
        raise truncated(
            source.where,
            f"{declared_bytes} bytes expected for shape {shape}, {len(data)} found",
        )
    return data


_READERS: Final[dict[str, Callable[[Source], bytes | bytearray]]] = {
    ".nii.gz": _zipped_nifti,
    ".nii": _plain_nifti,
    ".nrrd": _nrrd,
    ".mha": _metaimage,
    ".mhd": _metaimage,
    ".gipl": _gipl,
    ".tif": _tiff,
    ".tiff": _tiff,
    ".png": _png,
    ".bmp": _bmp,
}
