"""The digest of an image file and of what lies beside it, without looking at the voxels."""

import hashlib
from pathlib import Path

from autoseg.core.acceptance import Accepted
from autoseg.core.errors import InputError, ResourceError
from autoseg.io.formats.metaimage_header import parse_metaimage
from autoseg.io.formats.tiff_sidecar import TIFF_ENDINGS, sidecar_names
from autoseg.io.formats.volume_header import LONGEST_HEADER_BYTES
from autoseg.io.guard import Hasher, check_regular, file_ending, is_series
from autoseg.io.named_series import with_named_series


def stored_digest(path: Path, accepted: Accepted = ()) -> str:
    """Return the digest that the reader gives to a file: `autoseg.io.guard.Guarded.digest`.

    Parameters
    ----------
    path : Path
        Image or segmentation; its data file or sidecar is taken in behind it. Or a folder that
        holds a DICOM series.
    accepted : tuple of Acceptance
        Names the series of a folder that holds several.

    Raises
    ------
    ImageFileError
        E-FILE-11 if the file or what belongs to it is a pipe, device or folder.
    ResourceError
        If the file, its data file or its sidecar cannot be read; a data file that is missing is
        the reader's to refuse.
    """
    if is_series(path):
        from autoseg.io.dicom import series_digest

        return with_named_series(lambda name: series_digest(path, series=name), accepted)
    hasher = hashlib.sha256()
    _take_in(hasher, path)
    for part in _belonging(path):
        _take_in(hasher, part)
    return hasher.hexdigest()


def _take_in(hasher: Hasher, path: Path) -> None:
    try:
        check_regular(path, path.stat().st_mode)
        with path.open("rb") as file:
            while chunk := file.read(2**18):
                hasher.update(chunk)
    except OSError as error:
        raise ResourceError(
            f"{path}: cannot be read ({error.strerror})",
            rule="E-RES-62",
            hint="check that the file is there and that you may read it",
        ) from error


def _belonging(path: Path) -> list[Path]:
    """Return the data file or the sidecar of an image, unless it is missing."""
    ending = file_ending(path)
    if ending in TIFF_ENDINGS:
        return [p for p in map(path.with_name, sidecar_names(path.stem)) if p.is_file()][:1]
    if ending != ".mhd":
        return []
    try:
        with path.open("rb") as file:
            header = parse_metaimage(file.read(LONGEST_HEADER_BYTES), str(path))
    except (OSError, InputError):
        return []  # whoever reads the image says what is wrong
    data = path.with_name(header.data_file) if header.data_file else path
    return [data] if data != path and data.exists() else []
