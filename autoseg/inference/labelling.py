"""From slabs of logits on one grid to the labels of another, without all logits at once.

Linear interpolation is convex: where the voxels around a new one carry one label, so does the new
one, whatever the logits are. Only at the borders between labels logits are interpolated, one class
after the other against the best so far.

That is exact for labels, and for regions that are written as different labels. The winning logit
of all neighbors is the largest of any mixture of them; and a voxel carries the label of the last
region above zero, which stays above zero in any mixture, as those behind it stay below.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from autoseg.core.labels import Labels
from preprocessing.interpolation import (
    Neighbors,
    linear_neighbors,
    nearest_indices,
    nearest_neighbors,
)

BLOCK_VOXELS: Final = 2**22
"""Voxels that are given labels at a time."""
POINTS: Final = 2**16
"""Voxels between labels whose logits are interpolated at a time."""


def labels_of(logits: Iterable[Tensor], labels: Labels, found: Tensor) -> Tensor:
    """Write the label of every voxel into a tensor of zeros, and return it.

    Parameters
    ----------
    logits : iterable of tensors
        Those of each channel in turn: of a label, or of a region.
    labels : Labels
        What the channels mean.
    found : integer tensor
        Of the same shape.

    Returns
    -------
    tensor
        The label with the largest logit, ties to the smaller one. Where there are regions, those of
        probability above 1/2, written over each other in their order.
    """
    if labels.regions:
        for region, logit in zip(labels.regions, logits, strict=True):
            found.masked_fill_(logit > 0, region.written)
        return found
    channels = iter(logits)
    best = next(channels).clone()
    for label, logit in enumerate(channels, 1):
        found.masked_fill_(logit > best, label)
        torch.maximum(best, logit, out=best)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Which two old voxels each new one of an axis lies between, and how near the second."""

    low: Tensor
    """(n_out,) the old voxel before."""
    high: Tensor
    """(n_out,) the old voxel behind."""
    share: Tensor
    """(n_out,) weight of the one behind, 0 to 1, float32."""
    mixes: bool
    """Whether any new voxel is made of two."""


def grid_axes(
    shape: Sequence[int], wanted: Sequence[int], *, order: int, separate: int | None
) -> tuple[Axis, ...]:
    """Return how each axis of a grid becomes one of another over the same extent.

    Parameters
    ----------
    shape, wanted : sequence of int
        Voxels before and after.
    order : int
        1 interpolates, 0 takes the nearest voxel.
    separate : int, optional
        Axis whose nearest voxels are taken; see `preprocessing.resampling.separate_axis`.
    """
    return tuple(
        _axis(n_in, n_out, nearest=order == 0 or axis == separate or n_in == n_out)
        for axis, (n_in, n_out) in enumerate(zip(shape, wanted, strict=True))
    )


def _axis(n_in: int, n_out: int, *, nearest: bool) -> Axis:
    found: Neighbors = (
        nearest_neighbors(nearest_indices(n_in, n_out))
        if nearest
        else linear_neighbors(n_in, n_out)
    )
    return Axis(
        low=torch.from_numpy(found.low),
        high=torch.from_numpy(found.high),
        share=torch.from_numpy(found.high_weight).float(),
        mixes=not nearest,
    )


def label_slabs(slabs: Iterable[Tensor], axes: Sequence[Axis], labels: Labels) -> Iterator[Tensor]:
    """Yield the labels of a grid, some planes at a time, from slabs of logits on another.

    Parameters
    ----------
    slabs : iterable of (K, planes, ...) float32 tensors
        Each but the first begins with the last plane of the one before.
    axes : sequence of Axis
        Of both grids; two or three.
    labels : Labels
        What the channels mean.

    Yields
    ------
    (planes, ...) tensor of uint8, or of int32 where there are 255 labels or more
    """
    of_planes, *in_plane = axes
    for part in slab_parts(slabs, of_planes):
        slab = part.slab if part.slab[0].is_contiguous() else part.slab.contiguous()
        marked = _marked(slab, axes, labels)
        yield from _Slab(
            logits=slab, marked=marked, axes=(part.planes, *in_plane), labels=labels
        ).planes()


@dataclass(frozen=True, slots=True, kw_only=True)
class SlabPart:
    """A slab, and the new planes that it is enough for."""

    slab: Tensor
    """(K, planes, ...) logits."""
    planes: Axis
    """The old planes of each new one, counted from the slab's first."""


def slab_parts(slabs: Iterable[Tensor], of_planes: Axis) -> Iterator[SlabPart]:
    """Yield every slab with those new planes that lie in it and in no slab before."""
    first, behind, written = 0, 0, 0
    for slab in slabs:
        first, behind = max(0, behind - 1), max(0, behind - 1) + slab.shape[1]
        ready = int((of_planes.high < behind).sum())
        yield SlabPart(slab=slab, planes=_part(of_planes, written, ready, first))
        written = ready


def _part(axis: Axis, start: int, stop: int, first: int) -> Axis:
    """Return some new voxels of an axis; the old ones are counted from ``first``."""
    return Axis(
        low=axis.low[start:stop] - first,
        high=axis.high[start:stop] - first,
        share=axis.share[start:stop],
        mixes=axis.mixes,
    )


def _marked(slab: Tensor, axes: Sequence[Axis], labels: Labels) -> Tensor:
    """Return the label of every old voxel, or `_mark` where those behind it differ."""
    kind = torch.uint8 if labels.count < torch.iinfo(torch.uint8).max else torch.int32
    found = torch.zeros(slab.shape[1:], dtype=kind, device=slab.device)
    for plane, into in enumerate(found):  # a plane at a time stays in the caches
        labels_of(slab[:, plane], labels, into)
    differs = torch.zeros(found.shape, dtype=torch.bool, device=slab.device)
    for number, axis in enumerate(axes):
        if axis.mixes and (steps := found.shape[number] - 1):
            here, behind = differs.narrow(number, 0, steps), differs.narrow(number, 1, steps)
            here |= behind.clone()
            here |= found.narrow(number, 0, steps) != found.narrow(number, 1, steps)
    return found.masked_fill_(differs, _mark(found))


def _mark(labelled: Tensor) -> int:
    """Return the value that is no label: it says that neighbors differ."""
    return torch.iinfo(labelled.dtype).max


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slab:
    """Logits of some planes, and which new voxels are to be made of them."""

    logits: Tensor
    marked: Tensor
    axes: Sequence[Axis]
    labels: Labels

    def planes(self) -> Iterator[Tensor]:
        """Yield the labels of the new planes, some at a time."""
        across = self.marked
        for number, axis in enumerate(self.axes[1:], 1):
            if axis.mixes or len(axis.low) != across.shape[number]:
                across = across.index_select(number, axis.low.to(across.device))
        count = len(self.axes[0].low)
        step = max(1, BLOCK_VOXELS // max(1, across[0].numel()))
        for start in range(0, count, step):
            some = slice(start, min(start + step, count))
            planes = across.index_select(0, self.axes[0].low[some].to(across.device))
            self._settle(planes, start)
            yield planes

    def _settle(self, planes: Tensor, start: int) -> None:
        """Interpolate the logits of the new voxels whose neighbors differ."""
        flat = planes.view(-1)
        unsettled = torch.nonzero(flat == _mark(planes)).view(-1)
        for points in torch.split(unsettled, POINTS):
            places = torch.unravel_index(points, planes.shape)
            corners = self._corners((places[0] + start, *places[1:]))
            found = torch.zeros(len(points), dtype=planes.dtype, device=planes.device)
            channels = (_mixed(logits.view(-1), corners) for logits in self.logits)
            flat[points] = labels_of(channels, self.labels, found)

    def _corners(self, places: Sequence[Tensor]) -> "_Corners":
        """Return the old voxels around new ones, the last axis varying fastest."""
        device = self.logits.device
        shape = self.logits.shape[1:]
        indices, shares = [torch.zeros_like(places[0])], []
        for axis, size, place in zip(self.axes, shape, places, strict=True):
            low = axis.low.to(device)[place]
            ends = (low, axis.high.to(device)[place]) if axis.mixes else (low,)
            indices = [index * size + end for index in indices for end in ends]
            if axis.mixes:
                shares.append(axis.share.to(device)[place])
        return _Corners(indices=indices, shares=shares)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Corners:
    """Old voxels around new ones: an index for each, and the shares by which axes are mixed."""

    indices: Sequence[Tensor]
    shares: Sequence[Tensor]


def _mixed(logits: Tensor, corners: _Corners) -> Tensor:
    """Interpolate the logits (voxels) of one class."""
    values = [logits.index_select(0, index) for index in corners.indices]
    for share in reversed(corners.shares):
        pairs = zip(values[::2], values[1::2], strict=True)
        values = [torch.lerp(low, high, share) for low, high in pairs]
    return values[0]
