"""Images, segmentations and logits at another spacing, by one small matrix product per axis.

Spline interpolation of an axis-aligned grid, its prefilter and edge rule included, is linear and
separable: along each axis it is one matrix of ``n_out`` x ``n_in``, whose columns are scipy's own
response to unit vectors. The grids follow skimage's ``resize`` (``mode="edge"``), as nnU-Net does.
An image's axes that shrink far may be smoothed first, as ``resize`` offers and nnU-Net leaves out:
detail finer than the new grid holds would otherwise turn up on it as coarse patterns.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

ANISOTROPY: Final = 3.0
"""Ratio of the largest to the smallest spacing above which the coarse axis is resampled apart."""
ANTI_ALIASING_FACTOR: Final = 2.0
"""An axis is smoothed where its voxels become fewer by a larger factor. Our choice: beyond it some
voxels lie more than one away from every sample and hardly count, up to it all do, and the Gaussian
of skimage, which smooths from 1 on, is at most half a voxel wide."""
ANTI_ALIASING_TRUNCATE: Final = 4.0
"""Where the Gaussian ends, in standard deviations: scipy's default, which skimage takes."""


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
        Whether axes that shrink by more than `ANTI_ALIASING_FACTOR` are smoothed; for images only,
        not for logits.

    Returns
    -------
    (C, *shape) array of float32
        Clipped to each channel's range, or to each slice's where an axis is treated apart, because
        cubic splines overshoot at edges. Returned as it is if the shape is the same.

    Notes
    -----
    An axis that has ``f`` times as many voxels before as after is smoothed by a Gaussian of
    ``(f - 1) / 2`` of its voxels, the outermost of which repeat beyond the edge: the rule of
    skimage's ``resize``.

    An axis that is smoothed is not treated apart. Nearest neighbor is there lest slices be mixed
    that lie far apart; here the new ones lie farther apart still, and it would drop more than half
    of the slices, whereas a thick slice is the average of the thin ones in it. Label maps still
    take whole slices.
    """
    if image.shape[1:] == tuple(shape):
        return image
    resampled = np.empty((len(image), *shape), np.float32)
    for channel, voxels in enumerate(image):
        resampled[channel] = _resample(
            voxels, shape, order=order, separate=separate, anti_aliasing=anti_aliasing
        )
    return resampled


def resample_segmentation(
    segmentation: npt.NDArray[np.unsignedinteger],
    shape: Sequence[int],
    *,
    order: int = 1,
    separate: int | None = None,
) -> npt.NDArray[np.unsignedinteger]:
    """Resample a label map: each label's indicator is resampled and the largest wins.

    Parameters
    ----------
    segmentation : (*spatial) array of unsigned int
    shape, order, separate
        As in `resample_image`.

    Returns
    -------
    (*shape) array of the same type
        Ties go to the smaller label.
    """
    if segmentation.shape == tuple(shape):
        return segmentation
    best = np.full(tuple(shape), -np.inf, np.float32)
    resampled = np.zeros(tuple(shape), segmentation.dtype)
    for label in np.unique(segmentation):
        indicator = (segmentation == label).astype(np.float32)
        share = _resample(indicator, shape, order=order, separate=separate)
        wins = share > best
        best[wins] = share[wins]
        resampled[wins] = label
    return resampled


def resample_mask(
    mask: npt.NDArray[np.bool_], shape: Sequence[int], *, separate: int | None = None
) -> npt.NDArray[np.bool_]:
    """Resample a boolean mask as a segmentation of two labels."""
    if mask.all():
        return np.ones(tuple(shape), bool)
    resampled = resample_segmentation(mask.astype(np.uint8), shape, separate=separate)
    return resampled.astype(bool)


def _resample(
    voxels: Floats,
    shape: Sequence[int],
    *,
    order: int,
    separate: int | None,
    anti_aliasing: bool = False,
) -> Floats:
    """Resample one channel (*spatial)."""
    apart = () if separate is None else (separate,)
    if anti_aliasing and any(_smoothing(voxels.shape[axis], shape[axis]) for axis in apart):
        apart = ()
    within = tuple(axis for axis in range(voxels.ndim) if axis not in apart)
    low = voxels.min(axis=within, keepdims=True)
    high = voxels.max(axis=within, keepdims=True)
    resampled = voxels
    for axis in within:
        if shape[axis] != voxels.shape[axis]:
            matrix = axis_matrix(
                voxels.shape[axis], shape[axis], order, anti_aliasing=anti_aliasing
            )
            resampled = _along(resampled, axis, matrix)
    if resampled is not voxels:
        resampled = np.clip(resampled, low, high)
    for axis in apart:
        resampled = resampled.take(nearest_indices(voxels.shape[axis], shape[axis]), axis=axis)
    return resampled


def _along(voxels: Floats, axis: int, matrix: Floats) -> Floats:
    product: Floats = np.moveaxis(np.tensordot(matrix, voxels, axes=(1, axis)), 0, axis)
    return product


@lru_cache(maxsize=256)
def axis_matrix(n_in: int, n_out: int, order: int, *, anti_aliasing: bool = False) -> Floats:
    """Return the matrix (n_out, n_in) that resamples one axis; read-only, built once.

    Notes
    -----
    Sample ``i`` of the output lies at ``(i + 0.5) * n_in / n_out - 0.5`` of the input; beyond the
    edge the outermost voxel repeats (scipy's ``mode="nearest"``, ``grid_mode=True``). Smoothing
    (see `resample_image`) comes before the spline.
    """
    from scipy.ndimage import gaussian_filter1d, zoom

    units = np.eye(n_in)
    if anti_aliasing and (sigma := _smoothing(n_in, n_out)):
        units = gaussian_filter1d(
            units, sigma, axis=0, mode="nearest", truncate=ANTI_ALIASING_TRUNCATE
        )
    response = zoom(units, (n_out / n_in, 1), order=order, mode="nearest", grid_mode=True)
    matrix: Floats = np.ascontiguousarray(response, dtype=np.float32)
    matrix.setflags(write=False)
    return matrix


def _smoothing(n_in: int, n_out: int) -> float:
    """Return the standard deviation that anti-aliasing smooths an axis by, input voxels."""
    # Half a voxel of the output is rounding: sizes of one dataset shall not differ by parity.
    if n_in <= ANTI_ALIASING_FACTOR * (n_out + 0.5):
        return 0.0
    return (n_in / n_out - 1) / 2


def nearest_indices(n_in: int, n_out: int) -> npt.NDArray[np.intp]:
    """Return for each output voxel the input voxel whose center is nearest, ties to the higher."""
    centers = (np.arange(n_out) + 0.5) * n_in / n_out - 0.5
    return np.clip(np.floor(centers + 0.5), 0, n_in - 1).astype(np.intp)
