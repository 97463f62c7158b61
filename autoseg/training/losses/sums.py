"""The sums over voxels that cross-entropy and Dice are made of, in little memory.

A patch with a hundred labels has gigabytes of logits, and every step from logits to a loss would
keep as much again for its gradient. So voxels are taken piece by piece, one pass gives all sums,
and the backward pass computes the probabilities once more: only logits and label map are kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.nn.functional as F  # noqa: N812 - its customary name
from torch import Tensor
from torch.autograd.function import once_differentiable

from autoseg.core.labels import Labels
from autoseg.training.losses.structures import annotated, check, members

PIECE: Final = 2**22
"""Logits of a patch in one piece: kernels so large that a GPU does not wait for their launches.
The memory of a step is predicted with pieces of this size, a little too much for a CPU."""
CPU_PIECE: Final = 2**18
"""The same on a CPU, whose cache holds a piece: with 118 labels 2**22 takes 1.5 times as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VoxelSums:
    """Sums over the voxels that count, of type float32, or float64 if the logits are."""

    cost: Tensor
    """() Minus the log-probability of the truth; summed over regions, too."""
    voxels: Tensor
    """() Voxels that count."""
    intersection: Tensor
    """(N, structures) Probability inside of each structure."""
    size: Tensor
    """(N, structures) Probability anywhere, and the structure's voxels."""


def voxel_sums(logits: Tensor, target: Tensor, labels: Labels) -> VoxelSums:
    """Return the sums of a batch; all but `VoxelSums.voxels` have gradients.

    Parameters
    ----------
    logits : (N, K, *spatial) floating tensor
        One channel per label, background first, or one per region. What is coarser than float32 is
        cast to it piece by piece.
    target : (N, *spatial) integer tensor
        Label map; ignored voxels hold ``labels.ignored``.
    labels : Labels
        What both mean.

    Raises
    ------
    UsageError
        If the shapes do not belong together or there is no foreground label.

    Notes
    -----
    Ignored voxels change neither a sum nor a gradient, not even with logits that are no numbers.
    Gradients are in the type and the memory order of the logits.
    """
    check(logits, target, labels)
    cost, intersection, probability, size = _Sums.apply(logits, target, labels)  # type: ignore[no-untyped-call]
    counted = annotated(target, labels)
    voxels = cost.new_full((), target.numel()) if counted is None else counted.sum().to(cost)
    first = labels.channels - len(labels.structures)  # the background, if there is one, is none
    return VoxelSums(
        cost=cost,
        voxels=voxels,
        intersection=intersection[:, first:],
        # Voxels are counted in integers, exact for any number of them.
        size=(probability + size)[:, first:],
    )


class _Sums(torch.autograd.Function):
    """Costs (), and (N, K) each: intersections, sums of probability, voxels of the truth."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, target: Tensor, labels: Labels
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        flat, truth = logits.flatten(2), target.flatten(1)
        ctx.save_for_backward(logits, target)
        ctx.labels = labels
        sums = [_sums(_piece(flat, truth, voxels, labels), labels) for voxels in _cut(flat)]
        cost, intersection, probability, size = (
            torch.stack(parts).sum(0) for parts in zip(*sums, strict=True)
        )
        ctx.mark_non_differentiable(size)
        return cost, intersection, probability, size

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, to_cost: Tensor, to_intersection: Tensor, to_probability: Tensor, _: Tensor
    ) -> tuple[Tensor, None, None]:
        logits, target = ctx.saved_tensors
        flat, truth, labels = logits.flatten(2), target.flatten(1), ctx.labels
        gradient = torch.empty_like(flat)
        gradients = to_cost, to_intersection[:, :, None], to_probability[:, :, None]
        for voxels in _cut(flat):
            piece = _piece(flat, truth, voxels, labels)
            gradient[:, :, voxels] = _gradient(piece, *gradients, labels)
            del piece  # before the next one is made
        return torch.unflatten(gradient, 2, logits.shape[2:]), None, None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """Some voxels of each patch; nothing is shared with the batch."""

    logits: Tensor
    """(N, K, W) at least float32; 0 where voxels are ignored."""
    truth: Tensor
    """(N, 1, W) int64 label; 0 where voxels are ignored."""
    counted: Tensor | None
    """(N, 1, W) 1 where voxels are not ignored, else 0, as the logits; None where all count."""
    inside: Tensor
    """(N, K, W) 1 in the label or region where voxels count, else 0, as the logits."""


def _cut(flat: Tensor) -> Iterator[slice]:
    """Cut the voxels of (N, K, V) logits; into how many pieces does not depend on the patches."""
    limit = CPU_PIECE if flat.device.type == "cpu" else PIECE
    width = max(1, limit // flat.shape[1])
    for start in range(0, flat.shape[2], width):
        yield slice(start, start + width)


def _piece(flat: Tensor, target: Tensor, voxels: slice, labels: Labels) -> _Piece:
    # Copied into rows, as softmax wants them: one voxel's channels may lie side by side.
    logits = torch.empty_like(
        flat[:, :, voxels],
        dtype=torch.promote_types(flat.dtype, torch.float32),
        memory_format=torch.contiguous_format,
    ).copy_(flat[:, :, voxels])
    truth = target[:, None, voxels].long()
    mask, counted = annotated(truth, labels), None
    if mask is not None:
        logits.masked_fill_(~mask, 0.0)
        truth, counted = truth * mask, mask.to(logits.dtype)
    inside = torch.zeros_like(logits)
    if labels.regions:
        for channel, region in enumerate(labels.regions):
            inside[:, channel] = members(truth[:, 0], region)  # none of which holds label 0
    elif counted is None:
        inside.scatter_(1, truth, 1.0)
    else:
        inside.scatter_(1, truth, counted)
    return _Piece(logits=logits, truth=truth, counted=counted, inside=inside)


def _sums(piece: _Piece, labels: Labels) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return a piece's share of what `_Sums` returns."""
    if labels.regions:
        # log(1 + exp(-z)) inside and log(1 + exp(z)) outside: exact however sure the network is.
        costs = F.softplus(torch.addcmul(piece.logits, piece.logits, piece.inside, value=-2.0))
        p = piece.logits.sigmoid_()
    else:
        logarithms = piece.logits.log_softmax(1)
        costs = -logarithms.gather(1, piece.truth)
        p = logarithms.exp_()
    if piece.counted is not None:
        costs.mul_(piece.counted)
        p.mul_(piece.counted)
    cost, probability = costs.sum(), p.sum(2)
    return cost, p.mul_(piece.inside).sum(2), probability, piece.inside.sum(2).long()


def _gradient(
    piece: _Piece, to_cost: Tensor, to_intersection: Tensor, to_probability: Tensor, labels: Labels
) -> Tensor:
    """Return the gradient with regard to the logits, in their place.

    Of the cost it is p - inside; of a sum of p with weights a it is, through the sigmoid,
    p (1 - p) a, and through the softmax p (a - the sum of p a over all channels).
    """
    p = piece.logits.sigmoid() if labels.regions else piece.logits.softmax(1)
    result = torch.addcmul(to_probability, piece.inside, to_intersection, out=piece.logits)
    result.mul_(p)
    if labels.regions:
        result.addcmul_(result, p, value=-1.0)
        result.addcmul_(p.sub_(piece.inside), to_cost)
    else:
        result.addcmul_(p, to_cost - result.sum(1, keepdim=True))
        result.addcmul_(piece.inside, -to_cost)
    return result if piece.counted is None else result.mul_(piece.counted)
