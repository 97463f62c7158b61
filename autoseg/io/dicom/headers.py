"""What a DICOM file says of its slice: series, grid, place and scaling, and nothing of the patient.

Only the tags listed here are ever taken in. What does not fit the slice of a volume is recorded,
not judged: a folder may hold other files beside the image.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from autoseg.core.errors import ImageFileError
from autoseg.io.dicom.faults import shielded, unreadable
from autoseg.io.dicom.folder import Entry, opened
from autoseg.io.dicom.tags import (
    place_of,
    rescale_of,
    spacing_of,
    texts,
    thickness_of,
    whole_number,
)

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_TAGS: Final = (
    "ImageType",
    "Modality",
    "SliceThickness",
    "SpacingBetweenSlices",
    "ImagerPixelSpacing",
    "SeriesInstanceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "PixelSpacing",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RescaleIntercept",
    "RescaleSlope",
    "LossyImageCompression",
    "ModalityLUTSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)
_PIXEL_TAGS: Final = ("PlanarConfiguration", "PixelData")
_DEFLATED: Final = "1.2.840.10008.1.2.1.99"
_MEDIA_DIRECTORY: Final = "1.2.840.10008.1.3.10"
_SIEMENS_NON_IMAGE: Final = "1.3.12.2.1107.5.9.1"
_UID: Final = re.compile(r"[0-9][0-9.]{0,63}")
_CODE: Final = re.compile(r"[A-Z0-9_]{1,16}")
_META_OFFSET: Final = 132
_META_GROUP: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """One slice, as its file describes it."""

    path: Path
    """The file."""
    series: str
    """SeriesInstanceUID."""
    modality: str
    """Code of the kind of machine, such as ``CT``; empty if there is none."""
    is_localizer: bool
    """Whether it says that it only serves to plan other series."""
    is_lossy: bool
    """Whether its pixels were once compressed with loss."""
    syntax: str
    """UID of how header and pixels are encoded."""
    rows: int
    """Pixels per column."""
    columns: int
    """Pixels per row."""
    unread: str
    """What it holds instead of the pixels of one slice, such as several frames; else empty."""
    photometric: str
    """How pixels are shown: ``MONOCHROME1``, ``MONOCHROME2``, or colors."""
    bits_allocated: int
    """Bits that a pixel takes."""
    bits_stored: int
    """Bits of these that hold its value, the lowest ones."""
    is_signed: bool
    """Whether pixels are stored in two's complement."""
    spacing: tuple[float, float] | None
    """Distance of rows and of columns, mm."""
    has_patient_spacing: bool
    """Whether the spacing is that in the patient, not that on a detector."""
    direction: tuple[float, ...] | None
    """Unit vectors along a row and along a column, LPS+."""
    position: tuple[float, ...] | None
    """Center of the first pixel, LPS+ mm."""
    thickness: float | None
    """Distance to the next slice, or else thickness of this one, mm."""
    slope: float
    """Factor from stored values to values."""
    intercept: float
    """Value of a stored 0."""

    @property
    def where(self) -> str:
        """The path as errors write it."""
        return str(self.path)


def read_headers(files: tuple[Entry, ...], *, limit_bytes: int) -> tuple[tuple[Header, ...], int]:
    """Read the headers of DICOM files, not their pixels.

    Returns
    -------
    tuple of Header
        Those of images.
    int
        How many files are something else, such as reports or structure sets.

    Raises
    ------
    ImageFileError
        E-DCM-54 for a header that cannot be read, E-FILE-06 for a file above ``limit_bytes``.
    GeometryError
        E-GEO-17 for an impossible spacing, direction or position.
    ResourceError
        E-RES-62 if a file cannot be read.
    """
    headers = []
    for entry in files:
        check_size(entry.path, entry.size, limit_bytes)
        with opened(entry.path) as file:
            _, header = parsed(file, entry.path, pixels=False)
        if header is not None:
            headers.append(header)
    return tuple(headers), len(files) - len(headers)


def check_size(path: Path, size: int, limit_bytes: int, what: str = "holds") -> None:
    """Refuse (E-FILE-06) more bytes than may be read."""
    if size > limit_bytes:
        raise ImageFileError(
            f"{path}: {what} {size} bytes; allowed are {limit_bytes}",
            rule="E-FILE-06",
            hint="crop the image, use a machine with more memory, or raise the limit for a volume",
        )


def parsed(file: BinaryIO, path: Path, *, pixels: bool) -> "tuple[Dataset, Header | None]":
    """Parse a DICOM file: its tags of a slice, with its pixels as they are stored if wanted.

    Returns
    -------
    Dataset
        The tags.
    Header or None
        None if it is no image.
    """
    from pydicom import dcmread

    where = str(path)
    with shielded(where, "a header"):
        syntax, kind = _meta(file)
        if not _UID.fullmatch(syntax):
            raise unreadable(where, "does not say how it is encoded (no TransferSyntaxUID)")
        if syntax == _DEFLATED:  # would be inflated to any size
            raise unreadable(
                where,
                "is a deflated DICOM file, which is not read",
                "convert the series to Explicit VR Little Endian",
            )
        file.seek(0)
        tags = [*_TAGS, *_PIXEL_TAGS] if pixels else list(_TAGS)
        dataset = dcmread(file, stop_before_pixels=not pixels, specific_tags=tags)
        if dataset.get("Rows") is None and _is_no_image(kind):
            return dataset, None
        return dataset, _header(dataset, path, syntax)


def _meta(file: BinaryIO) -> tuple[str, str]:
    """Return how a file is encoded, and the UID of the kind of object that it holds."""
    from pydicom.filereader import read_dataset

    file.seek(_META_OFFSET)
    meta = read_dataset(
        file,
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, vr, length: tag >> 16 != _META_GROUP,
    )
    return str(meta.get("TransferSyntaxUID") or ""), str(meta.get("MediaStorageSOPClassUID") or "")


def _is_no_image(kind: str) -> bool:
    """Whether a kind of object never holds pixels. A cut-off slice must not be taken for one."""
    from pydicom.uid import UID

    if kind in (_MEDIA_DIRECTORY, _SIEMENS_NON_IMAGE):
        return True
    keyword = UID(kind).keyword
    return bool(keyword) and "Image" not in keyword


def _header(dataset: "Dataset", path: Path, syntax: str) -> Header:
    where = str(path)
    series = str(dataset.get("SeriesInstanceUID") or "")
    if not _UID.fullmatch(series):
        raise unreadable(where, "names no series (SeriesInstanceUID of digits and dots)")
    direction, position = place_of(dataset, where)
    modality = str(dataset.get("Modality") or "")
    slope, intercept = rescale_of(dataset, where)
    kinds = texts(dataset, "ImageType")
    return Header(
        path=path,
        series=series,
        modality=modality if _CODE.fullmatch(modality) else "",
        is_localizer="LOCALIZER" in kinds,
        is_lossy=str(dataset.get("LossyImageCompression") or "") == "01",
        syntax=syntax,
        rows=whole_number(dataset, "Rows", where),
        columns=whole_number(dataset, "Columns", where),
        unread=_unread(dataset, kinds),
        photometric=" ".join(texts(dataset, "PhotometricInterpretation")),
        bits_allocated=whole_number(dataset, "BitsAllocated", where),
        bits_stored=whole_number(dataset, "BitsStored", where),
        is_signed=bool(dataset.get("PixelRepresentation") or 0),
        spacing=spacing_of(dataset, where),
        has_patient_spacing=dataset.get("PixelSpacing") is not None,
        direction=direction,
        position=position,
        thickness=thickness_of(dataset, where),
        slope=slope,
        intercept=intercept,
    )


def _unread(dataset: "Dataset", kinds: tuple[str, ...]) -> str:
    """Say what a file holds instead of the pixels of one slice; nothing if it does not."""
    frames = int(dataset.get("NumberOfFrames") or 1)
    samples = int(dataset.get("SamplesPerPixel") or 1)
    bits = int(dataset.get("BitsAllocated") or 0)
    if frames != 1:
        return f"{frames} frames (multi-frame)"
    if "PerFrameFunctionalGroupsSequence" in dataset or "SharedFunctionalGroupsSequence" in dataset:
        return "an enhanced (multi-frame) image"
    if "MOSAIC" in kinds:
        return "a mosaic of slices in one picture"
    if "ModalityLUTSequence" in dataset:
        return "a table instead of a slope (ModalityLUTSequence)"
    if samples == 1 and "HighBit" in dataset and dataset["HighBit"].value is not None:
        high, stored = int(dataset["HighBit"].value), int(dataset.get("BitsStored") or bits)
        if high != stored - 1:
            return f"pixels whose high bit is {high} of {stored} stored"
    return ""
