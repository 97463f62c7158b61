"""Which patch of which case goes into which slot of which batch, addressed, never remembered.

Every draw starts from (seed, fold, purpose, epoch, step, slot), so that a resumed training, or one
that reads with more threads, sees the same patches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from autoseg.core.errors import DamagedError
from autoseg.core.geometry import Array
from autoseg.io import store

Purpose = Literal["training", "validation"]
_PURPOSES: Final[dict[Purpose, int]] = {"training": 0, "validation": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCase:
    """A preprocessed case with its arrays open for partial reading."""

    record: store.StoredCase
    """The case's record."""
    arrays: store.CaseArrays
    """Its arrays."""
    previous: Array | None = None
    """(*spatial) label map that the previous stage predicted, in a cascade."""
    previous_key: str = ""
    """Digest of what it was made from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """Voxels of one patch; what lies outside the image is 0, background and not nonzero."""

    image: npt.NDArray[np.float32]
    """(C, *spatial) intensities."""
    segmentation: Array
    """(*spatial) label map, unsigned."""
    nonzero: npt.NDArray[np.bool_]
    """(*spatial) voxels inside the imaged body."""
    previous: Array | None = None
    """(*spatial) label map that the previous stage predicted, in a cascade."""


def open_cases(
    folder: Path, names: Sequence[str], *, previous: Path | None = None
) -> tuple[OpenCase, ...]:
    """Verify and open preprocessed cases.

    Parameters
    ----------
    folder : Path
        Folder of preprocessed cases.
    names : sequence of str
        Cases to open.
    previous : Path, optional
        Folder of what the previous stage predicted for them, on the same grid.

    Raises
    ------
    DamagedError
        If a case or a prediction is missing or damaged; names it.
    """
    return tuple(_open_case(folder, name, previous) for name in names)


def _open_case(folder: Path, name: str, previous: Path | None) -> OpenCase:
    record = store.read_record(folder, name)
    arrays = store.open_case(folder, record)
    if previous is None:
        return OpenCase(record=record, arrays=arrays)
    key, prediction = store.open_prediction(previous, name)
    if prediction.shape != record.shape:
        raise DamagedError(
            f"prediction of the previous stage for case {name!r}: shape {prediction.shape} differs "
            f"from that of the preprocessed case, {record.shape}",
            rule="E-RES-76",
            hint="remove the folder previous_stage of the model; it is made again",
        )
    return OpenCase(record=record, arrays=arrays, previous=prediction, previous_key=key)


def generator(
    seed: int, *, fold: int, purpose: Purpose, epoch: int, step: int, slot: int
) -> np.random.Generator:
    """Return the random generator of one patch."""
    address = (fold, _PURPOSES[purpose], epoch, step, slot)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=address))


def is_forced(slot: int, batch_size: int, foreground_fraction: float, *, step: int = 0) -> bool:
    """Tell whether a slot's patch is centered on foreground: the last slots of a batch are.

    Of batches of one, every second step's is, which is the share that batches of two have.

    Examples
    --------
    >>> [sum(is_forced(j, b, 0.33) for j in range(b)) for b in (2, 3, 4, 5, 9, 12)]
    [1, 1, 1, 2, 3, 4]
    """
    if batch_size == 1:
        return foreground_fraction > 0 and step % 2 == 1
    return slot >= round(batch_size * (1 - foreground_fraction))


def draw_start(
    rng: np.random.Generator, case: OpenCase, patch_size: Sequence[int], *, forced: bool
) -> tuple[int, ...]:
    """Draw where a patch starts, axes in plan order.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    case : OpenCase
        Case to cut from.
    patch_size : sequence of int
        Voxels per axis; a 2D patch of a 3D image has a 1 in front.
    forced : bool
        Whether the patch is centered on a sampled voxel of a label or region that the case has. If
        not, or if it has none, and there is an ignore label, it is centered on an annotated voxel,
        lest it show nothing to learn from.

    Returns
    -------
    tuple of int
        First voxel per axis. A patch larger than the image lies around it evenly; any other lies
        within it.
    """
    bounds = [
        _bounds(size, patch) for size, patch in zip(case.record.shape, patch_size, strict=True)
    ]
    offsets = case.record.foreground_offsets
    sampled = [stop - start for start, stop in pairwise(offsets)]
    present = [group for group, count in enumerate(sampled) if group and count]
    group = present[int(rng.integers(len(present)))] if forced and present else 0
    if not sampled[group]:
        return tuple(int(rng.integers(low, high, endpoint=True)) for low, high in bounds)
    rank = int(rng.integers(sampled[group]))
    voxel = store.foreground_position(case.record, case.arrays, group, rank)
    return tuple(
        min(max(low, index - patch // 2), high)
        for index, patch, (low, high) in zip(voxel, patch_size, bounds, strict=True)
    )


def read_patch(case: OpenCase, start: Sequence[int], shape: Sequence[int]) -> Patch:
    """Read a patch from the store, padding what lies outside the image.

    Parameters
    ----------
    case : OpenCase
        Case to read.
    start : sequence of int
        First voxel per axis; may be negative.
    shape : sequence of int
        Voxels per axis.
    """
    inside, padding = [], []
    for size, first, length in zip(case.record.shape, start, shape, strict=True):
        low, high = min(max(0, first), size), max(min(size, first + length), 0)
        high = max(low, high)
        inside.append(slice(low, high))
        before = min(max(0, -first), length)
        padding.append((before, length - before - (high - low)))
    box = tuple(inside)
    return Patch(
        image=np.pad(case.arrays.image[(slice(None), *box)], ((0, 0), *padding)),
        segmentation=np.pad(case.arrays.segmentation[box], padding),
        nonzero=np.pad(case.arrays.nonzero[box], padding),
        previous=None if case.previous is None else np.pad(case.previous[box], padding),
    )


def _bounds(size: int, patch: int) -> tuple[int, int]:
    """First and last start of a patch along one axis."""
    if size >= patch:
        return 0, size - patch
    margin = ceil((patch - size) / 2)
    return -margin, max(-margin, size + margin - patch)
