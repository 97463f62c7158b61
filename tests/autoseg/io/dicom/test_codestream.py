"""The size of a compressed picture is read from its stream."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from autoseg.io.dicom.codestream import declared_size


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        pytest.param("JPEG", {}, id="baseline"),
        pytest.param("JPEG", {"progressive": True, "comment": b"x" * 300}, id="progressive"),
        pytest.param("JPEG2000", {"no_jp2": True}, id="jpeg-2000"),
    ],
)
def test_streams_say_rows_and_columns(kind, options):
    stream = BytesIO()
    Image.fromarray(np.zeros((40, 56), np.uint8)).save(stream, kind, **options)
    assert declared_size(stream.getvalue()) == (40, 56)


def test_jpeg_ls_says_rows_and_columns():
    frame = b"\xff\xf7\x00\x0b\x0c\x00\x28\x00\x38\x01\x01\x11\x00"  # 12 bits, 40 rows, 56 columns
    assert declared_size(b"\xff\xd8\xff\xff" + frame) == (40, 56)


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff\xda\x00\x04\x00\x00\x00\x00\x00",
        b"\x01\0\0\0",
        b"\xff\x4f\xff\x51\0",
    ],
)
def test_what_says_no_size_has_none(stream):
    assert declared_size(stream) is None
