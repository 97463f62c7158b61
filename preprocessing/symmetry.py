"""Which labels are mirror images of each other: the anatomy that mirroring would confuse.

Looks at label maps only, on their own grid; what follows from a symmetry is not decided here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

import numpy as np
import numpy.typing as npt

from autoseg.core.fingerprint import CaseMeasurement, SymmetricPair, Symmetry
from autoseg.core.labels import LabelMap, Labels

LEAST_DICE: Final = 0.5
"""Two labels count as mirror images of each other above this overlap."""
LEAST_CASES: Final = 10
"""Cases with both labels that it takes to speak of a symmetry of the dataset."""
SAMPLED_VOXELS: Final = 1000
"""Voxels per label, evenly spaced in memory, that a first look at a pair goes by."""
FIRST_LOOK_DICE: Final = 0.25
"""Dice of those voxels below which a pair is dropped: half of what it must have, and with 1000
voxels over 10 standard errors away from it."""

Ints = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Structures:
    """Where the labels of a case lie; the first axis of every array is the label."""

    labels: Ints
    """(n,) labels that the case has, ascending; background and ignored voxels are none."""
    voxels: Ints
    """(n,) voxels of each."""
    start: Ints
    """(n, axes) first voxel of each label's bounding box."""
    stop: Ints
    """(n, axes) first voxel behind it."""
    center: npt.NDArray[np.float64]
    """(n, axes) centroid, as an array index."""
    samples: tuple[Ints, ...]
    """For each label (m, axes) some of its voxels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """A reflection of one label toward another."""

    axis: int
    """Axis that is turned around."""
    first: int
    """The label that is reflected, as an index into `Structures`."""
    second: int
    """The label that it is compared with."""
    total: int
    """Index ``i`` along the axis becomes ``total - i``."""


def locate_labels(label_map: LabelMap, labels: Labels) -> Structures:
    """Measure where each label of a case lies.

    Parameters
    ----------
    label_map : (*spatial) array of unsigned int
        Label map, 2D or 3D.
    labels : Labels
        The labels there may be.
    """
    from scipy.ndimage import find_objects

    boxes = find_objects(label_map)[: labels.count - 1]
    present = [label for label, box in enumerate(boxes, start=1) if box is not None]
    start = np.zeros((len(present), label_map.ndim), np.intp)
    stop, center = start.copy(), np.zeros(start.shape)
    voxels, samples = np.zeros(len(present), np.intp), []
    for row, label in enumerate(present):
        box = boxes[label - 1]
        start[row] = [edge.start for edge in box]
        stop[row] = [edge.stop for edge in box]
        mask = label_map[box] == label
        flat = np.flatnonzero(mask)
        voxels[row] = flat.size
        center[row] = start[row] + _centroid(mask, flat.size)
        chosen = flat[:: max(1, flat.size // SAMPLED_VOXELS)]
        samples.append(start[row] + np.stack(np.unravel_index(chosen, mask.shape), axis=1))
    return Structures(
        labels=np.array(present, np.intp),
        voxels=voxels,
        start=start,
        stop=stop,
        center=center,
        samples=tuple(samples),
    )


def symmetric_pairs(label_map: LabelMap, found: Structures) -> tuple[SymmetricPair, ...]:
    """Find the labels of a case that are mirror images of each other.

    Parameters
    ----------
    label_map : (*spatial) array of unsigned int
        Label map in canonical orientation, 2D or 3D.
    found : Structures
        Where its labels lie; see `locate_labels`.

    Returns
    -------
    tuple of SymmetricPair
        Those whose Dice exceeds 0.5, by axis, first and second label.

    Notes
    -----
    One label is reflected about the plane midway between the two centroids along the axis,
    rounded to half a voxel so that voxels fall on voxels. Dice is the same whichever of the two
    is reflected. What cannot exceed 0.5, because the sizes differ by over 3 times or the bounding
    boxes hardly overlap, is not looked at.
    """
    pairs = []
    for mirror in (mirror for axis in range(label_map.ndim) for mirror in _plausible(found, axis)):
        if _sampled_dice(label_map, found, mirror) < FIRST_LOOK_DICE:
            continue
        dice = _dice(label_map, found, mirror)
        if dice > LEAST_DICE:
            first, second = int(found.labels[mirror.first]), int(found.labels[mirror.second])
            pairs.append(SymmetricPair(axis=mirror.axis, first=first, second=second, dice=dice))
    return tuple(pairs)


def summarize_symmetries(measurements: Sequence[CaseMeasurement]) -> tuple[Symmetry, ...]:
    """Return the symmetries that hold over a dataset.

    Parameters
    ----------
    measurements : sequence of CaseMeasurement
        One per case.

    Returns
    -------
    tuple of Symmetry
        Pairs of labels that at least 10 cases have and whose median Dice exceeds 0.5; a case
        that has both labels but does not list the pair counts as 0.
    """
    listed: dict[tuple[int, int, int], list[float]] = {}
    for measured in measurements:
        for pair in measured.symmetric_pairs:
            listed.setdefault((pair.axis, pair.first, pair.second), []).append(pair.dice)
    found = []
    for (axis, first, second), dices in sorted(listed.items()):
        cases = sum(bool(m.class_voxels[first] and m.class_voxels[second]) for m in measurements)
        middle = median([*dices, *[0.0] * (cases - len(dices))])
        if cases >= LEAST_CASES and middle > LEAST_DICE:
            found.append(
                Symmetry(axis=axis, first=first, second=second, cases=cases, median_dice=middle)
            )
    return tuple(found)


def _centroid(mask: npt.NDArray[np.bool_], voxels: int) -> npt.NDArray[np.float64]:
    """Return the mean index of the true voxels along each axis."""
    axes = range(mask.ndim)
    profiles = (np.count_nonzero(mask, axis=tuple({*axes} - {axis})) for axis in axes)
    return np.array([profile @ np.arange(profile.size) / voxels for profile in profiles])


def _plausible(found: Structures, axis: int) -> list[Mirror]:
    """Return the pairs whose Dice might exceed the limit, to judge by voxels and boxes."""
    total = np.rint(found.center[:, None, axis] + found.center[None, :, axis]).astype(np.intp)
    room = np.minimum(found.voxels[:, None], found.voxels[None])
    overlap = np.ones_like(room)
    for other in range(found.start.shape[1]):
        start, stop = found.start[:, None, other], found.stop[:, None, other]
        if other == axis:
            start, stop = total - stop + 1, total - start + 1
        shared = np.minimum(stop, found.stop[None, :, other])
        overlap *= np.maximum(shared - np.maximum(start, found.start[None, :, other]), 0)
    most = 2 * np.minimum(room, overlap) / (found.voxels[:, None] + found.voxels[None])
    return [
        Mirror(axis=axis, first=int(first), second=int(second), total=int(total[first, second]))
        for first, second in np.argwhere(np.triu(most > LEAST_DICE, 1))
    ]


def _sampled_dice(label_map: LabelMap, found: Structures, mirror: Mirror) -> float:
    """Estimate the Dice from some voxels of the first label."""
    index = found.samples[mirror.first].copy()
    along = mirror.total - index[:, mirror.axis]
    index[:, mirror.axis] = along
    index = index[(along >= 0) & (along < label_map.shape[mirror.axis])]
    hits = np.count_nonzero(label_map[tuple(index.T)] == found.labels[mirror.second])
    share = hits / len(found.samples[mirror.first])
    return _dice_of(share * int(found.voxels[mirror.first]), found, mirror)


def _dice(label_map: LabelMap, found: Structures, mirror: Mirror) -> float:
    """Return the Dice of the reflected first label and the second."""
    first, second = mirror.first, mirror.second
    axis, total = mirror.axis, mirror.total
    start, stop = found.start[first].copy(), found.stop[first].copy()
    start[axis], stop[axis] = total - stop[axis] + 1, total - start[axis] + 1
    start = np.maximum(start, found.start[second])
    stop = np.minimum(stop, found.stop[second])
    here = label_map[_slices(start, stop)] == found.labels[second]
    start[axis], stop[axis] = total - stop[axis] + 1, total - start[axis] + 1
    there = label_map[_slices(start, stop)] == found.labels[first]
    return _dice_of(int(np.count_nonzero(here & np.flip(there, axis))), found, mirror)


def _dice_of(overlap: float, found: Structures, mirror: Mirror) -> float:
    return float(2 * overlap / (found.voxels[mirror.first] + found.voxels[mirror.second]))


def _slices(start: Ints, stop: Ints) -> tuple[slice, ...]:
    return tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
