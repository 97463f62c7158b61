"""A sample of each structure's voxels, so that training cuts patches around them without a search.

Where a dataset has an ignore label, voxels of anything annotated are sampled too, lest patches lie
where nothing is.
"""

from collections.abc import Sequence
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
SLAB_VOXELS: Final = 2**18
"""Voxels that are looked through at a time; bounds their indices to 2 MiB."""

Indices = npt.NDArray[np.intp]


def sample_foreground(
    segmentation: npt.NDArray[np.unsignedinteger], labels: Labels
) -> tuple[npt.NDArray[np.unsignedinteger], tuple[int, ...]]:
    """Draw voxels of each group without replacement.

    Parameters
    ----------
    segmentation : (*spatial) array of unsigned int
        Label map; ignored voxels hold ``labels.ignored``.
    labels : Labels
        The labels there may be.

    Returns
    -------
    indices : (n,) array of uint32, or of uint64 where the image has 2^32 voxels
        Where voxels lie in the flattened array, ascending within each group.
    offsets : tuple of int
        ``indices[offsets[k]:offsets[k + 1]]`` are of group ``k``: from 1, the voxels of each
        structure in the order of ``labels.structures``. Group 0 is all voxels that are not
        ignored, background included; it is empty where the labels have no ignore label.
    """
    rng = np.random.default_rng(SEED)
    flat = segmentation.ravel()
    counts = _count(flat, labels)
    members = _members(labels)
    ranks = [_draw(rng, int(counts[list(of)].sum())) for of in members]
    drawn = _at_ranks(flat, members, ranks)
    offsets = np.cumsum([0, *(chosen.size for chosen in drawn)])
    dtype = np.uint32 if flat.size <= np.iinfo(np.uint32).max else np.uint64
    return np.concatenate(drawn).astype(dtype), tuple(offsets.tolist())


def _members(labels: Labels) -> list[tuple[int, ...]]:
    """Return the labels of each group."""
    annotated = () if labels.ignored is None else tuple(range(labels.count))
    return [annotated, *(structure.labels for structure in labels.structures)]


def _count(flat: npt.NDArray[np.unsignedinteger], labels: Labels) -> npt.NDArray[np.intp]:
    """Count the voxels of every label, those that are ignored last."""
    counts = np.zeros(labels.count + 1, np.intp)
    for start in range(0, flat.size, SLAB_VOXELS):
        found = np.bincount(flat[start : start + SLAB_VOXELS], minlength=counts.size)
        counts += found[: counts.size]
    return counts


def _draw(rng: np.random.Generator, found: int) -> Indices:
    """Draw which of a group's voxels are kept, ascending."""
    wanted = max(min(MOST_VOXELS, found), ceil(LEAST_SHARE * found))
    return np.sort(rng.choice(found, wanted, replace=False, shuffle=False))


def _at_ranks(
    flat: npt.NDArray[np.unsignedinteger],
    members: Sequence[tuple[int, ...]],
    ranks: Sequence[Indices],
) -> list[Indices]:
    """Return the indices of the voxels of some ranks in each group, in one pass over all voxels."""
    drawn = [np.empty(len(of), np.intp) for of in ranks]
    before = [0] * len(members)
    for start in range(0, flat.size, SLAB_VOXELS):
        slab = flat[start : start + SLAB_VOXELS]
        present = set(np.flatnonzero(np.bincount(slab)).tolist())
        for group, of in enumerate(members):
            if present.isdisjoint(of):
                continue
            here = np.flatnonzero(slab == of[0] if len(of) == 1 else np.isin(slab, of))
            first, stop = np.searchsorted(ranks[group], (before[group], before[group] + here.size))
            drawn[group][first:stop] = start + here[ranks[group][first:stop] - before[group]]
            before[group] += here.size
    return drawn
