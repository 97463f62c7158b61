"""Where the voxels of a NIfTI file lie: its two forms are checked against each other, not trusted.

The sform is used where both are set and agree.
"""

from typing import Any, Final

import numpy as np

from autoseg.core.acceptance import Accepted, accepted_note, choice_of, offer
from autoseg.core.errors import GeometryError
from autoseg.core.geometry import Orientation, grids_differ
from autoseg.io.formats.placement import (
    Affine,
    Placement,
    check_spacing,
    impossible_place,
    oriented_geometry,
    rounded,
    straightened,
    unit_in_millimeters,
    voxel_edges,
    without_place,
)

FORMS_SHIFT_VOXELS: Final = 0.5
"""Largest distance of a corner in sform and qform. The quaternion's float32 numbers alone miss a
rotation by about a half turn by 5e-4, a quarter of a voxel at the end of 500."""

_UNITS: Final = {1: "metre", 2: "", 3: "micron"}
"""Units of length by their code in the header, but that of mm, which needs no name."""


def placement(
    header: Any,
    file_shape: tuple[int, ...],
    *,
    orientation: Orientation,
    where: str,
    accepted: Accepted = (),
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
    accepted : tuple of Acceptance
        What is done where E-GEO-13, E-GEO-14 or E-GEO-18 would refuse.

    Raises
    ------
    GeometryError
        E-GEO-13 if the forms disagree, E-GEO-14 if none is set, E-GEO-16 for shear, E-GEO-17 for
        impossible numbers, E-GEO-18 for other units than mm, E-GEO-19 for an extreme anisotropy.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused as infinite
        notes = _convert_units(header, where, accepted)
        _check_pixdim(header, where)
        affine, form_notes = _agreed_affine(header, file_shape, where, accepted)
    notes += form_notes + check_spacing(affine, where)
    return Placement(
        geometry=oriented_geometry(file_shape, affine, orientation), notes=tuple(notes)
    )


def _convert_units(header: Any, where: str, accepted: Accepted) -> list[str]:
    """Scale a header to mm; return what was assumed."""
    code = int(header["xyzt_units"]) & 7
    if code not in _UNITS:
        return ["spatial units are not stated, taken as mm"]
    factor, notes = unit_in_millimeters(_UNITS[code], where, accepted)
    if factor != 1:
        header["pixdim"][1:4] *= factor
        for name in ("srow_x", "srow_y", "srow_z", "qoffset_x", "qoffset_y", "qoffset_z"):
            header[name] = header[name] * factor
    return notes


def _check_pixdim(header: Any, where: str) -> None:
    if int(header["dim"][0]) == 2 and header["pixdim"][3] == 0:
        header["pixdim"][3] = 1.0  # a 2D file need not say how thick its slice is
    if header["pixdim"][0] == 0:
        header["pixdim"][0] = 1.0  # as the standard says of qfac
    edges = header["pixdim"][1:4]
    if not (np.isfinite(edges).all() and (edges > 0).all()):
        raise impossible_place(where, f"voxel edges (pixdim) are {rounded(edges)} mm")


def _agreed_affine(
    header: Any, file_shape: tuple[int, ...], where: str, accepted: Accepted
) -> tuple[Affine, list[str]]:
    sform, notes = _sform(header, where)
    qform = _qform(header, where)
    affine = sform if sform is not None else qform
    if affine is None:
        edges = rounded(header["pixdim"][1:4])
        return without_place(
            edges, "neither sform nor qform is set (both codes are 0)", where, accepted
        )
    if sform is None or qform is None:
        return affine, notes
    difference = _difference(sform, qform, file_shape)
    if not difference:
        return sform, notes
    forms = f"sform ({_axis_codes(sform)}) and qform ({_axis_codes(qform)}) disagree: {difference}"
    choice = choice_of(accepted, "E-GEO-13")
    if choice is None:
        raise GeometryError(
            f"{where}: {forms}; they must be equal where both are set",
            rule="E-GEO-13",
            hint="find out which one is right and set the code of the other to 0"
            + offer("E-GEO-13"),
        )
    taken = accepted_note(f"{forms}; the {choice} is taken", "E-GEO-13", choice)
    return (sform, [*notes, taken]) if choice == "sform" else (qform, [taken])


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
    return straightened(affine, "sform", where)


def _qform(header: Any, where: str) -> Affine | None:
    from nibabel.spatialimages import HeaderDataError

    if int(header["qform_code"]) <= 0:
        return None
    try:
        affine: Affine = header.get_qform()
    except (HeaderDataError, ValueError) as error:
        raise impossible_place(where, f"the qform cannot be computed ({error})") from error
    voxel_edges(affine, "qform", where)
    return affine


def _axis_codes(affine: Affine) -> str:
    from nibabel.orientations import aff2axcodes

    return "".join(aff2axcodes(affine))
