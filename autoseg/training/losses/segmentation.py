"""Cross-entropy and Dice of logits against a label map, and their sum, the training loss.

Labels exclude each other: softmax over all of them. Regions may overlap: a sigmoid each. Ignored
voxels change neither loss nor gradient. Logits that are coarser than float32 are cast once; every
sum is made in float32, because a patch has more voxels than float16 can count.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - its customary name
from torch import Tensor

from autoseg.core.labels import Labels
from autoseg.training.losses.structures import annotated, check, members, structure_channels


def cross_entropy(logits: Tensor, target: Tensor, labels: Labels) -> Tensor:
    """Return the mean of minus the log-probability of the truth over all voxels that count.

    Parameters
    ----------
    logits : (N, K, *spatial) floating tensor
        One channel per label, background first, or one per region.
    target : (N, *spatial) integer tensor
        Label map; ignored voxels hold ``labels.ignored``.
    labels : Labels
        What both mean.

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
    check(logits, target, labels)
    precise = _at_least_float32(logits)
    if labels.regions:
        return _region_cross_entropy(precise, target, labels)
    counted = annotated(target, labels)
    if counted is None or labels.ignored is None:
        return F.cross_entropy(precise, target.long())
    total = F.cross_entropy(precise, target.long(), ignore_index=labels.ignored, reduction="sum")
    return total / counted.sum().clamp_min(1)


def soft_dice(
    logits: Tensor, target: Tensor, labels: Labels, *, batch: bool, smooth: float = 1e-5
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
    check(logits, target, labels)
    precise = _at_least_float32(logits)
    probabilities = precise.sigmoid() if labels.regions else precise.softmax(1)
    intersection, size = _overlaps(probabilities, target, labels)
    if batch:
        intersection, size = intersection.sum(1), size.sum(1)
    # The floor guards the ratio where `smooth` is 0.
    return ((2.0 * intersection + smooth) / (size + smooth).clamp_min(1e-8)).mean()


def segmentation_loss(
    logits: Tensor, target: Tensor, labels: Labels, *, batch_dice: bool
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

    Returns
    -------
    () tensor
        At least 0, and exactly 1 more than nnU-Net's loss, which subtracts Dice. (Of regions with
        an ignore label, nnU-Net's cross-entropy is larger by a factor: their number.)
    """
    precise = _at_least_float32(logits)
    dice = soft_dice(precise, target, labels, batch=batch_dice)
    return cross_entropy(precise, target, labels) + (1.0 - dice)


def _region_cross_entropy(logits: Tensor, target: Tensor, labels: Labels) -> Tensor:
    """Mean over regions and voxels; one region at a time, as in `_overlaps`."""
    counted = annotated(target, labels)
    sums = []
    for region, logit in zip(labels.regions, structure_channels(logits, labels), strict=True):
        # log(1 + exp(-z)) inside and log(1 + exp(z)) outside: exact however sure the network is.
        cost = F.softplus(torch.where(members(target, region), -logit, logit))
        sums.append(_masked(cost, counted).sum())
    voxels = target.numel() if counted is None else counted.sum().clamp_min(1)
    return torch.stack(sums).sum() / (voxels * len(sums))


def _overlaps(probabilities: Tensor, target: Tensor, labels: Labels) -> tuple[Tensor, Tensor]:
    """Intersection, and sum of both sizes, per structure and sample: (structures, N) each.

    One structure at a time: beside the probabilities only one byte per voxel and structure is kept
    for the backward pass, where a one-hot target would take four.
    """
    counted = annotated(target, labels)
    intersections, sizes = [], []
    channels = structure_channels(probabilities, labels)
    for structure, probability in zip(labels.structures, channels, strict=True):
        inside = members(target, structure)
        overlap = torch.where(inside, probability, 0.0)
        intersections.append(overlap.flatten(1).sum(1))
        # `sum` counts in integers, exact for any number of voxels.
        size = _masked(probability, counted).flatten(1).sum(1) + inside.flatten(1).sum(1)
        sizes.append(size)
    return torch.stack(intersections), torch.stack(sizes)


def _masked(values: Tensor, mask: Tensor | None) -> Tensor:
    return values if mask is None else torch.where(mask, values, 0.0)


def _at_least_float32(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()
