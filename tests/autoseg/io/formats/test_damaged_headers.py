"""Random damage to files of every format is refused with a rule, or changes no shape unseen.

Nothing large is made on the way, whatever a header declares.
"""

import gzip
import io
import os
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from autoseg.core.errors import AutosegError, ImageFileError
from autoseg.io import guard, images
from autoseg.io.guard import guarded_bytes

LIMIT_BYTES = 2**20
NUMBERED = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)


def intact(ending: str, folder: Path) -> bytes:
    """Return a file of 3 slices of 4 x 5 voxels, or of one."""
    encoded = io.BytesIO()
    if ending == ".bmp":
        PillowImage.fromarray(NUMBERED[0]).save(encoded, "BMP")
        return encoded.getvalue()
    if ending.startswith(".tif"):
        packing = "zlib" if ending == ".tiff" else None
        tifffile.imwrite(encoded, NUMBERED, photometric="minisblack", compression=packing)
        return encoded.getvalue()
    path = folder / f"intact{ending}"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(NUMBERED), str(path))
    return path.read_bytes()


@settings(max_examples=150)
@given(data=st.data(), ending=st.sampled_from([".nrrd", ".mha", ".gipl", ".tif", ".tiff", ".bmp"]))
def test_a_mutated_file_is_refused_or_read_within_its_limit(
    data: st.DataObject, ending: str, tmp_path_factory: pytest.TempPathFactory
):
    folder = tmp_path_factory.getbasetemp()
    content = bytearray(intact(ending, folder))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = folder / f"mutated{ending}"
    path.write_bytes(content)
    try:
        image = images.read_image(path, limit_bytes=LIMIT_BYTES)
    except AutosegError as error:
        assert error.rule.startswith("E-")  # noqa: PT017 - either outcome is right
        assert "mutated" in str(error)  # noqa: PT017
    else:
        assert image.voxels.size <= LIMIT_BYTES
        assert np.isfinite(image.voxels).all()


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".gipl", ".tif", ".tiff", ".bmp"])
def test_a_file_that_is_cut_anywhere_is_refused(ending: str, tmp_path: Path):
    content = intact(ending, tmp_path)
    path = tmp_path / f"cut{ending}"
    padding = 16 if ending.startswith(".tif") else 0  # behind the last directory
    for length in range(0, len(content) - padding, 7):
        path.write_bytes(content[:length])
        with pytest.raises(AutosegError, match=r"cut\."):
            images.read_image(path)


NRRD = (
    "NRRD0004\ntype: uchar\ndimension: 3\nspace: LPS\nsizes: {}\nencoding: {}\n"
    "space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\n\n"
)
META = (
    "ObjectType = Image\nNDims = 3\nCompressedData = True\nTransformMatrix = 1 0 0 0 1 0 0 0 1\n"
    "Offset = 0 0 0\nElementSpacing = 1 1 1\nDimSize = {}\nElementType = MET_UCHAR\n"
    "ElementDataFile = LOCAL\n"
)


@pytest.mark.parametrize(
    ("name", "content", "rule"),
    [
        pytest.param(
            "bomb.nrrd",
            lambda: NRRD.format("5 4 3", "gzip").encode() + gzip.compress(bytes(2**25), 1),
            "E-FILE-05",
            id="gzip-of-more-than-declared",
        ),
        pytest.param(
            "bomb.mha",
            lambda: META.format("5 4 3").encode() + zlib.compress(bytes(2**25), 1),
            "E-FILE-05",
            id="zlib-of-more-than-declared",
        ),
        pytest.param(
            "bomb.nrrd",
            lambda: NRRD.format("3000 3000 3000", "raw").encode(),
            "E-FILE-06",
            id="declared-size",
        ),
        pytest.param(
            "bomb.mha",
            lambda: META.format("1000 1000 2000").encode() + zlib.compress(bytes(9)),
            "E-FILE-02",
            id="declared-but-not-there",
        ),
        pytest.param(
            "bomb.mha",
            lambda: b"ObjectType = Image\nComment = " + b"x" * 2**22,
            "E-FILE-09",
            id="header-without-end",
        ),
    ],
)
def test_a_bomb_is_refused_in_bounded_memory(
    name: str, content: Callable[[], bytes], rule: str, tmp_path: Path
):
    (tmp_path / name).write_bytes(content())
    tracemalloc.start()
    try:
        with pytest.raises(ImageFileError, match=r"bomb\.\w+: ") as caught:
            guarded_bytes(tmp_path / name, limit_bytes=2**32)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.rule == rule
    assert peak_bytes < 2**23  # a quarter of what hides behind


def test_a_strip_that_swells_is_refused_in_bounded_memory(tmp_path: Path):
    content = bytearray(intact(".tiff", tmp_path))
    packed = zlib.compress(bytes(2**25))
    # The first page's strip becomes the bomb: tags 273 and 279, each one LONG or SHORT.
    (start,) = np.frombuffer(content, "<u4", 1, 4)
    (count,) = np.frombuffer(content, "<u2", 1, start)
    for entry in range(start + 2, start + 2 + 12 * int(count), 12):
        tag = int(np.frombuffer(content, "<u2", 1, entry)[0])
        if tag in (273, 279):
            value = len(content) if tag == 273 else len(packed)
            content[entry + 2 : entry + 12] = np.array([4, 0, 1, 0], "<u2").tobytes()[:2] + (
                np.array([1, value], "<u4").tobytes()
            )
    path = tmp_path / "bomb.tif"
    path.write_bytes(bytes(content) + packed)
    tracemalloc.start()
    try:
        with pytest.raises(ImageFileError, match=r"a strip holds more than the 20 bytes") as caught:
            guarded_bytes(path, limit_bytes=2**32)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.rule == "E-FILE-05"
    assert peak_bytes < 2**23


def test_a_data_file_that_changes_under_the_reader_is_read_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "a.mhd"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(NUMBERED), str(path))
    raw, read = tmp_path / "a.raw", guard._content
    changes = iter([1, 2])

    def read_then_touch(*arguments: object) -> object:
        content = read(*arguments)  # type: ignore[arg-type]
        if change := next(changes, 0):
            raw.write_bytes(bytes([change]) * 60)
            os.utime(raw, (change, change))
        return content

    monkeypatch.setattr(guard, "_content", read_then_touch)
    with pytest.raises(ImageFileError, match=r"a\.mhd: changed twice") as caught:
        images.read_image(path)
    assert caught.value.rule == "E-FILE-12"
    assert (images.read_image(path).voxels == 2).all()


def test_a_pipe_in_the_place_of_a_data_file_is_refused_without_waiting(tmp_path: Path):
    path = tmp_path / "a.mhd"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(NUMBERED), str(path))
    (tmp_path / "a.raw").unlink()
    os.mkfifo(tmp_path / "a.raw")
    with pytest.raises(ImageFileError, match=r"a\.raw: is a pipe") as caught:
        images.read_image(path)
    assert caught.value.rule == "E-FILE-11"
