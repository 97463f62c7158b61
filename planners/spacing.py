"""The grid that a dataset is resampled to: target spacing, order of the axes, median shape."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np

from autoseg.core.errors import PlanError
from autoseg.core.fingerprint import Fingerprint
from planners.words import times

ANISOTROPY: Final = 3
"""An axis is of low resolution if it is over this factor coarser, and shorter, than the others."""
FINE_PERCENTILE: Final = 10
"""Percentile of the spacings that a low-resolution axis takes; others take the median."""
VOXELS: Final = (8**2, 2**31)
"""Fewest and most voxels of a median image that can be planned with."""
MARGIN_MM: Final = 1e-5
"""How much coarser than the other axes a low-resolution axis must stay, mm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A grid and the size that the dataset has on it."""

    spacing: tuple[float, ...]
    """Voxel edge in mm per axis."""
    median_shape: tuple[float, ...]
    """Median shape of the cases in voxels, same axes; may end in .5."""
    largest_shape: tuple[int, ...] = ()
    """Largest size of any case per axis, voxels."""

    @property
    def ndim(self) -> int:
        """Number of axes, 2 or 3."""
        return len(self.spacing)

    def permuted(self, order: tuple[int, ...]) -> "Grid":
        """Return the same grid with its axes, or some of them, in another order."""
        return Grid(
            spacing=tuple(self.spacing[axis] for axis in order),
            median_shape=tuple(self.median_shape[axis] for axis in order),
            largest_shape=tuple(self.largest_shape[axis] for axis in order)
            if self.largest_shape
            else (),
        )


def target_spacing(fingerprint: Fingerprint) -> tuple[float, ...]:
    """Return the spacing that a dataset is resampled to, per array axis.

    Parameters
    ----------
    fingerprint : Fingerprint
        Of at least one case.

    Returns
    -------
    tuple of float
        Median spacing in mm; on a low-resolution axis (see `low_resolution_axis`) the 10th
        percentile, yet never finer than the other axes, lest most voxels be interpolated.
    """
    spacings = np.array([case.spacing for case in fingerprint.cases])
    # Not `np.median`, whose last digit differs from nnU-Net's between two far values.
    target = np.percentile(spacings, 50, axis=0)
    axis = low_resolution_axis(fingerprint)
    if axis is not None:
        others = float(np.delete(target, axis).max())
        fine = float(np.percentile(spacings[:, axis], FINE_PERCENTILE))
        target[axis] = others + MARGIN_MM if fine < others else fine
    return tuple(float(edge) for edge in target)


def low_resolution_axis(fingerprint: Fingerprint) -> int | None:
    """Return the array axis that is far coarser and far shorter than the others, if any.

    Parameters
    ----------
    fingerprint : Fingerprint
        Of at least one case.

    Returns
    -------
    int or None
        The axis whose median spacing is over 3 times that of every other axis and whose median
        shape is under a third; None in 2D, where no axis runs across slices.
    """
    if fingerprint.ndim == 2:
        return None
    spacing = np.percentile([case.spacing for case in fingerprint.cases], 50, axis=0)
    shape = np.median([case.shape_after_crop for case in fingerprint.cases], axis=0)
    axis = int(np.argmax(spacing))
    is_coarse = spacing[axis] > ANISOTROPY * np.delete(spacing, axis).max()
    is_short = ANISOTROPY * shape[axis] < np.delete(shape, axis).min()
    return axis if is_coarse and is_short else None


def axis_order(spacing: tuple[float, ...], median_shape: tuple[float, ...] = ()) -> tuple[int, ...]:
    """Return the order that puts the coarsest axis first and keeps the others as they are.

    Parameters
    ----------
    spacing : tuple of float
        Target spacing in mm per array axis; of equally coarse axes the first counts.
    median_shape : tuple of float
        Median shape in voxels. An axis of one voxel counts as the coarsest whatever its spacing:
        across single slices there is nothing to see, and 2D patches must lie within them.

    Returns
    -------
    tuple of int
        Argument for ``array.transpose``; ``(0, 1)`` in 2D, where both axes lie in the plane.

    Examples
    --------
    >>> axis_order((0.8, 0.8, 5.0))
    (2, 0, 1)
    """
    axes = range(len(spacing))
    if len(spacing) == 2:
        return tuple(axes)
    single = [size == 1 for size in median_shape] or [False] * len(spacing)
    coarsest = max(axes, key=lambda axis: (single[axis], spacing[axis], -axis))
    return (coarsest, *(axis for axis in axes if axis != coarsest))


def grid_of(fingerprint: Fingerprint, spacing: tuple[float, ...], *, least: int = 1) -> Grid:
    """Return a spacing together with the shapes that the cases have at it.

    Parameters
    ----------
    fingerprint : Fingerprint
        Of at least one case.
    spacing : tuple of float
        Target spacing in mm per array axis.
    least : int
        Fewest voxels of a case along an axis. With 0, as in nnU-Net, a single slice that is
        thinner than half the target spacing counts as nothing.

    Returns
    -------
    Grid
        Its median shape is at least half a voxel.
    """
    shapes = np.array(
        [
            [
                max(least, round(edge / target * n))
                for n, edge, target in zip(
                    case.shape_after_crop, case.spacing, spacing, strict=True
                )
            ]
            for case in fingerprint.cases
        ]
    )
    return Grid(
        spacing=spacing,
        median_shape=tuple(max(0.5, float(n)) for n in np.median(shapes, axis=0)),
        largest_shape=tuple(int(n) for n in np.max(shapes, axis=0)),
    )


def check_voxels(grid: Grid, what: str) -> None:
    """Refuse a grid on which images have next to no voxels, or more than any machine holds.

    Parameters
    ----------
    grid : Grid
        The grid.
    what : str
        Where its spacing comes from, for the error.

    Raises
    ------
    PlanError
        If the median image has fewer or more voxels than `VOXELS`.
    """
    voxels = prod(grid.median_shape)
    if not VOXELS[0] <= voxels <= VOXELS[1]:
        raise PlanError(
            f"{what}: the median image would have {voxels:.3g} voxels, {times(grid.median_shape)}; "
            f"allowed are {VOXELS[0]} to {VOXELS[1]:.3g}",
            hint="leave --spacing out to take what the images have",
        )


def plan_grid(
    fingerprint: Fingerprint,
    spacing: Sequence[float],
    axis_order: tuple[int, ...],
    *,
    least: int = 1,
) -> Grid:
    """Return the grid of a spacing that is given in plan order.

    Parameters
    ----------
    fingerprint : Fingerprint
        Of at least one case.
    spacing : sequence of float
        Voxel edge in mm, axes in plan order; for 2D patches of volumes the two in plane.
    axis_order : tuple of int
        Plan axis to array axis.
    least : int
        As in `grid_of`.

    Returns
    -------
    Grid
        Of the axes that have a spacing, in plan order.
    """
    axes = axis_order[len(axis_order) - len(spacing) :]
    edges = [1.0] * len(axis_order)  # of an axis across 2D slices any will do
    for axis, edge in zip(axes, spacing, strict=True):
        edges[axis] = edge
    return grid_of(fingerprint, tuple(edges), least=least).permuted(axes)
