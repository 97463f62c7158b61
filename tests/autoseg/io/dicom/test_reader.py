"""A DICOM folder gives what the same voxels and matrix give as NIfTI, whatever its files' names."""

import os
import sys
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest

from autoseg.core.errors import AutosegError, ImageFileError, ResourceError, UsageError
from autoseg.io import images
from autoseg.io.dicom import decode_series, folder, holds_dicom, pixels, series_digest

LIMIT_BYTES = 2**20
A, B = np.deg2rad(20), np.deg2rad(35)
OBLIQUE = np.array([[np.cos(A), -np.sin(A), 0], [np.sin(A), np.cos(A), 0], [0, 0, 1]]) @ np.array(
    [[1, 0, 0], [0, np.cos(B), -np.sin(B)], [0, np.sin(B), np.cos(B)]]
)
AXIAL = np.diag([-1.0, -1.0, 1.0])  # columns to the left, rows to the back, slices up: RAS+
PLANES = {
    "axial": AXIAL,
    "prone": np.diag([1.0, 1.0, 1.0]),
    "feet-first": AXIAL @ np.diag([-1.0, 1.0, -1.0]),
    "coronal": np.array([[-1, 0, 0], [0, 0, -1], [0, -1, 0.0]]),
    "sagittal": np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0.0]]),
    "sagittal-upside-down": np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0.0]]),
}
DIRECTIONS = PLANES | {f"{name}-oblique": OBLIQUE @ turn for name, turn in PLANES.items()}


def decode(path: Path, **options):
    return decode_series(path, "canonical", limit_bytes=LIMIT_BYTES, **options)


@pytest.mark.parametrize("orientation", ["canonical", "stored"])
@pytest.mark.parametrize("name", DIRECTIONS)
def test_a_series_is_what_the_same_voxels_and_matrix_are_as_nifti(
    name: str, orientation: str, make: ModuleType, tmp_path: Path
):
    directions, stored = DIRECTIONS[name], make.voxels()
    matrix = make.affine(directions)
    assert np.isclose(np.linalg.det(directions), 1), "slices are sorted along rows x columns"
    make.write(tmp_path / "series", make.slices(stored, matrix, RescaleIntercept="-1024"))
    image = nib.Nifti1Image((stored - 1024).astype(np.int16), matrix)
    image.header.set_xyzt_units("mm")
    nib.save(image, tmp_path / "image.nii.gz")

    decoded, _ = decode_series(tmp_path / "series", orientation, limit_bytes=LIMIT_BYTES)

    oracle = images.read_image(tmp_path / "image.nii.gz", orientation=orientation)
    assert np.array_equal(decoded.channel(0).astype(np.float32), oracle.voxels[0])
    assert np.abs(decoded.geometry.affine - oracle.geometry.affine).max() < 1e-5
    assert decoded.geometry.file_axes == oracle.geometry.file_axes
    assert decoded.notes == ()


def test_a_left_handed_stack_is_the_same_world_with_its_slices_reversed(
    make: ModuleType, tmp_path: Path
):
    mirrored = make.affine(AXIAL @ np.diag([1.0, 1.0, -1.0]))
    make.write(tmp_path, make.slices(None, mirrored))
    decoded, _ = decode(tmp_path)
    assert np.array_equal(decoded.stored[0], make.voxels()[:, :, ::-1])
    first = (mirrored @ [0, 0, 5, 1])[:3]
    assert np.allclose(np.array(decoded.geometry.file_affine)[:3, 3], first)
    assert np.allclose(np.array(decoded.geometry.file_affine)[:3, 2], -mirrored[:3, 2])


def test_file_names_and_their_order_change_neither_voxels_nor_digest(
    make: ModuleType, tmp_path: Path
):
    slices = make.slices()
    make.write(tmp_path / "ordered", slices)
    order = np.random.default_rng(1).permutation(6)
    make.write(tmp_path / "shuffled", slices, {k: f"x{order[k]}" for k in range(6)})
    first, digest = decode(tmp_path / "ordered")
    second, same = decode(tmp_path / "shuffled")
    assert np.array_equal(first.stored, second.stored)
    assert first.geometry == second.geometry
    assert digest == same == series_digest(tmp_path / "ordered")
    assert digest == series_digest(tmp_path / "shuffled")


def test_the_digest_changes_with_one_bit_of_a_tag_that_is_not_read(
    make: ModuleType, tmp_path: Path
):
    slices = make.slices()
    before = series_digest(make.write(tmp_path / "a", slices))
    slices[4].PatientID = "another"
    assert series_digest(make.write(tmp_path / "b", slices)) != before


@pytest.mark.parametrize(
    ("dtype", "tags", "expected"),
    [
        pytest.param("int16", {}, "int16", id="signed"),
        pytest.param("uint16", {}, "uint16", id="unsigned"),
        pytest.param("uint8", {}, "uint8", id="bytes"),
        pytest.param("int32", {}, "int32", id="four-bytes"),
        pytest.param(
            "uint16",
            {"BitsStored": 12, "HighBit": 11, "RescaleIntercept": "-1024"},
            "int16",  # -1024 to 3071
            id="twelve-bits",
        ),
        pytest.param("int16", {"RescaleSlope": "1", "RescaleIntercept": "-1024"}, "int32", id="HU"),
        pytest.param("int16", {"RescaleSlope": "0.25"}, "float32", id="slope"),
        pytest.param("int16", {"RescaleSlope": "1e37"}, "float64", id="beyond-float32"),
    ],
)
def test_whole_numbers_stay_whole_in_the_smallest_type(
    dtype: str, tags: dict, expected: str, make: ModuleType, tmp_path: Path
):
    stored = make.voxels(dtype=dtype)  # 0 to 209
    make.write(tmp_path, make.slices(stored, **tags))
    decoded, _ = decode(tmp_path)
    slope, shift = float(tags.get("RescaleSlope", 1)), int(tags.get("RescaleIntercept", 0))
    assert decoded.stored.dtype == expected
    assert np.array_equal(decoded.stored[0], stored * slope + shift)


@pytest.mark.parametrize("filled", [0x0000, 0xF000], ids=["zeros", "extended"])
def test_negative_numbers_of_twelve_bits_are_told_by_their_own_sign(
    filled: int, make: ModuleType, tmp_path: Path
):
    raw = np.full((5, 7, 3), 5, np.uint16)
    raw[1, 2, 0] = 0x0FFE | filled  # -2
    make.write(tmp_path, make.slices(raw, BitsStored=12, HighBit=11, PixelRepresentation=1))
    decoded, _ = decode(tmp_path)
    assert decoded.stored[0, 1, 2, 0] == -2
    assert np.count_nonzero(decoded.stored == 5) == 5 * 7 * 3 - 1


def test_odd_numbers_of_bytes_are_padded_and_read(make: ModuleType, tmp_path: Path):
    stored = make.voxels(dtype="uint8")  # 5 x 7 = 35 bytes a slice
    make.write(tmp_path, make.slices(stored))
    assert np.array_equal(decode(tmp_path)[0].stored[0], stored)


def test_run_lengths_are_decoded(make: ModuleType, tmp_path: Path):
    make.write(tmp_path, [make.packed(dataset) for dataset in make.slices()])
    assert np.array_equal(decode(tmp_path)[0].stored[0], make.voxels())


@pytest.mark.parametrize("transposed", [False, True])
def test_a_jpeg_2000_stream_must_have_the_size_of_its_header(
    transposed: bool, make: ModuleType, tmp_path: Path
):
    from io import BytesIO

    from PIL import Image
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEG2000Lossless

    stored = np.arange(40 * 48 * 2, dtype=np.uint8).reshape(40, 48, 2)
    slices = make.slices(stored)
    for k, dataset in enumerate(slices):
        grey = stored[:, :, k] if transposed else stored[:, :, k].T
        stream = BytesIO()
        Image.fromarray(np.ascontiguousarray(grey)).save(
            stream, "JPEG2000", no_jp2=True, irreversible=False
        )
        dataset.PixelData = encapsulate([stream.getvalue()])
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    make.write(tmp_path, slices)
    if not transposed:
        assert np.array_equal(decode(tmp_path)[0].stored[0], stored)
        return
    with pytest.raises(ImageFileError, match=r"picture of shape \(40, 48\), its header says \(48"):
        decode(tmp_path)


def test_untilted_slices_lie_where_their_headers_say(make: ModuleType, tmp_path: Path):
    # Oracle: intensity is a linear function of place, which linear interpolation keeps exactly.
    shape, lean = (6, 8, 5), (0.25, -0.7)  # mm per slice along LPS x and y
    matrix = make.affine()
    matrix[:2, 2] = (-lean[0], -lean[1])  # RAS+
    i, j, k = np.indices(shape).reshape(3, -1)
    world = matrix @ [i, j, k, np.ones(i.size)]

    def intensity(place):
        return 1000 + 10 * place[0] - 20 * place[1] + 30 * place[2]

    values = np.rint(intensity(world) * 16).reshape(shape).astype(np.int32)
    straight = make.affine()
    slices = make.slices(values, straight, RescaleSlope="0.0625")
    for n, dataset in enumerate(slices):
        x, y, z = map(float, dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [f"{x + lean[0] * n:.6f}", f"{y + lean[1] * n:.6f}", z]
    make.write(tmp_path, slices)

    decoded, _ = decode(tmp_path, untilt=True)

    # 4 x 0.25 / 0.8 = 1.25 columns to the left, 4 x 0.7 / 0.9 = 3.11 rows to the front.
    assert decoded.stored.shape == (1, 6 + 2, 8 + 4, 5)
    grid = np.array(decoded.geometry.file_affine)
    assert np.allclose(grid[:3, :3], straight[:3, :3])
    assert np.allclose(grid[:3, 3], (straight @ [0, -4, 0, 1])[:3])
    indices = np.indices(decoded.stored.shape[1:]).reshape(3, -1)
    expected = intensity(grid @ np.vstack([indices, np.ones(indices.shape[1])]))
    found = decoded.stored[0].ravel()
    i, j, k, _ = np.linalg.inv(matrix) @ grid @ np.vstack([indices, np.ones(found.size)])
    inside = (i > -1e-6) & (i < 5 + 1e-6) & (j > -1e-6) & (j < 7 + 1e-6)
    assert inside.sum() > 100
    assert np.abs(found - expected)[inside].max() < 0.05
    far = (i < -1) | (i > 6) | (j < -1) | (j > 8)
    assert (found[far] == values.min() / 16).all()
    assert decoded.notes == (
        "slices lay aside of each other and were resampled onto a straight grid of (5, 12, 8)",
    )


def test_untilting_leaves_a_straight_series_as_it_is(make: ModuleType, tmp_path: Path):
    make.write(tmp_path, make.slices())
    decoded, _ = decode(tmp_path, untilt=True)
    assert np.array_equal(decoded.stored[0], make.voxels())
    assert decoded.stored.dtype == np.int16


def test_steps_within_one_percent_are_averaged(make: ModuleType, tmp_path: Path):
    slices = make.slices()
    slices[5].ImagePositionPatient[2] += 0.02
    make.write(tmp_path, slices)
    assert np.isclose(decode(tmp_path)[0].geometry.affine[2, 0], 12.52 / 5)


def test_a_single_slice_is_as_thick_as_it_says(make: ModuleType, tmp_path: Path):
    make.write(tmp_path / "thick", make.slices()[:1])
    decoded, _ = decode(tmp_path / "thick")
    assert decoded.geometry.spacing == (9.0, 0.9, 0.8)
    assert decoded.notes == ("a single slice, taken to be 9 mm thick",)
    make.write(tmp_path / "apart", make.slices(SpacingBetweenSlices="4")[:1])
    assert decode(tmp_path / "apart")[0].geometry.spacing == (4.0, 0.9, 0.8)


def test_a_radiograph_is_one_slice_in_its_own_plane(make: ModuleType, tmp_path: Path):
    tags = {
        "Modality": "DX",
        "ImagerPixelSpacing": ["0.3", "0.2"],
        "PhotometricInterpretation": "MONOCHROME1",
        "PixelSpacing": None,
        "ImagePositionPatient": None,
        "ImageOrientationPatient": None,
        "SliceThickness": None,
    }
    make.write(tmp_path, make.slices(**tags)[:1])
    decoded, _ = decode(tmp_path)
    assert np.array_equal(decoded.stored[0, :, :, 0], make.voxels()[:, :, 0])
    assert np.array_equal(decoded.geometry.file_affine, np.diag([-0.2, -0.3, 1, 1]))
    assert [note[:20] for note in decoded.notes] == [
        "a picture without pl",
        "taken to be 1 mm thi",
        "the size of a pixel ",
        "MONOCHROME1: what is",
    ]


def test_loss_is_noted(make: ModuleType, tmp_path: Path):
    make.write(tmp_path, make.slices(LossyImageCompression="01"))
    assert decode(tmp_path)[0].notes == ("its pixels were compressed with loss",)


def test_links_to_slices_are_followed(make: ModuleType, tmp_path: Path):
    make.write(tmp_path / "store", make.slices())
    (tmp_path / "series").mkdir()
    for path in (tmp_path / "store").iterdir():
        (tmp_path / "series" / path.name).symlink_to(path)
    assert decode(tmp_path / "series")[1] == series_digest(tmp_path / "store")


def test_holding_dicom_is_told_by_content_and_not_below(make: ModuleType, tmp_path: Path):
    make.write(tmp_path / "above" / "series", make.slices(), {0: "no_ending"})
    assert holds_dicom(tmp_path / "above" / "series")
    assert not holds_dicom(tmp_path / "above")
    assert not holds_dicom(tmp_path / "nowhere")
    (tmp_path / "above" / "readme.txt").write_text("nothing")
    os.mkfifo(tmp_path / "above" / "pipe")
    assert not holds_dicom(tmp_path / "above")


def test_without_the_library_the_extra_is_named(
    make: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    make.write(tmp_path, make.slices())
    monkeypatch.setitem(sys.modules, "pydicom", None)
    for read in (decode, series_digest):
        with pytest.raises(UsageError, match="pydicom, which is not installed") as caught:
            read(tmp_path)
        assert caught.value.hint == 'pip install "autoseg[dicom]"'
    assert holds_dicom(tmp_path)


def test_a_series_that_grows_once_is_read_again_and_twice_is_refused(
    make: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    slices = make.slices(make.voxels((5, 7, 8)))
    make.write(tmp_path, slices[:6])
    arriving = [(6, slices[6])]
    read_slice = pixels.read_slice

    def arrives(header, *, limit_bytes):
        if arriving:
            index, dataset = arriving.pop()
            dataset.save_as(tmp_path / f"IM{index:04d}.dcm", enforce_file_format=True)
        return read_slice(header, limit_bytes=limit_bytes)

    monkeypatch.setattr("autoseg.io.dicom.volume.read_slice", arrives)
    assert decode(tmp_path)[0].stored.shape == (1, 5, 7, 7)
    arriving += [(7, slices[7])]
    (tmp_path / "IM0006.dcm").unlink()
    with pytest.raises(ImageFileError, match="unequal steps"):
        decode(tmp_path)  # read again, and now truly without a slice
    arriving += [(8, slices[6]), (9, slices[6])]

    def keeps_arriving(header, *, limit_bytes):
        with (tmp_path / "log.txt").open("a") as file:
            file.write("one more line")
        return read_slice(header, limit_bytes=limit_bytes)

    slices[6].save_as(tmp_path / "IM0006.dcm", enforce_file_format=True)
    monkeypatch.setattr("autoseg.io.dicom.volume.read_slice", keeps_arriving)
    with pytest.raises(ImageFileError, match="changed twice while it was being read") as caught:
        decode(tmp_path)
    assert caught.value.rule == "E-FILE-12"


def test_a_file_that_becomes_another_slice_is_noticed(
    make: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    make.write(tmp_path, make.slices())
    entries = folder.listing(tmp_path)
    monkeypatch.setattr("autoseg.io.dicom.folder.listing", lambda _: entries)
    read_headers = sys.modules["autoseg.io.dicom.reader"].read_headers

    def then_swapped(*arguments, **options):
        found = read_headers(*arguments, **options)
        (tmp_path / "IM0000.dcm").write_bytes((tmp_path / "IM0001.dcm").read_bytes())
        return found

    monkeypatch.setattr("autoseg.io.dicom.reader.read_headers", then_swapped)
    with pytest.raises(ImageFileError, match=r"IM0000\.dcm: changed") as caught:
        decode(tmp_path)
    assert caught.value.rule == "E-FILE-12"


def test_a_file_that_may_not_be_read_is_named(make: ModuleType, tmp_path: Path):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    make.write(tmp_path, make.slices())
    (tmp_path / "IM0001.dcm").chmod(0)
    with pytest.raises(ResourceError, match=r"IM0001\.dcm: cannot be read"):
        decode(tmp_path)


def test_damaged_headers_are_refused_or_read_and_never_raise_anything_else(
    make: ModuleType, tmp_path: Path
):
    make.write(tmp_path, make.slices())
    path = tmp_path / "IM0002.dcm"
    good = path.read_bytes()
    draw = np.random.default_rng(11)
    refusals = []
    for _ in range(250):
        data = bytearray(good[: draw.integers(200, len(good)) if draw.random() < 0.2 else None])
        for place in draw.integers(128, len(data), draw.integers(1, 6)):
            data[place] = draw.integers(256)
        path.write_bytes(data)
        try:
            decode(tmp_path)
        except AutosegError as error:
            refusals.append(error)
    assert len(refusals) > 50
    assert all(error.rule for error in refusals)
    assert not any(make.PATIENT[:5] in str(error) + error.hint for error in refusals)
