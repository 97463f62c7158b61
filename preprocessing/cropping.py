"""Which part of an image holds anything: the box around nonzero voxels and the mask inside it."""

from collections.abc import Sequence
from functools import partial

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
    box = [slice(0, size) for size in image.shape[1:]]
    for axis, size in enumerate(image.shape[1:]):
        # From both ends inwards, within what the axes before have left: mostly a few slices.
        occupied = partial(_is_occupied, image, box, axis)
        start = next(filter(occupied, range(size)), None)
        if start is None:  # all zero
            return Box(start=(0,) * len(box), stop=image.shape[1:])
        box[axis] = slice(start, next(filter(occupied, range(size - 1, -1, -1))) + 1)
    return Box(start=tuple(part.start for part in box), stop=tuple(part.stop for part in box))


def _is_occupied(image: Array, box: Sequence[slice], axis: int, index: int) -> bool:
    """Tell whether a slice of an image holds anything within a box."""
    one: tuple[slice | int, ...] = (slice(None), *box[:axis], index, *box[axis + 1 :])
    return bool(image[one].any())


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
    return mask | _holes(~mask)


def _holes(background: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the parts of a background that do not reach the border of the image."""
    # Labeling passes once over the image; filling by dilation, once per voxel of its depth.
    from scipy.ndimage import label

    parts, count = label(background)
    is_hole = np.ones(count + 1, bool)
    is_hole[0] = False
    for axis in range(parts.ndim):
        for end in (0, -1):
            is_hole[np.unique(parts.take(end, axis=axis))] = False
    holes: npt.NDArray[np.bool_] = is_hole[parts]
    return holes
