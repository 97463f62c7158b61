"""Reading and writing: positions, channels, what is repaired with a note, and round trips."""

import gzip
import hashlib
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image as PillowImage

from autoseg.core.dataset import Case
from autoseg.core.errors import DatasetError, GeometryError, VoxelError
from autoseg.core.geometry import Geometry, Orientation
from autoseg.core.labels import Labels
from autoseg.io import images

LABELS = Labels(names=("background", "left", "right"))
# File axes run towards P, R and I, with edges 0.75, 0.5 and 3 mm.
AFFINE = np.array([[0, 0.5, 0, -20.0], [-0.75, 0, 0, 35.0], [0, 0, -3.0, 8.0], [0, 0, 0, 1]])
SHAPE = (4, 6, 3)


def write_nifti(path: Path, voxels: np.ndarray, affine: np.ndarray = AFFINE, **fields: Any) -> Path:
    """Write a NIfTI-1 file, both forms set, then raw header fields."""
    image = nib.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    data = bytearray(image.to_bytes())
    for name, value in fields.items():
        np.frombuffer(data, nib.nifti1.header_dtype, count=1)[name] = value
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def numbered(shape: tuple[int, ...] = SHAPE, dtype: str = "float32") -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def test_canonical_arrays_are_z_y_x_towards_head_front_and_right(tmp_path: Path):
    image = images.read_image(write_nifti(tmp_path / "a.nii", numbered()))
    # z runs against file axis 2, y against file axis 0, x along file axis 1.
    assert np.array_equal(image.voxels[0], numbered().transpose(2, 0, 1)[::-1, ::-1, :])
    assert image.voxels.dtype == np.float32
    assert image.voxels.flags.c_contiguous
    assert image.geometry.spacing == (3.0, 0.75, 0.5)
    # The last voxel of file axes 0 and 2: y = 35 - 3 * 0.75, z = 8 - 2 * 3.
    assert image.geometry.affine[:3, 3].tolist() == [-20.0, 32.75, 2.0]


def test_stored_arrays_are_the_file_axes_reversed(tmp_path: Path):
    path = write_nifti(tmp_path / "a.nii", numbered())
    image = images.read_image(path, orientation="stored")
    assert np.array_equal(image.voxels[0], numbered().T)
    assert image.geometry.spacing == (3.0, 0.5, 0.75)
    assert image.geometry.affine[:3, 3].tolist() == AFFINE[:3, 3].tolist()


@pytest.mark.parametrize(
    "dtype", ["i1", "u1", "i2", ">i2", "u2", "i4", "u4", "i8", "u8", "f4", ">f4", "f8"]
)
def test_every_real_type_is_read_exactly(dtype: str, tmp_path: Path):
    header = nib.Nifti1Header(endianness=">" if dtype.startswith(">") else "<")
    header.set_xyzt_units("mm")
    file = nib.Nifti1Image(numbered(dtype=dtype), np.eye(4), header, dtype=np.dtype(dtype))
    file.set_sform(np.eye(4), 1)
    (tmp_path / "a.nii").write_bytes(file.to_bytes())
    image = images.read_image(tmp_path / "a.nii")
    assert np.array_equal(image.voxels[0], numbered().T)


def test_stored_values_are_scaled(tmp_path: Path):
    path = write_nifti(tmp_path / "a.nii", numbered(dtype="i2"), scl_slope=0.25, scl_inter=-1000)
    image = images.read_image(path, orientation="stored")
    assert np.array_equal(image.voxels[0], numbered().T * 0.25 - 1000)


@pytest.mark.parametrize(
    ("fields", "note"),
    [
        pytest.param({"scl_slope": 0}, "scl_slope 0 and scl_inter 0 taken as", id="32-0"),
        pytest.param({"scl_slope": np.nan}, "scl_slope nan", id="32-nan"),
        pytest.param({"xyzt_units": 0}, "units are not stated, taken as mm", id="18-unknown"),
        pytest.param({"xyzt_units": 10}, "", id="18-mm-and-seconds"),
    ],
)
def test_what_is_assumed_is_noted_with_the_file(fields: dict[str, Any], note: str, tmp_path: Path):
    path = write_nifti(tmp_path / "a.nii", numbered(), **fields)
    image = images.read_image(path, orientation="stored")
    assert np.array_equal(image.voxels[0], numbered().T)
    assert len(image.notes) == bool(note)
    assert all(found.startswith("a.nii: ") and note in found for found in image.notes)


@pytest.mark.parametrize(
    ("edges", "note"),
    [
        pytest.param((0.5, 0.5, 60.0), "spacing (0.5, 0.5, 60.0) mm is unusual", id="thick"),
        pytest.param((0.005, 0.25, 0.125), "is unusual", id="microscopic"),
        pytest.param((0.5, 0.5, 30.0), "very anisotropic", id="ratio-60"),
        pytest.param((0.5, 0.5, 25.0), "", id="ratio-50"),
    ],
)
def test_extreme_spacings_are_noted(edges: tuple[float, ...], note: str, tmp_path: Path):
    path = write_nifti(tmp_path / "a.nii", numbered(), np.diag([*edges, 1.0]))
    notes = images.read_image(path).notes
    assert note in "".join(notes)
    assert bool(notes) == bool(note)


def test_a_slight_shear_is_removed_with_a_note(tmp_path: Path):
    affine = np.diag([0.8, 0.9, 2.5, 1.0])
    affine[1, 0] = 1e-3  # leaves 1e-3 / (2 * 0.8) = 6.25e-4 in the direction
    path = write_nifti(tmp_path / "a.nii", numbered(), affine, qform_code=0)
    image = images.read_image(path)
    assert image.notes == ("a.nii: shear of 0.00062 in the sform was removed",)
    axes = image.geometry.affine[:3, :3] / image.geometry.spacing
    assert np.abs(axes.T @ axes - np.eye(3)).max() < 1e-6
    assert image.geometry.spacing == pytest.approx((2.5, 0.9, 0.8), abs=1e-6)


def test_one_form_alone_is_used(tmp_path: Path):
    by_sform = write_nifti(tmp_path / "s.nii", numbered(), qform_code=0, quatern_b=9.0)
    by_qform = write_nifti(tmp_path / "q.nii", numbered(), sform_code=0, srow_x=[0, 0, 0, 0])
    for path in (by_sform, by_qform):
        assert np.abs(np.array(images.read_image(path).geometry.file_affine) - AFFINE).max() < 1e-6


def test_four_axes_are_channels_and_one_volume_is_noted(tmp_path: Path):
    two = images.read_image(write_nifti(tmp_path / "two.nii", numbered((*SHAPE, 2))))
    assert two.voxels.shape == (2, 3, 4, 6)
    canonical = numbered((*SHAPE, 2)).transpose(3, 2, 0, 1)[:, ::-1, ::-1, :]
    assert np.array_equal(two.voxels, canonical)
    one = images.read_image(write_nifti(tmp_path / "one.nii", numbered((*SHAPE, 1))))
    assert one.voxels.shape == (1, 3, 4, 6)
    assert one.notes == (
        "one.nii: axes of length 1 behind the third were dropped from shape (4, 6, 3, 1)",
    )


def test_a_nifti_of_one_slice_stays_three_dimensional(tmp_path: Path):
    image = images.read_image(write_nifti(tmp_path / "a.nii", numbered((4, 6, 1))))
    assert image.voxels.shape == (1, 1, 4, 6)
    flat = images.read_image(write_nifti(tmp_path / "b.nii", numbered((4, 6))))
    assert flat.voxels.shape == (1, 1, 4, 6)
    assert flat.notes == ("b.nii: 2D image taken as one slice",)


@pytest.mark.parametrize("bits", [1, 8, 16])
def test_a_grey_png_has_two_axes_and_no_world(bits: int, tmp_path: Path):
    pixels = (np.arange(20).reshape(4, 5) * 7) % 2**bits
    pixels = pixels.astype({1: bool, 8: np.uint8, 16: np.uint16}[bits])
    PillowImage.fromarray(pixels).save(tmp_path / "a.png")
    image = images.read_image(tmp_path / "a.png")
    assert np.array_equal(image.voxels, pixels[None].astype(np.float32))
    assert image.geometry.shape == (4, 5)
    assert image.geometry.spacing == (1.0, 1.0)


def test_png_labels_of_four_bits_keep_their_values(tmp_path: Path):
    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    rows = b"\0\x01\x20" + b"\0\x02\x10"  # filter 0, then labels 0 1 2 (and padding), 0 2 1
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">2I5B", 3, 2, 4, 0, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    segmentation = images.read_segmentation(tmp_path / "a.png", LABELS)
    assert segmentation.voxels.tolist() == [[0, 1, 2], [0, 2, 1]]


def test_channel_files_are_joined_in_the_order_of_the_case(tmp_path: Path):
    write_nifti(tmp_path / "p_0000.nii.gz", numbered())
    write_nifti(tmp_path / "p_0001.nii.gz", numbered() + 500)
    case = Case(name="p", images=("p_0000.nii.gz", "p_0001.nii.gz"))
    image = images.read_case_image(case, 2, folder=tmp_path, orientation="stored")
    assert np.array_equal(image.voxels, np.stack([numbered().T, numbered().T + 500]))
    assert image.digests == tuple(
        hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in case.images
    )


def test_one_file_may_hold_all_channels(tmp_path: Path):
    path = write_nifti(tmp_path / "p.nii.gz", numbered((*SHAPE, 3)))
    image = images.read_case_image(Case(name="p", images=(str(path),)), 3)
    assert image.voxels.shape == (3, 3, 4, 6)


@pytest.mark.parametrize(
    ("files", "channels", "says"),
    [
        pytest.param(("two.nii",), 3, r"'p': two\.nii: 2 channels found, 3", id="4d"),
        pytest.param(("two.nii",), 1, r"'p': two\.nii: 2 channels found, 1", id="4d-for-1"),
        pytest.param(("one.nii",), 2, r"'p': one\.nii: 1 channels found, 2", id="3d-for-2"),
        pytest.param(("one.nii", "one.nii"), 3, r"'p': 2 files found, 3", id="files"),
        pytest.param(("one.nii", "two.nii"), 2, r"'p': two\.nii: 2 channels found, 1", id="mixed"),
    ],
)
def test_a_wrong_number_of_channels_is_refused(
    files: tuple[str, ...], channels: int, says: str, tmp_path: Path
):
    write_nifti(tmp_path / "one.nii", numbered())
    write_nifti(tmp_path / "two.nii", numbered((*SHAPE, 2)))
    with pytest.raises(DatasetError, match=says) as caught:
        images.read_case_image(Case(name="p", images=files), channels, folder=tmp_path)
    assert caught.value.rule == "E-SET-42"


def test_labels_near_whole_numbers_are_rounded_with_a_note(tmp_path: Path):
    labels = np.zeros(SHAPE, np.float32)
    labels[1, 2, 0], labels[3, 3, 1] = 1.00005, 2.0
    segmentation = images.read_segmentation(write_nifti(tmp_path / "a.nii", labels), LABELS)
    assert segmentation.notes == ("a.nii: labels up to 5e-05 away from whole numbers were rounded",)
    assert np.bincount(segmentation.voxels.ravel()).tolist() == [70, 1, 1]


@pytest.mark.parametrize("dtype", ["u1", "i2", "i8", "f4", "f8"])
def test_labels_take_the_smallest_unsigned_type(dtype: str, tmp_path: Path):
    labels = numbered(dtype=dtype) % 3
    path = write_nifti(tmp_path / "a.nii", labels) if dtype != "i8" else tmp_path / "a.nii"
    if dtype == "i8":
        file = nib.Nifti1Image(labels, AFFINE, dtype="int64")
        file.header.set_xyzt_units("mm")
        path.write_bytes(file.to_bytes())
    segmentation = images.read_segmentation(path, LABELS, orientation="stored")
    assert segmentation.voxels.dtype == np.uint8
    assert np.array_equal(segmentation.voxels, (numbered() % 3).T)
    assert segmentation.notes == ()
    assert segmentation.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_more_than_256_labels_are_read_as_uint16(tmp_path: Path):
    names = ("background", *(f"organ {n}" for n in range(1, 301)))
    path = write_nifti(tmp_path / "a.nii", np.full(SHAPE, 300, np.int16))
    segmentation = images.read_segmentation(path, Labels(names=names))
    assert segmentation.voxels.dtype == np.uint16
    assert (segmentation.voxels == 300).all()


def test_undeclared_values_are_listed_up_to_ten(tmp_path: Path):
    path = write_nifti(tmp_path / "a.nii", numbered(dtype="i2"))  # 0 to 71, one voxel each
    with pytest.raises(VoxelError, match=r"3 \(1 voxels\), .*12 \(1 voxels\) and 59 more values"):
        images.read_segmentation(path, LABELS)


SPREAD = Labels(names=("background", "spleen", "rib"), values=(0, 3, 300), ignore=7)


def test_declared_values_become_positions_and_the_ignore_label_comes_last(tmp_path: Path):
    stored = np.zeros(SHAPE, np.int16)
    stored[0, 0, 0], stored[0, 1, 0], stored[1, 0, 2] = 3, 300, 7
    path = write_nifti(tmp_path / "a.nii", stored)
    found = images.read_segmentation(path, SPREAD, orientation="stored").voxels
    expected = np.zeros(SHAPE, np.uint8)
    expected[0, 0, 0], expected[0, 1, 0], expected[1, 0, 2] = 1, 2, 3
    assert np.array_equal(found, expected.T)
    assert found.dtype == np.uint8
    assert np.array_equal(SPREAD.to_file(found), stored.T)


def test_values_between_the_declared_ones_are_refused(tmp_path: Path):
    path = write_nifti(tmp_path / "a.nii", np.full(SHAPE, 5, np.uint8))
    message = r"holds 5 \(72 voxels\); declared are the labels 0, 3, 7, 300"
    with pytest.raises(VoxelError, match=message):
        images.read_segmentation(path, SPREAD)


def test_a_segmentation_of_several_volumes_is_refused(tmp_path: Path):
    path = write_nifti(tmp_path / "a.nii", np.zeros((*SHAPE, 2), np.uint8))
    with pytest.raises(GeometryError, match="holds 2 volumes") as caught:
        images.read_segmentation(path, LABELS)
    assert caught.value.rule == "E-GEO-26"


def test_equal_grids_pass_the_check(tmp_path: Path):
    image = images.read_image(write_nifti(tmp_path / "a.nii", numbered()))
    # The same grid, stored along other axes: P R I -> R A S.
    turned = nib.as_closest_canonical(nib.Nifti1Image(np.zeros(SHAPE, np.uint8), AFFINE))
    path = write_nifti(tmp_path / "b.nii", np.asarray(turned.dataobj), turned.affine)
    images.check_same_grid(image, images.read_segmentation(path, LABELS), "a")


@settings(max_examples=40, deadline=None)
@given(
    labels=arrays(np.uint8, st.tuples(*(st.integers(1, 5),) * 3), elements=st.integers(0, 2)),
    axes=st.permutations(range(3)),
    signs=st.tuples(*(st.sampled_from([-1.0, 1.0]),) * 3),
    orientation=st.sampled_from(["canonical", "stored"]),
    ending=st.sampled_from([".nii", ".nii.gz"]),
)
def test_read_and_write_undo_each_other(
    labels: np.ndarray,
    axes: list[int],
    signs: tuple[float, ...],
    orientation: Orientation,
    ending: str,
    tmp_path_factory: pytest.TempPathFactory,
):
    folder = tmp_path_factory.getbasetemp()
    affine = np.eye(4)
    affine[:3, :3] = 0
    affine[axes, range(3)] = np.array(signs) * (0.75, 0.5, 3.0)
    affine[:3, 3] = (-20.5, 35.25, 8.0)
    path = write_nifti(folder / f"in{ending}", labels, affine)
    first = images.read_segmentation(path, LABELS, orientation=orientation)
    images.write_segmentation(folder / f"out{ending}", first.voxels, first.geometry)
    second = images.read_segmentation(folder / f"out{ending}", LABELS, orientation=orientation)
    assert np.array_equal(first.voxels, second.voxels)
    assert first.geometry == second.geometry
    written = nib.load(folder / f"out{ending}")
    assert np.array_equal(np.asarray(written.dataobj), labels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_png_is_written_as_it_was_read(dtype: type, tmp_path: Path):
    pixels = (np.arange(20).reshape(4, 5) % 3).astype(dtype)
    geometry = Geometry(
        file_shape=(4, 5),
        file_affine=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
        file_axes=(0, 1),
        reversed_axes=(False, False),
    )
    images.write_segmentation(tmp_path / "a.png", pixels, geometry)
    read = images.read_segmentation(tmp_path / "a.png", LABELS)
    assert np.array_equal(read.voxels, pixels)
    assert read.geometry == geometry


def test_a_written_file_declares_both_forms_mm_and_no_scaling(tmp_path: Path):
    image = images.read_image(write_nifti(tmp_path / "a.nii", numbered()))
    mask = (image.voxels[0] > 40).astype(np.uint16)
    images.write_segmentation(tmp_path / "m.nii.gz", mask, image.geometry)
    header = nib.load(tmp_path / "m.nii.gz").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)
    assert np.abs(header.get_qform() - AFFINE).max() < 1e-6
    assert header.get_xyzt_units()[0] == "mm"
    assert header.get_data_dtype() == np.uint16
    raw = gzip.decompress((tmp_path / "m.nii.gz").read_bytes())
    assert struct.unpack_from("<2f", raw, 112) == (1.0, 0.0)


def test_a_long_axis_is_written_as_nifti_2(tmp_path: Path):
    strip = np.zeros((1, 1, 40000), np.uint8)
    strip[..., 39999] = 1
    geometry = Geometry(
        file_shape=(40000, 1, 1),
        file_affine=tuple(tuple(row) for row in np.eye(4).tolist()),
        file_axes=(2, 1, 0),
        reversed_axes=(False, False, False),
    )
    images.write_segmentation(tmp_path / "m.nii.gz", strip, geometry)
    read = images.read_segmentation(tmp_path / "m.nii.gz", LABELS)
    assert np.array_equal(read.voxels, strip)


def test_equal_masks_have_equal_bytes(tmp_path: Path):
    image = images.read_image(write_nifti(tmp_path / "a.nii", numbered()))
    mask = (image.voxels[0] > 40).astype(np.uint8)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        images.write_segmentation(tmp_path / name / "m.nii.gz", mask, image.geometry)
    assert (tmp_path / "first/m.nii.gz").read_bytes() == (tmp_path / "second/m.nii.gz").read_bytes()


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "kind", "says"),
    [
        ("m.nii", (3, 4, 5), np.uint8, GeometryError, r"m\.nii: .* \(3, 4, 5\) .* \(3, 4, 6\)"),
        ("m.nii", (3, 4, 6), np.int64, VoxelError, r"m\.nii: .* int64, allowed are uint8"),
        ("m.png", (3, 4, 6), np.uint8, GeometryError, r"m\.png: 3 axes"),
        ("m.bmp", (3, 4, 6), np.uint8, GeometryError, r"m\.bmp: 3 axes"),
    ],
)
def test_what_cannot_be_written_is_refused(
    name: str, shape: tuple[int, ...], dtype: type, kind: type[Exception], says: str, tmp_path: Path
):
    geometry = images.read_image(write_nifti(tmp_path / "a.nii", numbered())).geometry
    with pytest.raises(kind, match=says):
        images.write_segmentation(tmp_path / name, np.zeros(shape, dtype), geometry)
    assert not (tmp_path / name).exists()


def test_importing_the_reader_loads_no_codec():
    code = (
        "import sys, autoseg.io.images, autoseg.io.datasets; "
        "sys.exit(any(name in sys.modules for name in "
        "('nibabel', 'PIL', 'skimage', 'tifffile', 'SimpleITK', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
