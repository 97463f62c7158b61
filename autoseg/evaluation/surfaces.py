"""How far the surfaces of a segmentation and of its reference lie apart, mm.

The surface of a structure is that of its voxels: every face between one inside and one outside. It
is measured at the middles of the triangles that its faces consist of, each of which counts by its
area, so that a spacing that differs between axes weighs nothing twice. In 2D the edges of pixels
take the place of faces, and length that of area.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from autoseg.core.errors import GeometryError
from autoseg.core.geometry import STRICT
from autoseg.evaluation.boxes import Mask

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

PARTS: Final = {2: 2, 3: 3}
"""Steps that an edge of a voxel is divided into, by axes. The middles of its triangles lie at one
and at two thirds of a face, that of a pixel's edge at one half."""
MIDDLES: Final = {2: (1,), 3: (1, 2)}
"""Steps from the first corner of a face to its middles, along all of its axes."""
SLAB_POINTS: Final = 2**26
"""Points of a grid of steps that are marked at a time; one byte each."""
ROUNDING: Final = 1e-9
"""Share by which a distance may exceed the tolerance: one voxel is to be within one voxel."""
PERCENTILE: Final = 0.95
"""Share of a surface that lies within the Hausdorff distance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SurfaceDistance:
    """How far the surfaces of one structure lie apart in one case.

    Distances are None where either has no surface, as an empty mask lies nowhere, and where both
    border ignored voxels only.
    """

    __pydantic_config__: ClassVar = STRICT

    hd95_mm: float | None
    """The distance within which 95 % of each surface lies of the other, mm."""
    assd_mm: float | None
    """Mean distance of all points of both surfaces from the other one, mm."""
    nsd: float | None
    """Share of both surfaces that lies within the tolerance of the other, 0 to 1: 0 where only one
    is empty, None where both are or nothing is measured."""
    tolerance_mm: float
    """Distance that counts as agreement, mm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """The surface of a mask."""

    middles: Floats
    """(n, d) middle of every triangle, in 2D of every edge, mm."""
    sizes: Floats
    """(n,) its area, mm^2; in 2D its length, mm."""
    points: Floats
    """(m, d) all points of the surface on the grid of steps, mm: one of them is the nearest to any
    middle of another surface on the same voxels."""


def surface_distance(
    reference: Mask,
    prediction: Mask,
    spacing: Sequence[float],
    tolerance_mm: float | None = None,
    *,
    ignored: Mask | None = None,
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
    ignored : (*spatial) array of bool, optional
        Voxels of which nothing is known, inside neither mask. Where a surface borders them it is
        not measured, but the other one may lie near it.

    Raises
    ------
    GeometryError
        If shapes or axes differ, or the spacing or the tolerance is impossible.

    Notes
    -----
    The Hausdorff distance is the larger one of both directions. Distances are exact: the nearest
    point of a face has, along every axis, the place of the middle that it is nearest to, or that of
    an end of the face, and both are places on the grid of steps.

    References
    ----------
    Nikolov et al. 2021 (doi:10.2196/26151) on the surface Dice; Podobnik and Vrtovec 2024, Metrics
    Revolutions, on how implementations differ. Theirs, MeshMetrics, takes the same surface:
    ``benchmarks/surface_metrics.py``.
    """
    masks = (reference, prediction) if ignored is None else (reference, prediction, ignored)
    _check(masks, spacing, tolerance_mm)
    allowed = default_tolerance(spacing) if tolerance_mm is None else tolerance_mm
    if not (reference.any() and prediction.any()):
        nsd = 0.0 if reference.any() or prediction.any() else None
        return SurfaceDistance(hd95_mm=None, assd_mm=None, nsd=nsd, tolerance_mm=allowed)
    first, second = (voxel_surface(mask, spacing, ignored) for mask in (reference, prediction))
    ways = [(distances(first, second), first.sizes), (distances(second, first), second.sizes)]
    both, sizes = (np.concatenate(parts) for parts in zip(*ways, strict=True))
    if not len(sizes):  # both border nothing but ignored voxels
        return SurfaceDistance(hd95_mm=None, assd_mm=None, nsd=None, tolerance_mm=allowed)
    return SurfaceDistance(
        hd95_mm=max(_percentile(*way) for way in ways if len(way[0])),
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


def voxel_surface(mask: Mask, spacing: Sequence[float], ignored: Mask | None = None) -> Surface:
    """Return the surface of a mask (*spatial), the middle of whose first voxel lies at 0 mm.

    Nothing is inside beyond the grid, so every surface is closed. Faces beside an ignored voxel
    have points but no middles.
    """
    axes, edges = mask.ndim, np.asarray(spacing, float)
    padded, unknown = np.pad(mask, 1), None if ignored is None else np.pad(ignored, 1)
    faces = [_first_corners(padded, axis) for axis in range(axes)]
    middles, sizes = [], []
    for axis, every in enumerate(faces):
        corners = every if unknown is None else every[_is_known(every, axis, unknown)]
        across = np.arange(axes) != axis
        for steps in MIDDLES[axes]:
            middles.append(corners + steps * across)
            sizes.append(np.full(len(corners), edges[across].prod() / len(MIDDLES[axes])))
    points = list(_points(faces, [PARTS[axes] * n + 1 for n in padded.shape]))

    def placed(steps: list[Indices]) -> Floats:
        # The first voxel of the padding begins at step 0: one and a half voxels before 0 mm.
        millimeters: Floats = (np.concatenate(steps) / PARTS[axes] - 1.5) * edges
        return millimeters

    return Surface(middles=placed(middles), sizes=np.concatenate(sizes), points=placed(points))


def distances(surface: Surface, other: Surface) -> Floats:
    """Return how far every middle of a surface lies from another on the same voxels, (n,) mm."""
    from scipy.spatial import cKDTree

    tree = cKDTree(other.points, balanced_tree=False, compact_nodes=False)
    found: Floats = tree.query(surface.middles, workers=-1)[0]
    return found


def _first_corners(padded: Mask, axis: int) -> Indices:
    """Return the first corner of every face across an axis, (faces, d) in steps, sorted."""
    here = [slice(None)] * padded.ndim
    behind = here.copy()
    here[axis], behind[axis] = slice(None, -1), slice(1, None)
    voxels = np.argwhere(padded[tuple(here)] != padded[tuple(behind)])
    voxels[:, axis] += 1
    return voxels * PARTS[padded.ndim]


def _is_known(corners: Indices, axis: int, unknown: Mask) -> Mask:
    """Return which faces across an axis lie between two voxels that are known."""
    behind = corners // PARTS[unknown.ndim]
    before = behind - (np.arange(unknown.ndim) == axis)
    known: Mask = ~(unknown[tuple(before.T)] | unknown[tuple(behind.T)])
    return known


def _points(faces: Sequence[Indices], grid: Sequence[int]) -> Iterator[Indices]:
    """Yield the points (m, d) of faces on a grid of steps, slab after slab, nearly each once."""
    axes = len(grid)
    parts, strides = PARTS[axes], np.array([prod(grid[axis + 1 :]) for axis in range(axes)])
    rows = max(1, SLAB_POINTS // int(strides[0]))
    for start in range(0, grid[0], rows):
        marked = np.zeros((min(start + rows + parts, grid[0]) - start, *grid[1:]), bool)
        flat = marked.ravel()
        for axis, corners in enumerate(faces):
            some = slice(*np.searchsorted(corners[:, 0], (start, start + rows)))
            places = corners[some] @ strides - start * strides[0]
            for steps in product(range(parts + 1), repeat=axes - 1):
                flat[places + np.delete(strides, axis) @ steps] = True
        points = np.argwhere(marked)
        points[:, 0] += start
        yield points


def _percentile(values: Floats, sizes: Floats) -> float:
    """Return the smallest value within which `PERCENTILE` of the surface lies."""
    order = np.argsort(values)
    reached = np.cumsum(sizes[order])
    place = int(np.searchsorted(reached, PERCENTILE * reached[-1]))
    return float(values[order[min(place, len(order) - 1)]])


def _check(masks: Sequence[Mask], spacing: Sequence[float], tolerance_mm: float | None) -> None:
    axes = masks[0].ndim
    if len({mask.shape for mask in masks}) > 1 or axes not in (2, 3):
        raise GeometryError(
            f"masks: shapes {' and '.join(str(mask.shape) for mask in masks)} must be equal, with "
            "2 or 3 axes",
            rule="E-GEO-20",
        )
    if len(spacing) != axes or not all(0 < edge < np.inf for edge in spacing):
        raise GeometryError(f"spacing {tuple(spacing)} must be {axes} positive numbers, mm")
    if tolerance_mm is not None and not 0 <= tolerance_mm < np.inf:
        raise GeometryError(f"tolerance is {tolerance_mm} mm; it must be 0 or more, and finite")
