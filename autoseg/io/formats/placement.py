"""Where the voxels of a file lie, whatever its format: rotations, edges and array axes.

A matrix is checked, not trusted: shear beyond the noise of float32 and impossible edges are
refused.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from autoseg.core.acceptance import Accepted, accepted_note, choice_of, offer
from autoseg.core.errors import GeometryError
from autoseg.core.geometry import Geometry, Orientation

Affine = npt.NDArray[np.float64]

SHEAR_KEPT: Final = 1e-5
"""Largest entry by which axes may miss a rotation and be kept as they are: float32 noise."""
SHEAR_REPAIRED: Final = 1e-3
"""Largest entry that is repaired with a note; public datasets hold noise of about 1e-4."""
USUAL_SPACING: Final = (0.01, 50.0)
"""Range of spacings that pass without a note, mm."""
NOTED_ANISOTROPY: Final = 50.0
"""Ratio of coarsest to finest spacing above which a note is made."""
LARGEST_ANISOTROPY: Final = 1000.0
"""Ratio of coarsest to finest spacing above which a file is refused."""
MILLIMETERS: Final = {
    unit: factor
    for factor, units in {
        1000.0: "m meter metre meters metres",
        10.0: "cm centimeter centimetre centimeters centimetres",
        0.001: "um µm micron microns micrometer micrometre micrometers micrometres",
    }.items()
    for unit in units.split()
}
"""Length of a unit in mm."""
REEXPORT: Final = "export the image again with its orientation, or correct its header"
"""Hint for a file whose place in space is unknown or impossible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where the voxels of a file lie, and what had to be assumed or repaired."""

    geometry: Geometry
    """The file's grid."""
    notes: tuple[str, ...]
    """Assumptions and repairs."""


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


def straightened(affine: Affine, form: str, where: str) -> tuple[Affine, list[str]]:
    """Return a matrix whose axes are at right angles, and a note if they were not.

    Parameters
    ----------
    affine : (4, 4) array
        From voxel index to world.
    form : str
        What the file calls the matrix.
    where : str
        Names the file in errors.

    Raises
    ------
    GeometryError
        E-GEO-16 for shear, E-GEO-17 for numbers that place no grid in space.
    """
    edges = voxel_edges(affine, form, where)
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
    return repaired, [f"shear of {residual:.2g} in the {form} was removed"]


def voxel_edges(affine: Affine, form: str, where: str) -> Affine:
    """Return the voxel edges, refusing numbers that place no grid in space."""
    edges: Affine = np.linalg.norm(affine[:3, :3], axis=0)
    if not (np.isfinite(affine).all() and np.isfinite(edges).all()):
        raise impossible_place(where, f"the {form} holds NaN or infinity")
    # The volume of the unit cell, as a fraction of a rectangular one.
    if not edges.all() or abs(np.linalg.det(affine[:3, :3] / edges)) < 1e-6:
        raise impossible_place(
            where, f"the {form} is singular, its voxel edges are {rounded(edges)}"
        )
    return edges


def check_spacing(affine: Affine, where: str) -> list[str]:
    """Refuse an extreme anisotropy (E-GEO-19); return notes on unusual spacings."""
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    ratio = edges.max() / edges.min()
    if ratio > LARGEST_ANISOTROPY:
        raise GeometryError(
            f"{where}: spacing {rounded(edges)} mm has a ratio of {ratio:.3g}, "
            f"allowed are {LARGEST_ANISOTROPY:g}",
            rule="E-GEO-19",
            hint=REEXPORT,
        )
    notes = []
    if edges.min() < USUAL_SPACING[0] or edges.max() > USUAL_SPACING[1]:
        notes.append(f"spacing {rounded(edges)} mm is unusual")
    if ratio > NOTED_ANISOTROPY:
        notes.append(f"spacing {rounded(edges)} mm is very anisotropic")
    return notes


def unit_in_millimeters(unit: str, where: str, accepted: Accepted) -> tuple[float, list[str]]:
    """Return what a file's lengths are to be multiplied by, and a note on an accepted unit.

    Parameters
    ----------
    unit : str
        What the header calls the unit; empty for mm or none.
    where : str
        Names the file in errors.
    accepted : tuple of Acceptance
        ``E-GEO-18=mm`` takes the numbers for mm, ``E-GEO-18=convert`` converts them.

    Raises
    ------
    GeometryError
        E-GEO-18 for another unit that was not accepted, or cannot be converted.
    """
    if not unit:
        return 1.0, []
    choice = choice_of(accepted, "E-GEO-18")
    factor = MILLIMETERS.get(unit.lower())
    if choice == "mm":
        return 1.0, [accepted_note(f"the unit {unit!r} is taken for mm", "E-GEO-18", choice)]
    if choice == "convert" and factor is not None:
        note = f"lengths in the unit {unit!r} were multiplied by {factor:g}"
        return factor, [accepted_note(note, "E-GEO-18", choice)]
    raise GeometryError(
        f"{where}: spatial units are {unit!r}, allowed is mm",
        rule="E-GEO-18",
        hint="rewrite the header in mm, scaling the matrix with it"
        + offer("E-GEO-18", but="" if factor else "convert"),
    )


def without_place(
    edges: Iterable[float], missing: str, where: str, accepted: Accepted
) -> tuple[Affine, list[str]]:
    """Return the matrix that is accepted for a file which does not say where it lies, and a note.

    Parameters
    ----------
    edges : iterable of float
        Voxel edges that the header states all the same, by file axis; none if it does not.
    missing : str
        What is missing.
    where : str
        Names the file in errors.
    accepted : tuple of Acceptance
        ``E-GEO-14=ras`` takes the axes for those towards right, front and head.

    Raises
    ------
    GeometryError
        E-GEO-14 if that was not accepted, or no edges are stated.
    """
    known = tuple(edges)
    choice = choice_of(accepted, "E-GEO-14")
    if not known or choice is None:
        raise GeometryError(
            f"{where}: {missing}, so that left and right are unknown",
            rule="E-GEO-14",
            hint=REEXPORT + (offer("E-GEO-14") if known else ""),
        )
    note = f"{missing}; its axes are taken to run to right, front and head"
    return np.diag([*(*known, 1.0, 1.0)[:3], 1.0]), [accepted_note(note, "E-GEO-14", choice)]


def impossible_place(where: str, problem: str) -> GeometryError:
    """Return the error for numbers that place no grid in space."""
    return GeometryError(
        f"{where}: {problem}; a place in space needs positive, finite numbers",
        rule="E-GEO-17",
        hint=REEXPORT,
    )


def rounded(values: Iterable[Any]) -> tuple[float, ...]:
    """Return numbers as a message shows them."""
    return tuple(float(f"{float(value):.6g}") for value in values)
