"""Cross-entropy and Dice of logits against a label map, and their sum, the training loss.

Logits that are coarser than float32 are cast once; every sum is made in float32, because a patch
has more voxels than float16 can count.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - its customary name
from torch import Tensor

from autoseg.core.errors import UsageError


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Return the mean over all voxels of minus the log-probability of the target label.

    Parameters
    ----------
    logits : (N, K, *spatial) floating tensor
        One channel per label, background first.
    target : (N, *spatial) integer tensor
        Label map with values below K.

    Returns
    -------
    () tensor
        At least 0; natural logarithm.

    Raises
    ------
    UsageError
        If the shapes do not belong together.
    """
    _check(logits, target)
    return F.cross_entropy(_at_least_float32(logits), target.long())


def soft_dice(logits: Tensor, target: Tensor, *, batch: bool, smooth: float = 1e-5) -> Tensor:
    """Return the mean Dice over the foreground labels, with probabilities in place of a mask.

    Parameters
    ----------
    logits : (N, K, *spatial) floating tensor
        One channel per label, background first.
    target : (N, *spatial) integer tensor
        Label map with values below K.
    batch : bool
        Whether overlaps are summed over the batch before the ratio is taken. If not, the ratio is
        taken for every sample, and labels that a sample lacks enter the mean.
    smooth : float
        Added to numerator and denominator: 1 for a label that neither side has.

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
    _check(logits, target)
    intersection, size = _overlaps(_at_least_float32(logits).softmax(1), target)
    if batch:
        intersection, size = intersection.sum(1), size.sum(1)
    # The floor guards the ratio where `smooth` is 0.
    return ((2.0 * intersection + smooth) / (size + smooth).clamp_min(1e-8)).mean()


def segmentation_loss(logits: Tensor, target: Tensor, *, batch_dice: bool) -> Tensor:
    """Return cross-entropy plus one minus Dice.

    Parameters
    ----------
    logits : (N, K, *spatial) floating tensor
    target : (N, *spatial) integer tensor
    batch_dice : bool
        See ``batch`` of `soft_dice`.

    Returns
    -------
    () tensor
        At least 0, and exactly 1 more than nnU-Net's loss, which subtracts Dice.
    """
    precise = _at_least_float32(logits)
    return cross_entropy(precise, target) + (1.0 - soft_dice(precise, target, batch=batch_dice))


def _overlaps(probabilities: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection, and sum of both sizes, per foreground label and sample: (K - 1, N) each.

    One label at a time: beside the probabilities only one byte per voxel and label is kept for the
    backward pass, where a one-hot target would take four.
    """
    intersections, sizes = [], []
    # Not probabilities[:, label]: its backward pass would fill all K channels for each label.
    for label, probability in enumerate(probabilities.unbind(1)[1:], start=1):
        inside = target == label
        overlap = torch.where(inside, probability, 0.0)
        intersections.append(overlap.flatten(1).sum(1))
        # `sum` counts in integers, exact for any number of voxels.
        sizes.append(probability.flatten(1).sum(1) + inside.flatten(1).sum(1))
    return torch.stack(intersections), torch.stack(sizes)


def _at_least_float32(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


def _check(logits: Tensor, target: Tensor) -> None:
    n, k, *spatial = logits.shape
    if list(target.shape) != [n, *spatial]:
        raise UsageError(
            f"loss: target shape {tuple(target.shape)} must be that of the logits "
            f"{tuple(logits.shape)} without their channel axis"
        )
    if k < 2:
        raise UsageError(
            f"loss: logits of shape {tuple(logits.shape)} have {k} channel; "
            "there must be one for the background and at least one for a label"
        )
