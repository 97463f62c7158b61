"""The image formats as values: which ending is decoded and encoded by what.

A new format is a row here, a reader in `autoseg.io.content` and a kind in `autoseg.io.kinds`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from autoseg.core.errors import GeometryError, VoxelError
from autoseg.core.geometry import Array, Geometry, Orientation
from autoseg.io.guard import Guarded, guarded_content
from autoseg.io.nifti import decode_nifti, encode_nifti
from autoseg.io.pictures import decode_bmp, decode_png, encode_bmp, encode_png
from autoseg.io.tiff import decode_tiff, encode_tiff, stack_spacing
from autoseg.io.tiff_sidecar import TIFF_ENDINGS, encode_sidecar, sidecar_path
from autoseg.io.volume import decode_volume, encode_volume
from autoseg.io.voxels import Decoded

GRID_TOLERANCE_MM: Final = 1e-5
"""Largest error of a written matrix entry, mm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How the files of an ending are read and written."""

    decode: Callable[[Guarded, Orientation, str], Decoded]
    """Turns guarded content into voxels; the last argument names the file."""
    encode: Callable[[Array, Geometry], bytes]
    """Turns a label map in its geometry's orientation into a file."""
    axes: tuple[int, ...]
    """Numbers of spatial axes that a file may hold."""
    is_verified: bool = True
    """Whether what was encoded is decoded again and compared."""


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
    if not ending or geometry.ndim not in FORMATS[ending].axes:
        flat, deep = ([e for e, f in FORMATS.items() if n in f.axes] for n in (2, 3))
        raise GeometryError(
            f"{path}: {geometry.ndim} axes cannot be written to a file ending with "
            f"{path.suffix!r}; 2 go into {', '.join(flat)}, 3 into {', '.join(deep)}",
            rule="E-GEO-25",
            hint="choose the file ending of the images",
        )
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
    decoded = FORMATS[ending].decode(guarded, "stored", str(path))
    found, wanted = decoded.geometry, geometry
    if found.file_shape != wanted.file_shape or not np.array_equal(
        decoded.stored[0], wanted.to_file(label_map)
    ):
        difference = f"shape {wanted.file_shape} came back as {found.file_shape}, or other labels"
    elif not np.allclose(found.file_affine, wanted.file_affine, rtol=0, atol=GRID_TOLERANCE_MM):
        difference = f"its matrix {wanted.file_affine} came back as {found.file_affine}"
    else:
        return
    raise GeometryError(
        f"{path}: a file ending with {ending} cannot hold this grid: {difference}",
        rule="E-GEO-25",
        hint="choose the file ending of the images",
    )


def _decode_nifti(guarded: Guarded, orientation: Orientation, where: str) -> Decoded:
    return decode_nifti(guarded.data, orientation=orientation, where=where)


def _volume(ending: str) -> Format:
    return Format(
        decode=partial(decode_volume, ending=ending),
        encode=partial(encode_volume, ending=ending),
        axes=(3,),
    )


_TIFF: Final = Format(decode=decode_tiff, encode=encode_tiff, axes=(2, 3))

FORMATS: Final[dict[str, Format]] = {
    ".nii.gz": Format(
        decode=_decode_nifti,
        encode=partial(encode_nifti, compress=True),
        axes=(3,),
        is_verified=False,  # nibabel's voxels are as given, its matrix is rounded to float32
    ),
    ".nii": Format(
        decode=_decode_nifti,
        encode=partial(encode_nifti, compress=False),
        axes=(3,),
        is_verified=False,
    ),
    ".nrrd": _volume(".nrrd"),
    ".mha": _volume(".mha"),
    ".mhd": _volume(".mhd"),
    ".gipl": _volume(".gipl"),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".png": Format(decode=decode_png, encode=encode_png, axes=(2,)),
    ".bmp": Format(decode=decode_bmp, encode=encode_bmp, axes=(2,)),
}
"""Every format by its ending; the endings are `autoseg.io.guard.FILE_ENDINGS`."""
