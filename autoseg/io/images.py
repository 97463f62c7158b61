"""The one reader of images and segmentations, and the writer of segmentations.

Guard, decode, check: what comes out has a known place in space and finite values, or an error says
which rule the file breaks. Images and segmentations take the same way, so that a flip cannot come
between them.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from autoseg.core.dataset import Case
from autoseg.core.errors import DatasetError, GeometryError, VoxelError
from autoseg.core.geometry import Array, Geometry, Orientation, grids_differ
from autoseg.core.labels import Labels
from autoseg.io import files
from autoseg.io.formats.table import FORMATS, encoded, sidecar_of
from autoseg.io.guard import default_limit_bytes, file_ending, guarded_bytes
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


def read_image(
    path: Path, *, orientation: Orientation = "canonical", limit_bytes: int | None = None
) -> Image:
    """Read an image file.

    Parameters
    ----------
    path : Path
        Volume of 2, 3 or 4 axes, stack of grey pages, or picture of grey or RGB(A).
    orientation : Orientation
        How to turn the array.
    limit_bytes : int, optional
        Largest declared size, decompressed; default: `autoseg.io.guard.default_limit_bytes`.

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
    decoded, digest = _decode(path, orientation, limit_bytes)
    voxels = intensities(decoded, str(path))
    return Image(
        voxels=voxels,
        geometry=decoded.geometry,
        digests=(digest,),
        notes=_named(path, (*decoded.notes, *constant_notes(voxels))),
    )


def read_case_image(
    case: Case,
    channels: int,
    *,
    folder: Path = Path(),
    orientation: Orientation = "canonical",
    limit_bytes: int | None = None,
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
    orientation, limit_bytes
        As in `read_image`.

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
    images = [read_image(p, orientation=orientation, limit_bytes=limit_bytes) for p in paths]
    for path, image in zip(paths, images, strict=True):
        expected = channels if len(paths) == 1 else 1
        if len(image.voxels) != expected:
            where = f"case {case.name!r}: {path.name}"
            raise _wrong_channels(where, f"{len(image.voxels)} channels", expected)
    _check_channel_grids(case, images)
    if len(images) == 1:
        return images[0]
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
) -> Segmentation:
    """Read a label map.

    Parameters
    ----------
    path : Path
        Volume, stack or grey picture.
    labels : Labels
        The declared labels; no other value is let in.
    orientation, limit_bytes
        As in `read_image`.

    Raises
    ------
    VoxelError
        E-VAL-28 for NaN, E-VAL-30 for colors, E-VAL-34 for fractions, E-VAL-35 for undeclared
        values.
    InputError
        If the file is refused, as in `read_image`.
    """
    decoded, digest = _decode(path, orientation, limit_bytes)
    voxels, notes = label_map(decoded, labels, str(path))
    return Segmentation(
        voxels=voxels,
        geometry=decoded.geometry,
        digest=digest,
        notes=_named(path, (*decoded.notes, *notes)),
    )


def check_same_grid(
    image: Image | Segmentation, segmentation: Segmentation, name: str = ""
) -> None:
    """Refuse a segmentation that does not lie on the grid of its image, or of another one.

    Parameters
    ----------
    image, segmentation
        Both read in the same orientation.
    name : str
        Name of the case.

    Raises
    ------
    GeometryError
        E-GEO-20 if the shapes differ, E-GEO-21 if spacing, place or direction do.
    """
    where = f"case {name!r}: " if name else ""
    first, second = image.geometry, segmentation.geometry
    if first.shape != second.shape:
        raise GeometryError(
            f"{where}segmentation shape {second.shape} differs from image shape {first.shape}",
            rule="E-GEO-20",
            hint="resample the segmentation onto the image's grid, or remove the case",
        )
    difference = grids_differ(first, second)
    if difference:
        raise GeometryError(
            f"{where}image and segmentation lie apart: {difference}",
            rule="E-GEO-21",
            hint="resample the segmentation onto the image's grid, or correct its header",
        )


def write_segmentation(path: Path, label_map: Array, geometry: Geometry) -> None:
    """Encode a label map (see `encode_segmentation`) and write it, and its sidecar, atomically.

    Raises
    ------
    ResourceError
        If the file cannot be written; an older one is unchanged.
    """
    data = encode_segmentation(path, label_map, geometry)
    sidecar = sidecar_of(path, geometry)
    if sidecar:
        files.write_atomically(*sidecar)
    files.write_atomically(path, data)


def encode_segmentation(path: Path, label_map: Array, geometry: Geometry) -> bytes:
    """Return the file of a label map on the grid of the file that its geometry was read from.

    Parameters
    ----------
    path : Path
        Where it will be written; its ending decides the format.
    label_map : (*spatial) array of uint8 or uint16
        In the geometry's orientation.
    geometry : Geometry
        Grid of the image; shape and affine of the file are taken from it.

    Raises
    ------
    GeometryError
        If the shape is not the geometry's, or the format cannot hold its axes or its matrix.
    VoxelError
        If the label map has another type, or labels that the format cannot hold.

    Notes
    -----
    A stack of TIFF pages needs the file of `autoseg.io.formats.table.sidecar_of` beside it.
    """
    if label_map.shape != geometry.shape:
        raise GeometryError(
            f"{path}: label map shape {label_map.shape} differs from its grid {geometry.shape}",
            rule="E-GEO-20",
            hint="give the label map of this image",
        )
    if label_map.dtype not in (np.uint8, np.uint16):
        raise VoxelError(
            f"{path}: label map has type {label_map.dtype}, allowed are uint8 and uint16",
            rule="E-VAL-35",
        )
    return encoded(label_map, geometry, path, file_ending(path))


def _decode(path: Path, orientation: Orientation, limit_bytes: int | None) -> tuple[Decoded, str]:
    limit = default_limit_bytes() if limit_bytes is None else limit_bytes
    guarded = guarded_bytes(path, limit_bytes=limit)
    return FORMATS[file_ending(path)].decode(guarded, orientation, str(path)), guarded.digest


def _check_channel_grids(case: Case, images: list[Image]) -> None:
    first = images[0].geometry
    for name, image in zip(case.images, images, strict=True):
        if image.geometry.shape != first.shape:
            difference = f"shapes {image.geometry.shape} and {first.shape} differ"
        else:
            difference = grids_differ(image.geometry, first)
        if difference:
            raise GeometryError(
                f"case {case.name!r}: {name} and {case.images[0]} lie on different grids: "
                f"{difference}",
                rule="E-GEO-23",
                hint="register and resample the channels of a case to one grid",
            )


def _wrong_channels(where: str, found: str, expected: int) -> DatasetError:
    return DatasetError(
        f"{where}: {found} found, {expected} channels expected",
        rule="E-SET-42",
        hint="give every case one file per channel, or one 4D file that holds all of them",
    )


def _named(path: Path, notes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{path.name}: {note}" for note in notes)
