"""Headers of text: what ends a line and a word is the same for us and for SimpleITK."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from autoseg.core.errors import GeometryError, ImageFileError
from autoseg.io import images

NUMBERED = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
NRRD = (
    b"NRRD0004\ntype: uchar\ndimension: 3\nspace: LPS\nsizes: 5 4 3\nencoding: raw\n"
    b"space directions: (1,0,0) (0,1,0) (0,0,1)\n%s\n\n"
)
META = (
    b"NDims = 3\nDimSize = 5 4 3\nElementType = MET_UCHAR\nElementSpacing = 1 1 1\n"
    b"TransformMatrix = 1 0 0 0 1 0 0 0 1\n%s\nElementDataFile = LOCAL\n"
)
LETTERS = "Ångström, 肝脏, \x0b\x0c\x1c\x1d\x1e\x85\u2028"
"""Text whose bytes in UTF-8 are line ends to `str.splitlines`: 0x85 is one of Å and of 脏."""


@pytest.mark.parametrize(
    ("name", "header", "origin", "key"),
    [
        ("a.nrrd", NRRD, b"space origin: (-7,5,3)", b"Segment0_Name:="),
        ("a.mha", META, b"Offset = -7 5 3", b"Name = "),
    ],
)
@pytest.mark.parametrize("coding", ["utf-8", "gb18030", "cp1252"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["unix", "windows"])
def test_names_of_any_coding_end_no_line(
    name: str, header: bytes, origin: bytes, key: bytes, coding: str, end: bytes, tmp_path: Path
):
    letters = LETTERS.encode(coding, errors="ignore")
    lines = (header % (key + letters + b"\n" + origin)).replace(b"\n", end)
    (tmp_path / name).write_bytes(lines + NUMBERED.tobytes())
    image = images.read_image(tmp_path / name, orientation="stored")
    assert np.array_equal(image.voxels[0], NUMBERED)
    assert np.array(image.geometry.file_affine)[:3, 3].tolist() == [7, -5, 3]


@pytest.mark.parametrize(
    ("name", "header", "field"),
    [
        ("a.nrrd", NRRD, b"#a%sspace origin: (7,7,7)"),
        ("a.mha", META, b"Comment = a%sOffset = 7 7 7"),
    ],
)
@pytest.mark.parametrize("separator", [b"\x85", b"\x0b", b"\x0c", b"\x1c", b"\x1d", b"\x1e"])
def test_a_place_within_another_line_is_none(
    name: str, header: bytes, field: bytes, separator: bytes, tmp_path: Path
):
    path = tmp_path / name
    path.write_bytes(header % (field % separator) + bytes(60))
    assert SimpleITK.ReadImage(path).GetOrigin() == (0, 0, 0)
    with pytest.raises(GeometryError, match=r"origin is 'not stated'|no Offset") as caught:
        images.read_image(path)
    assert caught.value.rule == "E-GEO-14"


@pytest.mark.parametrize("blank", [b"\x85", b"\xa0", b"\x1c"])
def test_a_letter_that_only_python_takes_for_a_blank_is_part_of_its_word(
    blank: bytes, tmp_path: Path
):
    (tmp_path / "a.mha").write_bytes(META % (blank + b"Offset = 7 7 7") + bytes(60))
    assert SimpleITK.ReadImage(tmp_path / "a.mha").GetOrigin() == (0, 0, 0)
    with pytest.raises(GeometryError, match="its header has no Offset"):
        images.read_image(tmp_path / "a.mha")
    (tmp_path / "b.mha").write_bytes(META % (b"Offset = 7 7 " + blank + b"7") + bytes(60))
    with pytest.raises(GeometryError, match=r"Offset is '7 7 .*7', needed are 3 finite"):
        images.read_image(tmp_path / "b.mha")


@pytest.mark.parametrize(
    ("name", "header", "field"),
    [
        ("a.nrrd", NRRD, b"space origin: (1,2,3)\n#a\rspace origin: (7,7,7)"),
        ("a.mha", META, b"Offset = 1 2 3\nFoo\rOffset = 7 7 7"),
    ],
)
def test_a_return_within_a_line_is_refused(name: str, header: bytes, field: bytes, tmp_path: Path):
    (tmp_path / name).write_bytes(header % field + bytes(60))
    with pytest.raises(ImageFileError, match=r"the line '.*\\r.*' holds a carriage") as caught:
        images.read_image(tmp_path / name)
    assert caught.value.rule == "E-FILE-09"
