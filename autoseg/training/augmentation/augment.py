"""Augmentation of one training patch: everything is drawn first, then applied on any device."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import lt

import numpy as np
import torch
from torch import Tensor

from autoseg.core.errors import UsageError
from autoseg.training.augmentation.intensity import DRAWS, IntensityTransform
from autoseg.training.augmentation.mirror import Mirror
from autoseg.training.augmentation.policy import Policy
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
    )


def augment(
    image: Tensor,
    segmentation: Tensor,
    mask: Tensor | None,
    drawn: Augmentation,
    patch_size: Sequence[int],
    *,
    inside_only: Sequence[bool] = (),
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

    Returns
    -------
    image : (C, *patch_size) float32 tensor
    segmentation : (*patch_size) tensor of the same type
        Where the sources end, both are 0. They may share memory with the arguments.

    Raises
    ------
    UsageError
        If shapes, types or channels do not belong together.

    Notes
    -----
    The order is nnU-Net's: rotation and scaling, noise, blur, brightness, contrast, low
    resolution, inverted gamma, gamma, mirroring, mask.
    """
    _check(image, segmentation, mask, drawn, patch_size, inside_only)
    masked = mask if any(inside_only) else None
    labels = segmentation[None]
    if masked is not None:
        labels = torch.stack([segmentation, masked.to(segmentation.dtype)])
    if drawn.spatial is None:
        image, labels = centered_crop(image, patch_size), centered_crop(labels, patch_size)
    else:
        image, labels = drawn.spatial.apply(image, labels, patch_size)
    for transform in drawn.intensity:
        image = transform.apply(image)
    if drawn.mirror is not None:
        image, labels = drawn.mirror.apply(image), drawn.mirror.apply(labels)
    if masked is not None:
        image = _zero_outside(image, labels[1] != 0, inside_only)
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


def _check_types(image: Tensor, segmentation: Tensor) -> None:
    if image.dtype != torch.float32:
        raise UsageError(f"augmentation: the image is {image.dtype}; it must be torch.float32")
    if segmentation.dtype not in (torch.uint8, torch.int16, torch.int32, torch.int64):
        raise UsageError(
            f"augmentation: the segmentation is {segmentation.dtype}; it must be torch.uint8, "
            "int16, int32 or int64"
        )
