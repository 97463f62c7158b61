"""Which part of an image holds anything: the box around nonzero voxels and the mask inside it."""

import numpy as np
import numpy.typing as npt

from autoseg.core.geometry import Array, Box


def nonzero_box(image: Array) -> Box:
    """Return the smallest box that holds every voxel that is nonzero in some channel.

    Parameters
    ----------
    image : (C, *spatial) array

    Returns
    -------
    Box
        Over the spatial axes; the whole image if every voxel is zero.
    """
    spatial = image.shape[1:]
    start, stop = [], []
    occupied = np.any(image, axis=0)
    for axis, size in enumerate(spatial):
        others = tuple(other for other in range(len(spatial)) if other != axis)
        indices = np.flatnonzero(np.any(occupied, axis=others))
        start.append(int(indices[0]) if indices.size else 0)
        stop.append(int(indices[-1]) + 1 if indices.size else size)
    return Box(start=tuple(start), stop=tuple(stop))


def nonzero_mask(cropped: Array) -> npt.NDArray[np.bool_]:
    """Return the voxels that are nonzero in some channel, holes filled.

    Parameters
    ----------
    cropped : (C, *spatial) array
        Image cut to `nonzero_box`. A hole is background that does not reach the border; since
        everything outside the box is background, the cut image has the same holes as the whole.

    Returns
    -------
    (*spatial) array of bool
    """
    mask: npt.NDArray[np.bool_] = np.any(cropped, axis=0)
    if mask.all() or not mask.any():
        return np.ones_like(mask)
    from scipy.ndimage import binary_fill_holes

    filled: npt.NDArray[np.bool_] = binary_fill_holes(mask)
    return filled
