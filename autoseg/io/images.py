"""The one reader of images and segmentations; its writers are those of `image_writer`.

Guard, decode, check: what comes out has a known place in space and finite values, or an error says
which rule the file breaks. Images and segmentations take the same way, so that a flip cannot come
between them.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from autoseg.core.acceptance import Accepted, choice_of
from autoseg.core.dataset import Case
from autoseg.core.errors import DatasetError, about_file
from autoseg.core.geometry import Geometry, Orientation
from autoseg.core.labels import Labels
from autoseg.io import grids
from autoseg.io.formats.table import FORMATS
from autoseg.io.guard import default_limit_bytes, file_ending, guarded_bytes, is_series
from autoseg.io.image_writer import encode_image as encode_image
from autoseg.io.image_writer import encode_segmentation as encode_segmentation
from autoseg.io.image_writer import write_image as write_image
from autoseg.io.image_writer import write_segmentation as write_segmentation
from autoseg.io.named_series import with_named_series
from autoseg.io.voxels import Decoded, constant_notes, intensities, label_map


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """The channels of a case on their common grid."""

    voxels: npt.NDArray[np.float32]
    """Intensities, shape (C, *spatial), C-contiguous, all finite."""
    geometry: Geometry
    """The grid, and how the file's axes were turned."""
    digests: tuple[str, ...]
    """SHA-256 of each file as it is stored, with its data file or sidecar."""
    notes: tuple[str, ...]
    """What was assumed or repaired, each beginning with the file's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmentation:
    """The label map of a case."""

    voxels: npt.NDArray[np.unsignedinteger]
    """Labels, shape (*spatial), the smallest unsigned type that holds all declared labels."""
    geometry: Geometry
    """The grid, and how the file's axes were turned."""
    digest: str
    """SHA-256 of the file as it is stored, with its data file or sidecar."""
    notes: tuple[str, ...]
    """What was assumed or repaired, each beginning with the file's name."""
    file: str
    """Name of the file."""


def read_image(
    path: Path,
    *,
    orientation: Orientation = "canonical",
    limit_bytes: int | None = None,
    accepted: Accepted = (),
) -> Image:
    """Read an image file, or a folder that holds a DICOM series.

    Parameters
    ----------
    path : Path
        Volume of 2, 3 or 4 axes, stack of grey pages, picture of grey or RGB(A), or folder.
    orientation : Orientation
        How to turn the array.
    limit_bytes : int, optional
        Largest declared size, decompressed; default: `autoseg.io.guard.default_limit_bytes`.
    accepted : tuple of Acceptance
        What is done where E-GEO-13, E-GEO-14, E-GEO-18, E-VAL-28, E-DCM-52 or E-DCM-53 would
        refuse; each use is noted.

    Returns
    -------
    Image
        Volume ``(C, z, y, x)``, where C is the length of the 4th axis or of the vectors; picture
        ``(C, y, x)``, where C counts the colors.

    Raises
    ------
    ImageFileError
        If the file is damaged, too large or not what its name says (E-FILE-01 to E-FILE-12).
    GeometryError
        If its place in space is unknown, contradictory or impossible (E-GEO-13 to E-GEO-26).
    VoxelError
        If it holds palettes, NaN, infinity or numbers beyond float32 (E-VAL-28 to E-VAL-31).
    DocumentError
        If the sidecar of a stack holds anything but its spacing (E-SET-46).
    ResourceError
        If it may not be read.
    """
    with about_file(path):
        decoded, digest = _decode(path, orientation, limit_bytes, accepted)
        voxels, filled = intensities(decoded, str(path), accepted)
    return Image(
        voxels=voxels,
        geometry=decoded.geometry,
        digests=(digest,),
        notes=_named(path, (*decoded.notes, *filled, *constant_notes(voxels))),
    )


def read_case_image(
    case: Case,
    channels: int,
    *,
    folder: Path = Path(),
    orientation: Orientation = "canonical",
    limit_bytes: int | None = None,
    accepted: Accepted = (),
) -> Image:
    """Read all channels of a case: one file each, or one file that holds them all.

    Parameters
    ----------
    case : Case
        The case.
    channels : int
        Number of channels that the dataset describes.
    folder : Path
        Folder that the case's paths start from.
    orientation, limit_bytes, accepted
        As in `read_image`; ``E-GEO-23=resample`` puts channels onto the grid of the first one.

    Raises
    ------
    DatasetError
        E-SET-42 if the files hold another number of channels.
    GeometryError
        E-GEO-23 if the channels lie on different grids.
    InputError
        If a file is refused, as in `read_image`.
    """
    # Before reading: a case with five files for four channels should not cost five readings.
    if len(case.images) not in (1, channels):
        raise _wrong_channels(f"case {case.name!r}", f"{len(case.images)} files", channels)
    paths = [folder / image for image in case.images]
    images = [
        read_image(path, orientation=orientation, limit_bytes=limit_bytes, accepted=accepted)
        for path in paths
    ]
    for path, image in zip(paths, images, strict=True):
        expected = channels if len(paths) == 1 else 1
        if len(image.voxels) != expected:
            where = f"case {case.name!r}: {path.name}"
            found = f"{len(image.voxels)} channels"
            raise _wrong_channels(where, found, expected).about(case.name, file=str(path))
    if len(images) == 1:
        return images[0]
    images = _on_first_grid(case, images, accepted)
    return Image(
        voxels=np.concatenate([image.voxels for image in images]),
        geometry=images[0].geometry,
        digests=tuple(digest for image in images for digest in image.digests),
        notes=tuple(note for image in images for note in image.notes),
    )


def read_segmentation(
    path: Path,
    labels: Labels,
    *,
    orientation: Orientation = "canonical",
    limit_bytes: int | None = None,
    accepted: Accepted = (),
) -> Segmentation:
    """Read a label map.

    Parameters
    ----------
    path : Path
        Volume, stack or grey picture.
    labels : Labels
        The declared labels; no other value is let in.
    orientation, limit_bytes, accepted
        As in `read_image`; NaN and infinity are no labels, whatever is accepted.

    Raises
    ------
    VoxelError
        E-VAL-28 for NaN, E-VAL-30 for colors, E-VAL-34 for fractions, E-VAL-35 for undeclared
        values.
    InputError
        If the file is refused, as in `read_image`.
    """
    with about_file(path):
        decoded, digest = _decode(path, orientation, limit_bytes, accepted)
        voxels, notes = label_map(decoded, labels, str(path))
    return Segmentation(
        voxels=voxels,
        geometry=decoded.geometry,
        digest=digest,
        notes=_named(path, (*decoded.notes, *notes)),
        file=path.name,
    )


def on_grid_of(
    image: Geometry, segmentation: Segmentation, name: str = "", *, accepted: Accepted = ()
) -> Segmentation:
    """Return a segmentation that lies on the grid of its image, or refuse it.

    Parameters
    ----------
    image : Geometry
        Grid of the image, in the segmentation's orientation.
    segmentation : Segmentation
        What was read of it.
    name : str
        Name of the case.
    accepted : tuple of Acceptance
        ``E-GEO-20=resample`` and ``E-GEO-21=resample`` put it there, the nearest label by position
        in space, and leave a note.

    Raises
    ------
    GeometryError
        E-GEO-20 if the shapes differ, E-GEO-21 if spacing, place or direction do.
    """
    where = f"case {name!r}" if name else ""
    found = segmentation.geometry
    voxels, notes = grids.labels_on_grid(segmentation.voxels, found, image, where, accepted)
    if not notes:
        return segmentation
    noted = (*segmentation.notes, *_named(Path(segmentation.file), notes))
    return replace(segmentation, voxels=voxels, geometry=image, notes=noted)


def check_same_grid(
    image: Image | Segmentation, segmentation: Segmentation, name: str = ""
) -> None:
    """Refuse a segmentation that does not lie on the grid of its image, or of another one.

    Both are read in the same orientation. As `on_grid_of` where nothing is accepted.
    """
    grids.check_grid(image.geometry, segmentation.geometry, f"case {name!r}" if name else "")


def _decode(
    path: Path, orientation: Orientation, limit_bytes: int | None, accepted: Accepted
) -> tuple[Decoded, str]:
    limit = default_limit_bytes() if limit_bytes is None else limit_bytes
    if is_series(path):
        return _decode_series(path, orientation, limit, accepted)
    guarded = guarded_bytes(path, limit_bytes=limit)
    decode = FORMATS[file_ending(path)].decode
    return decode(guarded, orientation, str(path), accepted), guarded.digest


def _decode_series(
    folder: Path, orientation: Orientation, limit_bytes: int, accepted: Accepted
) -> tuple[Decoded, str]:
    from autoseg.io.dicom import decode_series

    untilt = choice_of(accepted, "E-DCM-52") == "untilt"

    def read(series: str | None) -> tuple[Decoded, str]:
        return decode_series(
            folder, orientation, limit_bytes=limit_bytes, series=series, untilt=untilt
        )

    return with_named_series(read, accepted)


def _on_first_grid(case: Case, images: list[Image], accepted: Accepted) -> list[Image]:
    """Return images of one channel each on the grid of the first one."""
    first = images[0].geometry
    moved = [images[0]]
    for name, image in zip(case.images[1:], images[1:], strict=True):
        where = f"case {case.name!r}: {name} and {case.images[0]}"
        voxels, notes = grids.channel_on_grid(
            image.voxels[0], image.geometry, first, where, accepted
        )
        noted = (*image.notes, *_named(Path(name), notes))
        moved.append(replace(image, voxels=voxels[None], geometry=first, notes=noted))
    return moved


def _wrong_channels(where: str, found: str, expected: int) -> DatasetError:
    return DatasetError(
        f"{where}: {found} found, {expected} channels expected",
        rule="E-SET-42",
        hint="give every case one file per channel, or one 4D file that holds all of them",
    )


def _named(path: Path, notes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{path.name}: {note}" for note in notes)
