"""Augmentation of one training patch: everything is drawn first, then applied on any device."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import lt

import numpy as np
import torch
from torch import Tensor

from autoseg.core.errors import UsageError
from autoseg.networks.previous import label_channels
from autoseg.training.augmentation.intensity import DRAWS, IntensityTransform
from autoseg.training.augmentation.mirror import Mirror
from autoseg.training.augmentation.policy import Policy
from autoseg.training.augmentation.previous import PreviousTransform, draw_previous
from autoseg.training.augmentation.spatial import Spatial, centered_crop


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
    """Mirrored axes; None if there are none."""
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
        Spatial axes along which mirroring is allowed.
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
        mirror=Mirror.draw(rng, policy, mirror_axes),
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
    """Apply what was drawn to one sample, on the device that it lies on.

    Parameters
    ----------
    image : (C, *source) float32 tensor
        A patch of `Augmentation.source_shape` or any larger one, around the same center.
    segmentation : (*source) integer tensor
        Label map.
    mask : (*source) bool tensor, optional
        Voxels that were nonzero before normalization.
    drawn : Augmentation
        From `draw_augmentation` for the same patch.
    patch_size : sequence of int
        Spatial shape of the result.
    inside_only : sequence of bool
        Per channel whether it is set to 0 outside the mask; empty for none.
    previous : (*source) tensor, same type as the segmentation, optional
        Label map that the previous stage predicted; needed where the augmentation was drawn for
        one.

    Returns
    -------
    image : (C, *patch_size) float32 tensor
        Behind the image's channels follows one for each foreground label of ``previous``.
    segmentation : (*patch_size) tensor of the same type
        Where the sources end, both are 0. They may share memory with the arguments.

    Raises
    ------
    UsageError
        If shapes, types or channels do not belong together.

    Notes
    -----
    The order is nnU-Net's: rotation and scaling, noise, blur, brightness, contrast, low
    resolution, inverted gamma, gamma, mirroring, mask, faults of the previous prediction.
    """
    _check(image, segmentation, mask, drawn, patch_size, inside_only)
    _check_previous(previous, segmentation, drawn)
    masked = mask if any(inside_only) else None
    labels = torch.stack(
        [
            segmentation,
            *(() if previous is None else (previous,)),
            *(() if masked is None else (masked.to(segmentation.dtype),)),
        ]
    )
    if drawn.spatial is None:
        image, labels = centered_crop(image, patch_size), centered_crop(labels, patch_size)
    else:
        image, labels = drawn.spatial.apply(image, labels, patch_size)
    for transform in drawn.intensity:
        image = transform.apply(image)
    if drawn.mirror is not None:
        image, labels = drawn.mirror.apply(image), drawn.mirror.apply(labels)
    if masked is not None:
        image = _zero_outside(image, labels[-1] != 0, inside_only)
    if previous is not None:
        prediction = labels[1]
        for fault in drawn.previous:
            prediction = fault.apply(prediction)
        image = torch.cat([image, label_channels(prediction, drawn.previous_labels)])
    return image, labels[0]


def _zero_outside(image: Tensor, mask: Tensor, inside_only: Sequence[bool]) -> Tensor:
    everywhere = [not flag for flag in inside_only]
    shape = (-1, *(1,) * mask.ndim)
    keep = torch.tensor(everywhere, device=image.device).reshape(shape) | mask
    return torch.where(keep, image, torch.zeros((), dtype=image.dtype, device=image.device))


def _check(
    image: Tensor,
    segmentation: Tensor,
    mask: Tensor | None,
    drawn: Augmentation,
    patch_size: Sequence[int],
    inside_only: Sequence[bool],
) -> None:
    _check_types(image, segmentation)
    channels, *spatial = image.shape
    if channels != drawn.channels:
        raise UsageError(
            f"augmentation: the image has {channels} channels but was drawn for {drawn.channels}"
        )
    for name, other in (("segmentation", segmentation), ("mask", mask)):
        if other is not None and list(other.shape) != spatial:
            raise UsageError(
                f"augmentation: {name} shape {tuple(other.shape)} differs from the image's "
                f"{tuple(spatial)}"
            )
    if len(spatial) != len(patch_size) or any(map(lt, spatial, patch_size)):
        raise UsageError(
            f"augmentation: image shape {tuple(spatial)} must be at least patch_size "
            f"{tuple(patch_size)}"
        )
    if any(inside_only) and (mask is None or len(inside_only) != channels):
        raise UsageError(
            f"augmentation: inside_only {tuple(inside_only)} needs a mask and one entry for each "
            f"of {channels} channels"
        )


def _check_previous(previous: Tensor | None, segmentation: Tensor, drawn: Augmentation) -> None:
    if (previous is not None) != bool(drawn.previous_labels):
        raise UsageError(
            f"augmentation: drawn for {drawn.previous_labels} labels of a previous stage, whose "
            f"prediction is {'missing' if previous is None else 'given'}"
        )
    if previous is not None and (previous.shape, previous.dtype) != (
        segmentation.shape,
        segmentation.dtype,
    ):
        raise UsageError(
            f"augmentation: previous prediction of shape {tuple(previous.shape)} and "
            f"{previous.dtype} must be as the segmentation, {tuple(segmentation.shape)} and "
            f"{segmentation.dtype}"
        )


def _check_types(image: Tensor, segmentation: Tensor) -> None:
    if image.dtype != torch.float32:
        raise UsageError(f"augmentation: the image is {image.dtype}; it must be torch.float32")
    if segmentation.dtype not in (torch.uint8, torch.int16, torch.int32, torch.int64):
        raise UsageError(
            f"augmentation: the segmentation is {segmentation.dtype}; it must be torch.uint8, "
            "int16, int32 or int64"
        )
