"""Rows A to C of the fault catalogue: each faulty file, the verdict, and what the error says."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from autoseg.core.dataset import Case
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


def broken(**fields: Any) -> Callable[[Any], bytes]:
    """Build a file whose header has wrong fields."""
    return lambda make: make.nifti(make.voxels(), **fields)


def labeled(value: float, dtype: str, count: int = 1, **fields: Any) -> Callable[[Any], bytes]:
    """Build a segmentation with ``count`` voxels of a value along the third file axis."""

    def content(make: Any) -> bytes:
        labels = make.mask(dtype=dtype)
        labels[4, 6, :count] = value
        return bytes(make.nifti(labels, **fields))

    return content


def holed(value: float) -> Callable[[Any], bytes]:
    """Build an image with two bad voxels, the first at (i, j, k) = (3, 2, 1)."""

    def content(make: Any) -> bytes:
        voxels = make.voxels()
        voxels[3, 2, 1] = voxels[0, 0, 9] = value
        return bytes(make.nifti(voxels))

    return content


def sheared(amount: float) -> Callable[[Any], bytes]:
    """Build an image whose first axis leans towards the second."""

    def content(make: Any) -> bytes:
        affine = make.AFFINE.copy()
        affine[1, 0] = amount
        return bytes(make.nifti(make.voxels(), affine, codes=(1, 0)))

    return content


def flipped_qform(make: Any) -> bytes:
    return bytes(make.nifti(make.voxels(), qform=np.diag([-1.0, 1, 1, 1]) @ make.AFFINE))


# 385 voxels; of float32 1540 bytes, so 1892 in the file.
FILES = [
    Fault("E-FILE-01", "empty-gz", "a.nii.gz", lambda make: b"", ImageFileError, r"0 bytes"),
    Fault("E-FILE-01", "empty-png", "a.png", lambda make: b"", ImageFileError, r"0 bytes"),
    Fault(
        "E-FILE-02",
        "cut-nii",
        "a.nii",
        lambda make: make.nifti(make.voxels())[:-100],
        ImageFileError,
        r"1892 bytes expected for shape \(5, 7, 11\), 1792 found",
    ),
    Fault(
        "E-FILE-02",
        "cut-header",
        "a.nii",
        lambda make: make.nifti(make.voxels())[:200],
        ImageFileError,
        r"ends after 200 bytes",
    ),
    Fault(
        "E-FILE-02",
        "gz-of-too-few-voxels",
        "a.nii.gz",
        lambda make: make.zipped(make.nifti(make.voxels())[:-1]),
        ImageFileError,
        r"1892 bytes expected .* 1891 found",
    ),
    Fault(
        "E-FILE-02",
        "cut-png",
        "a.png",
        lambda make: make.png(make.pixels())[:-6],
        ImageFileError,
        r"truncated PNG",
    ),
    Fault(
        "E-FILE-03",
        "half-a-gz",
        "a.nii.gz",
        lambda make: make.zipped(make.nifti(make.voxels()))[:900],
        ImageFileError,
        r"gzip ends early",
    ),
    Fault(
        "E-FILE-03",
        "gz-without-its-last-8-bytes",
        "a.nii.gz",
        lambda make: make.zipped(make.nifti(make.voxels()))[:-8],
        ImageFileError,
        r"gzip ends early",
    ),
    Fault(
        "E-FILE-04",
        "wrong-crc",
        "a.nii.gz",
        lambda make: (z := make.zipped(make.nifti(make.voxels())))[:-8] + bytes(4) + z[-4:],
        ImageFileError,
        r"checksum or coding is wrong \(.*incorrect data check\)",
    ),
    Fault(
        "E-FILE-04",
        "wrong-length",
        "a.nii.gz",
        lambda make: make.zipped(make.nifti(make.voxels()))[:-4] + bytes(4),
        ImageFileError,
        r"checksum or coding is wrong \(.*incorrect length check\)",
    ),
    Fault(
        "E-FILE-04",
        "flipped-bit-in-png",
        "a.png",
        # Signature 8 + header chunk 25 + length and type 8: byte 45 lies in the pixels.
        lambda make: (p := make.png(make.pixels()))[:45] + bytes([p[45] ^ 1]) + p[46:],
        ImageFileError,
        r"checksum of chunk b'IDAT' at byte 33",
    ),
    Fault(
        "E-FILE-05",
        "data-behind-the-voxels",
        "a.nii",
        lambda make: make.nifti(make.voxels()) + bytes(65537),
        ImageFileError,
        r"more than 65536 bytes follow the 1892 bytes",
    ),
    Fault(
        "E-FILE-05",
        "data-behind-the-gzip-stream",
        "a.nii.gz",
        lambda make: make.zipped(make.nifti(make.voxels())) + b"secret",
        ImageFileError,
        r"other data behind the gzip stream",
    ),
    Fault(
        "E-FILE-06",
        "larger-than-the-limit",
        "a.nii.gz",
        lambda make: make.zipped(make.with_dim(make.nifti(make.voxels()), 3, 3000, 3000, 3000)),
        ImageFileError,
        r"\(3000, 3000, 3000\), 108000000352 bytes; allowed are 1048576",  # 4 * 3000**3 + 352
    ),
    Fault(
        "E-FILE-07",
        "nii-named-nii.gz",
        "a.nii.gz",
        lambda make: make.nifti(make.voxels()),
        ImageFileError,
        r"is a plain NIfTI file, but its name promises a gzip file",
    ),
    Fault(
        "E-FILE-07",
        "gz-named-nii",
        "a.nii",
        lambda make: make.zipped(make.nifti(make.voxels())),
        ImageFileError,
        r"is a gzip file, but its name promises a plain NIfTI file",
    ),
    Fault(
        "E-FILE-07",
        "text-named-nii",
        "a.nii",
        lambda make: b"no image, 404",
        ImageFileError,
        r"is a text file",
    ),
    Fault(
        "E-FILE-07",
        "zipped-text",
        "a.nii.gz",
        lambda make: make.zipped(b"no image, 404"),
        ImageFileError,
        r"holds a text file",
    ),
    Fault(
        "E-FILE-07",
        "png-named-nii.gz",
        "a.nii.gz",
        lambda make: make.png(make.pixels()),
        ImageFileError,
        r"is a PNG image",
    ),
    Fault(
        "E-FILE-07",
        "nii-named-png",
        "a.png",
        lambda make: make.nifti(make.voxels()),
        ImageFileError,
        r"is a plain NIfTI file, but its name promises a PNG image",
    ),
    Fault(
        "E-FILE-07",
        "lfs-pointer",
        "a.nii.gz",
        lambda make: b"version https://git-lfs.github.com/spec/v1\n",
        ImageFileError,
        r"Git LFS pointer",
    ),
    Fault("E-FILE-07", "other-ending", "a.img", lambda make: b"x", ImageFileError, r"\.img"),
    Fault("E-FILE-08", "magic", "a.nii", broken(magic=b"n+9"), ImageFileError, r"n\+9"),
    Fault("E-FILE-08", "analyze", "a.nii", broken(magic=b""), ImageFileError, r"Analyze 7\.5"),
    Fault("E-FILE-08", "pair", "a.nii", broken(magic=b"ni1"), ImageFileError, r"two-file pair"),
    Fault("E-FILE-08", "sizeof", "a.nii", broken(sizeof_hdr=349), ImageFileError, r"no NIfTI file"),
    Fault("E-FILE-09", "0-axes", "a.nii", broken(dim=0), ImageFileError, r"dim\[0\]\) is 0"),
    Fault("E-FILE-09", "8-axes", "a.nii", broken(dim=8), ImageFileError, r"dim\[0\]\) is 8"),
    Fault(
        "E-FILE-09",
        "axis-of-0-voxels",
        "a.nii",
        lambda make: make.with_dim(make.nifti(make.voxels()), 3, 5, 0, 11),
        ImageFileError,
        r"\(5, 0, 11\)",
    ),
    Fault(
        "E-FILE-09",
        "negative-axis",
        "a.nii",
        lambda make: make.with_dim(make.nifti(make.voxels()), 3, 5, -7, 11),
        ImageFileError,
        r"\(5, -7, 11\)",
    ),
    Fault("E-FILE-09", "datatype", "a.nii", broken(datatype=77), ImageFileError, r"77 is unknown"),
    Fault("E-FILE-09", "bitpix", "a.nii", broken(bitpix=8), ImageFileError, r"bitpix is 8"),
    Fault("E-FILE-09", "offset", "a.nii", broken(vox_offset=40), ImageFileError, r"offset is 40"),
    Fault(
        "E-FILE-09",
        "offset-nan",
        "a.nii",
        broken(vox_offset=np.nan),
        ImageFileError,
        r"vox_offset is nan",
    ),
    Fault(
        "E-FILE-09",
        "nifti-2-offset",
        "a.nii",
        broken(version=2, vox_offset=352),
        ImageFileError,
        r"vox_offset is 352, allowed are whole numbers from 544",
    ),
    Fault("E-GEO-13", "flipped-qform", "a.nii", flipped_qform, GeometryError, r"\(RAS\).*\(LAS\)"),
    Fault("E-GEO-14", "no-form", "a.nii", broken(codes=(0, 0)), GeometryError, r"both codes are 0"),
    # A shear of s mm along an edge of 0.8 mm turns two axes by s / 1.6 each.
    Fault("E-GEO-16", "shear", "a.nii", sheared(0.08), GeometryError, r"sheared by 0\.05"),
    Fault(
        "E-GEO-17",
        "singular",
        "a.nii",
        broken(srow_y=[0.8, 0, 0, 1], codes=(1, 0)),
        GeometryError,
        r"sform is singular",
    ),
    Fault(
        "E-GEO-17",
        "nan-affine",
        "a.nii",
        broken(srow_z=[0, 0, np.nan, 0]),
        GeometryError,
        r"sform holds NaN",
    ),
    Fault(
        "E-GEO-17",
        "pixdim-0",
        "a.nii",
        broken(pixdim=[1, 0.8, 0, 2.5, 0, 0, 0, 0]),
        GeometryError,
        r"pixdim\) are \(0\.8, 0\.0, 2\.5\)",
    ),
    Fault(
        "E-GEO-17",
        "no-rotation",
        "a.nii",
        broken(quatern_b=3.0, codes=(0, 1)),
        GeometryError,
        r"qform cannot be computed",
    ),
    Fault(
        "E-GEO-17",
        "beyond-all-bounds",
        "a.nii",
        broken(pixdim=[1, 1e38, 1e38, 1e38, 0, 0, 0, 0], srow_x=[3e38, 3e38, 0, 0], codes=(1, 1)),
        GeometryError,
        r"sform is singular",
    ),
    Fault("E-GEO-18", "metre", "a.nii", broken(xyzt_units=1), GeometryError, r"units are 'metre'"),
    Fault(
        "E-GEO-18", "micron", "a.nii", broken(xyzt_units=3), GeometryError, r"units are 'micron'"
    ),
    Fault(
        "E-GEO-19",
        "anisotropy",
        "a.nii",
        lambda make: make.nifti(make.voxels(), np.diag([0.5, 0.5, 1000.0, 1.0])),
        GeometryError,
        r"ratio of 2e\+03",
    ),
    Fault(
        "E-GEO-26",
        "5-axes",
        "a.nii",
        lambda make: make.nifti(make.voxels((3, 4, 5, 1, 2))),
        GeometryError,
        r"\(3, 4, 5, 1, 2\)",
    ),
    # The bad voxels in (z, y, x) are (1, 2, 3) and (9, 0, 0).
    Fault(
        "E-VAL-28",
        "nan",
        "a.nii",
        holed(np.nan),
        VoxelError,
        r"2 voxels .* array index \(1, 2, 3\) of shape \(11, 7, 5\)",
    ),
    Fault(
        "E-VAL-28",
        "infinity",
        "a.nii.gz",
        lambda make: make.zipped(holed(-np.inf)(make)),
        VoxelError,
        r"2 voxels .* array index \(1, 2, 3\)",
    ),
    Fault(
        "E-VAL-30",
        "rgb-nifti",
        "a.nii",
        lambda make: make.nifti(np.zeros((3, 4, 5), [("R", "u1"), ("G", "u1"), ("B", "u1")])),
        VoxelError,
        r"RGB colors",
    ),
    Fault(
        "E-VAL-30",
        "complex",
        "a.nii",
        lambda make: make.nifti(make.voxels(dtype="complex64")),
        VoxelError,
        r"complex numbers",
    ),
    Fault(
        "E-VAL-30",
        "palette-png",
        "a.png",
        lambda make: make.palette_png(make.pixels()),
        VoxelError,
        r"palette colors \(color type 3\)",
    ),
    Fault(
        "E-VAL-31",
        "odd-number-above-2-to-the-24",
        "a.nii",
        lambda make: make.nifti(np.full((3, 4, 5), 2**24 + 1, np.int32)),
        VoxelError,
        r"whole number 16777217 in int32",
    ),
    Fault(
        "E-VAL-31",
        "float64-beyond-float32",
        "a.nii",
        lambda make: make.nifti(np.full((3, 4, 5), 1e39)),
        VoxelError,
        r"60 voxels lie outside float32, such as 1e\+39",
    ),
    Fault("E-VAL-28", "nan-label", "a.nii", labeled(np.nan, "f4"), VoxelError, r"1 voxels", True),
    Fault(
        "E-VAL-34",
        "half-a-label",
        "a.nii",
        labeled(0.5, "f4", 3),
        VoxelError,
        r"3 voxels hold fractions, such as 0\.5;",
        True,
    ),
    Fault(
        "E-VAL-34",
        "scaled-labels",
        "a.nii",
        lambda make: make.nifti(make.mask(), scl_slope=0.25),
        VoxelError,
        r"such as 0\.25, 0\.5;",
        True,
    ),
    Fault(
        "E-VAL-35",
        "undeclared-label",
        "a.nii",
        labeled(7, "u1", 4),
        VoxelError,
        r"7 \(4 voxels\); declared are the labels 0 to 2",
        True,
    ),
    Fault(
        "E-VAL-35", "negative", "a.nii", labeled(-1, "i2", 2), VoxelError, r"-1 \(2 voxels\)", True
    ),
    Fault(
        "E-VAL-35",
        "beyond-uint16",
        "a.nii",
        labeled(70000, "i4"),
        VoxelError,
        r"70000 \(1 voxels\)",
        True,
    ),
    Fault(
        "E-VAL-35",
        "mask-of-255",
        "a.png",
        lambda make: make.png(np.full((9, 4), 253, np.uint8)),
        VoxelError,
        r"253 \(36 voxels\)",
        True,
    ),
]


def read(path: Path, *, segmentation: bool) -> None:
    if segmentation:
        images.read_segmentation(path, LABELS, limit_bytes=LIMIT_BYTES)
    else:
        images.read_image(path, limit_bytes=LIMIT_BYTES)


@pytest.mark.parametrize("fault", FILES, ids=lambda fault: f"{fault.rule}-{fault.id}")
def test_a_faulty_file_is_refused_by_its_rule(fault: Fault, make: ModuleType, tmp_path: Path):
    path = make.write(tmp_path / fault.name, fault.content(make))
    with pytest.raises(fault.error, match=fault.says) as caught:
        read(path, segmentation=fault.segmentation)
    assert caught.value.rule == fault.rule
    assert str(path) in str(caught.value)
    assert caught.value.hint


def test_the_files_without_a_fault_are_accepted(make: ModuleType, tmp_path: Path):
    plain = make.write(tmp_path / "a.nii", make.nifti(make.voxels()))
    packed = make.write(tmp_path / "a.nii.gz", make.zipped(make.nifti(make.voxels(), version=2)))
    expected = make.voxels().T  # a RAS file needs no flip
    for path in (plain, packed):
        image = images.read_image(path, limit_bytes=LIMIT_BYTES)
        assert np.array_equal(image.voxels, expected[None])
        assert image.notes == ()


@pytest.mark.parametrize(
    ("affine_change", "rule", "says"),
    [
        pytest.param({"shape": (5, 7, 10)}, "E-GEO-20", r"\(10, 7, 5\) .* \(11, 7, 5\)", id="20"),
        pytest.param(
            {"shift": 0.2}, "E-GEO-21", r"corners lie up to 0\.2 mm apart", id="21-origin"
        ),
        pytest.param({"edge": 2.6}, "E-GEO-21", r"spacing \(2\.5, .*\(2\.6, ", id="21-spacing"),
        pytest.param({"swap": True}, "E-GEO-21", r"corners lie up to", id="21-direction"),
    ],
)
def test_a_segmentation_off_its_image_is_refused(
    affine_change: dict[str, Any], rule: str, says: str, make: ModuleType, tmp_path: Path
):
    affine = make.AFFINE.copy()
    affine[0, 3] += affine_change.get("shift", 0.0)
    affine[2, 2] = affine_change.get("edge", affine[2, 2])
    if "swap" in affine_change:  # turned by 2 degrees about z
        c, s = np.cos(np.pi / 90), np.sin(np.pi / 90)
        affine = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]) @ affine
    image_path = make.write(tmp_path / "image.nii", make.nifti(make.voxels()))
    shape = affine_change.get("shape", make.SHAPE)
    path = make.write(tmp_path / "seg.nii", make.nifti(make.mask(shape), affine))
    image = images.read_image(image_path)
    segmentation = images.read_segmentation(path, LABELS)
    with pytest.raises(GeometryError, match=says) as caught:
        images.check_same_grid(image, segmentation, "case_7")
    assert caught.value.rule == rule
    assert "case 'case_7'" in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("second", "says"),
    [
        pytest.param({"shape": (5, 7, 10)}, r"shapes \(10, 7, 5\) and \(11, 7, 5\)", id="shape"),
        pytest.param({"shift": 3.0}, r"corners lie up to 3 mm apart", id="place"),
    ],
)
def test_channels_on_different_grids_are_refused(
    second: dict[str, Any], says: str, make: ModuleType, tmp_path: Path
):
    affine = make.AFFINE.copy()
    affine[1, 3] += second.get("shift", 0.0)
    make.write(tmp_path / "p_0000.nii", make.nifti(make.voxels()))
    voxels = make.voxels(second.get("shape", make.SHAPE))
    make.write(tmp_path / "p_0001.nii", make.nifti(voxels, affine))
    case = Case(name="p", images=("p_0000.nii", "p_0001.nii"))
    with pytest.raises(GeometryError, match=says) as caught:
        images.read_case_image(case, 2, folder=tmp_path)
    assert caught.value.rule == "E-GEO-23"
    assert re.search(r"case 'p': p_0001\.nii and p_0000\.nii", str(caught.value))
    assert caught.value.hint
