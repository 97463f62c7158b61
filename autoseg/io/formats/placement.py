"""Where the voxels of a file lie, whatever its format: rotations, edges and array axes.

A matrix is checked, not trusted: shear beyond the noise of float32 and impossible edges are
refused.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

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
