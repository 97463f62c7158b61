"""From logits on a configuration's grid to a label map on the input's own grid."""

from collections.abc import Iterable

import numpy as np
from torch import Tensor

from autoseg.core.labels import LabelMap, Labels
from autoseg.core.plan import Configuration, Plan
from autoseg.inference.labelling import Axis, grid_axes, label_slabs
from preprocessing.case import RawGrid, plan_resampling
from preprocessing.resampling import separate_axis


def label_map_on_input_grid(
    slabs: Iterable[Tensor],
    grid: RawGrid,
    labels: Labels,
    plan: Plan,
    configuration: Configuration,
) -> LabelMap:
    """Resample logits to the input's grid, take the largest, and undo the crop and axis order.

    Parameters
    ----------
    slabs : iterable of (K, planes, ...) float32 tensors
        Logits on the configuration's grid, axes in plan order; each slab but the first begins with
        the last plane of the one before.
    grid : RawGrid
        Of the image that they were made from.
    labels : Labels
        Meaning of the channels.
    plan, configuration
        What was decided.

    Returns
    -------
    (*whole image) array of unsigned int
        Axes as the reader gave them; background outside the crop.
    """
    axes = axes_to_input(grid, configuration)
    whole = np.zeros(grid.whole_shape, labels.dtype)
    cut, start = whole[grid.crop.slices], 0
    for planes in label_slabs(slabs, axes, labels):
        cut[start : start + len(planes)] = planes.cpu().numpy()
        start += len(planes)
    return whole.transpose(np.argsort(plan.axis_order))


def axes_to_input(grid: RawGrid, configuration: Configuration) -> tuple[Axis, ...]:
    """Return how the axes of a configuration's grid become those of the crop of a raw one."""
    used = plan_resampling(grid, configuration)
    return grid_axes(
        used.shape,
        grid.crop.shape,
        order=configuration.logits_order,
        separate=separate_axis(used.spacing, grid.spacing),
    )
