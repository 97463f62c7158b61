"""How one tensor of a trained network is made to fit another network's ends and kernels.

Channels and logits are told apart by name, never by their place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - its customary name
from torch import Tensor

from autoseg.core.model import ModelDescription

BACKGROUND: Final = "background"
"""Name of the first logit where labels are told apart, whatever the dataset calls it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelNames:
    """What the channels at a network's two ends are called, in their order."""

    image: tuple[str, ...]
    """Image channels."""
    previous: tuple[str, ...] = ()
    """Labels of a previous stage, which follow the image channels."""
    logits: tuple[str, ...]
    """Labels with the background, or regions."""
    are_regions: bool = False
    """Whether each logit is a probability's by itself, rather than one of a softmax."""


def channel_names(description: ModelDescription) -> ChannelNames:
    """Return what the channels at both ends of a model's network are called."""
    labels = description.dataset.labels
    foreground = labels.names[1:]
    return ChannelNames(
        image=description.dataset.channels,
        previous=foreground if description.configuration.previous_stage else (),
        logits=tuple(region.name for region in labels.regions) or (BACKGROUND, *foreground),
        are_regions=bool(labels.regions),
    )


def namesakes(names: Sequence[str], known: Sequence[str]) -> tuple[int | None, ...]:
    """Return the place of each name among known ones; the second of a name is its own.

    Examples
    --------
    >>> namesakes(("T2", "t1", "ADC", "T1"), ("T1", "T1", "T2"))
    (2, 0, None, 1)
    """
    places = {name: place for place, name in enumerate(_numbered(known))}
    return tuple(places.get(name) for name in _numbered(names))


def image_sources(names: Sequence[str], known: Sequence[str]) -> tuple[int | None, ...]:
    """Return which of a model's image channels each new one is; None where it is none of them.

    Where there are as many and none has a name of the model's, they are taken in their order, as
    ``plan --like`` does.
    """
    found = namesakes(names, known)
    if len(names) == len(known) and all(place is None for place in found):
        return tuple(range(len(known)))
    return found


def fit_logits(
    source: Tensor, fresh: Tensor, names: ChannelNames, known: ChannelNames
) -> Tensor | None:
    """Return the weights or biases of a head for other labels or regions.

    Parameters
    ----------
    source : (K, ...) tensor
        Those of the trained head.
    fresh : (L, ...) tensor
        Those that the new head was drawn with: rows without a namesake keep them.
    names, known : ChannelNames
        What the new and the trained network tell apart.

    Returns
    -------
    (L, ...) tensor or None
        ``source`` itself if nothing differs; None if the heads differ in width or share no name.

    Notes
    -----
    Softmax logits mean something by their differences only. So a region's logit is its label's less
    the background's, and next to logits of regions that of the background is 0: of two labels,
    both give the same probabilities.
    """
    if source.shape[1:] != fresh.shape[1:]:
        return None
    rows, logits = source, known.logits
    if names.are_regions and not known.are_regions:
        rows, logits = source[1:] - source[:1], logits[1:]
    elif known.are_regions and not names.are_regions:
        rows = torch.cat((torch.zeros_like(source[:1]), source))
        logits = (BACKGROUND, *logits)
    places = namesakes(names.logits, logits)
    if places == tuple(range(len(logits))):
        return rows
    if all(place is None for place in places):
        return None
    result = fresh.clone()
    for row, place in enumerate(places):
        if place is not None:
            result[row] = rows[place]
    return result


def fit_inputs(source: Tensor, names: ChannelNames, known: ChannelNames) -> Tensor:
    """Return the weights of a first convolution for other image channels or previous labels.

    Parameters
    ----------
    source : (O, C, *kernel) tensor
        Those of the trained convolution, which reads image channels, then previous labels.
    names, known : ChannelNames
        What the new and the trained network read.

    Returns
    -------
    (O, D, *kernel) tensor
        ``source`` itself if nothing differs. An image channel without a namesake gets the mean of
        all; then every filter gets its old norm back, so that its answer to independent channels
        of one size keeps its size. A label without one gets the mean of the labels (only one is 1
        at a voxel, so nothing adds up), or 0 if the trained network reads none, so that at first
        the new one does what it did.
    """
    if (names.image, names.previous) == (known.image, known.previous):
        return source
    images = len(known.image)
    image, previous = source[:, :images], source[:, images:]
    places = image_sources(names.image, known.image)
    columns = _columns(image, places)
    if None in places:
        before, now = (each.flatten(1).norm(dim=1) for each in (image, columns))
        scale = before / now.clamp_min(torch.finfo(now.dtype).tiny)
        columns = columns * scale.reshape(-1, *(1,) * (columns.ndim - 1))
    if not names.previous:
        return columns
    return torch.cat((columns, _columns(previous, namesakes(names.previous, known.previous))), 1)


def fit_kernel(source: Tensor, shape: torch.Size) -> Tensor:
    """Return the weights of a convolution in the middle of a larger kernel, among zeros.

    Parameters
    ----------
    source : (O, C, *kernel) tensor
        Of a convolution whose padding keeps the shape; any other tensor comes back as it is.
    shape : torch.Size
        What is wanted; kernels are odd.

    Returns
    -------
    (O, C, *kernel) tensor
        It answers as ``source`` does. ``source`` itself if the kernel is as large, or larger along
        some axis.
    """
    margins = [wanted - has for has, wanted in zip(source.shape[2:], shape[2:], strict=False)]
    if source.ndim != len(shape) or not any(margins) or min(margins) < 0:
        return source
    return F.pad(source, [margin // 2 for margin in reversed(margins) for _ in range(2)])


def _columns(weights: Tensor, places: Sequence[int | None]) -> Tensor:
    """Return input channels by their places; the mean of all, 0 of none, where there is no one."""
    mean = weights.sum(1) / max(weights.shape[1], 1)
    return torch.stack([mean if place is None else weights[:, place] for place in places], 1)


def _numbered(names: Sequence[str]) -> list[tuple[str, int]]:
    folded = [name.casefold() for name in names]
    return [(name, folded[:place].count(name)) for place, name in enumerate(folded)]
