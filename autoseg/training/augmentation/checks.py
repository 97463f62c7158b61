"""Refusals of arguments that do not belong together, before anything is augmented."""

from collections.abc import Sequence
from operator import lt

import torch
from torch import Tensor

from autoseg.core.errors import UsageError


def check_counts(samples: int, **others: int) -> None:
    """Refuse sequences of another length than the images'; None is counted as ``samples``."""
    for name, count in others.items():
        if count != samples or not samples:
            raise UsageError(
                f"augmentation: {count} {name} for {samples} images; there must be one for each, "
                "and at least one"
            )


def check_sample(
    image: Tensor,
    segmentation: Tensor,
    mask: Tensor | None,
    channels: int,
    patch_size: Sequence[int],
    inside_only: Sequence[bool],
) -> None:
    """Refuse the image, segmentation and mask of a sample unless they fit what was drawn.

    ``channels`` is for how many it was drawn; the other arguments are those of `augment`.
    """
    _check_types(image, segmentation)
    found, *spatial = image.shape
    if found != channels:
        raise UsageError(
            f"augmentation: the image has {found} channels but was drawn for {channels}"
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


def check_previous(previous: Tensor | None, segmentation: Tensor, labels: int) -> None:
    """Refuse a previous prediction unless it is there for ``labels`` and fits the segmentation."""
    if (previous is not None) != bool(labels):
        raise UsageError(
            f"augmentation: drawn for {labels} labels of a previous stage, whose "
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
