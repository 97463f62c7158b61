"""How far the surfaces of a segmentation and of its reference lie apart, mm.

A surface runs halfway between voxels inside and outside, as marching cubes draws it, and is cut
into one element per cell of 2 x 2 x 2 voxels. Every element counts by its area, so that neither the
grid's spacing nor its direction changes a distance. In 2D contours take the place of surfaces and
length that of area.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from autoseg.core.errors import GeometryError
from autoseg.core.geometry import STRICT

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

NEAREST: Final = 2
"""Elements whose distance is measured, those with the nearest centers. Discs overlap where a
surface bends: of more of them the nearest is too near. Its test holds it against every triangle
of the meshes."""
ROUNDING: Final = 1e-9
"""Share by which a distance may exceed the tolerance: one voxel is to be within one voxel."""
PERCENTILE: Final = 0.95
"""Share of a surface that lies within the Hausdorff distance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SurfaceDistance:
    """How far the surfaces of one structure lie apart in one case.

    Distances are None where either has no surface: an empty mask lies nowhere.
    """

    __pydantic_config__: ClassVar = STRICT

    hd95_mm: float | None
    """The distance within which 95 % of each surface lies of the other, mm."""
    assd_mm: float | None
    """Mean distance of all points of both surfaces from the other one, mm."""
    nsd: float | None
    """Share of both surfaces that lies within the tolerance of the other, 0 to 1: 0 where only one
    is empty, None where both are."""
    tolerance_mm: float
    """Distance that counts as agreement, mm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Elements:
    """The pieces of a surface."""

    centers: Floats
    """(n, d) middle of each, mm."""
    normals: Floats
    """(n, d) unit vector across each; zeros where a cell holds two sheets back to back."""
    sizes: Floats
    """(n,) area, mm^2; in 2D length, mm."""


def surface_distance(
    reference: Mask, prediction: Mask, spacing: Sequence[float], tolerance_mm: float | None = None
) -> SurfaceDistance:
    """Measure how far the surfaces of two masks lie apart.

    Parameters
    ----------
    reference, prediction : (*spatial) array of bool
        Masks on the same grid, 2D or 3D. Beyond the grid nothing is inside.
    spacing : sequence of float
        Voxel edges along the axes, mm.
    tolerance_mm : float, optional
        Distance that counts as agreement, at least 0, mm; `default_tolerance` if left out.

    Raises
    ------
    GeometryError
        If shapes or axes differ, or the spacing or the tolerance is impossible.

    Notes
    -----
    The Hausdorff distance is the larger one of both directions. Where an element's nearest point of
    the other surface lies is found among the `NEAREST` elements with the nearest centers, each
    taken as a disc of its area.

    References
    ----------
    Nikolov et al. 2021 (doi:10.2196/26151) on the area-weighted surface Dice; Podobnik and Vrtovec
    2024, Metrics Revolutions, on how implementations differ.
    """
    _check(reference, prediction, spacing, tolerance_mm)
    allowed = default_tolerance(spacing) if tolerance_mm is None else tolerance_mm
    if not (reference.any() and prediction.any()):
        nsd = 0.0 if reference.any() or prediction.any() else None
        return SurfaceDistance(hd95_mm=None, assd_mm=None, nsd=nsd, tolerance_mm=allowed)
    first, second = (surface_elements(mask, spacing) for mask in (reference, prediction))
    there, back = distances(first, second), distances(second, first)
    sizes = np.concatenate((first.sizes, second.sizes))
    both = np.concatenate((there, back))
    return SurfaceDistance(
        hd95_mm=max(_percentile(there, first.sizes), _percentile(back, second.sizes)),
        assd_mm=float(np.average(both, weights=sizes)),
        nsd=float(sizes[both <= allowed * (1 + ROUNDING)].sum() / sizes.sum()),
        tolerance_mm=allowed,
    )


def default_tolerance(spacing: Sequence[float]) -> float:
    """Return the median voxel edge, mm.

    Examples
    --------
    >>> default_tolerance((5.0, 0.8, 0.8))
    0.8
    """
    return float(np.median(spacing))


def surface_elements(mask: Mask, spacing: Sequence[float]) -> Elements:
    """Return the surface of a mask (*spatial), whose first voxel lies at 0 mm.

    Nothing is inside beyond the grid, so every surface is closed.
    """
    padded = np.pad(mask, 1).view(np.uint8)
    code = np.zeros([n - 1 for n in padded.shape], np.uint8)
    for bit, corner in enumerate(product((0, 1), repeat=mask.ndim)):
        part = padded[tuple(slice(c, n - 1 + c) for c, n in zip(corner, padded.shape, strict=True))]
        code |= part << bit
    flat = code.ravel()
    cells = np.flatnonzero((flat != 0) & (flat != (1 << 2**mask.ndim) - 1))
    shapes = _shapes(tuple(float(edge) for edge in spacing))
    kinds = flat[cells]
    corners = np.stack(np.unravel_index(cells, code.shape), axis=1) - 1.0
    return Elements(
        centers=corners * np.asarray(spacing) + shapes.centers[kinds],
        normals=shapes.normals[kinds],
        sizes=shapes.sizes[kinds],
    )


def distances(points: Elements, surface: Elements) -> Floats:
    """Return how far the center of each element lies from another surface, (n,) mm."""
    from scipy.spatial import cKDTree

    count = min(NEAREST, len(surface.sizes))
    tree = cKDTree(surface.centers, balanced_tree=False, compact_nodes=False)
    _, nearest = tree.query(points.centers, k=range(1, count + 1), workers=-1)
    radii = _radii(surface)
    shortest = np.full(len(points.sizes), np.inf)
    for found in nearest.T:
        away = points.centers - surface.centers[found]
        across = np.abs(np.einsum("nd,nd->n", away, surface.normals[found]))
        squared = np.einsum("nd,nd->n", away, away)
        along = np.sqrt(np.maximum(squared - across**2, 0))
        beside = np.maximum(along - radii[found], 0)
        np.minimum(shortest, np.hypot(across, beside), out=shortest)
    return shortest


def _radii(surface: Elements) -> Floats:
    """Return the radius of a disc, or half the length of a line, of each element's size."""
    radii: Floats = np.sqrt(surface.sizes / np.pi) if _axes(surface) == 3 else surface.sizes / 2
    return radii


def _axes(surface: Elements) -> int:
    return len(surface.centers[0])


def _percentile(values: Floats, sizes: Floats) -> float:
    """Return the smallest value within which `PERCENTILE` of the surface lies."""
    order = np.argsort(values)
    reached = np.cumsum(sizes[order])
    place = int(np.searchsorted(reached, PERCENTILE * reached[-1]))
    return float(values[order[min(place, len(order) - 1)]])


@lru_cache(maxsize=32)
def _shapes(spacing: tuple[float, ...]) -> Elements:
    """Return the element of a cell for every combination of corners inside, by its number."""
    axes = len(spacing)
    corners = list(product((0, 1), repeat=axes))
    count = 1 << len(corners)
    centers, normals, sizes = np.zeros((count, axes)), np.zeros((count, axes)), np.zeros(count)
    for number in range(1, count - 1):
        cell = np.zeros((2,) * axes)
        for bit, corner in enumerate(corners):
            cell[corner] = number >> bit & 1
        pieces = (_triangles if axes == 3 else _lines)(cell) * np.asarray(spacing)
        vectors = _area_vectors(pieces)
        areas = np.linalg.norm(vectors, axis=1)
        sizes[number] = areas.sum()
        centers[number] = np.average(pieces.mean(axis=1), axis=0, weights=areas)
        whole = vectors.sum(axis=0)
        if np.linalg.norm(whole) > 1e-3 * sizes[number]:
            normals[number] = whole / np.linalg.norm(whole)
    return Elements(centers=centers, normals=normals, sizes=sizes)


def _triangles(cell: Floats) -> Floats:
    """Return the triangles (t, 3, 3) between the corners of a cell that are 0 and those of 1."""
    from skimage.measure import marching_cubes

    vertices, faces, _, _ = marching_cubes(cell, 0.5)
    triangles: Floats = vertices[faces].astype(np.float64)
    return triangles


def _lines(cell: Floats) -> Floats:
    """Return the lines (t, 2, 2) between the corners of a square that are 0 and those of 1."""
    from skimage.measure import find_contours

    contours = find_contours(cell, 0.5)
    return np.concatenate([np.stack((line[:-1], line[1:]), axis=1) for line in contours])


def _area_vectors(pieces: Floats) -> Floats:
    """Return the vector across each piece whose length is its size."""
    first = pieces[:, 1] - pieces[:, 0]
    if pieces.shape[2] == 2:
        return np.stack((-first[:, 1], first[:, 0]), axis=1)
    vectors: Floats = np.cross(first, pieces[:, 2] - pieces[:, 0]) / 2
    return vectors


def _check(
    reference: Mask, prediction: Mask, spacing: Sequence[float], tolerance_mm: float | None
) -> None:
    if reference.shape != prediction.shape or reference.ndim not in (2, 3):
        raise GeometryError(
            f"masks: shapes {reference.shape} and {prediction.shape} must be equal, with 2 or 3 "
            "axes",
            rule="E-GEO-20",
        )
    if len(spacing) != reference.ndim or not all(0 < edge < np.inf for edge in spacing):
        raise GeometryError(
            f"spacing {tuple(spacing)} must be {reference.ndim} positive numbers, mm"
        )
    if tolerance_mm is not None and not 0 <= tolerance_mm < np.inf:
        raise GeometryError(f"tolerance is {tolerance_mm} mm; it must be 0 or more, and finite")
