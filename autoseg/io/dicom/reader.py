"""Reads a folder of DICOM files: one series becomes one volume, or an error says why it cannot.

Patient and private tags are never taken in, a DICOMDIR is never followed, sub-folders are never
entered.
"""

from pathlib import Path

import numpy as np

from autoseg.core.geometry import Orientation
from autoseg.io.dicom.faults import check_library
from autoseg.io.dicom.folder import (
    Entry,
    combined_digest,
    dicom_files,
    file_digest,
    steady,
)
from autoseg.io.dicom.headers import read_headers
from autoseg.io.dicom.pixels import check_readable
from autoseg.io.dicom.series import Choice, chosen
from autoseg.io.dicom.stack import stacked
from autoseg.io.dicom.volume import read_volume
from autoseg.io.formats.placement import check_spacing, oriented_geometry, straightened
from autoseg.io.guard import default_limit_bytes
from autoseg.io.voxels import Decoded


def decode_series(
    folder: Path,
    orientation: Orientation,
    *,
    limit_bytes: int,
    series: str | None = None,
    untilt: bool = False,
) -> tuple[Decoded, str]:
    """Read the image that a folder of DICOM files holds.

    Parameters
    ----------
    folder : Path
        Folder of the slices, one per file; other files beside them are left out.
    orientation : Orientation
        How arrays are to be turned.
    limit_bytes : int
        Largest size of a file and of the volume.
    series : str, optional
        Which series is meant, as E-DCM-53 lists them.
    untilt : bool
        Whether slices that lie aside of each other are resampled onto a straight grid.

    Returns
    -------
    Decoded
        One channel; file axes are columns, rows and slices.
    str
        Digest of the series' files, whatever their names: see `series_digest`.

    Raises
    ------
    DatasetError
        E-SET-42 without DICOM, E-DCM-53 for several series, E-DCM-55 for a DICOMDIR alone.
    ImageFileError
        E-DCM-50 to E-DCM-54, or E-FILE-01 to E-FILE-12, for what is wrong with the files.
    GeometryError
        E-GEO-14 to E-GEO-19 if their place in space is missing or impossible.
    VoxelError
        E-VAL-30 for colors.
    ResourceError
        E-RES-62 if a file cannot be read.
    UsageError
        If pydicom is not installed.
    """
    check_library()

    def read(entries: tuple[Entry, ...]) -> tuple[Decoded, str]:
        choice = _choice(entries, folder, series, limit_bytes)
        return _decoded(choice, folder, orientation, limit_bytes=limit_bytes, untilt=untilt)

    return steady(folder, read)


def series_digest(
    folder: Path, *, limit_bytes: int | None = None, series: str | None = None
) -> str:
    """Return the digest that `decode_series` gives, without reading pixels as such.

    It is the SHA-256 of the sorted SHA-256s of the series' files.

    Raises
    ------
    AutosegError
        As `decode_series`, for what the headers alone show.
    """
    check_library()
    limit = default_limit_bytes() if limit_bytes is None else limit_bytes

    def read(entries: tuple[Entry, ...]) -> str:
        group = _choice(entries, folder, series, limit).group
        return combined_digest([file_digest(header.path) for header in group.slices])

    return steady(folder, read)


def _choice(
    entries: tuple[Entry, ...], folder: Path, series: str | None, limit_bytes: int
) -> Choice:
    """Return the slices of the image, and notes on what lies beside them."""
    files = dicom_files(entries, folder)
    headers, others = read_headers(files, limit_bytes=limit_bytes)
    choice = chosen(headers, folder, series)
    notes = list(choice.notes)
    foreign = len(entries) - len(files) + others
    if foreign:
        notes.append(f"files that are no DICOM images, left out: {foreign}")
    return Choice(group=choice.group, notes=tuple(notes))


def _decoded(
    choice: Choice, folder: Path, orientation: Orientation, *, limit_bytes: int, untilt: bool
) -> tuple[Decoded, str]:
    group = choice.group
    check_readable(group)
    stack = stacked(group, folder, untilt=untilt)
    check_spacing(stack.affine, str(folder))
    volume = read_volume(stack, folder, limit_bytes=limit_bytes)
    affine, repairs = straightened(volume.affine, "ImageOrientationPatient", str(folder))
    notes = [*choice.notes, *stack.notes, *volume.notes, *repairs]
    notes += check_spacing(affine, str(folder))
    if group.first.photometric == "MONOCHROME1":
        notes.append("MONOCHROME1: what is shown bright has low values, kept as they are stored")
    if any(header.is_lossy for header in group.slices):
        notes.append("its pixels were compressed with loss")
    stored = volume.voxels.transpose()[np.newaxis]
    shape = stored.shape[1:]
    return (
        Decoded(
            stored=stored,
            geometry=oriented_geometry(shape, affine, orientation),
            notes=tuple(notes),
        ),
        combined_digest(list(volume.digests)),
    )
