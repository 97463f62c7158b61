"""Augmentation of training patches: everything is drawn first, then applied on any device."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import torch
from torch import Tensor

from autoseg.core.errors import UsageError
from autoseg.networks.previous import label_channels
from autoseg.training.augmentation.checks import check_counts, check_previous, check_sample
from autoseg.training.augmentation.intensity import (
    Brightness,
    Contrast,
    Draw,
    Gamma,
    IntensityTransform,
    Noise,
    Shift,
)
from autoseg.training.augmentation.local import Gradient, LocalGamma, Rectangles
from autoseg.training.augmentation.mirror import Mirror
from autoseg.training.augmentation.neighborhood import LowResolution, Sharpening, draw_smoothing
from autoseg.training.augmentation.parts import change_places, places_of
from autoseg.training.augmentation.policy import Policy
from autoseg.training.augmentation.previous import PreviousTransform, draw_previous
from autoseg.training.augmentation.spatial import Spatial, sample_patches

DRAWS: Final[tuple[Draw, ...]] = (
    Noise.draw_first,
    draw_smoothing,
    Noise.draw_later,
    Brightness.draw,
    Shift.draw,
    Contrast.draw,
    LowResolution.draw,
    Gamma.draw_inverted,
    Gamma.draw,
    Rectangles.draw,
    Gradient.draw,
    LocalGamma.draw,
    Sharpening.draw,
)
"""Draws of every change of intensity, in the order in which they are applied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """Everything that was drawn for one sample; applying it again gives the same patch."""

    channels: int
    """Image channels that this was drawn for."""
    spatial: Spatial | None
    """Rotation and scaling; None crops the middle without interpolation."""
    intensity: tuple[IntensityTransform, ...]
    """Changes of intensity, in order; only those that the sample gets."""
    mirror: Mirror | None
    """Mirrored and exchanged axes; None if there are none."""
    previous: tuple[PreviousTransform, ...] = ()
    """Faults of the previous stage's prediction, in order."""
    previous_labels: int = 0
    """Foreground labels of that prediction; 0 where there is no previous stage."""

    def source_shape(self, patch_size: Sequence[int]) -> tuple[int, ...]:
        """Return the smallest patch to read for this sample: see `Spatial.source_shape`."""
        if self.spatial is None:
            return tuple(patch_size)
        return self.spatial.source_shape(patch_size)


def draw_augmentation(
    rng: np.random.Generator,
    policy: Policy,
    patch_size: Sequence[int],
    channels: int,
    mirror_axes: Sequence[int],
    previous_labels: int = 0,
) -> Augmentation:
    """Draw all changes of one sample.

    Parameters
    ----------
    rng : numpy.random.Generator
        The sample's own generator; nothing else is random.
    policy : Policy
        Probabilities and ranges.
    patch_size : sequence of int
        Voxels per spatial axis of the augmented patch, the coarsest axis first.
    channels : int
        Image channels.
    mirror_axes : sequence of int
        Spatial axes along which mirroring is allowed, and with it exchanges of equally long ones.
    previous_labels : int
        Foreground labels of the previous stage's prediction; 0 where there is no previous stage.

    Raises
    ------
    UsageError
        If the patch has not 2 or 3 axes, or a mirrored axis is not one of them.
    """
    if len(patch_size) not in (2, 3):
        raise UsageError(f"augmentation: patch_size {tuple(patch_size)} must have 2 or 3 axes")
    if any(not 0 <= axis < len(patch_size) for axis in mirror_axes):
        raise UsageError(
            f"augmentation: mirror_axes {tuple(mirror_axes)} must lie within the "
            f"{len(patch_size)} axes of the patch"
        )
    spatial = Spatial.draw(rng, policy, patch_size)
    drawn = [draw(rng, policy, patch_size, channels) for draw in DRAWS]
    return Augmentation(
        channels=channels,
        spatial=spatial,
        intensity=tuple(transform for transform in drawn if transform is not None),
        mirror=Mirror.draw(rng, policy, mirror_axes, patch_size),
        previous=draw_previous(rng, policy, previous_labels, patch_size),
        previous_labels=previous_labels,
    )


def augment(
    image: Tensor,
    segmentation: Tensor,
    mask: Tensor | None,
    drawn: Augmentation,
    patch_size: Sequence[int],
    *,
    inside_only: Sequence[bool] = (),
    previous: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Apply what was drawn to one sample: `augment_batch` of a single one.

    Returns
    -------
    image : (C', *patch_size) float32 tensor
    segmentation : (*patch_size) tensor of its type
    """
    images, segmentations = augment_batch(
        [image],
        [segmentation],
        None if mask is None else [mask],
        [drawn],
        patch_size,
        inside_only=inside_only,
        previous=None if previous is None else [previous],
    )
    return images[0], segmentations[0]


def augment_batch(
    images: Sequence[Tensor],
    segmentations: Sequence[Tensor],
    masks: Sequence[Tensor] | None,
    drawn: Sequence[Augmentation],
    patch_size: Sequence[int],
    *,
    inside_only: Sequence[bool] = (),
    previous: Sequence[Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Apply what was drawn to the samples of a batch, on the device that they lie on.

    Parameters
    ----------
    images : sequence of N (C, *source) float32 tensors
        Patches of `Augmentation.source_shape` or any larger one, around the same center; the
        shapes may differ.
    segmentations : sequence of N (*source) integer tensors
        Label maps.
    masks : sequence of N (*source) bool tensors, optional
        Voxels that were nonzero before normalization.
    drawn : sequence of N Augmentation
        From `draw_augmentation` for the same patch.
    patch_size : sequence of int
        Spatial shape of the result.
    inside_only : sequence of bool
        Per channel whether it is set to 0 outside the mask; empty for none.
    previous : sequence of N (*source) tensors, same type as the segmentations, optional
        Label maps that the previous stage predicted; needed where the augmentation was drawn for
        one.

    Returns
    -------
    images : (N, C', *patch_size) float32 tensor
        Behind the image's channels follows one for each foreground label of ``previous``.
    segmentations : (N, *patch_size) tensor of the same type
        Where the sources end, both are 0. Neither shares memory with the arguments.

    Raises
    ------
    UsageError
        If counts, shapes, types or channels do not belong together.

    Notes
    -----
    The order is nnU-Net's: rotation and scaling, the changes of intensity in the order of `DRAWS`,
    mirroring, mask, faults of the previous prediction. What a sample becomes does not depend on
    the others. The host never waits for the device, but where components of a previous prediction
    are removed.
    """
    _check(images, segmentations, masks, drawn, patch_size, inside_only, previous)
    masked = masks if any(inside_only) else None
    kinds = [kind for kind in (segmentations, previous, masked) if kind is not None]
    spatials, mirrors = [one.spatial for one in drawn], [one.mirror for one in drawn]
    patches, maps = sample_patches(images, kinds, spatials, patch_size)
    _change_intensities(patches, [one.intensity for one in drawn])
    for mirror, places in places_of(mirrors).items():
        change_places(patches, places, partial(mirror.apply, leading=2))
        for each in maps:
            change_places(each, places, partial(mirror.apply, leading=1))
    if masked is not None:
        _zero_outside(patches, maps[-1], inside_only)
    if previous is None:
        return patches, maps[0]
    predictions = maps[1]
    for prediction, one in zip(predictions, drawn, strict=True):
        for fault in one.previous:
            prediction.copy_(fault.apply(prediction))
    channels = label_channels(predictions, drawn[0].previous_labels).transpose(0, 1)
    return torch.cat([patches, channels], dim=1), maps[0]


def _change_intensities(images: Tensor, drawn: Sequence[Sequence[IntensityTransform]]) -> None:
    """Apply each sample's changes in its order, those of a kind together where orders allow it."""
    waiting = [deque(transforms) for transforms in drawn]
    while any(waiting):
        kind = _next_kind(waiting)
        places = [n for n, queue in enumerate(waiting) if queue and type(queue[0]) is kind]
        of_kind = [waiting[place].popleft() for place in places]
        change_places(images, places, partial(kind.apply, drawn=of_kind))


def _next_kind(waiting: Sequence[deque[IntensityTransform]]) -> type[IntensityTransform]:
    """Return a kind that is next for some sample and, if possible, comes later for no other."""
    heads = [type(queue[0]) for queue in waiting if queue]
    later = {type(transform) for queue in waiting for transform in list(queue)[1:]}
    return next((kind for kind in heads if kind not in later), heads[0])


def _zero_outside(images: Tensor, masks: Tensor, inside_only: Sequence[bool]) -> None:
    inside = masks.to(images.dtype)  # a product is many times faster than a choice on a CPU
    for channel, flagged in enumerate(inside_only):
        if flagged:
            images[:, channel].mul_(inside)


def _check(
    images: Sequence[Tensor],
    segmentations: Sequence[Tensor],
    masks: Sequence[Tensor] | None,
    drawn: Sequence[Augmentation],
    patch_size: Sequence[int],
    inside_only: Sequence[bool],
    previous: Sequence[Tensor] | None,
) -> None:
    count = len(images)
    check_counts(
        count,
        segmentations=len(segmentations),
        masks=count if masks is None else len(masks),
        augmentations=len(drawn),
        predictions=count if previous is None else len(previous),
    )
    for place, one in enumerate(drawn):
        segmentation = segmentations[place]
        mask = None if masks is None else masks[place]
        check_sample(images[place], segmentation, mask, one.channels, patch_size, inside_only)
        before = None if previous is None else previous[place]
        check_previous(before, segmentation, one.previous_labels)
