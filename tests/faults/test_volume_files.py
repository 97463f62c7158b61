"""Rows A to C for NRRD, MetaImage and GIPL: each faulty file, its rule, and what the error says."""

import gzip
import zlib
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
VOXEL_BYTES = 5 * 7 * 11 * 4


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


def nrrd(**fields: Any) -> Callable[[Any], bytes]:
    """Build an NRRD image whose header has wrong fields."""
    return lambda make: make.nrrd(make.voxels(), **fields)


def meta(**fields: Any) -> Callable[[Any], bytes]:
    """Build a MetaImage whose header has wrong fields."""
    return lambda make: make.metaimage(make.voxels(), **fields)


def gipl(**fields: Any) -> Callable[[Any], bytes]:
    """Build a GIPL image whose header has wrong fields."""
    return lambda make: make.gipl(make.voxels(), **fields)


def packed_nrrd(change: Callable[[bytes], bytes], name: str = "gzip") -> Callable[[Any], bytes]:
    """Build an NRRD image whose gzip stream is changed."""

    def content(make: Any) -> bytes:
        data = change(gzip.compress(make.voxels().tobytes(order="F"), mtime=0))
        return bytes(make.nrrd(make.voxels(), encoding=name, data=data))

    return content


def packed_meta(change: Callable[[bytes], bytes]) -> Callable[[Any], bytes]:
    """Build a MetaImage whose zlib stream is changed."""

    def content(make: Any) -> bytes:
        data = change(zlib.compress(make.voxels().tobytes(order="F")))
        return bytes(make.metaimage(make.voxels(), CompressedData="True", data=data))

    return content


def holed(make: Any) -> np.ndarray:
    """Return an image with two bad voxels, the first in (z, y, x) at (1, 2, 3)."""
    voxels: np.ndarray = make.voxels()
    voxels[3, 2, 1], voxels[0, 0, 9] = np.nan, np.inf
    return voxels


FILES = [
    Fault("E-FILE-01", "empty-nrrd", "a.nrrd", lambda make: b"", ImageFileError, r"0 bytes"),
    Fault("E-FILE-01", "empty-mha", "a.mha", lambda make: b"", ImageFileError, r"0 bytes"),
    Fault("E-FILE-01", "empty-gipl", "a.gipl", lambda make: b"", ImageFileError, r"0 bytes"),
    Fault("E-FILE-02", "cut-nrrd", "a.nrrd", lambda make: nrrd()(make)[:-100], ImageFileError,
          r"bytes expected for shape \(5, 7, 11\)"),
    Fault("E-FILE-02", "cut-mha", "a.mha", lambda make: meta()(make)[:-1], ImageFileError,
          r"bytes expected for shape \(5, 7, 11\)"),
    Fault("E-FILE-02", "cut-mhd", "a.mhd", lambda make: meta()(make)[:-1], ImageFileError,
          r"bytes expected for shape \(5, 7, 11\)"),
    Fault("E-FILE-02", "cut-gipl", "a.gipl", lambda make: gipl()(make)[:-1], ImageFileError,
          rf"{256 + VOXEL_BYTES} bytes expected .* {255 + VOXEL_BYTES} found"),
    Fault("E-FILE-02", "cut-nrrd-header", "a.nrrd", lambda make: nrrd()(make)[:90], ImageFileError,
          r"ends after 90 bytes, within its header"),
    Fault("E-FILE-02", "cut-mha-header", "a.mha", lambda make: meta()(make)[:90], ImageFileError,
          r"ends after 90 bytes, within its header"),
    Fault("E-FILE-02", "cut-gipl-header", "a.gipl", lambda make: gipl()(make)[:200],
          ImageFileError, r"ends after 200 bytes, within its header"),
    Fault("E-FILE-02", "gzip-of-too-few-voxels", "a.nrrd",
          packed_nrrd(lambda z: gzip.compress(gzip.decompress(z)[:-1])), ImageFileError,
          r"truncated: \d+ bytes expected"),
    Fault("E-FILE-02", "zlib-of-too-few-voxels", "a.mha",
          packed_meta(lambda z: zlib.compress(zlib.decompress(z)[:-1])), ImageFileError,
          r"truncated: \d+ bytes expected"),
    Fault("E-FILE-03", "half-a-gzip", "a.nrrd", packed_nrrd(lambda z: z[:700]), ImageFileError,
          r"gzip ends early"),
    Fault("E-FILE-03", "gzip-without-its-last-8-bytes", "a.nrrd", packed_nrrd(lambda z: z[:-8]),
          ImageFileError, r"gzip ends early"),
    Fault("E-FILE-03", "zlib-without-its-last-4-bytes", "a.mha", packed_meta(lambda z: z[:-4]),
          ImageFileError, r"zlib ends early"),
    Fault("E-FILE-04", "wrong-crc", "a.nrrd",
          packed_nrrd(lambda z: z[:-8] + bytes(4) + z[-4:]), ImageFileError,
          r"damaged gzip stream: .*incorrect data check"),
    Fault("E-FILE-04", "wrong-adler", "a.mha", packed_meta(lambda z: z[:-4] + bytes(4)),
          ImageFileError, r"damaged zlib stream: .*incorrect data check"),
    Fault("E-FILE-05", "behind-nrrd", "a.nrrd", lambda make: nrrd()(make) + bytes(65537),
          ImageFileError, r"more than 65536 bytes follow"),
    Fault("E-FILE-05", "behind-mha", "a.mha", lambda make: meta()(make) + bytes(65537),
          ImageFileError, r"more than 65536 bytes follow"),
    Fault("E-FILE-05", "behind-gipl", "a.gipl", lambda make: gipl()(make) + bytes(65537),
          ImageFileError, r"more than 65536 bytes follow"),
    Fault("E-FILE-05", "inside-the-zlib-stream", "a.mha",
          packed_meta(lambda z: zlib.compress(bytes(VOXEL_BYTES + 65537))), ImageFileError,
          r"more than 65536 bytes follow"),
    Fault("E-FILE-05", "behind-the-zlib-stream", "a.mha", packed_meta(lambda z: z + b"secret"),
          ImageFileError, r"other data behind the zlib stream"),
    # 4 * 3000**3 bytes of voxels.
    Fault("E-FILE-06", "huge-nrrd", "a.nrrd", nrrd(sizes="3000 3000 3000"), ImageFileError,
          r"\(3000, 3000, 3000\), 108000000\d{3} bytes; allowed are 1048576"),
    Fault("E-FILE-06", "huge-mha", "a.mha", meta(DimSize="3000 3000 3000"), ImageFileError,
          r"108000000\d{3} bytes; allowed are 1048576"),
    Fault("E-FILE-06", "huge-gipl", "a.gipl", gipl(dim=(3000, 3000, 3000, 1)), ImageFileError,
          r"108000000256 bytes; allowed are 1048576"),
    Fault("E-FILE-07", "mha-named-nrrd", "a.nrrd", meta(), ImageFileError,
          r"is a MetaImage, but its name promises an NRRD image"),
    Fault("E-FILE-07", "nrrd-named-mha", "a.mha", nrrd(), ImageFileError,
          r"is an NRRD image, but its name promises a MetaImage"),
    Fault("E-FILE-07", "nii-named-gipl", "a.gipl", lambda make: make.nifti(make.voxels()),
          ImageFileError, r"is a plain NIfTI file, but its name promises a GIPL image"),
    Fault("E-FILE-07", "text-named-mhd", "a.mhd", lambda make: b"no image, 404\n", ImageFileError,
          r"is a text file"),
    Fault("E-FILE-07", "gipl-without-magic", "a.gipl", gipl(magic=7), ImageFileError,
          r"is of unknown kind"),
    Fault("E-FILE-08", "version", "a.nrrd",
          lambda make: nrrd()(make).replace(b"NRRD0004", b"NRRD0009"), ImageFileError,
          r"begins with 'NRRD0009'"),
    Fault("E-FILE-08", "bzip2", "a.nrrd", packed_nrrd(lambda z: z, "bzip2"), ImageFileError,
          r"encoding is 'bzip2', allowed are raw and gzip"),
    Fault("E-FILE-08", "skip", "a.nrrd", nrrd(byte_skip="-1"), ImageFileError, r"byte skip is -1"),
    Fault("E-FILE-08", "text-voxels", "a.mha", meta(BinaryData="False"), ImageFileError,
          r"voxels are text"),
    Fault("E-FILE-08", "header-size", "a.mha", meta(HeaderSize="-1"), ImageFileError,
          r"HeaderSize is -1"),
    Fault("E-FILE-08", "tube", "a.mha", meta(ObjectType="Tube"), ImageFileError, r"is 'Tube'"),
    Fault("E-FILE-09", "nrrd-axis-of-0", "a.nrrd", nrrd(sizes="5 0 11"), ImageFileError,
          r"sizes is '5 0 11', needed are 3 numbers from 1"),
    Fault("E-FILE-09", "mha-negative-axis", "a.mha", meta(DimSize="5 -7 11"), ImageFileError,
          r"DimSize is '5 -7 11'"),
    Fault("E-FILE-09", "gipl-axis-of-0", "a.gipl", gipl(dim=(5, 0, 11, 1)), ImageFileError,
          r"\(5, 0, 11\)"),
    Fault("E-FILE-09", "nrrd-type", "a.nrrd", nrrd(type="quark"), ImageFileError, r"'quark'"),
    Fault("E-FILE-09", "mha-type", "a.mha", meta(ElementType="MET_QUARK"), ImageFileError,
          r"'MET_QUARK' is unknown"),
    Fault("E-FILE-09", "gipl-type", "a.gipl", gipl(type=77), ImageFileError, r"77 is unknown"),
    Fault("E-FILE-09", "no-endian", "a.nrrd", nrrd(endian=None), ImageFileError, r"endian is ''"),
    Fault("E-FILE-09", "dimensions", "a.nrrd", nrrd(dimension="99"), ImageFileError, r"is 99"),
    Fault("E-FILE-09", "twice", "a.nrrd",
          lambda make: nrrd()(make).replace(b"type:", b"Type: short\ntype:"), ImageFileError,
          r"'type' occurs twice"),
    Fault("E-FILE-09", "synonym", "a.mha", meta(Position="0 0 0"), ImageFileError,
          r"'Offset' occurs twice"),
    Fault("E-FILE-09", "flag", "a.mha", meta(CompressedData="perhaps"), ImageFileError,
          r"CompressedData is 'perhaps'"),
    Fault("E-GEO-14", "no-space", "a.nrrd", nrrd(space=None, space_dimension="3"), GeometryError,
          r"space is 'not stated'"),
    Fault("E-GEO-14", "scanner-space", "a.nrrd", nrrd(space="scanner-xyz"), GeometryError,
          r"space is 'scanner-xyz'"),
    Fault("E-GEO-14", "spacings-only", "a.nrrd",
          nrrd(space_directions=None, space_origin=None, spacings="1 1 1"), GeometryError,
          r"space directions are 'not stated'"),
    Fault("E-GEO-14", "no-matrix", "a.mha", meta(TransformMatrix=None), GeometryError,
          r"no TransformMatrix"),
    # A shear of s mm along an edge of 0.8 mm turns two axes by s / 1.6 each.
    Fault("E-GEO-16", "shear-nrrd", "a.nrrd",
          nrrd(space_directions="(0.8,0.08,0) (0,0.9,0) (0,0,2.5)"), GeometryError,
          r"sheared by 0\.05"),
    Fault("E-GEO-16", "shear-mha", "a.mha",
          meta(TransformMatrix="-0.995 0.1 0 0 -1 0 0 0 1"), GeometryError, r"sheared by 0\.05"),
    Fault("E-GEO-17", "singular-nrrd", "a.nrrd",
          nrrd(space_directions="(0.8,0,0) (0.8,0,0) (0,0,2.5)"), GeometryError, r"is singular"),
    Fault("E-GEO-17", "edge-of-0", "a.nrrd",
          nrrd(space_directions="(0,0,0) (0,0.9,0) (0,0,2.5)"), GeometryError,
          r"NaN or infinity|singular"),
    Fault("E-GEO-17", "nan-direction", "a.nrrd",
          nrrd(space_directions="(nan,nan,nan) (0,0.9,0) (0,0,2.5)"), GeometryError,
          r"directions is 'nan nan nan'"),
    Fault("E-GEO-17", "nan-origin", "a.nrrd", nrrd(space_origin="(nan,nan,nan)"), GeometryError,
          r"space origin is 'nan nan nan'"),
    Fault("E-GEO-17", "singular-mha", "a.mha", meta(TransformMatrix="1 0 0 1 0 0 0 0 1"),
          GeometryError, r"is singular"),
    Fault("E-GEO-17", "scaled-matrix", "a.mha", meta(TransformMatrix="2 0 0 0 1 0 0 0 1"),
          GeometryError, r"direction 1 of TransformMatrix has the length 2"),
    Fault("E-GEO-17", "short-matrix", "a.mha", meta(TransformMatrix="1 0 0"), GeometryError,
          r"needed are 9 finite numbers"),
    Fault("E-GEO-17", "nan-offset", "a.mha", meta(Offset="nan 0 0"), GeometryError, r"'nan 0 0'"),
    Fault("E-GEO-17", "negative-edge", "a.mha", meta(ElementSpacing="0.8 -0.9 2.5"),
          GeometryError, r"\(0\.8, -0\.9, 2\.5\)"),
    Fault("E-GEO-17", "gipl-edge-of-0", "a.gipl", gipl(pixdim=(0, 1, 1, 1)), GeometryError,
          r"spacing is \(0\.0, 1\.0, 1\.0\)"),
    Fault("E-GEO-17", "gipl-nan-edge", "a.gipl", gipl(pixdim=(np.nan, 1, 1, 1)), GeometryError,
          r"spacing is \(nan, "),
    Fault("E-GEO-17", "gipl-origin", "a.gipl", gipl(origin=(np.inf, 0, 0, 0)), GeometryError,
          r"origin is \(inf, "),
    Fault("E-GEO-18", "micron-nrrd", "a.nrrd", nrrd(space_units='"um" "um" "um"'), GeometryError,
          r"units are 'um'"),
    Fault("E-GEO-18", "metre-mha", "a.mha", meta(DistanceUnits="m"), GeometryError,
          r"units are 'm'"),
    Fault("E-GEO-19", "anisotropy", "a.mha", meta(ElementSpacing="0.5 0.5 1000"), GeometryError,
          r"ratio of 2e\+03"),
    Fault("E-GEO-26", "5-axes", "a.mha",
          lambda make: make.metaimage(make.voxels((3, 4, 5, 1, 2))), GeometryError,
          r"\(3, 4, 5, 1, 2\)"),
    Fault("E-GEO-26", "two-axes-of-channels", "a.nrrd",
          lambda make: make.nrrd(make.voxels((2, 3, 4, 5, 6)), kinds=None,
                                 space_directions="none none (1,0,0) (0,1,0) (0,0,1)"),
          GeometryError, r"\(2, 3, 4, 5, 6\)"),
    Fault("E-VAL-28", "nan-nrrd", "a.nrrd", lambda make: make.nrrd(holed(make)), VoxelError,
          r"2 voxels .* array index \(1, 2, 3\) of shape \(11, 7, 5\)"),
    Fault("E-VAL-28", "nan-mha", "a.mha", lambda make: make.metaimage(holed(make)), VoxelError,
          r"2 voxels .* array index \(1, 2, 3\) of shape \(11, 7, 5\)"),
    Fault("E-VAL-28", "nan-gipl", "a.gipl", lambda make: make.gipl(holed(make)), VoxelError,
          r"2 voxels"),
    Fault("E-VAL-30", "complex", "a.nrrd",
          lambda make: make.nrrd(make.voxels((2, 5, 7, 11)), kinds="complex domain domain domain",
                                 space_directions="none (1,0,0) (0,1,0) (0,0,1)"),
          VoxelError, r"the kind 'complex'"),
    Fault("E-VAL-30", "block", "a.nrrd", nrrd(type="block"), VoxelError, r"blocks of bytes"),
    Fault("E-VAL-30", "array", "a.mha", meta(ElementType="MET_FLOAT_ARRAY"), VoxelError,
          r"MET_FLOAT_ARRAY"),
    Fault("E-VAL-30", "gipl-complex", "a.gipl", gipl(type=192), VoxelError, r"complex numbers"),
    Fault("E-VAL-31", "float64", "a.nrrd",
          lambda make: make.nrrd(np.full((3, 4, 5), 1e39)), VoxelError, r"60 voxels .* 1e\+39"),
]  # fmt: skip


@pytest.mark.parametrize("fault", FILES, ids=lambda fault: f"{fault.rule}-{fault.id}")
def test_a_faulty_volume_is_refused_by_its_rule(fault: Fault, make: ModuleType, tmp_path: Path):
    path = make.write(tmp_path / fault.name, fault.content(make))
    with pytest.raises(fault.error, match=fault.says) as caught:
        images.read_image(path, limit_bytes=LIMIT_BYTES)
    assert caught.value.rule == fault.rule
    assert str(path) in str(caught.value)
    assert caught.value.hint


def test_the_volumes_without_a_fault_are_accepted(make: ModuleType, tmp_path: Path):
    contents = {
        "a.nrrd": make.nrrd(make.voxels()),
        "b.nrrd": packed_nrrd(lambda z: z)(make),
        "a.mha": make.metaimage(make.voxels()),
        "b.mha": packed_meta(lambda z: z)(make),
        "a.mhd": make.metaimage(make.voxels()),
        "a.nii": make.nifti(make.voxels()),
    }
    for name, content in contents.items():
        image = images.read_image(make.write(tmp_path / name, content), limit_bytes=LIMIT_BYTES)
        assert np.array_equal(image.voxels, make.voxels().T[None])  # RAS needs no flip
        assert np.abs(np.array(image.geometry.file_affine) - make.AFFINE).max() < 1e-6
        assert image.notes == ()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("a.mha", meta(ElementDataFile="{}"), id="mha"),
        pytest.param("a.mhd", meta(ElementDataFile="{}"), id="mhd"),
        pytest.param("a.mhd", meta(ElementDataFile="LIST"), id="mhd-list"),
        pytest.param("a.mhd", meta(ElementDataFile="../a.raw"), id="mhd-outside"),
        pytest.param("a.mhd", meta(ElementDataFile="b.raw"), id="mhd-of-another-case"),
        pytest.param("a.mha", meta(ElementDataFile="a.raw"), id="mha-sibling"),
        pytest.param("a.nrrd", nrrd(data_file="{}"), id="nrrd"),
        pytest.param("a.nrrd", nrrd(datafile="{}"), id="nrrd-datafile"),
        pytest.param("a.nrrd", nrrd(DATA_FILE="a.raw"), id="nrrd-sibling"),
    ],
)
def test_voxels_in_a_foreign_file_are_not_read(
    name: str, content: Callable[[Any], bytes], make: ModuleType, tmp_path: Path
):
    secret = make.write(tmp_path / "elsewhere" / "secret", bytes(VOXEL_BYTES))
    for target in (str(secret), "/etc/passwd"):
        path = make.write(
            tmp_path / name, content(make).replace(b"{}", target.encode())[:-VOXEL_BYTES]
        )
        with pytest.raises(ImageFileError, match=r"as the file of its voxels") as caught:
            images.read_image(path)
        assert caught.value.rule == "E-FILE-10"
        assert caught.value.hint


def test_the_voxels_of_a_mhd_lie_beside_it(make: ModuleType, tmp_path: Path):
    header = make.metaimage(make.voxels(), data=b"", ElementDataFile="a.raw")
    path = make.write(tmp_path / "a.mhd", header)
    with pytest.raises(ImageFileError, match=r"a\.raw: there is no such file") as caught:
        images.read_image(path)
    assert caught.value.rule == "E-SET-42"
    voxels = make.voxels().tobytes(order="F")
    for data, rule in ((voxels[:-1], "E-FILE-02"), (voxels + bytes(65537), "E-FILE-05")):
        make.write(tmp_path / "a.raw", data)
        with pytest.raises(ImageFileError, match=r"a\.mhd: .*shape \(5, 7, 11\)") as caught:
            images.read_image(path)
        assert caught.value.rule == rule
    make.write(tmp_path / "a.raw", voxels)
    assert np.array_equal(images.read_image(path).voxels, make.voxels().T[None])


def test_a_folder_in_the_place_of_the_voxels_is_refused(make: ModuleType, tmp_path: Path):
    path = make.write(
        tmp_path / "a.mhd", make.metaimage(make.voxels(), data=b"", ElementDataFile="a.raw")
    )
    (tmp_path / "a.raw").mkdir()
    with pytest.raises(ImageFileError, match=r"a\.raw: is a folder") as caught:
        images.read_image(path)
    assert caught.value.rule == "E-FILE-11"


@pytest.mark.parametrize(
    ("value", "dtype", "rule", "says"),
    [
        pytest.param(0.5, "f4", "E-VAL-34", r"1 voxels hold fractions, such as 0\.5", id="34"),
        pytest.param(7, "u1", "E-VAL-35", r"7 \(1 voxels\)", id="35"),
        pytest.param(-1, "i2", "E-VAL-35", r"-1 \(1 voxels\)", id="35-negative"),
    ],
)
@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".gipl"])
def test_wrong_labels_are_refused(
    value: float, dtype: str, rule: str, says: str, ending: str, make: ModuleType, tmp_path: Path
):
    labels = make.mask(dtype=dtype)
    labels[4, 6, 0] = value
    encode = {".nrrd": make.nrrd, ".mha": make.metaimage, ".gipl": make.gipl}[ending]
    path = make.write(tmp_path / f"a{ending}", encode(labels))
    with pytest.raises(VoxelError, match=says) as caught:
        images.read_segmentation(path, LABELS)
    assert caught.value.rule == rule


def test_channels_of_different_formats_must_share_a_grid(make: ModuleType, tmp_path: Path):
    make.write(tmp_path / "p_0000.nrrd", make.nrrd(make.voxels()))
    make.write(tmp_path / "p_0001.mha", make.metaimage(make.voxels(), Offset="12.5 -4.25 31"))
    case = Case(name="p", images=("p_0000.nrrd", "p_0001.mha"))
    with pytest.raises(GeometryError, match=r"corners lie up to 3 mm apart") as caught:
        images.read_case_image(case, 2, folder=tmp_path)
    assert caught.value.rule == "E-GEO-23"


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_a_slight_shear_is_removed_with_a_note(ending: str, make: ModuleType, tmp_path: Path):
    # 1e-3 mm along an edge of 0.8 mm leaves 1e-3 / 1.6 = 6.25e-4 in two directions.
    content = {
        ".nrrd": nrrd(space_directions="(0.8,0.001,0) (0,0.9,0) (0,0,2.5)"),
        ".mha": meta(TransformMatrix="-1 -0.00125 0 0 -1 0 0 0 1"),
    }[ending](make)
    image = images.read_image(make.write(tmp_path / f"a{ending}", content))
    assert image.notes == (f"a{ending}: shear of 0.00062 in the direction matrix was removed",)
    axes = image.geometry.affine[:3, :3] / image.geometry.spacing
    assert np.abs(axes.T @ axes - np.eye(3)).max() < 1e-6
