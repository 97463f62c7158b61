"""The digest of an image file and of what lies beside it, without looking at the voxels."""

import hashlib
from pathlib import Path

from autoseg.core.errors import InputError, ResourceError
from autoseg.io.guard import file_ending
from autoseg.io.metaimage_header import parse_metaimage
from autoseg.io.tiff_sidecar import TIFF_ENDINGS, sidecar_names
from autoseg.io.volume_header import LONGEST_HEADER_BYTES


def stored_digest(path: Path) -> str:
    """Return the digest that the reader gives to a file: `autoseg.io.guard.Guarded.digest`.

    Parameters
    ----------
    path : Path
        Image or segmentation; its data file or sidecar is taken in behind it.

    Raises
    ------
    ResourceError
        If the file, its data file or its sidecar cannot be read.
    """
    hasher = hashlib.sha256()
    for part in (path, *_belonging(path)):
        try:
            with part.open("rb") as file:
                while chunk := file.read(2**18):
                    hasher.update(chunk)
        except OSError as error:
            raise ResourceError(
                f"{part}: cannot be read ({error.strerror})",
                rule="E-RES-62",
                hint="check that the file is there and that you may read it",
            ) from error
    return hasher.hexdigest()


def _belonging(path: Path) -> list[Path]:
    """Return the data file or the sidecar of an image."""
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
    return [path.with_name(header.data_file)] if header.data_file else []
