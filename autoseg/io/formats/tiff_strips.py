"""The strips and tiles of a TIFF page: what they decode to, and whether each is there in full.

Nothing larger than a piece is unpacked, so that no file takes more memory here than it has bytes.
"""

import math
import zlib
from collections.abc import Sequence
from typing import Any, Final

from autoseg.io.formats.gzip_stream import PIECE_BYTES
from autoseg.io.formats.header_faults import damaged, impossible, overfull, truncated

NONE: Final = 1
"""Code of no compression."""
LZW: Final = 5
"""Code of Lempel-Ziv-Welch compression."""
PACKBITS: Final = 32773
"""Code of run lengths."""
DEFLATE: Final = (8, 32946)
"""Codes of zlib."""
USUAL_TILE_PIXELS: Final = 2**20
"""Pixels that a tile may have however small its page is: writers use up to 1024 x 1024."""
LARGEST_TILE_RATIO: Final = 4
"""How many times the pixels of its page a larger tile may have: one that reaches beyond both edges
covers less."""

_PACKBITS_OVERHEAD: Final = 8
"""Bytes that tifffile takes for a byte while it unpacks run lengths: a list of numbers."""


def unpacked_bytes(pages: Sequence[Any]) -> int:
    """Return what tifffile makes of the pages: whole tiles, which reach beyond their page."""
    sizes: list[int] = [math.prod(page.chunked) * _strip_bytes(page) for page in pages]
    listed = [size for size, page in zip(sizes, pages, strict=True) if page.compression == PACKBITS]
    return sum(sizes) + _PACKBITS_OVERHEAD * max(listed, default=0)


def check_tile_size(page: Any, where: str) -> None:
    """Refuse tiles (E-FILE-09) that are far larger than their page: almost all of it is padding."""
    pixels = math.prod(page.shape)
    if math.prod(page.chunks) > max(USUAL_TILE_PIXELS, LARGEST_TILE_RATIO * pixels):
        raise impossible(
            where,
            f"its tiles have the shape {page.chunks}, its pages only {page.shape}; allowed are "
            f"tiles of up to {USUAL_TILE_PIXELS} pixels, or {LARGEST_TILE_RATIO} times a page",
            "TIFF",
        )


def checked_end(data: bytes | bytearray, page: Any, where: str) -> int:
    """Return where the last strip of a page ends, each having been found whole.

    Raises
    ------
    ImageFileError
        E-FILE-02 if a strip is missing or short, E-FILE-04 if it is damaged, E-FILE-05 if it holds
        more than its page declares.
    """
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if len(segments) != math.prod(page.chunked):
        problem = f"a page has {len(segments)} of {math.prod(page.chunked)} strips"
        raise truncated(where, problem, "TIFF")
    # A strip that says nothing of its place would be filled with zeros.
    for offset, count in segments:
        if not 0 < offset < offset + count <= len(data):
            problem = f"a strip at byte {offset} has {count} bytes, the file {len(data)}"
            raise truncated(where, problem, "TIFF")
    held = sum(count for _, count in segments)
    if page.compression in (PACKBITS, *DEFLATE):
        unpack = _packbits_bytes if page.compression == PACKBITS else _inflated_bytes
        largest, view = _strip_bytes(page), memoryview(data)
        held = sum(unpack(view[start : start + n], largest, where) for start, n in segments)
    needed = page.nbytes * page.bitspersample // (8 * page.dtype.itemsize)
    if page.compression in (NONE, PACKBITS, *DEFLATE) and held < needed:
        problem = f"a page needs {needed} bytes, its strips hold {held}"
        raise truncated(where, problem, "TIFF")
    return max(int(offset + count) for offset, count in segments)


def _strip_bytes(page: Any) -> int:
    size: int = math.prod(page.chunks) * page.dtype.itemsize
    return size


def _inflated_bytes(strip: memoryview, largest: int, where: str) -> int:
    """Return how many bytes a deflated strip holds, its checksum having been compared."""
    inflater = zlib.decompressobj()
    found = 0
    try:
        for start in range(0, len(strip), PIECE_BYTES):
            rest = bytes(strip[start : start + PIECE_BYTES])
            while rest and not inflater.eof:
                found += len(inflater.decompress(rest, PIECE_BYTES))
                rest = inflater.unconsumed_tail
                _check_held(found, largest, where)
    except zlib.error as error:
        problem = f"the checksum or coding of a strip is wrong ({error})"
        raise damaged(where, problem, "TIFF") from error
    if not inflater.eof:
        raise truncated(where, "a compressed strip ends before its checksum", "TIFF")
    return found


def _packbits_bytes(strip: memoryview, largest: int, where: str) -> int:
    """Return how many bytes a strip of run lengths holds."""
    place = found = 0
    while place < len(strip):
        code = strip[place]
        if code < 128:
            found += min(code + 1, len(strip) - place - 1)
            place += code + 2
        else:  # 128 stands for nothing, 129 to 255 for runs of 128 to 2 bytes
            found += 257 - code if code > 128 and place + 1 < len(strip) else 0
            place += 2 if code > 128 else 1
        _check_held(found, largest, where)
    return found


def _check_held(found: int, largest: int, where: str) -> None:
    if found > largest:
        raise overfull(where, f"a strip holds more than the {largest} bytes that its pages declare")
