"""Label maps at another spacing: each label's indicator is interpolated, and the largest wins.

Linear interpolation is convex: where all corners of a voxel's cell bear the same label, that label
wins, and nothing need be computed. Elsewhere the shares are added up as scipy does. Both are exact.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from preprocessing.interpolation import (
    Indices,
    Neighbors,
    linear_neighbors,
    nearest_indices,
    nearest_neighbors,
)
from preprocessing.resampling import resample_image

LabelMap = npt.NDArray[np.unsignedinteger]

BLOCK_SLICES: Final = 16
"""New slices that one thread makes at a time; an old slice is then read in plane 1.1 times."""
VOTED_VOXELS: Final = 2**16
"""Voxels whose corners are compared at a time: 8 labels and 8 weights of each take 5 MiB."""


def resample_segmentation(
    segmentation: LabelMap,
    shape: Sequence[int],
    *,
    order: int = 1,
    separate: int | None = None,
    threads: int = 1,
) -> LabelMap:
    """Resample a label map to another grid over the same extent.

    Parameters
    ----------
    segmentation : (*spatial) array of unsigned int
    shape : sequence of int
        Shape to reach.
    order : int
        Spline order of the indicators; 0 takes the nearest voxel.
    separate : int, optional
        Axis whose slices are placed by nearest neighbor; see
        `preprocessing.resampling.separate_axis`.
    threads : int
        Threads to compute with; their number never changes a voxel.

    Returns
    -------
    (*shape) array of the same type
        Ties go to the label of the nearest voxel if it is among the best, else to the smallest, as
        in batchgenerators 0.25.5: grids that halve or double would else shift every boundary
        towards the larger labels. Returned as it is if the shape is the same.
    """
    wanted = tuple(shape)
    if segmentation.shape == wanted:
        return segmentation
    if order > 1:
        return _by_indicators(segmentation, wanted, order, separate, threads)
    axes = [
        _neighbors(n_in, n_out, order, is_separate=axis == separate)
        for axis, (n_in, n_out) in enumerate(zip(segmentation.shape, wanted, strict=True))
    ]
    resampled = np.empty(wanted, segmentation.dtype)
    old, new = segmentation, resampled
    if len(wanted) == 2:  # one slice
        axes = [nearest_neighbors(np.zeros(1, np.intp)), *axes]
        old, new = old[None], new[None]
    starts = range(0, len(new), BLOCK_SLICES)
    fill = partial(_fill_block, old, new, axes)
    if threads == 1:
        for start in starts:
            fill(start)
    else:
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(fill, starts):
                pass
    return resampled


def resample_mask(
    mask: npt.NDArray[np.bool_],
    shape: Sequence[int],
    *,
    separate: int | None = None,
    threads: int = 1,
) -> npt.NDArray[np.bool_]:
    """Resample a boolean mask as a segmentation of two labels."""
    if mask.all():
        return np.ones(tuple(shape), bool)
    labels = resample_segmentation(mask.view(np.uint8), shape, separate=separate, threads=threads)
    return labels.view(np.bool_)


def _neighbors(n_in: int, n_out: int, order: int, *, is_separate: bool) -> Neighbors:
    if is_separate or order == 0:
        return nearest_neighbors(nearest_indices(n_in, n_out))
    return linear_neighbors(n_in, n_out)


def _fill_block(old: LabelMap, new: LabelMap, axes: Sequence[Neighbors], start: int) -> None:
    """Resample `BLOCK_SLICES` slices from one on."""
    first, rows, columns = axes
    ranges: dict[int, tuple[LabelMap, LabelMap]] = {}
    for z in range(start, min(start + BLOCK_SLICES, len(new))):
        low, high = int(first.low[z]), int(first.high[z])
        ranges = {
            k: ranges[k] if k in ranges else _range(old[k], rows, columns) for k in (low, high)
        }
        np.minimum(ranges[low][0], ranges[high][0], out=new[z])
        mixed = np.flatnonzero(new[z] != np.maximum(ranges[low][1], ranges[high][1]))
        flat = new[z].reshape(-1)
        for at in range(0, mixed.size, VOTED_VOXELS):
            chosen = mixed[at : at + VOTED_VOXELS]
            y, x = np.divmod(chosen, len(columns.low))
            corners, weights = zip(*_corners(old, axes, z, y, x), strict=True)
            nearest = old[first.nearest[z], rows.nearest[y], columns.nearest[x]]
            flat[chosen] = _winners(corners, weights, nearest)


def _range(plane: LabelMap, rows: Neighbors, columns: Neighbors) -> tuple[LabelMap, LabelMap]:
    """Return the smallest and the largest label among the in-plane neighbors of each new pixel."""
    left = plane.take(columns.low, axis=1, mode="clip")
    right = plane.take(columns.high, axis=1, mode="clip")
    lowest, highest = np.minimum(left, right), np.maximum(left, right)
    return (
        np.minimum(
            lowest.take(rows.low, axis=0, mode="clip"), lowest.take(rows.high, axis=0, mode="clip")
        ),
        np.maximum(
            highest.take(rows.low, axis=0, mode="clip"),
            highest.take(rows.high, axis=0, mode="clip"),
        ),
    )


def _corners(
    old: LabelMap, axes: Sequence[Neighbors], z: int, y: Indices, x: Indices
) -> Iterator[tuple[LabelMap, npt.NDArray[np.float64]]]:
    """Yield for each corner of a cell the labels and weights at some pixels of a new slice."""
    first, rows, columns = axes
    for old_z, weight_z in (
        (first.low[z], first.low_weight[z]),
        (first.high[z], first.high_weight[z]),
    ):
        if not weight_z:
            continue
        plane = np.ascontiguousarray(old[old_z]).reshape(-1)
        for old_y, weight_y in ((rows.low, rows.low_weight), (rows.high, rows.high_weight)):
            line = old_y[y] * old.shape[2]
            for old_x, weight_x in (
                (columns.low, columns.low_weight),
                (columns.high, columns.high_weight),
            ):
                yield plane[line + old_x[x]], weight_z * weight_y[y] * weight_x[x]


def _winners(
    corners: Sequence[LabelMap], weights: Sequence[npt.NDArray[np.float64]], nearest: LabelMap
) -> LabelMap:
    """Return the label whose corners weigh most together.

    Ties go to the label of the nearest corner if it is among the best, else to the smallest.
    """
    labels = np.stack(corners)
    shares = np.zeros(labels.shape)
    # One corner after the other, as scipy adds them up: its sums, and so its ties, to the last bit.
    for corner, weight in zip(corners, weights, strict=True):
        shares += weight * (labels == corner)
    is_best = shares == shares.max(axis=0)
    smallest = np.where(is_best, labels, np.iinfo(labels.dtype).max).min(axis=0)
    winners: LabelMap = np.where((is_best & (labels == nearest)).any(axis=0), nearest, smallest)
    return winners


def _by_indicators(
    segmentation: LabelMap,
    shape: tuple[int, ...],
    order: int,
    separate: int | None,
    threads: int,
) -> LabelMap:
    best = np.full(shape, -np.inf, np.float32)
    resampled = np.zeros(shape, segmentation.dtype)
    for label in np.unique(segmentation):
        indicator = (segmentation == label).astype(np.float32)[None]
        share = resample_image(indicator, shape, order=order, separate=separate, threads=threads)[0]
        wins = share > best
        best[wins] = share[wins]
        resampled[wins] = label
    return resampled
