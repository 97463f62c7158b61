"""The sanity of a TIFF file: every page lies within it, and is of a kind that is read.

The pages are found by tifffile, once their directories were seen to be few and sound.
"""

import io
import logging
import math
import re
import struct
import zlib
from collections.abc import Callable
from typing import Any, Final

from autoseg.core.errors import GeometryError, ImageFileError, InputError, VoxelError
from autoseg.io.formats.header_faults import impossible, truncated
from autoseg.io.formats.tiff_directories import check_directories
from autoseg.io.formats.tiff_strips import (
    DEFLATE,
    LZW,
    NONE,
    PACKBITS,
    check_tile_size,
    checked_end,
    unpacked_bytes,
)

UNREADABLE: Final = (
    ValueError,  # tifffile's own error is one
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    OSError,
    RuntimeError,
    SyntaxError,  # Pillow's "broken file"
    struct.error,
    zlib.error,
)
"""What the readers of TIFF raise where bytes make no sense to them."""

_GREY, _COLORS = 1, 2
_KINDS: Final = {0: "grey in which 0 is white", 3: "palette colors", 5: "CMYK colors", 6: "YCbCr"}
_SEVERAL: Final = re.compile(r'SizeC="([0-9]+)"|(?:^|\n)channels=([0-9]+)')
"""Number of channels in the description of an OME or ImageJ stack."""


def tiff_pages(data: bytes | bytearray, where: str) -> list[Any]:
    """Return the pages of a TIFF file as tifffile finds them, decoded on demand.

    Raises
    ------
    ImageFileError
        E-FILE-09 if they cannot be found.
    """
    from tifffile import TiffFile

    # What it warns about is refused by `check_tiff`.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    try:
        pages = list(TiffFile(io.BytesIO(data)).pages)
    except UNREADABLE as error:
        raise impossible(where, f"its pages cannot be found ({error})", "TIFF") from error
    if not pages:
        raise impossible(where, "it has no page", "TIFF")
    return pages


def check_tiff(
    data: bytes | bytearray,
    where: str,
    *,
    check_affordable: Callable[[int, tuple[int, ...]], None],
    slack_bytes: int,
) -> None:
    """Refuse a TIFF file unless it is whole and holds one image or one stack.

    Parameters
    ----------
    data : bytes
        The file.
    where : str
        Names the file in errors.
    check_affordable : callable
        Refuses a declared size and shape.
    slack_bytes : int
        Bytes allowed behind the last strip or page.

    Raises
    ------
    ImageFileError
        E-FILE-02 if strips are missing, E-FILE-04 if one is damaged, E-FILE-05 for other data
        behind them, E-FILE-06 for too many pages, E-FILE-08 for a compression that is not read,
        E-FILE-09 if a value is impossible.
    VoxelError
        E-VAL-30 for palettes and other pixels that are neither grey nor RGB(A).
    GeometryError
        E-GEO-26 if the pages differ, or are several channels.
    """
    if len(data) < 8:
        raise truncated(where, f"it ends after {len(data)} bytes", "TIFF")
    count = check_directories(data, where)
    pages = tiff_pages(data, where)
    if len(pages) != count:
        raise impossible(where, f"{len(pages)} of its {count} pages can be found", "TIFF")
    first = pages[0]
    try:
        shape = (len(pages), *first.shape)
        check_affordable(sum(page.nbytes for page in pages), shape)
        for page in pages:
            _check_page(page, first, where)
        check_affordable(unpacked_bytes(pages), shape)
        _check_description(first, where)
        ends = [checked_end(data, page, where) for page in pages]
    except InputError:
        raise
    except UNREADABLE as error:
        raise impossible(where, f"its pages make no sense ({error})", "TIFF") from error
    behind = len(data) - max(*ends, *(page.offset for page in pages))
    if behind > slack_bytes:
        raise ImageFileError(
            f"{where}: {behind} bytes follow the last page, allowed are {slack_bytes}",
            rule="E-FILE-05",
            hint="the file hides other data, such as a stack that only ImageJ reads; export it "
            "again",
        )


def _check_page(page: Any, first: Any, where: str) -> None:
    if page.dtype is None or math.prod(page.shape) < 1:
        raise impossible(where, f"a page of shape {page.shape} holds {page.dtype}", "TIFF")
    if page.dtype.kind not in "buif":
        raise VoxelError(
            f"{where}: holds {page.dtype}; allowed are integers and floats of up to 64 bits",
            rule="E-VAL-30",
            hint="store each component as an image of its own",
        )
    if page.bitspersample not in (1, 8, 16, 32, 64) or not 1 <= page.samplesperpixel <= 4:
        raise VoxelError(
            f"{where}: has {page.samplesperpixel} samples of {page.bitspersample} bits per pixel; "
            "allowed are 1 to 4 of 1, 8, 16, 32 or 64 bits",
            rule="E-VAL-30",
            hint="store the image as 8 or 16 bits, grey or RGB",
        )
    grey = page.photometric == _GREY and page.samplesperpixel == 1
    if not grey and not (page.photometric == _COLORS and page.samplesperpixel in (3, 4)):
        kind = _KINDS.get(int(page.photometric), f"pixels of the kind {int(page.photometric)}")
        found = kind if page.photometric not in (_GREY, _COLORS) else "grey and other samples"
        raise VoxelError(
            f"{where}: holds {found}; allowed are grey, and RGB with or without alpha",
            rule="E-VAL-30",
            hint="convert the image to grey or RGB",
        )
    if (page.shape, page.dtype) != (first.shape, first.dtype):
        raise GeometryError(
            f"{where}: holds pages of shape {first.shape} {first.dtype} and {page.shape} "
            f"{page.dtype}; those of a stack are alike",
            rule="E-GEO-26",
            hint="leave only the pages of one stack in the file",
        )
    check_tile_size(page, where)
    _check_compression(page, where)


def _check_compression(page: Any, where: str) -> None:
    problem = ""
    if page.compression not in (NONE, LZW, PACKBITS, *DEFLATE) or page.predictor not in (1, 2):
        problem = f"compression code {int(page.compression)}, predictor {int(page.predictor)}"
    elif page.compression == LZW and page.dtype.str[1:] not in (
        ("u1",) if page.samplesperpixel > 1 else ("b1", "u1", "u2", "f4")
    ):  # which Pillow would convert
        problem = f"LZW of {page.samplesperpixel} sample(s) of {page.dtype}"
    if problem:
        raise ImageFileError(
            f"{where}: its pixels are packed in a way that is not read ({problem}); allowed are "
            "plain ones, deflate, PackBits, and LZW of 8 bits, of grey also of 16 and of float32",
            rule="E-FILE-08",
            hint="save it without compression, or with deflate",
        )


def _check_description(first: Any, where: str) -> None:
    """Refuse stacks whose pages are several channels, which would be taken for slices."""
    for match in _SEVERAL.finditer(first.description[:100_000]):
        channels = int((match[1] or match[2])[:6])
        if channels > 1 and first.samplesperpixel == 1:
            raise GeometryError(
                f"{where}: its description tells of {channels} channels, allowed is a stack of one",
                rule="E-GEO-26",
                hint="store each channel in a file of its own",
            )
