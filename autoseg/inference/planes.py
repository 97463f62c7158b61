"""All logits of a few planes of the input's grid at a time, for what a label map does not tell.

Probabilities, their entropy, and where folds or models disagree need every logit of every voxel;
whoever asks for labels alone is served faster by `autoseg.inference.labelling`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import log

import torch
from torch import Tensor

from autoseg.core.labels import Labels
from autoseg.inference.labelling import Axis, labels_of, slab_parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """What is known of one plane of the input's grid, inside the crop."""

    probabilities: Tensor
    """(K, *plane) float32: of each label, or of each region."""
    labels: Tensor
    """(*plane) the label that they lead to."""
    disagreement: Tensor
    """(*plane) share of the voters, every fold of every model, who lead to another label."""


def interpolated_planes(slabs: Iterable[Tensor], axes: Sequence[Axis]) -> Iterator[Tensor]:
    """Yield the logits (K, *plane) of every plane of a grid, from slabs of logits on another.

    Parameters
    ----------
    slabs : iterable of (K, planes, ...) float32 tensors
        Each but the first begins with the last plane of the one before.
    axes : sequence of Axis
        Of both grids; two or three.
    """
    of_planes, *in_plane = axes
    for part in slab_parts(slabs, of_planes):
        made: dict[int, Tensor] = {}
        for low, high, share in zip(
            part.planes.low.tolist(),
            part.planes.high.tolist(),
            part.planes.share.tolist(),
            strict=True,
        ):
            made = {
                old: made[old] if old in made else _across(part.slab[:, old], in_plane)
                for old in {low, high}
            }
            yield torch.lerp(made[low], made[high], share) if share else made[low]


def _across(plane: Tensor, axes: Sequence[Axis]) -> Tensor:
    """Return logits (K, *plane) on the new grid of a plane; never a view of the slab."""
    for number, axis in enumerate(axes, 1):
        low = plane.index_select(number, axis.low.to(plane.device))
        if axis.mixes:
            share = axis.share.to(plane.device)
            share = share.view(-1, *(1,) * (plane.ndim - 1 - number))
            high = plane.index_select(number, axis.high.to(plane.device))
            low = torch.lerp(low, high, share)
        plane = low
    return plane


def vote(members: Sequence[Tensor], folds: Sequence[int], labels: Labels) -> Plane:
    """Return what several models, each of several folds, say of a plane.

    Parameters
    ----------
    members : sequence of (folds * K, *plane) tensors
        Logits of each model, those of a fold side by side.
    folds : sequence of int
        How many folds each model has.
    labels : Labels
        What the channels mean.

    Notes
    -----
    The folds of a model are averaged by their logits, as its label map is made; models by their
    probabilities, which mean the same for all of them.
    """
    votes, averaged = [], []
    for member, count in zip(members, folds, strict=True):
        logits = member.to(members[0].device)  # one model's sums may have moved to the host
        apart = logits.view(count, -1, *logits.shape[1:])
        votes += [labels_of(each, labels, _unlabelled(each)) for each in apart]
        averaged.append(_probabilities(apart.mean(0), labels))
    mean = torch.stack(averaged).mean(0)
    found = labels_of_probabilities(mean, labels, _unlabelled(mean))
    others = torch.stack([each != found for each in votes])
    return Plane(probabilities=mean, labels=found, disagreement=others.float().mean(0))


def labels_of_probabilities(
    probabilities: Iterable[Tensor], labels: Labels, found: Tensor
) -> Tensor:
    """Write the labels that probabilities lead to; see `autoseg.inference.labelling.labels_of`."""
    if labels.regions:  # the logit of a region is above 0 where its probability is above 1/2
        return labels_of((each - 0.5 for each in probabilities), labels, found)
    return labels_of(probabilities, labels, found)


def entropy(probabilities: Tensor, labels: Labels) -> Tensor:
    """Return how undecided each voxel is, (*plane) from 0 to 1.

    The entropy of the labels' probabilities (K, *plane) over its largest possible value; of
    regions, each of which is there or not, the mean of theirs.

    References
    ----------
    Shannon 1948, doi:10.1002/j.1538-7305.1948.tb01338.x.
    """
    if not labels.regions:
        return _surprise(probabilities).sum(0) / log(len(probabilities))
    return (_surprise(probabilities) + _surprise(1 - probabilities)).mean(0) / log(2)


def _surprise(probabilities: Tensor) -> Tensor:
    surprise: Tensor = -torch.special.xlogy(probabilities, probabilities)
    return surprise


def _probabilities(logits: Tensor, labels: Labels) -> Tensor:
    return logits.sigmoid() if labels.regions else logits.softmax(0)


def _unlabelled(channels: Tensor) -> Tensor:
    return torch.zeros(channels.shape[1:], dtype=torch.int32, device=channels.device)
