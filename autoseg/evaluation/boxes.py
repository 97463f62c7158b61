"""Where labels lie in a label map, so that a structure is looked at in its own box only."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from autoseg.core.labels import LabelMap

Mask = npt.NDArray[np.bool_]
Box = tuple[slice, ...]


def label_boxes(label_map: LabelMap, count: int) -> tuple[Box | None, ...]:
    """Return the box that holds each label; None for one that is nowhere, and for the background.

    Parameters
    ----------
    label_map : (*spatial) array of unsigned int
        Positions in the dataset's label names.
    count : int
        Labels, the background included.

    Returns
    -------
    tuple of (slice per axis) or None
        By label.
    """
    from scipy.ndimage import find_objects

    return (None, *find_objects(label_map, max_label=count - 1))


def hull(boxes: Sequence[Box | None]) -> Box | None:
    """Return the box that holds all boxes; None if there is none."""
    known = [box for box in boxes if box is not None]
    if not known:
        return None
    return tuple(
        slice(min(side.start for side in sides), max(side.stop for side in sides))
        for sides in zip(*known, strict=True)
    )


def grown(box: Box, shape: Sequence[int]) -> Box:
    """Return the box with one voxel more on every side, within an image of a shape."""
    return tuple(
        slice(max(0, side.start - 1), min(side.stop + 1, n))
        for side, n in zip(box, shape, strict=True)
    )


def structure_mask(label_map: LabelMap, labels: Sequence[int]) -> Mask:
    """Return where a label map (*spatial) holds one of some labels."""
    if len(labels) == 1:
        alone: Mask = label_map == labels[0]
        return alone
    return np.isin(label_map, labels)
