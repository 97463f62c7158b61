"""From logits on a configuration's grid to a label map on the input's own grid."""

import numpy as np
import numpy.typing as npt

from autoseg.core.labels import Labels
from autoseg.core.plan import Configuration, Plan
from preprocessing.case import RawGrid, plan_resampling
from preprocessing.resampling import resample_image, separate_axis


def label_map_on_input_grid(
    logits: npt.NDArray[np.float32],
    grid: RawGrid,
    labels: Labels,
    plan: Plan,
    configuration: Configuration,
    *,
    threads: int = 1,
) -> npt.NDArray[np.unsignedinteger]:
    """Resample logits to the input's grid, take the largest, and undo the crop and axis order.

    Parameters
    ----------
    logits : (K, *spatial) array of float32
        Logits on the configuration's grid, axes in plan order.
    grid : RawGrid
        Of the image that they were made from.
    labels : Labels
        Meaning of the channels.
    plan, configuration
        What was decided.
    threads : int
        Threads to compute with; their number changes no voxel.

    Returns
    -------
    (*whole image) array of unsigned int
        Axes as the reader gave them; background outside the crop.
    """
    used = plan_resampling(grid, configuration)
    resampled = resample_image(
        logits,
        grid.crop.shape,
        order=configuration.logits_order,
        separate=separate_axis(used.spacing, grid.spacing),
        threads=threads,
    )
    whole = np.zeros(grid.whole_shape, labels.dtype)
    whole[grid.crop.slices] = labels.label_map(resampled)
    return whole.transpose(np.argsort(plan.axis_order))
