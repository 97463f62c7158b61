"""A sample of each structure's voxels, so that training cuts patches around them without a search.

Where a dataset has an ignore label, voxels of anything annotated are sampled too, lest patches lie
where nothing is.
"""

from collections.abc import Iterator
from math import ceil
from typing import Final

import numpy as np
import numpy.typing as npt

from autoseg.core.labels import Labels

SEED: Final = 1234
"""Seed of every case, as in nnU-Net: the sample belongs to the case, not to a run."""
MOST_VOXELS: Final = 10_000
"""Voxels kept per group, unless 1 % of the group is more."""
LEAST_SHARE: Final = 0.01
SLAB_VOXELS: Final = 2**20
"""Voxels that are looked through at a time for annotated ones; bounds their indices to 8 MiB."""

Indices = npt.NDArray[np.intp]


def sample_foreground(
    segmentation: npt.NDArray[np.unsignedinteger], labels: Labels
) -> tuple[npt.NDArray[np.int32], tuple[int, ...]]:
    """Draw voxels of each group without replacement.

    Parameters
    ----------
    segmentation : (*spatial) array of unsigned int
        Label map; ignored voxels hold ``labels.ignored``.
    labels : Labels
        The labels there may be.

    Returns
    -------
    positions : (n, spatial axes) array of int32
        Voxel indices, sorted by group.
    offsets : tuple of int
        ``positions[offsets[k]:offsets[k + 1]]`` are of group ``k``: from 1, the voxels of each
        structure in the order of ``labels.structures``. Group 0 is all voxels that are not
        ignored, background included; it is empty where the labels have no ignore label.
    """
    rng = np.random.default_rng(SEED)
    flat = segmentation.ravel()
    drawn = [np.empty(0, np.intp) if labels.ignored is None else _draw_annotated(rng, flat, labels)]
    order = np.flatnonzero(flat if labels.ignored is None else _is_foreground(flat, labels))
    found = flat[order]
    for structure in labels.structures:
        inside = order[np.isin(found, structure.labels)]
        drawn.append(rng.choice(inside, _wanted(inside.size), replace=False))
    offsets = np.cumsum([0, *(chosen.size for chosen in drawn)])
    positions = np.stack(np.unravel_index(np.concatenate(drawn), segmentation.shape), axis=1)
    return positions.astype(np.int32), tuple(offsets.tolist())


def _wanted(found: int) -> int:
    return max(min(MOST_VOXELS, found), ceil(LEAST_SHARE * found))


def _is_foreground(flat: npt.NDArray[np.unsignedinteger], labels: Labels) -> npt.NDArray[np.bool_]:
    # The ignore label comes after all others.
    foreground: npt.NDArray[np.bool_] = (flat > 0) & (flat < labels.count)
    return foreground


def _draw_annotated(
    rng: np.random.Generator, flat: npt.NDArray[np.unsignedinteger], labels: Labels
) -> Indices:
    """Draw from all voxels that are not ignored, without an index of them all."""
    found = int(np.count_nonzero(flat < labels.count))
    ranks = np.sort(rng.choice(found, _wanted(found), replace=False))
    return np.concatenate([np.empty(0, np.intp), *_annotated_at(flat, labels, ranks)])


def _annotated_at(
    flat: npt.NDArray[np.unsignedinteger], labels: Labels, ranks: Indices
) -> Iterator[Indices]:
    """Yield, slab by slab, the indices of the annotated voxels of some ranks, which rise."""
    before = 0
    for start in range(0, flat.size, SLAB_VOXELS):
        here = np.flatnonzero(flat[start : start + SLAB_VOXELS] < labels.count)
        first, stop = np.searchsorted(ranks, (before, before + here.size))
        yield start + here[ranks[first:stop] - before]
        before += here.size
