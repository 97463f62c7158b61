"""Rows A to C for PNG, BMP and TIFF: each faulty file, its rule, and what the error says."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from autoseg.core.errors import AutosegError, GeometryError, ImageFileError, VoxelError
from autoseg.core.labels import Labels
from autoseg.io import images

LABELS = Labels(names=("background", "left", "right"))
LIMIT_BYTES = 2**20


@dataclass(frozen=True)
class Fault:
    """One faulty file and what must be said of it."""

    rule: str
    """Rule of the catalogue."""
    id: str
    """What is wrong."""
    name: str
    """File name."""
    content: Callable[[Any], bytes]
    """Builds the file, given the module ``make``."""
    error: type[AutosegError]
    """Kind of error."""
    says: str
    """Pattern of what the message must say of the measured value."""
    segmentation: bool = False
    """Whether the file is read as a segmentation."""


def bmp(**fields: int) -> Callable[[Any], bytes]:
    """Build a grey BMP image whose header has wrong fields."""
    places = {"offset": 10, "length": 14, "columns": 18, "rows": 22, "compression": 30}

    def content(make: Any) -> bytes:
        data = bytearray(make.bmp(make.pixels()))
        for name, value in fields.items():
            struct.pack_into("<i", data, places[name], value)
        return bytes(data)

    return content


def tiff(*shapes: tuple[int, ...], dtype: str = "u1", **options: Any) -> Callable[[Any], bytes]:
    """Build a TIFF image of pages of these shapes."""

    def content(make: Any) -> bytes:
        pages = [np.arange(np.prod(s), dtype=dtype).reshape(s) for s in shapes]
        return bytes(make.tiff(*pages, **options))

    return content


def tagged(tag: int, value: int, build: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """Overwrite the value of a tag in the first page of a little-endian TIFF file."""

    def content(make: Any) -> bytes:
        data = bytearray(build(make))
        (start,) = struct.unpack_from("<I", data, 4)
        (count,) = struct.unpack_from("<H", data, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            code, kind = struct.unpack_from("<2H", data, entry)
            if code == tag:
                struct.pack_into({3: "<H", 4: "<I"}[kind], data, entry + 8, value)
                return bytes(data)
        raise AssertionError(f"no tag {tag}")

    return content


def flipped(build: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """Change the last byte of the first strip, where its checksum lies."""

    def content(make: Any) -> bytes:
        data = bytearray(build(make))
        packed = zlib.compress(bytes(range(200)))  # as `PACKED` stores it
        at = bytes(data).index(packed[2:12]) - 2
        inflater = zlib.decompressobj()
        inflater.decompress(data[at:])
        data[len(data) - len(inflater.unused_data) - 1] ^= 1
        return bytes(data)

    return content


PLAIN = tiff((20, 10))
STACK = tiff((20, 10), (20, 10))
PACKED = tiff((20, 10), compression="zlib")
WIDTH, COMPRESSION, PHOTOMETRIC, OFFSETS, COUNTS = 256, 259, 262, 273, 279

FILES = [
    Fault("E-FILE-01", "empty-bmp", "a.bmp", lambda make: b"", ImageFileError, r"0 bytes"),
    Fault("E-FILE-01", "empty-tif", "a.tif", lambda make: b"", ImageFileError, r"0 bytes"),
    # Header 54, palette 256 * 4, and 9 rows of 4 pixels.
    Fault("E-FILE-02", "cut-bmp", "a.bmp", lambda make: bmp()(make)[:-1], ImageFileError,
          r"1114 bytes expected for shape \(9, 4\), 1113 found"),
    Fault("E-FILE-02", "cut-bmp-header", "a.bmp", lambda make: bmp()(make)[:30], ImageFileError,
          r"ends after 30 bytes"),
    Fault("E-FILE-02", "cut-tif-header", "a.tif", lambda make: PLAIN(make)[:6], ImageFileError,
          r"ends after 6 bytes"),
    Fault("E-FILE-02", "cut-tif", "a.tif", lambda make: PLAIN(make)[:-1], ImageFileError,
          r"a strip at byte \d+ has 200 bytes, the file \d+"),
    Fault("E-FILE-02", "strip-behind-the-end", "a.tif", tagged(OFFSETS, 9999, PLAIN),
          ImageFileError, r"a strip at byte 9999 has 200 bytes"),
    # tifffile would fill it with zeros.
    Fault("E-FILE-02", "strip-nowhere", "a.tif", tagged(OFFSETS, 0, PLAIN), ImageFileError,
          r"a strip at byte 0 has"),
    Fault("E-FILE-02", "short-strip", "a.tif", tagged(COUNTS, 150, PLAIN), ImageFileError,
          r"needs 200 bytes, its strips hold 150"),
    Fault("E-FILE-02", "short-deflate", "a.tif", tagged(COUNTS, 15, PACKED), ImageFileError,
          r"ends before its checksum"),
    Fault("E-FILE-04", "checksum", "a.tif", flipped(PACKED), ImageFileError,
          r"damaged TIFF: .*incorrect data check"),
    Fault("E-FILE-04", "no-pixels-behind-the-chunks", "a.png",
          lambda make: make.png_of(zlib.compress(b"\0")), ImageFileError, r"damaged PNG"),
    Fault("E-FILE-05", "behind-bmp", "a.bmp", lambda make: bmp()(make) + bytes(65537),
          ImageFileError, r"more than 65536 bytes follow the 1114 bytes"),
    Fault("E-FILE-05", "behind-tif", "a.tif", lambda make: PLAIN(make) + bytes(65537),
          ImageFileError, r"65537 bytes follow the last page"),
    Fault("E-FILE-05", "inside-a-strip", "a.tif", tagged(WIDTH, 9, PACKED), ImageFileError,
          r"a strip holds more than the 180 bytes"),
    Fault("E-FILE-06", "huge-bmp", "a.bmp", bmp(columns=30000, rows=30000), ImageFileError,
          r"\(30000, 30000\), 900001078 bytes; allowed are 1048576"),
    Fault("E-FILE-06", "huge-tif", "a.tif", tagged(257, 60000, tagged(WIDTH, 60000, PLAIN)),
          ImageFileError, r"\(1, 60000, 60000\), 3600000000 bytes; allowed are 1048576"),
    Fault("E-FILE-07", "png-named-bmp", "a.bmp", lambda make: make.png(make.pixels()),
          ImageFileError, r"is a PNG image, but its name promises a BMP image"),
    Fault("E-FILE-07", "bmp-named-tif", "a.tif", bmp(), ImageFileError,
          r"is a BMP image, but its name promises a TIFF image"),
    Fault("E-FILE-07", "tif-named-png", "a.png", PLAIN, ImageFileError,
          r"is a TIFF image, but its name promises a PNG image"),
    Fault("E-FILE-08", "run-lengths", "a.bmp", bmp(compression=1), ImageFileError,
          r"compressed \(code 1\)"),
    Fault("E-FILE-08", "jpeg-in-tif", "a.tif", tagged(COMPRESSION, 7, PLAIN), ImageFileError,
          r"compression code 7"),
    Fault("E-FILE-08", "lzw-of-float64", "a.tif",
          tagged(COMPRESSION, 5, tiff((4, 5), dtype="f8")), ImageFileError,
          r"LZW of 1 sample\(s\) of float64"),
    Fault("E-FILE-09", "no-rows", "a.bmp", bmp(rows=0), ImageFileError, r"0 x 4 pixels"),
    Fault("E-FILE-09", "offset", "a.bmp", bmp(offset=3), ImageFileError, r"from byte 3"),
    Fault("E-FILE-09", "no-page", "a.tif", lambda make: b"II*\0" + bytes(64), ImageFileError,
          r"impossible TIFF header"),
    Fault("E-FILE-09", "no-columns", "a.tif", tagged(WIDTH, 0, PLAIN), ImageFileError,
          r"impossible TIFF header"),
    Fault("E-GEO-26", "pages-differ", "a.tif", tiff((20, 10), (10, 20)), GeometryError,
          r"shape \(20, 10\) uint8 and \(10, 20\) uint8"),
    Fault("E-GEO-26", "channels-of-ome", "a.tif",
          tiff((20, 10), (20, 10), description='<OME><Pixels SizeC="2" SizeZ="1"/></OME>'),
          GeometryError, r"2 channels"),
    Fault("E-GEO-26", "channels-of-imagej", "a.tif",
          tiff((20, 10), (20, 10), description="ImageJ=1.53\nimages=2\nchannels=2\n"),
          GeometryError, r"2 channels"),
    Fault("E-VAL-30", "grey-and-alpha", "a.png",
          lambda make: make.png(np.zeros((9, 4, 2), np.uint8)), VoxelError,
          r"grey and an alpha channel \(color type 4\)"),
    Fault("E-VAL-30", "palette-bmp", "a.bmp",
          lambda make: make.bmp(make.pixels(), [0, 0, 0, 255, 0, 0, 0, 255, 0]), VoxelError,
          r"palette colors"),
    Fault("E-VAL-30", "palette-tif", "a.tif",
          lambda make: make.tiff(make.pixels(), photometric="palette",
                                 colormap=np.zeros((3, 256), np.uint16)),
          VoxelError, r"palette colors"),
    Fault("E-VAL-30", "white-is-zero", "a.tif", tagged(PHOTOMETRIC, 0, PLAIN), VoxelError,
          r"grey in which 0 is white"),
    Fault("E-VAL-30", "grey-and-alpha-tif", "a.tif",
          tiff((9, 4, 2), photometric="minisblack", planarconfig="contig",
               extrasamples=["unassalpha"]),
          VoxelError, r"grey and other samples"),
    Fault("E-VAL-30", "complex", "a.tif", tiff((9, 4), dtype="c8"), VoxelError, r"holds complex64"),
    Fault("E-VAL-30", "stack-of-colors", "a.tif", tiff((9, 4, 3), (9, 4, 3)), VoxelError,
          r"a stack of 2 pages of colors"),
    Fault("E-VAL-30", "16-bit-colors", "a.png", lambda make: make.png_of(
          zlib.compress(bytes(7 * 2)), color_type=2, bits=16), VoxelError, r"colors of 16 bits"),
    Fault("E-VAL-30", "colors-as-labels", "a.bmp",
          lambda make: make.bmp(np.zeros((9, 4, 3), np.uint8)), VoxelError,
          r"holds 3 color channels; a segmentation is grey", True),
    Fault("E-VAL-28", "nan", "a.tif",
          lambda make: make.tiff(np.full((2, 3), np.nan, np.float32)), VoxelError, r"6 voxels"),
    Fault("E-VAL-34", "half", "a.tif", lambda make: make.tiff(np.full((2, 3), 0.5, np.float32)),
          VoxelError, r"6 voxels hold fractions, such as 0\.5", True),
    Fault("E-VAL-35", "undeclared", "a.bmp", bmp(), VoxelError, r"3 \(1 voxels\)", True),
]  # fmt: skip


def read(path: Path, *, segmentation: bool) -> None:
    if segmentation:
        images.read_segmentation(path, LABELS, limit_bytes=LIMIT_BYTES)
    else:
        images.read_image(path, limit_bytes=LIMIT_BYTES)


@pytest.mark.parametrize("fault", FILES, ids=lambda fault: f"{fault.rule}-{fault.id}")
def test_a_faulty_picture_is_refused_by_its_rule(fault: Fault, make: ModuleType, tmp_path: Path):
    path = make.write(tmp_path / fault.name, fault.content(make))
    with pytest.raises(fault.error, match=fault.says) as caught:
        read(path, segmentation=fault.segmentation)
    assert caught.value.rule == fault.rule
    assert str(path) in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "build"), [("a.tif", PLAIN), ("b.tif", STACK), ("c.tif", PACKED), ("a.bmp", bmp())]
)
def test_the_pictures_without_a_fault_are_accepted(
    name: str, build: Callable[[Any], bytes], make: ModuleType, tmp_path: Path
):
    path = make.write(tmp_path / name, build(make))
    image = images.read_image(path, limit_bytes=LIMIT_BYTES)
    expected = make.pixels() if name.endswith("bmp") else np.arange(200).reshape(20, 10)
    assert all(np.array_equal(page, expected) for page in image.voxels.reshape(-1, *expected.shape))
