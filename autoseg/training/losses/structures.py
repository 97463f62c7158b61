"""Which voxels of a target belong to a structure, and which count at all.

Nothing is indexed by a mask, which would make shapes depend on data; voxels are masked by value.
"""

import torch
from torch import Tensor

from autoseg.core.errors import UsageError
from autoseg.core.labels import Labels, Region


def members(label_map: Tensor, structure: Region) -> Tensor:
    """Return a mask of the voxels whose label is one of the structure's.

    Parameters
    ----------
    label_map : (*any) integer tensor
    structure : Region

    Returns
    -------
    (*any) bool tensor
    """
    first, *others = structure.labels
    inside = label_map == first
    for label in others:
        inside |= label_map == label
    return inside


def annotated(target: Tensor, labels: Labels) -> Tensor | None:
    """Return a mask of the voxels that are not ignored, or None where all count."""
    return None if labels.ignored is None else target != labels.ignored


def structure_channels(channels: Tensor, labels: Labels) -> tuple[Tensor, ...]:
    """Return the channel of each structure; the background's, if there is one, is none.

    Parameters
    ----------
    channels : (N, K, *spatial) tensor
        One channel per region, or per label, background first.
    labels : Labels

    Returns
    -------
    tuple of (N, *spatial) tensor
        Views, whose gradients are gathered once, not K channels for each.
    """
    return channels.unbind(1)[labels.channels - len(labels.structures) :]


def predicted_overlaps(logits: Tensor, target: Tensor, labels: Labels) -> tuple[Tensor, Tensor]:
    """Count the voxels that a prediction shares with the target, structure by structure.

    Parameters
    ----------
    logits : (N, K, *spatial) floating tensor
        One channel per label, or per region.
    target : (N, *spatial) integer tensor
        Label map; ignored voxels count nowhere.
    labels : Labels
        What both mean.

    Returns
    -------
    intersections, sizes : (structures,) int64 tensor
        Voxels of the structure in both, and the sum of its voxels in either. It is predicted where
        its probability is above 1/2 (regions), or the largest (labels, ties to the smaller one).

    Raises
    ------
    UsageError
        If the shapes do not belong together.
    """
    check(logits, target, labels)
    winner = None if labels.regions else logits.argmax(1)
    counted = annotated(target, labels)
    intersections, sizes = [], []
    channels = structure_channels(logits, labels)
    for structure, channel in zip(labels.structures, channels, strict=True):
        predicted = channel > 0 if winner is None else members(winner, structure)
        if counted is not None:
            predicted = predicted & counted
        inside = members(target, structure)
        intersections.append((predicted & inside).sum())
        sizes.append(predicted.sum() + inside.sum())
    return torch.stack(intersections), torch.stack(sizes)


def check(logits: Tensor, target: Tensor, labels: Labels) -> None:
    """Refuse shapes that do not belong together, and labels without a structure.

    Raises
    ------
    UsageError
        With the shapes found.
    """
    n, k, *spatial = logits.shape
    if list(target.shape) != [n, *spatial]:
        raise UsageError(
            f"loss: target shape {tuple(target.shape)} must be that of the logits "
            f"{tuple(logits.shape)} without their channel axis"
        )
    if not labels.structures:
        raise UsageError(f"loss: the labels {labels.names} must hold one besides the background")
    if k != labels.channels:
        raise UsageError(
            f"loss: logits of shape {tuple(logits.shape)} have {k} channels; "
            f"the labels need {labels.channels}"
        )
