"""Cross-entropy and Dice of logits against a label map, and their sum, the training loss.

Labels exclude each other: softmax over all of them. Regions may overlap: a sigmoid each. Ignored
voxels change neither loss nor gradient. All is computed in float32 at least, because a patch has
more voxels than float16 can count. Where several processes share a batch, each gets the loss of the
whole batch, with gradients of its own share: their sum over the processes is the whole gradient.
"""

import torch
from torch import Tensor

from autoseg.core.labels import Labels
from autoseg.training.losses.sums import VoxelSums, voxel_sums
from autoseg.training.ranks import SINGLE, Ranks


def cross_entropy(
    logits: Tensor, target: Tensor, labels: Labels, *, ranks: Ranks = SINGLE
) -> Tensor:
    """Return the mean of minus the log-probability of the truth over all voxels that count.

    Parameters
    ----------
    logits : (N, K, *spatial) floating tensor
        One channel per label, background first, or one per region.
    target : (N, *spatial) integer tensor
        Label map; ignored voxels hold ``labels.ignored``.
    labels : Labels
        What both mean.
    ranks : Ranks
        The processes that share the batch.

    Returns
    -------
    () tensor
        At least 0; natural logarithm. Of regions it is the mean over voxels and regions. Where no
        voxel counts it is 0, with gradients of 0.

    Raises
    ------
    UsageError
        If the shapes do not belong together.
    """
    return _cross_entropy(voxel_sums(logits, target, labels), labels, ranks)


def soft_dice(
    logits: Tensor,
    target: Tensor,
    labels: Labels,
    *,
    batch: bool,
    smooth: float = 1e-5,
    ranks: Ranks = SINGLE,
) -> Tensor:
    """Return the mean Dice over the structures, with probabilities in place of a mask.

    Parameters
    ----------
    logits : (N, K, *spatial) floating tensor
        One channel per label, background first, or one per region.
    target : (N, *spatial) integer tensor
        Label map; ignored voxels hold ``labels.ignored``.
    labels : Labels
        What both mean. The mean is over the regions, or over all labels but the background.
    batch : bool
        Whether overlaps are summed over the batch before the ratio is taken. If not, the ratio is
        taken for every sample, and structures that a sample lacks enter the mean.
    smooth : float
        Added to numerator and denominator: 1 for a structure that neither side has.
    ranks : Ranks
        The processes that share the batch.

    Returns
    -------
    () tensor
        From 0 to 1 (best).

    Raises
    ------
    UsageError
        If the shapes do not belong together or there is no foreground label.

    References
    ----------
    Milletari et al. 2016 (doi:10.1109/3DV.2016.79), with the linear denominator of
    Drozdzal et al. 2016 (doi:10.1007/978-3-319-46976-8_19).
    """
    return _dice(voxel_sums(logits, target, labels), batch=batch, smooth=smooth, ranks=ranks)


def segmentation_loss(
    logits: Tensor, target: Tensor, labels: Labels, *, batch_dice: bool, ranks: Ranks = SINGLE
) -> Tensor:
    """Return cross-entropy plus one minus Dice.

    Parameters
    ----------
    logits : (N, K, *spatial) floating tensor
        One channel per label, background first, or one per region.
    target : (N, *spatial) integer tensor
        Label map; ignored voxels hold ``labels.ignored``.
    labels : Labels
        What both mean.
    batch_dice : bool
        See ``batch`` of `soft_dice`.
    ranks : Ranks
        The processes that share the batch.

    Returns
    -------
    () tensor
        At least 0, and exactly 1 more than nnU-Net's loss, which subtracts Dice. (Of regions with
        an ignore label, nnU-Net's cross-entropy is larger by a factor: their number.)

    Raises
    ------
    UsageError
        If the shapes do not belong together or there is no foreground label.
    """
    sums = voxel_sums(logits, target, labels)
    dice = _dice(sums, batch=batch_dice, smooth=1e-5, ranks=ranks)
    return _cross_entropy(sums, labels, ranks) + (1.0 - dice)


def _cross_entropy(sums: VoxelSums, labels: Labels, ranks: Ranks) -> Tensor:
    cost, voxels = ranks.reduce(torch.stack((sums.cost, sums.voxels))).unbind()
    return cost / (voxels.clamp_min(1) * (len(labels.regions) or 1))


def _dice(sums: VoxelSums, *, batch: bool, smooth: float, ranks: Ranks) -> Tensor:
    if batch:
        overlaps = torch.stack((sums.intersection.sum(0), sums.size.sum(0)))
        intersection, size = ranks.reduce(overlaps).unbind()
        return _ratios(intersection, size, smooth).mean()
    ratios = _ratios(sums.intersection, sums.size, smooth)
    count = ratios.new_full((), ratios.numel())
    total, count = ranks.reduce(torch.stack((ratios.sum(), count))).unbind()
    return total / count


def _ratios(intersection: Tensor, size: Tensor, smooth: float) -> Tensor:
    # The floor guards the ratio where `smooth` is 0.
    return (2.0 * intersection + smooth) / (size + smooth).clamp_min(1e-8)
