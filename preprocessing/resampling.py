"""Images and logits at another spacing, by one small matrix product per axis.

Spline interpolation of an axis-aligned grid is separable, and along each axis it is one banded
matrix (see `preprocessing.interpolation`). The grids and the rule for coarse slices are those of
nnU-Net. An image's axes that shrink far may be smoothed first, as skimage's ``resize`` offers and
nnU-Net leaves out. Label maps are resampled by `preprocessing.label_resampling`.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import cache, partial
from itertools import pairwise
from typing import Any, Final

import numpy as np

from preprocessing.interpolation import (
    Band,
    Floats,
    axis_bands,
    nearest_indices,
    smoothing,
)

ANISOTROPY: Final = 3.0
"""Ratio of the largest to the smallest spacing above which the coarse axis is resampled apart."""
COLUMNS: Final = 8192
"""Columns of a slab that the product along the first axis takes at a time: with the 32 new voxels
of a band 1 MiB, so that clipping finds them in the cache. Measured: 4096 to 16384 do not differ."""


def separate_axis(spacing: Sequence[float], target_spacing: Sequence[float]) -> int | None:
    """Return the axis whose slices are resampled in plane, then placed by nearest neighbor.

    Parameters
    ----------
    spacing, target_spacing : sequence of float
        Voxel edges before and after, mm.

    Returns
    -------
    int or None
        The one coarsest axis of whichever spacing is anisotropic, the present one first. None for
        2D, for isotropic grids and where two axes tie for the coarsest.
    """
    if len(spacing) < 3:
        return None
    for edges in (spacing, target_spacing):
        if max(edges) / min(edges) > ANISOTROPY:
            coarsest = [axis for axis, edge in enumerate(edges) if edge == max(edges)]
            return coarsest[0] if len(coarsest) == 1 else None
    return None


def resample_image(
    image: Floats,
    shape: Sequence[int],
    *,
    order: int = 3,
    separate: int | None = None,
    anti_aliasing: bool = False,
    threads: int = 1,
) -> Floats:
    """Resample every channel to another grid over the same extent.

    Parameters
    ----------
    image : (C, *spatial) array of float32
        Image or logits.
    shape : sequence of int
        Spatial shape to reach.
    order : int
        Spline order: 3 for images, 1 for logits.
    separate : int, optional
        Spatial axis to treat apart; see `separate_axis`.
    anti_aliasing : bool
        Whether axes that shrink by more than `preprocessing.interpolation.ANTI_ALIASING_FACTOR`
        are smoothed; for images only, not for logits.
    threads : int
        Threads to compute with; their number never changes a voxel.

    Returns
    -------
    (C, *shape) array of float32
        Clipped to each channel's range, or to each slice's where an axis is treated apart, because
        cubic splines overshoot at edges. Returned as it is if the shape is the same.

    Notes
    -----
    Takes the memory of the image, of the result, and of a slab of about 60 slices.

    An axis that has ``f`` times as many voxels before as after is smoothed by a Gaussian of
    ``(f - 1) / 2`` of its voxels, the outermost of which repeat beyond the edge: the rule of
    skimage's ``resize``.

    An axis that is smoothed is not treated apart. Nearest neighbor is there lest slices be mixed
    that lie far apart; here the new ones lie farther apart still, and it would drop more than half
    of the slices, whereas a thick slice is the average of the thin ones in it. Label maps still
    take whole slices.
    """
    wanted = tuple(shape)
    if image.shape[1:] == wanted:
        return image
    sizes = tuple(zip(image.shape[1:], wanted, strict=True))
    if separate is not None and anti_aliasing and smoothing(*sizes[separate]):
        separate = None
    axes = [
        () if n_in == n_out else axis_bands(n_in, n_out, order, anti_aliasing=anti_aliasing)
        for n_in, n_out in sizes
    ]
    if len(wanted) == 2:  # one slice
        axes, separate = [(), *axes], 0
        image, wanted = image[:, None], (1, *wanted)
    resampled = np.empty((len(image), *wanted), np.float32)
    with blas_threads(1), ThreadPoolExecutor(threads) as pool:
        run = partial(_run, pool) if threads > 1 else _run_here
        for voxels, result in zip(image, resampled, strict=True):
            if separate is None and axes[0]:
                _by_slabs(voxels, result, axes, run)
            else:
                _by_slices(voxels, result, axes, separate, run)
    return resampled.reshape(len(image), *shape)


def blas_threads(count: int) -> AbstractContextManager[Any]:
    """Limit the threads of one matrix product for a block: ours work on many at once."""
    limited: AbstractContextManager[Any] = _controller().limit(limits=count, user_api="blas")
    return limited


@cache
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


Task = Callable[[int], None]
Run = Callable[[Task, Iterable[int]], None]


def _run(pool: ThreadPoolExecutor, task: Task, items: Iterable[int]) -> None:
    for _ in pool.map(task, items):
        pass


def _run_here(task: Task, items: Iterable[int]) -> None:
    for item in items:
        task(item)


def _by_slices(
    voxels: Floats,
    resampled: Floats,
    axes: Sequence[tuple[Band, ...]],
    separate: int | None,
    run: Run,
) -> None:
    """Resample slice by slice; along the axis of the slices the nearest ones are taken.

    Where no axis is treated apart, the first one keeps its voxels.
    """
    axis = separate or 0
    slices, results = np.moveaxis(voxels, axis, 0), np.moveaxis(resampled, axis, 0)
    rows, columns = (bands for other, bands in enumerate(axes) if other != axis)
    nearest = nearest_indices(len(slices), len(results))
    bounds = [0, *(np.flatnonzero(np.diff(nearest)) + 1).tolist(), len(nearest)]
    runs = list(pairwise(bounds))  # new slices that are made of one old slice
    whole = None if separate is not None else (voxels.min(), voxels.max())

    def one(index: int) -> None:
        start, stop = runs[index]
        old = slices[nearest[start]]
        plane = _in_plane(old, results.shape[1:], rows, columns)
        if plane is not old:  # splines overshoot
            low, high = whole or (old.min(), old.max())
            np.clip(plane, low, high, out=plane)
        results[start:stop] = plane

    run(one, range(len(runs)))


def _by_slabs(
    voxels: Floats, resampled: Floats, axes: Sequence[tuple[Band, ...]], run: Run
) -> None:
    """Resample in plane the slices that a band along the first axis needs, then along that axis."""
    first, rows, columns = axes
    low, high = voxels.min(), voxels.max()
    plane = resampled.shape[1:]
    flat = resampled.reshape(len(resampled), -1)
    slab = np.empty((max(band.old.stop - band.old.start for band in first), *plane), np.float32)
    held = slice(0, 0)  # old slices that the slab holds
    for band in first:
        start, stop = band.old.start, band.old.stop
        if kept := max(0, held.stop - start):
            slab[:kept] = slab[start - held.start : held.stop - held.start]

        def fill(z: int, start: int = start) -> None:
            slab[z - start] = _in_plane(voxels[z], plane, rows, columns)

        run(fill, range(max(start, held.stop), stop))
        held = band.old
        old = slab[: stop - start].reshape(stop - start, -1)

        def mix(column: int, band: Band = band, old: Floats = old) -> None:
            made = flat[band.new, column : column + COLUMNS]
            np.matmul(band.weights, old[:, column : column + COLUMNS], out=made)
            np.clip(made, low, high, out=made)

        run(mix, range(0, flat.shape[1], COLUMNS))


def _in_plane(
    old: Floats, shape: tuple[int, ...], rows: Sequence[Band], columns: Sequence[Band]
) -> Floats:
    """Resample one slice (rows, columns); returned as it is where neither axis changes."""
    if rows:
        tall = np.empty((shape[0], old.shape[1]), np.float32)
        for band in rows:
            np.matmul(band.weights, old[band.old], out=tall[band.new])
        old = tall
    if columns:
        wide = np.empty(shape, np.float32)
        for band in columns:
            np.matmul(old[:, band.old], band.weights.T, out=wide[:, band.new])
        old = wide
    return old
