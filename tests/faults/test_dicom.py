"""Rows 50 to 55: each faulty series, its rule, and what the error says; and never of whom."""

import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from autoseg.core.errors import (
    AutosegError,
    DatasetError,
    GeometryError,
    ImageFileError,
    VoxelError,
)
from autoseg.io.dicom import decode_series, series_digest

LIMIT_BYTES = 2**20
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
OTHER = "1.2.826.0.1.3680043.8.498.2"


@dataclass(frozen=True)
class Fault:
    """One faulty folder and what must be said of it."""

    rule: str
    """Rule of the catalogue."""
    id: str
    """What is wrong."""
    build: Callable[[Path, Any], object]
    """Writes the folder, given its path and the module ``make_dicom``."""
    error: type[AutosegError]
    """Kind of error."""
    says: str
    """Pattern of what the message must say of the measured value."""


def series(
    change: Callable[[list[Any], Any], object], **tags: Any
) -> Callable[[Path, Any], object]:
    """Write a series after changing its list of slices."""

    def build(folder: Path, make: Any) -> None:
        slices = make.slices(**tags)
        change(slices, make)
        make.write(folder, slices)

    return build


def each(**tags: Any) -> Callable[[Path, Any], object]:
    """Write a series with tags set in every slice."""
    return series(lambda slices, make: None, **tags)


def one(**tags: Any) -> Callable[[Path, Any], object]:
    """Write a series with tags set in the fourth slice."""
    return series(lambda slices, make: [setattr(slices[3], *tag) for tag in tags.items()])


def moved(k: int, *shift: float) -> Callable[[Path, Any], object]:
    """Write a series of which slice k lies elsewhere, by mm along LPS."""

    def change(slices: list[Any], make: Any) -> None:
        place = np.array(slices[k].ImagePositionPatient, float) + shift
        slices[k].ImagePositionPatient = [f"{value:.6f}" for value in place]

    return series(change)


def leaning(slices: list[Any], make: Any) -> None:
    """Shift slice k down by 0.5 k mm: atan(0.5 / 2.5) = 11.3 degrees, 2.5 mm in 12.5."""
    for k, dataset in enumerate(slices):
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, f"{float(y) + 0.5 * k:.6f}", z]


def fanned(slices: list[Any], make: Any) -> None:
    """Turn slice k by 2 k degrees about its rows."""
    for k, dataset in enumerate(slices):
        a = np.deg2rad(2 * k)
        dataset.ImageOrientationPatient = [1, 0, 0, 0, f"{np.cos(a):.8f}", f"{np.sin(a):.8f}"]


def two_times(slices: list[Any], make: Any) -> None:
    """Append a second time point: other pixels in the same places."""
    slices += make.slices(make.voxels(seed=4))


def beside(folder: Path, make: Any) -> None:
    """Write two series into one folder."""
    make.write(folder, make.slices())
    for k, dataset in enumerate(make.slices(series=OTHER)[:4]):
        dataset.save_as(folder / f"other{k}.dcm", enforce_file_format=True)


def with_sagittal_views(slices: list[Any], make: Any) -> None:
    """Append two slices of the same series, turned by 90 degrees, that do not say localizer."""
    turned = make.affine(make.STRAIGHT[:, [1, 2, 0]])
    slices += make.slices(make.voxels((5, 7, 2)), turned)


def shortened(folder: Path, make: Any) -> None:
    """Cut 10 bytes off the end of a file."""
    make.write(folder, make.slices())
    path = folder / "IM0002.dcm"
    path.write_bytes(path.read_bytes()[:-10])


def cut_within_its_header(folder: Path, make: Any) -> None:
    """Cut a file before its rows and columns."""
    make.write(folder, make.slices())
    path = folder / "IM0002.dcm"
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"\x28\x00\x10\x00US")])


def compressed_by_what_is_missing(folder: Path, make: Any) -> None:
    """Claim a syntax whose decoder no test machine has."""
    slices = [make.packed(dataset) for dataset in make.slices()]
    for dataset in slices:
        dataset.file_meta.TransferSyntaxUID = JPEG_LOSSLESS
    make.write(folder, slices)


def damaged_runs(folder: Path, make: Any) -> None:
    """Overwrite the offsets of compressed pixels."""
    slices = [make.packed(dataset) for dataset in make.slices()]
    data = bytearray(slices[1].PixelData)
    data[16:40] = b"\xff" * 24
    slices[1].PixelData = bytes(data)
    make.write(folder, slices)


def with_bits_above(slices: list[Any], make: Any) -> None:
    """Set an overlay bit above 12 stored ones."""
    for dataset in slices:
        dataset.BitsStored, dataset.HighBit = 12, 11
    slices[3].PixelData = b"\x01\x20" + slices[3].PixelData[2:]


def directory_only(folder: Path, make: Any) -> None:
    """Write a DICOMDIR, and the slices into a folder below."""
    make.write(folder / "PATIENT", make.slices())
    shutil.copy(folder / "PATIENT" / "IM0000.dcm", folder / "DICOMDIR")


def emptied(folder: Path, make: Any) -> None:
    """Empty a file."""
    make.write(folder, make.slices())
    (folder / "IM0003.dcm").write_bytes(b"")


def replaced(content: bytes) -> Callable[[Path, Any], object]:
    """Write something else into a file that is called DICOM."""

    def build(folder: Path, make: Any) -> None:
        make.write(folder, make.slices())
        (folder / "IM0003.dcm").write_bytes(content)

    return build


def with_pipe(folder: Path, make: Any) -> None:
    """Put a pipe beside the slices."""
    make.write(folder, make.slices())
    os.mkfifo(folder / "IM0009.dcm")


def with_dangling_link(folder: Path, make: Any) -> None:
    """Put a link to nothing beside the slices."""
    make.write(folder, make.slices())
    (folder / "IM0009.dcm").symlink_to(folder / "gone")


def text_only(folder: Path, make: Any) -> None:
    """Write a folder without DICOM."""
    folder.mkdir()
    (folder / "readme.txt").write_text("nothing here")


FAULTS = [
    Fault(
        "E-DCM-50",
        "missing-slice",
        series(lambda slices, make: slices.pop(2)),
        ImageFileError,
        "5 slices lie at unequal steps: 5 mm between 2.5 and 7.5 mm above the first; the usual "
        r"step is 2.5 mm, allowed are 1% more or less",
    ),
    Fault(
        "E-DCM-50",
        "step-of-two-percent",
        moved(5, 0, 0, 0.05),
        ImageFileError,
        "2.55 mm between 10 and 12.55 mm",
    ),
    Fault(
        "E-DCM-51",
        "two-times",
        series(two_times),
        ImageFileError,
        r"IM0000.dcm: lies where IM0006.dcm does, but its pixels differ;",
    ),
    Fault(
        "E-DCM-51",
        "copy-of-another-scaling",
        series(lambda slices, make: slices.extend(make.slices(RescaleSlope="2"))),
        ImageFileError,
        "its scaling differs;",
    ),
    Fault(
        "E-DCM-51",
        "two-stacks-side-by-side",
        series(lambda slices, make: slices.append(_aside(make))),
        ImageFileError,
        "the same position along the normal but lies 20 mm aside",
    ),
    Fault(
        "E-DCM-52",
        "tilted-gantry",
        series(leaning),
        ImageFileError,
        r"up to 2.5 mm aside of each other over a height of 12.5 mm \(the stack leans by 11.3 "
        r"degrees",
    ),
    Fault(
        "E-DCM-52",
        "one-slice-aside",
        moved(2, 0.3, 0, 0),
        ImageFileError,
        "up to 0.3 mm aside",
    ),
    Fault("E-DCM-52", "fan", series(fanned), ImageFileError, "are not parallel: the axes of"),
    Fault(
        "E-DCM-53",
        "two-series",
        beside,
        DatasetError,
        rf"2 series that could be the image: {'1.2.826.0.1.3680043.8.498.1'} \(CT, 6 slices of 7 x "
        rf"5 pixels\); {OTHER} \(CT, 4 slices of 7 x 5 pixels\)",
    ),
    Fault(
        "E-DCM-53",
        "two-orientations-in-one-series",
        series(with_sagittal_views),
        DatasetError,
        r"498.1#1 \(CT, 6 slices of 7 x 5 pixels\); 1.2.826.0.1.3680043.8.498.1#2 \(CT, 2 slices",
    ),
    Fault(
        "E-DCM-53",
        "a-slice-without-its-place",
        series(lambda slices, make: slices[5].__delattr__("ImagePositionPatient")),
        DatasetError,
        r"#2 \(CT, 1 slice of 7 x 5 pixels, no place in space\)",
    ),
    Fault(
        "E-DCM-53",
        "another-pixel-size",
        one(PixelSpacing=["0.9", "0.82"]),
        DatasetError,
        r"differ in size by 0.025 of \(0.9, 0.8\) mm",
    ),
    Fault(
        "E-DCM-54",
        "short-pixels",
        shortened,
        ImageFileError,
        r"IM0002.dcm: holds 60 bytes of PixelData; 7 x 5 pixels of 16 bits take 70",
    ),
    Fault(
        "E-DCM-54",
        "long-pixels",
        one(PixelData=bytes(72)),
        ImageFileError,
        r"IM0003.dcm: holds 72 bytes",
    ),
    Fault(
        "E-DCM-54",
        "no-pixels",
        series(lambda s, make: s[3].__delattr__("PixelData")),
        ImageFileError,
        "IM0003.dcm: holds no PixelData",
    ),
    Fault(
        "E-DCM-54",
        "cut-within-its-header",
        cut_within_its_header,
        ImageFileError,
        r"IM0002.dcm: has Rows missing; is it cut off\?",
    ),
    Fault(
        "E-DCM-54",
        "missing-codec",
        compressed_by_what_is_missing,
        ImageFileError,
        rf"is compressed as JPEG Lossless.*\({JPEG_LOSSLESS}\); the codec is not installed",
    ),
    Fault(
        "E-DCM-54",
        "damaged-runs",
        damaged_runs,
        ImageFileError,
        r"IM0001.dcm: has pixels that cannot be decoded",
    ),
    Fault(
        "E-DCM-54",
        "multi-frame",
        one(NumberOfFrames=3),
        ImageFileError,
        r"IM0003.dcm: holds 3 frames \(multi-frame\); allowed is one grey slice per file",
    ),
    Fault(
        "E-DCM-54",
        "mosaic",
        each(ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"]),
        ImageFileError,
        "holds a mosaic of slices in one picture",
    ),
    Fault(
        "E-DCM-54",
        "no-slope",
        one(RescaleSlope="0", RescaleIntercept="1"),
        ImageFileError,
        "IM0003.dcm: has a RescaleSlope of 0",
    ),
    Fault(
        "E-DCM-54",
        "bits-above-the-stored-ones",
        series(with_bits_above),
        ImageFileError,
        "IM0003.dcm: uses bits above the 12 stored ones in 1 of 35 pixels",
    ),
    Fault(
        "E-DCM-54",
        "light-and-dark",
        one(PhotometricInterpretation="MONOCHROME1"),
        ImageFileError,
        "is MONOCHROME[12], other slices of its series are MONOCHROME[12]",
    ),
    Fault("E-DCM-55", "directory-alone", directory_only, DatasetError, "DICOMDIR, which is never"),
    Fault(
        "E-VAL-30",
        "colors",
        each(PhotometricInterpretation="RGB", SamplesPerPixel=3),
        VoxelError,
        "holds pixels of kind RGB",
    ),
    Fault("E-FILE-01", "empty-file", emptied, ImageFileError, r"IM0003.dcm: empty file \(0 bytes"),
    Fault(
        "E-FILE-07",
        "text",
        replaced(b"a text"),
        ImageFileError,
        "IM0003.dcm: does not begin as DICOM files do",
    ),
    Fault("E-FILE-11", "pipe", with_pipe, ImageFileError, "IM0009.dcm: is a pipe, socket or dev"),
    Fault(
        "E-FILE-06",
        "larger-than-allowed",
        each(Rows=65000, Columns=65000),
        ImageFileError,
        r"declares shape \(6, 65000, 65000\), 50700000000 bytes; allowed are 1048576",
    ),
    Fault(
        "E-SET-42",
        "dangling-link",
        with_dangling_link,
        DatasetError,
        "gone: there is no such|IM0009.dcm: there is no such file",
    ),
    Fault("E-SET-42", "no-dicom", text_only, DatasetError, "holds no DICOM file among 1 files"),
    Fault(
        "E-GEO-14",
        "no-place",
        each(ImagePositionPatient=None, ImageOrientationPatient=None),
        GeometryError,
        "6 slices of modality CT without place in space",
    ),
    Fault(
        "E-GEO-16",
        "sheared-pixels",
        each(ImageOrientationPatient=["1", "0", "0", "0.1", "0.994987437", "0"]),
        GeometryError,
        "the voxel axes are sheared by 0.05",
    ),
    Fault(
        "E-GEO-17",
        "no-pixel-size",
        each(PixelSpacing=None),
        GeometryError,
        r"the size of a pixel is missing \(PixelSpacing\)",
    ),
    Fault(
        "E-GEO-17",
        "direction-of-length-2",
        each(ImageOrientationPatient=["2", "0", "0", "0", "1", "0"]),
        GeometryError,
        "a vector of length 2, not 1",
    ),
    Fault(
        "E-GEO-17",
        "single-slice-without-thickness",
        series(lambda slices, make: slices.__delitem__(slice(1, None)), SliceThickness=None),
        GeometryError,
        "its single slice says neither",
    ),
]


def _aside(make: Any) -> Any:
    dataset = make.slices()[2]
    x, y, z = map(float, dataset.ImagePositionPatient)
    dataset.ImagePositionPatient = [x + 20, y, z]
    return dataset


@pytest.mark.parametrize("fault", [pytest.param(f, id=f"{f.rule}-{f.id}") for f in FAULTS])
def test_a_faulty_series_is_refused_by_rule_and_value_and_without_the_patient(
    fault: Fault, dicom: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    fault.build(tmp_path / "series", dicom)
    with pytest.raises(fault.error, match=fault.says) as caught:
        decode_series(tmp_path / "series", "canonical", limit_bytes=LIMIT_BYTES)
    assert caught.value.rule == fault.rule
    said = str(caught.value) + caught.value.hint + caplog.text
    assert str(tmp_path) in said
    assert caught.value.hint != AutosegError.usual_hint or fault.rule == "E-SET-42"
    for secret in (dicom.PATIENT, dicom.PHYSICIAN):
        assert not any(part in said for part in secret.replace(",", "^").split("^"))


def test_the_hints_name_the_choices_that_can_be_accepted(dicom: ModuleType, tmp_path: Path):
    beside(tmp_path / "two", dicom)
    with pytest.raises(DatasetError) as caught:
        decode_series(tmp_path / "two", "canonical", limit_bytes=LIMIT_BYTES)
    assert "--accept E-DCM-53=<UID>" in caught.value.hint
    series(leaning)(tmp_path / "tilted", dicom)
    with pytest.raises(ImageFileError) as refused:
        decode_series(tmp_path / "tilted", "canonical", limit_bytes=LIMIT_BYTES)
    assert "--accept E-DCM-52=untilt" in refused.value.hint


def test_row_51_equal_copies_are_dropped_with_a_note(dicom: ModuleType, tmp_path: Path):
    dicom.write(tmp_path, [*dicom.slices(), *dicom.slices()[2:4]])
    decoded, digest = decode_series(tmp_path, "stored", limit_bytes=LIMIT_BYTES)
    assert np.array_equal(decoded.stored[0], dicom.voxels())
    assert decoded.notes == ("files that repeat another slice, pixels and place, dropped: 2",)
    assert digest == series_digest(tmp_path)


def test_row_52_non_parallel_slices_are_refused_although_untilting_is_accepted(
    dicom: ModuleType, tmp_path: Path
):
    series(fanned)(tmp_path / "fan", dicom)
    with pytest.raises(ImageFileError, match="are not parallel") as caught:
        decode_series(tmp_path / "fan", "canonical", limit_bytes=LIMIT_BYTES, untilt=True)
    assert caught.value.rule == "E-DCM-52"


def test_row_53_a_choice_takes_one_series_and_a_wrong_one_lists_them(
    dicom: ModuleType, tmp_path: Path
):
    beside(tmp_path / "two", dicom)
    decoded, digest = decode_series(
        tmp_path / "two", "stored", limit_bytes=LIMIT_BYTES, series=OTHER
    )
    assert np.array_equal(decoded.stored[0], dicom.voxels()[:, :, :4])
    assert decoded.notes == (f"series {OTHER} was taken by choice, others left out: 1",)
    assert digest == series_digest(tmp_path / "two", series=OTHER)
    with pytest.raises(DatasetError, match=r"holds no series '9\.9' among its 2: 1\.2\.826"):
        decode_series(tmp_path / "two", "stored", limit_bytes=LIMIT_BYTES, series="9.9")


def test_row_53_localizers_and_pictures_without_a_place_do_not_count_as_the_image(
    dicom: ModuleType, tmp_path: Path
):
    dicom.write(tmp_path, dicom.slices())
    scout = dicom.slices(series=OTHER, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])[0]
    dose = dicom.slices(series=f"{OTHER}.3", ImagePositionPatient=None)[0]
    scout.save_as(tmp_path / "scout.dcm", enforce_file_format=True)
    dose.save_as(tmp_path / "dose.dcm", enforce_file_format=True)
    decoded, _ = decode_series(tmp_path, "stored", limit_bytes=LIMIT_BYTES)
    assert np.array_equal(decoded.stored[0], dicom.voxels())
    assert decoded.notes == (
        "files of localizers, dose maps or pictures without a place, left out: 2",
    )


def test_row_54_every_slice_has_its_own_scaling(dicom: ModuleType, tmp_path: Path):
    slices = dicom.slices()
    for k, dataset in enumerate(slices):
        dataset.RescaleSlope, dataset.RescaleIntercept = str(0.5 + k), str(-k)
    dicom.write(tmp_path, slices)
    decoded, _ = decode_series(tmp_path, "stored", limit_bytes=LIMIT_BYTES)
    k = np.arange(6)
    assert np.array_equal(decoded.stored[0], dicom.voxels() * (0.5 + k) - k)
    assert (decoded.slope, decoded.intercept) == (1.0, 0.0)


def test_row_55_a_dicomdir_beside_the_slices_and_other_files_are_left_out(
    dicom: ModuleType, tmp_path: Path
):
    dicom.write(tmp_path, dicom.slices())
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + b"\xff" * 50)
    (tmp_path / "readme.txt").write_text(dicom.PATIENT)
    (tmp_path / ".hidden").write_bytes(b"")
    (tmp_path / "below").mkdir()
    decoded, _ = decode_series(tmp_path, "stored", limit_bytes=LIMIT_BYTES)
    assert np.array_equal(decoded.stored[0], dicom.voxels())
    assert decoded.notes == ("files that are no DICOM images, left out: 2",)


def test_row_55_nothing_of_the_patient_is_kept_and_a_preamble_says_nothing(
    dicom: ModuleType, tmp_path: Path
):
    dicom.write(tmp_path, dicom.slices())
    for path in tmp_path.iterdir():
        path.write_bytes(b"MZ" + b"\x90" * 126 + path.read_bytes()[128:])  # begins as a program
    decoded, _ = decode_series(tmp_path, "stored", limit_bytes=LIMIT_BYTES)
    assert np.array_equal(decoded.stored[0], dicom.voxels())
    assert dicom.PATIENT not in repr(decoded)


def test_row_53_reports_and_structure_sets_are_left_out_unless_they_are_all_there_is(
    dicom: ModuleType, tmp_path: Path
):
    enhanced_report = "1.2.840.10008.5.1.4.1.1.88.22"
    report = dicom.slices(series=OTHER, Rows=None, PixelData=None, SOPClassUID=enhanced_report)[0]
    dicom.write(tmp_path / "alone", [report])
    with pytest.raises(DatasetError, match="none of its DICOM files holds an image") as caught:
        decode_series(tmp_path / "alone", "stored", limit_bytes=LIMIT_BYTES)
    assert caught.value.rule == "E-SET-42"
    dicom.write(tmp_path / "both", [*dicom.slices(), report])
    decoded, _ = decode_series(tmp_path / "both", "stored", limit_bytes=LIMIT_BYTES)
    assert decoded.notes == ("files that are no DICOM images, left out: 1",)
