"""TIFF files that take far more than they hold are refused before anything of it is made."""

import io
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from autoseg.core.errors import ImageFileError
from autoseg.io import images
from autoseg.io.guard import guarded_bytes


def tiled(edge: int, shape: tuple[int, int] = (16, 16), packing: str = "zlib") -> bytes:
    """Return a TIFF file of one page of zeros, in tiles with edges of this length."""
    encoded = io.BytesIO()
    options = {"compression": packing} if packing else {}
    tifffile.imwrite(
        encoded, np.zeros(shape, np.uint8), photometric="minisblack", tile=(edge, edge), **options
    )
    return encoded.getvalue()


def peak_of_refusal(path: Path, limit_bytes: int, says: str, rule: str) -> int:
    """Return the bytes taken at most until a file is refused for what is expected."""
    tracemalloc.start()
    try:
        with pytest.raises(ImageFileError, match=says) as caught:
            guarded_bytes(path, limit_bytes=limit_bytes)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.rule == rule
    return peak_bytes


@pytest.mark.parametrize(
    ("edge", "limit_bytes", "says", "rule"),
    [
        pytest.param(
            4096,
            2**33,
            r"tiles have the shape \(4096, 4096\), .* \(16, 16\)",
            "E-FILE-09",
            id="huge",
        ),
        pytest.param(
            1024, 10**6, r"shape \(1, 16, 16\), 1048576 bytes; .* 1000000", "E-FILE-06", id="limit"
        ),
    ],
)
def test_a_tile_far_larger_than_its_page_is_refused_before_it_is_unpacked(
    edge: int, limit_bytes: int, says: str, rule: str, tmp_path: Path
):
    (tmp_path / "bomb.tif").write_bytes(tiled(edge))
    assert peak_of_refusal(tmp_path / "bomb.tif", limit_bytes, says, rule) < 2**19


@pytest.mark.parametrize("packing", ["zlib", ""])
def test_usual_tiles_of_a_small_page_are_read(packing: str, tmp_path: Path):
    (tmp_path / "a.tif").write_bytes(tiled(512, (9, 7), packing))
    assert images.read_image(tmp_path / "a.tif").voxels.shape == (1, 9, 7)


def with_strip(content: bytes, strip: bytes) -> bytes:
    """Put another strip behind a TIFF file, for its first page: tags 273 and 279."""
    data = bytearray(content)
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        (tag,) = struct.unpack_from("<H", data, entry)
        if tag in (273, 279):
            struct.pack_into("<H2I", data, entry + 2, 4, 1, len(content if tag == 273 else strip))
    return bytes(data) + strip


@pytest.mark.parametrize(
    ("strip", "says", "rule"),
    [
        pytest.param(b"\x81\0" * 2**17, "more than the 120 bytes", "E-FILE-05", id="bomb"),
        # 100 bytes as they are, 16 alike, and nothing for the last 4.
        pytest.param(
            bytes([99, *range(100), 241, 7, 128]),
            "needs 120 bytes, .* 116",
            "E-FILE-02",
            id="short",
        ),
        pytest.param(bytes([119, *range(119)]), "needs 120 bytes, .* 119", "E-FILE-02", id="cut"),
    ],
)
def test_run_lengths_hold_what_their_page_declares(
    strip: bytes, says: str, rule: str, tmp_path: Path
):
    encoded = io.BytesIO()
    PillowImage.fromarray(np.zeros((10, 12), np.uint8)).save(
        encoded, "TIFF", compression="packbits"
    )
    path = tmp_path / "a.tif"
    path.write_bytes(with_strip(encoded.getvalue(), strip))
    assert peak_of_refusal(path, 2**24, says, rule) < 2**20
    path.write_bytes(with_strip(encoded.getvalue(), bytes([99, *range(100), 237, 7, 128])))
    expected = [*range(100), *[7] * 20]
    assert images.read_image(path).voxels.ravel().tolist() == expected


def chained(pages: int, entries: bytes, start: int = 8) -> bytes:
    """Return the directories of a TIFF file of many pages, all with the same entries."""
    count = len(entries) // 12
    size = 2 + len(entries) + 4
    return b"".join(
        struct.pack("<H", count)
        + entries
        + struct.pack("<I", start + (page + 1) * size if page < pages - 1 else 0)
        for page in range(pages)
    )


def test_a_stack_of_too_many_pages_is_refused_before_they_are_read(tmp_path: Path):
    entries = b"".join(
        struct.pack("<2HII", tag, 3, 1, value)
        for tag, value in [(256, 1), (257, 1), (258, 8), (262, 1), (273, 8), (279, 1)]
    )
    path = tmp_path / "bomb.tif"
    path.write_bytes(struct.pack("<2sHI", b"II", 42, 8) + chained(10_001, entries))
    peak_bytes = peak_of_refusal(path, 2**33, "more than 10000 pages", "E-FILE-06")
    assert peak_bytes < 4 * 2**20  # the file of 780 KB itself, and where its pages begin


def test_pages_that_share_a_long_list_are_refused_before_it_is_read(tmp_path: Path):
    pages, strips = 50, 2**15
    entries = struct.pack("<2HII", 273, 4, strips, 8 + pages * 18)
    path = tmp_path / "bomb.tif"
    content = struct.pack("<2sHI", b"II", 42, 8) + chained(pages, entries) + bytes(4 * strips)
    path.write_bytes(content)
    # The third page brings the list of 128 KiB to three times, in a file of little more;
    # a directory is a number of 2 bytes and an entry of 12.
    listed = 3 * (4 * strips + 2 + 12)
    says = f"first 3 directories list {listed} bytes in a file of {len(content)},"
    assert peak_of_refusal(path, 2**33, says, "E-FILE-09") < 2**20
