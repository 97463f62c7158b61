"""NIfTI bytes to voxels and back, through nibabel; only what the guard let pass gets here."""

import gzip
import math
from typing import Any, Final

import numpy as np

from autoseg.core.acceptance import Accepted
from autoseg.core.errors import GeometryError, VoxelError
from autoseg.core.geometry import Array, Geometry, Orientation
from autoseg.io.formats.nifti_geometry import placement
from autoseg.io.formats.nifti_header import Header, parse_header
from autoseg.io.guard import Guarded
from autoseg.io.voxels import Decoded

_DTYPES: Final = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
_REFUSED: Final = {
    1: "single bits",
    32: "complex numbers",
    128: "RGB colors",
    1536: "128-bit floats",
    1792: "complex numbers",
    2048: "complex numbers",
    2304: "RGBA colors",
}
_ALIGNED: Final = 1
"""Form code "aligned to scanner"; see nifti1.h."""
_GZIP_LEVEL: Final = 6
_NIFTI1_LONGEST_AXIS: Final = 32767
_QFORM_TOLERANCE: Final = 1e-4
"""Largest error of a qform entry, in voxels, with which the qform is still written."""


def decode_nifti(
    guarded: Guarded, orientation: Orientation, where: str, accepted: Accepted = ()
) -> Decoded:
    """Decode a guarded NIfTI file.

    Parameters
    ----------
    guarded : Guarded
        The file, decompressed.
    orientation : Orientation
        How arrays are to be turned.
    where : str
        Names the file in errors.
    accepted : tuple of Acceptance
        As in `autoseg.io.formats.nifti_geometry.placement`.

    Returns
    -------
    Decoded
        3D, with one channel per volume; a 2D file is one slice. The voxels are a view of the
        guarded data.

    Raises
    ------
    VoxelError
        E-VAL-30 for colors, complex numbers and their kind.
    GeometryError
        As in `autoseg.io.formats.nifti_geometry.placement`, and E-GEO-26 for 1 axis or more than 4.
    """
    data = guarded.data
    layout = parse_header(data, where)
    if layout.datatype not in _DTYPES:
        raise VoxelError(
            f"{where}: holds {_REFUSED[layout.datatype]} (datatype {layout.datatype}); allowed "
            "are integers and floats of up to 64 bits",
            rule="E-VAL-30",
            hint="store each component as a channel of its own",
        )
    spatial, volumes, notes = _split_axes(layout.shape, where)
    header = _nibabel_header(data, layout)
    placed = placement(header, spatial, orientation=orientation, where=where, accepted=accepted)
    slope, intercept, scaling_notes = _scaling(header)
    voxels: Array = np.frombuffer(
        data,
        dtype=layout.byte_order + _DTYPES[layout.datatype],
        count=math.prod(layout.shape),
        offset=layout.voxel_offset,
    )
    return Decoded(
        stored=voxels.reshape(volumes, *reversed(spatial)).transpose(0, 3, 2, 1),
        slope=slope,
        intercept=intercept,
        geometry=placed.geometry,
        notes=(*notes, *placed.notes, *scaling_notes),
    )


def encode_nifti(label_map: Array, geometry: Geometry, *, compress: bool) -> bytes:
    """Encode a label map in the file axes of its geometry; equal input gives equal bytes.

    Parameters
    ----------
    label_map : (Z, Y, X) array of uint8 or uint16
        In the geometry's orientation.
    geometry : Geometry
        Grid of the image that was segmented.
    compress : bool
        Whether to compress with gzip.

    Notes
    -----
    Form code 1, mm, no scaling. The qform is left unset where its quaternion cannot express the
    affine. NIfTI-2 is written where an axis is too long for NIfTI-1.
    """
    from nibabel import Nifti1Image, Nifti2Image

    affine = np.asarray(geometry.file_affine)
    kind = Nifti2Image if max(geometry.file_shape) > _NIFTI1_LONGEST_AXIS else Nifti1Image
    image = kind(geometry.to_file(label_map), affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, _ALIGNED)
    image.set_qform(affine, _ALIGNED)
    if np.abs(image.get_qform() - affine).max() > _QFORM_TOLERANCE * min(geometry.spacing):
        image.header["qform_code"] = 0
    data: bytes = image.to_bytes()
    # Without a time of writing, so that the same mask has the same digest.
    return gzip.compress(data, _GZIP_LEVEL, mtime=0) if compress else data


def _split_axes(shape: tuple[int, ...], where: str) -> tuple[tuple[int, ...], int, list[str]]:
    """Return the three spatial axes, the number of volumes, and notes."""
    if len(shape) == 1 or math.prod(shape[4:]) > 1:
        raise GeometryError(
            f"{where}: has the shape {shape}; allowed are 2 or 3 spatial axes and channels along "
            "the 4th",
            rule="E-GEO-26",
            hint="store the volumes as channels along the 4th axis, or each in its own file",
        )
    spatial = (*shape, 1)[:3]
    volumes = shape[3] if len(shape) > 3 else 1
    notes = []
    if len(shape) == 2:
        notes.append("2D image taken as one slice")
    if len(shape) > 3 and math.prod(shape[3:]) == 1:
        notes.append(f"axes of length 1 behind the third were dropped from shape {shape}")
    return spatial, volumes, notes


def _nibabel_header(data: bytes | bytearray, layout: Header) -> Any:
    from nibabel import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    kind, length = (Nifti1Header, 348) if layout.version == 1 else (Nifti2Header, 540)
    return kind(bytes(data[:length]), endianness=layout.byte_order, check=False)


def _scaling(header: Any) -> tuple[float, float, list[str]]:
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope and math.isfinite(slope) and math.isfinite(intercept):
        return slope, intercept, []
    note = f"scl_slope {slope:g} and scl_inter {intercept:g} taken as 1 and 0"
    return 1.0, 0.0, [note]
