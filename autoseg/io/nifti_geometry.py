"""Where the voxels of a NIfTI file lie: its two forms are checked against each other, not trusted.

The sform is used where both are set and agree.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from autoseg.core.errors import GeometryError
from autoseg.core.geometry import Geometry, Orientation, grids_differ

Affine = npt.NDArray[np.float64]

SHEAR_KEPT: Final = 1e-5
"""Largest entry by which axes may miss a rotation and be kept as they are: float32 noise."""
SHEAR_REPAIRED: Final = 1e-3
"""Largest entry that is repaired with a note; public datasets hold noise of about 1e-4."""
FORMS_SHIFT_VOXELS: Final = 0.5
"""Largest distance of a corner in sform and qform. The quaternion's float32 numbers alone miss a
rotation by about a half turn by 5e-4, a quarter of a voxel at the end of 500."""
USUAL_SPACING: Final = (0.01, 50.0)
"""Range of spacings that pass without a note, mm."""
NOTED_ANISOTROPY: Final = 50.0
"""Ratio of coarsest to finest spacing above which a note is made."""
LARGEST_ANISOTROPY: Final = 1000.0
"""Ratio of coarsest to finest spacing above which a file is refused."""

_REEXPORT: Final = "export the image again with its orientation, or correct its header"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where the voxels of a file lie, and what had to be assumed or repaired."""

    geometry: Geometry
    """The file's grid."""
    notes: tuple[str, ...]
    """Assumptions and repairs."""


def placement(
    header: Any, file_shape: tuple[int, ...], *, orientation: Orientation, where: str
) -> Placement:
    """Find the one grid that a NIfTI header describes.

    Parameters
    ----------
    header : nibabel.Nifti1Header or Nifti2Header
        Header as it is stored, unrepaired.
    file_shape : tuple of int
        Voxels per spatial axis (i, j, k); a 2D image has one slice.
    orientation : Orientation
        How arrays are to be turned.
    where : str
        Names the file in errors.

    Raises
    ------
    GeometryError
        E-GEO-13 if the forms disagree, E-GEO-14 if none is set, E-GEO-16 for shear, E-GEO-17 for
        impossible numbers, E-GEO-18 for other units than mm, E-GEO-19 for an extreme anisotropy.
    """
    notes = _check_units(header, where)
    _check_pixdim(header, where)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused as infinite
        affine, form_notes = _agreed_affine(header, file_shape, where)
    notes += form_notes + _check_spacing(affine, where)
    return Placement(
        geometry=oriented_geometry(file_shape, affine, orientation), notes=tuple(notes)
    )


def oriented_geometry(
    file_shape: tuple[int, ...], affine: Affine, orientation: Orientation
) -> Geometry:
    """Return the geometry of a 3D file for an orientation.

    Notes
    -----
    Canonical array axes (z, y, x) run along the file axes closest to feet-head, back-front and
    left-right, in these directions.
    """
    file_axes: tuple[int, ...] = (2, 1, 0)
    backwards: tuple[bool, ...] = (False, False, False)
    if orientation == "canonical":
        from nibabel.orientations import io_orientation

        world_axes, signs = io_orientation(affine).T.astype(int)
        file_axes = tuple(np.argsort(-world_axes).tolist())
        backwards = tuple(bool(signs[axis] < 0) for axis in file_axes)
    return Geometry(
        file_shape=file_shape,
        file_affine=tuple(tuple(row) for row in affine.tolist()),
        file_axes=file_axes,
        reversed_axes=backwards,
    )


def _check_units(header: Any, where: str) -> list[str]:
    code = int(header["xyzt_units"]) & 7
    if code == 2:
        return []
    if code in (1, 3):
        unit = "metre" if code == 1 else "micron"
        raise GeometryError(
            f"{where}: spatial units are {unit}, allowed is millimetre",
            rule="E-GEO-18",
            hint="rewrite the header in mm, scaling the affine with it",
        )
    return ["spatial units are not stated, taken as mm"]


def _check_pixdim(header: Any, where: str) -> None:
    if int(header["dim"][0]) == 2 and header["pixdim"][3] == 0:
        header["pixdim"][3] = 1.0  # a 2D file need not say how thick its slice is
    if header["pixdim"][0] == 0:
        header["pixdim"][0] = 1.0  # as the standard says of qfac
    edges = header["pixdim"][1:4]
    if not (np.isfinite(edges).all() and (edges > 0).all()):
        raise _impossible(where, f"voxel edges (pixdim) are {_numbers(edges)} mm")


def _agreed_affine(
    header: Any, file_shape: tuple[int, ...], where: str
) -> tuple[Affine, list[str]]:
    sform, notes = _sform(header, where)
    qform = _qform(header, where)
    affine = sform if sform is not None else qform
    if affine is None:
        raise GeometryError(
            f"{where}: neither sform nor qform is set (both codes are 0), so that left and right "
            "are unknown; one of them must be",
            rule="E-GEO-14",
            hint=_REEXPORT,
        )
    if sform is None or qform is None:
        return affine, notes
    difference = _difference(sform, qform, file_shape)
    if difference:
        raise GeometryError(
            f"{where}: sform ({_axis_codes(sform)}) and qform ({_axis_codes(qform)}) disagree: "
            f"{difference}; they must be equal where both are set",
            rule="E-GEO-13",
            hint="find out which one is right and set the code of the other to 0",
        )
    return sform, notes


def _difference(sform: Affine, qform: Affine, file_shape: tuple[int, ...]) -> str:
    if np.array_equal(sform, qform):
        return ""
    return grids_differ(
        oriented_geometry(file_shape, sform, "stored"),
        oriented_geometry(file_shape, qform, "stored"),
        shift_voxels=FORMS_SHIFT_VOXELS,
    )


def _sform(header: Any, where: str) -> tuple[Affine | None, list[str]]:
    affine, code = header.get_sform(coded=True)
    if code <= 0:
        return None, []
    edges = _edges(affine, "sform", where)
    directions = affine[:3, :3] / edges
    left, _, right = np.linalg.svd(directions)
    rotation = left @ right
    residual = float(np.abs(directions - rotation).max())
    if residual <= SHEAR_KEPT:
        return affine, []
    if residual > SHEAR_REPAIRED:
        raise GeometryError(
            f"{where}: the voxel axes are sheared by {residual:.2g}, "
            f"allowed are {SHEAR_REPAIRED:g}",
            rule="E-GEO-16",
            hint="resample the image to a rectangular grid",
        )
    repaired = affine.copy()
    repaired[:3, :3] = rotation * edges
    return repaired, [f"shear of {residual:.2g} in the sform was removed"]


def _qform(header: Any, where: str) -> Affine | None:
    from nibabel.spatialimages import HeaderDataError

    if int(header["qform_code"]) <= 0:
        return None
    try:
        affine: Affine = header.get_qform()
    except (HeaderDataError, ValueError) as error:
        raise _impossible(where, f"the qform cannot be computed ({error})") from error
    _edges(affine, "qform", where)
    return affine


def _edges(affine: Affine, form: str, where: str) -> Affine:
    """Return the voxel edges, refusing numbers that place no grid in space."""
    edges: Affine = np.linalg.norm(affine[:3, :3], axis=0)
    if not (np.isfinite(affine).all() and np.isfinite(edges).all()):
        raise _impossible(where, f"the {form} holds NaN or infinity")
    # The volume of the unit cell, as a fraction of a rectangular one.
    if not edges.all() or abs(np.linalg.det(affine[:3, :3] / edges)) < 1e-6:
        raise _impossible(where, f"the {form} is singular, its voxel edges are {_numbers(edges)}")
    return edges


def _check_spacing(affine: Affine, where: str) -> list[str]:
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    ratio = edges.max() / edges.min()
    if ratio > LARGEST_ANISOTROPY:
        raise GeometryError(
            f"{where}: spacing {_numbers(edges)} mm has a ratio of {ratio:.3g}, "
            f"allowed are {LARGEST_ANISOTROPY:g}",
            rule="E-GEO-19",
            hint=_REEXPORT,
        )
    notes = []
    if edges.min() < USUAL_SPACING[0] or edges.max() > USUAL_SPACING[1]:
        notes.append(f"spacing {_numbers(edges)} mm is unusual")
    if ratio > NOTED_ANISOTROPY:
        notes.append(f"spacing {_numbers(edges)} mm is very anisotropic")
    return notes


def _axis_codes(affine: Affine) -> str:
    from nibabel.orientations import aff2axcodes

    return "".join(aff2axcodes(affine))


def _impossible(where: str, problem: str) -> GeometryError:
    return GeometryError(
        f"{where}: {problem}; a place in space needs positive, finite numbers",
        rule="E-GEO-17",
        hint=_REEXPORT,
    )


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(float(f"{float(value):.6g}") for value in values)
