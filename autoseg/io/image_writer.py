"""The writer of images and segmentations: encoded in memory, then written atomically.

`autoseg.io.images` offers its functions beside those that read.
"""

from pathlib import Path
from typing import Final

import numpy as np

from autoseg.core.errors import GeometryError, VoxelError
from autoseg.core.geometry import Array, Geometry
from autoseg.io import files
from autoseg.io.formats.nifti import encode_nifti
from autoseg.io.formats.table import check_holds, encoded, sidecar_of
from autoseg.io.guard import file_ending

IMAGE_ENDINGS: Final = (".nii.gz", ".nii")
"""Endings of the files that images are written to."""

_WHOLE_TYPES: Final = (np.uint8, np.int16, np.uint16, np.int32)
"""Types of whole numbers that every program reads from NIfTI, the preferred one first."""


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
    _check_shape(path, label_map, geometry, "label map")
    if label_map.dtype not in (np.uint8, np.uint16):
        raise VoxelError(
            f"{path}: label map has type {label_map.dtype}, allowed are uint8 and uint16",
            rule="E-VAL-35",
        )
    return encoded(label_map, geometry, path, file_ending(path))


def write_image(path: Path, channel: Array, geometry: Geometry) -> None:
    """Encode one channel of an image (see `encode_image`) and write it atomically.

    Raises
    ------
    ResourceError
        If the file cannot be written; an older one is unchanged.
    """
    files.write_atomically(path, encode_image(path, channel, geometry))


def encode_image(path: Path, channel: Array, geometry: Geometry) -> bytes:
    """Return the NIfTI file of one channel on the grid that its geometry was read from.

    Parameters
    ----------
    path : Path
        Where it will be written; ends with one of `IMAGE_ENDINGS`.
    channel : (*spatial) array of float32
        Intensities in the geometry's orientation, all finite.
    geometry : Geometry
        Grid of the image; shape and affine of the file are taken from it.

    Raises
    ------
    GeometryError
        E-GEO-20 if the shape is not the geometry's, E-GEO-25 if the file cannot hold its axes.
    VoxelError
        E-VAL-28 if a voxel is NaN or infinite.

    Notes
    -----
    No value is changed: whole numbers go into the first of uint8, int16, uint16 and int32 that
    holds them all, others stay float32. Equal input gives equal bytes.
    """
    _check_shape(path, channel, geometry, "image")
    ending = file_ending(path)
    if ending not in IMAGE_ENDINGS:
        raise GeometryError(
            f"{path}: images are written to files ending with {' or '.join(IMAGE_ENDINGS)}",
            rule="E-GEO-25",
            hint="choose such a name",
        )
    check_holds(geometry, ending, str(path))
    if not np.isfinite(channel).all():
        raise VoxelError(f"{path}: the image holds NaN or infinity", rule="E-VAL-28")
    return encode_nifti(_smallest(channel), geometry, compress=ending == ".nii.gz")


def _smallest(channel: Array) -> Array:
    """Return the same values in the smallest type of whole numbers, or as float32."""
    low, high = float(channel.min()), float(channel.max())
    for kind in _WHOLE_TYPES:
        limits = np.iinfo(kind)
        if limits.min <= low and high <= limits.max:
            whole = channel.astype(kind)
            # -0.0 equals 0 and is not worth a float.
            return whole if np.array_equal(whole, channel) else channel.astype(np.float32)
    return channel.astype(np.float32)


def _check_shape(path: Path, voxels: Array, geometry: Geometry, what: str) -> None:
    if voxels.shape != geometry.shape:
        raise GeometryError(
            f"{path}: {what} shape {voxels.shape} differs from its grid {geometry.shape}",
            rule="E-GEO-20",
            hint=f"give the {what} of this grid",
        )
