"""The image formats as values: which ending is decoded and encoded by what.

A new format is a row here, a reader in `content` and a kind in `kinds`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from autoseg.core.acceptance import Accepted
from autoseg.core.errors import GeometryError, VoxelError
from autoseg.core.geometry import Array, Geometry, Matrix, Orientation
from autoseg.io.formats.nifti import decode_nifti, encode_nifti
from autoseg.io.formats.pictures import IDENTITY, decode_bmp, decode_png, encode_bmp, encode_png
from autoseg.io.formats.tiff import decode_tiff, encode_tiff, stack_geometry, stack_spacing
from autoseg.io.formats.tiff_sidecar import TIFF_ENDINGS, encode_sidecar, sidecar_path
from autoseg.io.formats.volume import decode_volume, encode_volume, gipl_place
from autoseg.io.guard import Guarded, guarded_content
from autoseg.io.voxels import Decoded

GRID_TOLERANCE_MM: Final = 1e-5
"""Largest error of a written matrix entry, mm."""

_HINT: Final = "give the segmentations the file ending of their images"


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How the files of an ending are read and written."""

    decode: Callable[[Guarded, Orientation, str, Accepted], Decoded]
    """Turns guarded content into voxels; a name for the file, and what is accepted of it."""
    encode: Callable[[Array, Geometry], bytes]
    """Turns a label map in its geometry's orientation into a file."""
    axes: tuple[int, ...]
    """Numbers of spatial axes that a file may hold."""
    place: Callable[[Geometry], Matrix] | None = None
    """Gives the matrix that a file comes back with where the format holds no origin or direction;
    None where it holds both."""
    is_verified: bool = True
    """Whether what was encoded is decoded again and compared."""


def check_holds(geometry: Geometry, ending: str, where: str) -> None:
    """Refuse a grid that the files of an ending cannot hold, without writing one.

    Parameters
    ----------
    geometry : Geometry
        The grid of an image.
    ending : str
        Ending of the segmentations on it.
    where : str
        Names the case or the file in errors.

    Raises
    ------
    GeometryError
        E-GEO-25 if the format cannot hold the number of axes, or where the grid lies.
    """
    if ending not in FORMATS or geometry.ndim not in FORMATS[ending].axes:
        flat, deep = ([e for e, f in FORMATS.items() if n in f.axes] for n in (2, 3))
        raise GeometryError(
            f"{where}: {geometry.ndim} axes cannot be written to a file ending with "
            f"{ending or Path(where).suffix!r}; 2 go into {', '.join(flat)}, 3 into "
            f"{', '.join(deep)}",
            rule="E-GEO-25",
            hint=_HINT,
        )
    place = FORMATS[ending].place
    if place is not None:
        _check_place(geometry, place(geometry), ending, where)


def sidecar_places(path: Path) -> tuple[Path, ...]:
    """Return where a file may have to lie beside a segmentation: nowhere for most formats."""
    return (sidecar_path(path),) if path.name.lower().endswith(TIFF_ENDINGS) else ()


def sidecar_of(path: Path, geometry: Geometry) -> tuple[Path, bytes] | None:
    """Return the file that has to lie beside a segmentation, or None.

    Parameters
    ----------
    path : Path
        The segmentation.
    geometry : Geometry
        Its grid.

    Returns
    -------
    (Path, bytes) or None
        Where to write the spacing of a TIFF stack, and what.
    """
    if not path.name.lower().endswith(TIFF_ENDINGS) or geometry.ndim == 2:
        return None
    return sidecar_path(path), encode_sidecar(stack_spacing(geometry))


def encoded(label_map: Array, geometry: Geometry, path: Path, ending: str) -> bytes:
    """Return the file of a label map, read back and compared.

    Parameters
    ----------
    label_map : (*spatial) array of uint8 or uint16
        In the geometry's orientation.
    geometry : Geometry
        Its grid.
    path : Path
        Names the file in errors.
    ending : str
        Decides the format.

    Raises
    ------
    GeometryError
        E-GEO-25 if the format cannot hold the grid.
    VoxelError
        E-VAL-35 if it cannot hold a label.
    """
    check_holds(geometry, ending, str(path))
    try:
        data = FORMATS[ending].encode(label_map, geometry)
    except VoxelError as error:
        raise VoxelError(f"{path}: {error.args[0]}", rule=error.rule, hint=error.hint) from error
    if FORMATS[ending].is_verified:
        _check_encoded(data, label_map, geometry, path, ending)
    return data


def _check_encoded(
    data: bytes, label_map: Array, geometry: Geometry, path: Path, ending: str
) -> None:
    """Refuse an encoded label map (E-GEO-25) that is not read back as it was given.

    The bytes take the way of any file, through the guard and the decoder.
    """
    sidecar = sidecar_of(path, geometry)
    guarded = guarded_content(data, path, ending, sidecar=sidecar[1] if sidecar else b"")
    decoded = FORMATS[ending].decode(guarded, "stored", str(path), ())
    found, wanted = decoded.geometry, geometry
    if found.file_shape != wanted.file_shape or not np.array_equal(
        decoded.stored[0], wanted.to_file(label_map)
    ):
        difference = f"shape {wanted.file_shape} came back as {found.file_shape}, or other labels"
        raise _not_held(difference, ending, str(path))
    _check_place(wanted, found.file_affine, ending, str(path))


def _check_place(wanted: Geometry, found: Matrix, ending: str, where: str) -> None:
    if not np.allclose(found, wanted.file_affine, rtol=0, atol=GRID_TOLERANCE_MM):
        raise _not_held(f"its matrix {wanted.file_affine} comes back as {found}", ending, where)


def _not_held(difference: str, ending: str, where: str) -> GeometryError:
    return GeometryError(
        f"{where}: a file ending with {ending} cannot hold this grid: {difference}",
        rule="E-GEO-25",
        hint=_HINT,
    )


def _settled(
    decode: Callable[[Guarded, Orientation, str], Decoded],
) -> Callable[[Guarded, Orientation, str, Accepted], Decoded]:
    """Return the decoder of a format that leaves nothing to accept."""
    return lambda guarded, orientation, where, _: decode(guarded, orientation, where)


def _volume(ending: str, place: Callable[[Geometry], Matrix] | None = None) -> Format:
    return Format(
        decode=partial(decode_volume, ending=ending),
        encode=partial(encode_volume, ending=ending),
        axes=(3,),
        place=place,
    )


def _picture_place(geometry: Geometry) -> Matrix:
    """Return the place of every picture."""
    return IDENTITY


def _tiff_place(geometry: Geometry) -> Matrix:
    """Return the place of a picture, or of a stack, which has no origin and no direction."""
    if geometry.ndim == 2:
        return IDENTITY
    return stack_geometry(geometry.file_shape, stack_spacing(geometry)).file_affine


_TIFF: Final = Format(
    decode=_settled(decode_tiff), encode=encode_tiff, axes=(2, 3), place=_tiff_place
)

FORMATS: Final[dict[str, Format]] = {
    ".nii.gz": Format(
        decode=decode_nifti,
        encode=partial(encode_nifti, compress=True),
        axes=(3,),
        is_verified=False,  # nibabel's voxels are as given, its matrix is rounded to float32
    ),
    ".nii": Format(
        decode=decode_nifti,
        encode=partial(encode_nifti, compress=False),
        axes=(3,),
        is_verified=False,
    ),
    ".nrrd": _volume(".nrrd"),
    ".mha": _volume(".mha"),
    ".mhd": _volume(".mhd"),
    ".gipl": _volume(".gipl", gipl_place),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".png": Format(decode=_settled(decode_png), encode=encode_png, axes=(2,), place=_picture_place),
    ".bmp": Format(decode=_settled(decode_bmp), encode=encode_bmp, axes=(2,), place=_picture_place),
}
"""Every format by its ending; the endings are `autoseg.io.guard.FILE_ENDINGS`."""
