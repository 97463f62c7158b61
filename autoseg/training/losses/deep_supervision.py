"""The loss summed over the resolution levels of a deeply supervised network."""

from collections.abc import Sequence

import torch
from torch import Tensor

from autoseg.core.errors import UsageError
from autoseg.core.labels import Labels
from autoseg.training.losses.segmentation import segmentation_loss
from autoseg.training.ranks import SINGLE, Ranks


def level_weights(levels: int) -> tuple[float, ...]:
    """Return the weight of each level, full resolution first.

    Parameters
    ----------
    levels : int
        Number of outputs, at least 1.

    Returns
    -------
    tuple of float
        Each half of the one before, the last 0, with a sum of 1; ``(1.0,)`` for a single level.

    Raises
    ------
    UsageError
        If there is no level.

    Examples
    --------
    >>> level_weights(3)
    (0.6666666666666666, 0.3333333333333333, 0.0)
    """
    if levels < 1:
        raise UsageError(f"deep supervision: {levels} levels; there must be at least 1")
    if levels == 1:
        return (1.0,)
    halves = [2.0**-level for level in range(levels - 1)]
    return (*(half / sum(halves) for half in halves), 0.0)


def weighted_levels(levels: int) -> int:
    """Return how many levels, from full resolution on, have a weight: all but the last of several.

    The others need not be computed. See `level_weights`.
    """
    return sum(weight > 0 for weight in level_weights(levels))


def downsampled_targets(target: Tensor, shapes: Sequence[Sequence[int]]) -> list[Tensor]:
    """Sample a label map at the voxel centers of coarser grids of the same extent.

    Parameters
    ----------
    target : (N, *spatial) integer tensor
        Label map at full resolution.
    shapes : sequence of sequence of int
        Spatial shape of each level.

    Returns
    -------
    list of (N, *shape) tensor
        Same type and device; the target itself where the shape is its own. A center between two
        voxels takes the later one, as ``nearest-exact`` of `torch.nn.functional.interpolate`.

    Raises
    ------
    UsageError
        If a shape has another number of axes than the target.
    """
    return [_downsampled(target, tuple(shape)) for shape in shapes]


def supervised_loss(
    outputs: Sequence[Tensor],
    target: Tensor,
    labels: Labels,
    *,
    batch_dice: bool,
    levels: int | None = None,
    ranks: Ranks = SINGLE,
) -> Tensor:
    """Return the weighted sum of the loss at every level.

    Parameters
    ----------
    outputs : sequence of (N, K, *spatial) tensor
        Logits of each level, full resolution first; those without weight may be left out.
    target : (N, *spatial) integer tensor
        Label map at full resolution, on the device of the logits. Coarser levels sample it, ignored
        voxels too; regions are formed level by level.
    labels : Labels
        What logits and target mean.
    batch_dice : bool
        See `segmentation_loss`.
    levels : int, optional
        Levels that the network has; as many as outputs if left out.
    ranks : Ranks
        The processes that share the batch.

    Returns
    -------
    () tensor
        Levels of weight 0 take no part: their logits get no gradient (None, not 0).

    Raises
    ------
    UsageError
        If there is no output, one that has a weight is missing, or the first one is not at the
        target's resolution.
    """
    weights = level_weights(len(outputs) if levels is None else levels)
    used = [weight for weight in weights if weight > 0]
    if not len(used) <= len(outputs) <= len(weights):
        raise UsageError(
            f"deep supervision: {len(outputs)} outputs of {len(weights)} levels; there must be "
            f"{len(used)}, or all"
        )
    if outputs[0].shape[2:] != target.shape[1:]:
        raise UsageError(
            f"deep supervision: the first output has spatial shape {tuple(outputs[0].shape[2:])}; "
            f"it must be the target's {tuple(target.shape[1:])}"
        )
    outputs = outputs[: len(used)]
    targets = downsampled_targets(target, [output.shape[2:] for output in outputs])
    losses = [
        weight * segmentation_loss(output, level, labels, batch_dice=batch_dice, ranks=ranks)
        for weight, output, level in zip(used, outputs, targets, strict=True)
    ]
    return torch.stack(losses).sum()


def _downsampled(target: Tensor, shape: tuple[int, ...]) -> Tensor:
    if len(shape) != target.ndim - 1:
        raise UsageError(
            f"deep supervision: level shape {shape} must have the {target.ndim - 1} spatial axes "
            f"of the target {tuple(target.shape)}"
        )
    for axis, size in enumerate(shape, start=1):
        full = target.shape[axis]
        if full != size:
            # Voxel i's center (i + 1/2) full / size lies in this voxel; in integers, hence exact.
            steps = torch.arange(size, device=target.device)
            target = target.index_select(axis, (2 * steps + 1) * full // (2 * size))
    return target
