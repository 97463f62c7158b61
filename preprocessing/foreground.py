"""A sample of each label's voxels, so that training cuts patches around them without a search."""

from math import ceil
from typing import Final

import numpy as np
import numpy.typing as npt

from autoseg.core.labels import Labels

SEED: Final = 1234
"""Seed of every case, as in nnU-Net: the sample belongs to the case, not to a run."""
MOST_VOXELS: Final = 10_000
"""Voxels kept per label, unless 1 % of the label is more."""
LEAST_SHARE: Final = 0.01


def sample_foreground(
    segmentation: npt.NDArray[np.unsignedinteger], labels: Labels
) -> tuple[npt.NDArray[np.int32], tuple[int, ...]]:
    """Draw voxels of each foreground label without replacement.

    Parameters
    ----------
    segmentation : (*spatial) array of unsigned int
        Label map.
    labels : Labels
        The labels there may be.

    Returns
    -------
    positions : (n, spatial axes) array of int32
        Voxel indices, sorted by label.
    offsets : tuple of int
        ``positions[offsets[k]:offsets[k + 1]]`` are of label ``k``; the background has none.
    """
    rng = np.random.default_rng(SEED)
    flat = segmentation.ravel()
    order = np.flatnonzero(flat)
    drawn: list[npt.NDArray[np.intp]] = []
    offsets = [0, 0]
    for label in labels.foreground:
        found = order[flat[order] == label]
        wanted = max(min(MOST_VOXELS, found.size), ceil(LEAST_SHARE * found.size))
        chosen = rng.choice(found, wanted, replace=False) if found.size else found
        drawn.append(chosen)
        offsets.append(offsets[-1] + chosen.size)
    chosen = np.concatenate(drawn) if drawn else order[:0]
    positions = np.stack(np.unravel_index(chosen, segmentation.shape), axis=1)
    return positions.astype(np.int32), tuple(offsets)
