"""NRRD, MetaImage and GIPL bytes to voxels and back, through SimpleITK; behind the guard only.

SimpleITK reads the place in space from a private copy of the header that was guarded. It never
opens a user's file and never sees the voxels, which it would fill with zeros where they are short.
"""

import errno
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from autoseg.core.acceptance import Accepted
from autoseg.core.errors import GeometryError, ImageFileError, ResourceError
from autoseg.core.geometry import Array, Geometry, Matrix, Orientation
from autoseg.io.formats.gipl_header import HEADER_BYTES, parse_gipl
from autoseg.io.formats.metaimage_header import parse_metaimage
from autoseg.io.formats.nrrd_header import parse_nrrd
from autoseg.io.formats.placement import (
    Affine,
    check_spacing,
    oriented_geometry,
    straightened,
    unit_in_millimeters,
    without_place,
)
from autoseg.io.formats.volume_header import VolumeHeader
from autoseg.io.guard import Guarded
from autoseg.io.voxels import Decoded

_PARSERS: Final[dict[str, Callable[[bytes | bytearray, str], VolumeHeader]]] = {
    ".nrrd": parse_nrrd,
    ".mha": parse_metaimage,
    ".mhd": parse_metaimage,
    ".gipl": parse_gipl,
}
_LPS_TO_RAS: Final = (-1.0, -1.0, 1.0)
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def decode_volume(
    guarded: Guarded,
    orientation: Orientation,
    where: str,
    accepted: Accepted = (),
    *,
    ending: str,
) -> Decoded:
    """Decode a guarded volume.

    Parameters
    ----------
    guarded : Guarded
        Header and voxels, unpacked.
    orientation : Orientation
        How arrays are to be turned.
    where : str
        The file's path.
    accepted : tuple of Acceptance
        What is done where E-GEO-14 or E-GEO-18 would refuse.
    ending : str
        Which format it is.

    Returns
    -------
    Decoded
        3D, one channel per component or volume; a 2D image is one slice. The voxels are a view of
        the guarded data.

    Raises
    ------
    GeometryError
        E-GEO-14 if left and right are unknown, E-GEO-16 for shear, E-GEO-17 for impossible
        numbers, E-GEO-18 for other units than mm, E-GEO-19 for an extreme anisotropy.
    ImageFileError
        E-FILE-09 if SimpleITK understands the header differently.
    ResourceError
        E-RES-62 or E-RES-63 if there is no place for temporary files.
    """
    header = _PARSERS[ending](guarded.data, where)
    affine, assumed = _placed(guarded, header, where, accepted, ending=ending)
    affine, repairs = straightened(affine, "direction matrix", where)
    notes = [*_axis_notes(header), *assumed, *repairs, *check_spacing(affine, where)]
    if ending == ".gipl":
        notes.append("GIPL holds no orientation; its axes are taken to run to left, back and head")
    voxels: Array = np.frombuffer(
        guarded.data, dtype=header.dtype, offset=header.length, count=_count(header)
    )
    stored = voxels.reshape(header.sizes[::-1]).transpose()
    if header.channel_axis is not None:
        stored = np.moveaxis(stored, header.channel_axis, 0)
    shape = (*header.shape, 1)[:3]
    return Decoded(
        stored=stored.reshape(header.channels, *shape),
        geometry=oriented_geometry(shape, affine, orientation),
        notes=tuple(notes),
    )


def encode_volume(label_map: Array, geometry: Geometry, *, ending: str) -> bytes:
    """Encode a label map in the file axes of its geometry; equal input gives equal bytes.

    A ``.mhd`` file holds its voxels itself, as a ``.mha`` file does. `ResourceError` (E-RES-62,
    E-RES-63) if there is no place for temporary files.
    """
    import SimpleITK

    affine = np.asarray(geometry.file_affine)
    matrix = affine[:3] * np.array(_LPS_TO_RAS)[:, None]
    edges = np.linalg.norm(matrix[:, :3], axis=0)
    image = SimpleITK.GetImageFromArray(
        np.ascontiguousarray(geometry.to_file(label_map).transpose())
    )
    image.SetSpacing(edges.tolist())
    image.SetOrigin(matrix[:, 3].tolist())
    image.SetDirection((matrix[:, :3] / edges).ravel().tolist())
    with _private_folder() as folder:
        path = folder / f"mask{'.mha' if ending == '.mhd' else ending}"
        try:
            SimpleITK.WriteImage(image, str(path), useCompression=ending != ".gipl")
        except RuntimeError as error:
            raise _full_disk(folder, _last_words(error)) from error
        encoded = path.read_bytes()
        # Of GIPL, SimpleITK reports success on a full disk.
        if ending == ".gipl" and len(encoded) < HEADER_BYTES + label_map.nbytes:
            raise _full_disk(folder, f"{len(encoded)} bytes of {HEADER_BYTES + label_map.nbytes}")
        return encoded


def gipl_place(geometry: Geometry) -> Matrix:
    """Return the matrix that a GIPL file of a grid comes back with: it holds no direction."""
    matrix = np.array(geometry.file_affine)
    edges = np.linalg.norm(matrix[:3, :3], axis=0)
    matrix[:3, :3] = np.diag(edges * _LPS_TO_RAS)
    return tuple(tuple(row) for row in matrix.tolist())


@contextmanager
def _private_folder() -> Iterator[Path]:
    """Make a folder for a moment; `ResourceError` if it cannot be made or written."""
    try:
        with tempfile.TemporaryDirectory(prefix="autoseg-") as folder:
            yield Path(folder)
    except ResourceError:
        raise
    except OSError as error:
        place = error.filename or tempfile.tempdir or "folder of temporary files"
        if error.errno in _FULL:
            raise _full_disk(place, str(error.strerror)) from error
        raise ResourceError(
            f"{place}: temporary files cannot be written ({error.strerror})",
            rule="E-RES-62",
            hint="make it a folder that you may write to, or name another one in the variable "
            "TMPDIR",
        ) from error


def _full_disk(place: Path | str, problem: str) -> ResourceError:
    return ResourceError(
        f"{place}: the disk of temporary files is full ({problem})",
        rule="E-RES-63",
        hint="free some space, or name a folder on another disk in the variable TMPDIR",
    )


def _last_words(error: RuntimeError) -> str:
    """Return what SimpleITK says at the end of its report, on one line."""
    return " ".join(str(error).split())[-200:]


def _count(header: VolumeHeader) -> int:
    return int(np.prod(header.sizes, dtype=np.int64))


def _axis_notes(header: VolumeHeader) -> list[str]:
    notes = ["2D image taken as one slice"] if len(header.shape) == 2 else []
    if header.channel_axis is not None and header.channels == 1:
        notes.append(f"an axis of length 1 was dropped from shape {header.sizes}")
    return notes


def _placed(
    guarded: Guarded, header: VolumeHeader, where: str, accepted: Accepted, *, ending: str
) -> tuple[Affine, list[str]]:
    """Return the matrix from voxel index to RAS+ mm, and what was assumed of it."""
    if header.placeless:
        affine, notes = without_place(header.edges, header.placeless, where, accepted)
    else:
        affine = _affine(bytes(guarded.data[: header.length]), header, where, ending)
        notes = []
    factor, unit_notes = unit_in_millimeters(header.unit, where, accepted)
    affine[:3] *= factor
    return affine, notes + unit_notes


def _affine(data: bytes, header: VolumeHeader, where: str, ending: str) -> Affine:
    """Return the matrix from voxel index to RAS+ mm that SimpleITK reads from a header."""
    information = _information(data, where, ending)
    n = information.GetDimension()
    size = information.GetSize()
    spatial = 2 if len(header.shape) == 2 else 3
    if (*size, 1)[: len(header.shape)] != header.shape:
        raise ImageFileError(
            f"{where}: has a header of two meanings: shape {header.shape} or {size}",
            rule="E-FILE-09",
            hint="the header is damaged; export the image again",
        )
    matrix = np.reshape(information.GetDirection(), (n, n)) * information.GetSpacing()
    if n == 4 and (matrix[:3, 3].any() or matrix[3, :3].any()):
        raise GeometryError(
            f"{where}: its volumes do not lie in one place: the fourth axis runs in space",
            rule="E-GEO-26",
            hint="store the volumes as channels along the fourth axis, or each in its own file",
        )
    affine = np.eye(4)
    affine[:spatial, :spatial] = matrix[:spatial, :spatial]
    affine[:spatial, 3] = information.GetOrigin()[:spatial]
    affine[:3] *= np.array(_LPS_TO_RAS)[:, None]
    return affine


def _information(data: bytes, where: str, ending: str) -> Any:
    """Return SimpleITK's reader after it has read a header."""
    import SimpleITK

    with _private_folder() as folder:
        path = folder / f"header{ending}"
        path.write_bytes(data)
        reader = SimpleITK.ImageFileReader()
        reader.SetFileName(str(path))
        try:
            reader.ReadImageInformation()
        except RuntimeError as error:
            raise ImageFileError(
                f"{where}: has a header that SimpleITK cannot read ({_last_words(error)})",
                rule="E-FILE-09",
                hint="the header is damaged; export the image again",
            ) from error
    return reader
