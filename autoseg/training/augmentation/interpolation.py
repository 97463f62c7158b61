"""Linear interpolation and nearest voxels, for a batch in which every entry has its own positions.

Positions are computed per entry, in voxels, and never depend on what else is in the batch.
"""

from collections.abc import Iterator, Sequence
from math import prod
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from autoseg.training.augmentation.parts import on_device

BORDER: Final = (1, 2)
"""Zeros before and after each axis of a frame, voxels: no neighbor of a clamped position is
missing."""
SLAB_VOXELS: Final = 2**16
"""Positions that a CPU works on together, so that they stay in its cache."""


def along(rows: Tensor, axis: int, index: npt.NDArray[np.int64]) -> Tensor:
    """Take voxels along one axis, other ones in each row.

    Parameters
    ----------
    rows : (R, *spatial) contiguous tensor
        Any type.
    axis : int
        Spatial axis.
    index : (R, P) integer array
        Voxels to take, on the host.
    """
    before, size = prod(rows.shape[1 : axis + 1]), rows.shape[axis + 1]
    behind = rows.shape[axis + 2 :]
    kind = _index_type(rows)
    starts = torch.arange(0, len(rows) * before * size, size, device=rows.device, dtype=kind)
    table = on_device(index, rows.device, kind)[:, None]
    places = (starts.view(len(rows), before, 1) + table).view(-1)
    flat = rows.view(-1, prod(behind)) if behind else rows.view(-1)
    taken = flat.index_select(0, places)
    return taken.view(*rows.shape[: axis + 1], index.shape[1], *behind)


def interpolated_along(
    rows: Tensor,
    axis: int,
    low: npt.NDArray[np.int64],
    high: npt.NDArray[np.int64],
    share: npt.NDArray[np.float64],
) -> Tensor:
    """Blend two voxels of an axis for each voxel of the result.

    Parameters
    ----------
    rows : (R, *spatial) contiguous float32 tensor
    axis : int
        Spatial axis.
    low, high : (R, P) integer array
        The two voxels, on the host.
    share : (R, P) array
        Share of the second, 0 to 1.
    """
    weight = on_device(share, rows.device)
    shape = [1] * rows.ndim
    shape[0], shape[axis + 1] = weight.shape
    return along(rows, axis, low).lerp_(along(rows, axis, high), weight.view(shape))


def stretched(
    frame: Tensor, positions: Sequence[npt.NDArray[np.float64]], *, linear: bool
) -> Tensor:
    """Sample at the points of a grid that is parallel to the axes.

    Parameters
    ----------
    frame : (K, N, *frame) tensor
        From `framed`; float32 if linear.
    positions : sequence of (N, P) arrays
        For each axis where in the frame each voxel of the result lies, in voxels.
    linear : bool
        Interpolate, or take the nearest voxel.

    Returns
    -------
    (K, N, *P) tensor of the same type
    """
    kinds, count = frame.shape[:2]
    rows = frame.flatten(0, 1)
    for axis, per_sample in enumerate(positions):
        clamped = np.tile(np.clip(per_sample, 0, rows.shape[axis + 1] - 2), (kinds, 1))
        if linear:
            low = np.floor(clamped).astype(np.int64)
            rows = interpolated_along(rows, axis, low, low + 1, clamped - low)
        else:
            rows = along(rows, axis, np.floor(clamped + 0.5).astype(np.int64))
    return rows.view(kinds, count, *rows.shape[1:])


def turned(
    frames: Sequence[Tensor], terms: Sequence[Sequence[npt.NDArray[np.float64]]]
) -> list[Tensor]:
    """Sample at the points of a grid that is oblique to the axes.

    Parameters
    ----------
    frames : sequence of (K, N, *frame) contiguous tensors
        From `framed`: the image, interpolated linearly, then maps, taken from the nearest voxel.
    terms : sequence, per axis of the frame, of sequences, per axis of the result, of (N, P) arrays
        What each index of the result adds to the position along the frame's axis, in voxels.

    Returns
    -------
    list of (K, N, *P) tensors of the same types
    """
    count, *sizes = frames[0].shape[1:]
    target = [term.shape[1] for term in terms[0]]
    results = [frame.new_empty(len(frame), count, *target) for frame in frames]
    flat = [frame.flatten(1) for frame in frames]
    kind = _index_type(flat[0])
    strides = [prod(sizes[axis + 1 :]) for axis in range(len(sizes))]
    start = on_device(np.arange(count) * prod(sizes), flat[0].device, kind)
    start = start.view(-1, *(1,) * len(sizes))
    for slab, positions in _slabs(terms, target, frames[0].device):
        low = nearest = start
        shares = []
        for position, size, stride in zip(positions, sizes, strides, strict=True):
            position.clamp_(0, size - 2)
            nearest = nearest + (position + 0.5).to(kind).mul_(stride)
            voxel = position.to(kind)
            shares.append(position.sub_(voxel).flatten())
            low = low + voxel.mul_(stride)
        for place, (result, source) in enumerate(zip(results, flat, strict=True)):
            if place == 0:
                values = _blended(source, low.flatten(), shares, strides)
            else:
                values = source.index_select(1, nearest.flatten())
            part = result[:, :, slab]
            part.copy_(values.view(part.shape))
    return results


def _slabs(
    terms: Sequence[Sequence[npt.NDArray[np.float64]]], target: Sequence[int], device: torch.device
) -> Iterator[tuple[slice, list[Tensor]]]:
    """Yield parts of the result's first axis with the positions along every axis of the frame."""
    axes = range(len(target))
    tables = [
        [
            on_device(term, device).view(-1, *(size if other == axis else 1 for other in axes))
            for axis, (term, size) in enumerate(zip(row, target, strict=True))
        ]
        for row in terms
    ]
    rest = len(terms[0][0]) * prod(target[1:])
    thickness = max(1, SLAB_VOXELS // rest) if device.type == "cpu" else target[0]
    for first in range(0, target[0], thickness):
        slab = slice(first, min(first + thickness, target[0]))
        yield slab, [sum(row[1:], row[0][:, slab]) for row in tables]


def _blended(
    flat: Tensor, index: Tensor, shares: Sequence[Tensor], strides: Sequence[int]
) -> Tensor:
    """Blend the corners of the cells that begin at some voxels, axis by axis."""
    if not strides:
        return flat.index_select(1, index)
    low = _blended(flat, index, shares[1:], strides[1:])
    high = _blended(flat, index + strides[0], shares[1:], strides[1:])
    return low.lerp_(high, shares[0])


def _index_type(array: Tensor) -> torch.dtype:
    """Return the smallest type that numbers all elements; small ones are read faster."""
    return torch.int32 if array.numel() < 2**31 else torch.int64


def framed(sources: Sequence[Tensor]) -> Tensor:
    """Copy arrays of different shapes into one, surrounded by zeros.

    Parameters
    ----------
    sources : sequence of (K, *source) tensors of one type
        At least one.

    Returns
    -------
    (K, N, *frame) contiguous tensor
        ``frame`` is the largest source along each axis and `BORDER`; every source begins behind
        the first border.
    """
    shapes = np.array([source.shape[1:] for source in sources])
    frame = sources[0].new_zeros(
        len(sources[0]), len(sources), *(shapes.max(axis=0) + sum(BORDER)).tolist()
    )
    for place, (source, shape) in enumerate(zip(sources, shapes, strict=True)):
        part = frame[:, place]
        for axis, size in enumerate(shape.tolist(), start=1):
            part = part.narrow(axis, BORDER[0], size)
        part.copy_(source)
    return frame
