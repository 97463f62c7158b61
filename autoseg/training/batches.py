"""Batches of augmented patches: read ahead by threads, changed on the training device."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor

from autoseg.training.augmentation.augment import Augmentation, augment, draw_augmentation
from autoseg.training.augmentation.policy import Policy
from autoseg.training.sampling import (
    OpenCase,
    Patch,
    Purpose,
    draw_start,
    generator,
    is_forced,
    read_patch,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSource:
    """What batches are drawn from and how."""

    cases: tuple[OpenCase, ...]
    """Cases to draw from, each equally often."""
    purpose: Purpose
    """Part of every patch's random address."""
    seed: int
    """Start of all randomness."""
    fold: int
    """Part of every patch's random address."""
    batch_size: int
    """Patches per batch."""
    patch_size: tuple[int, ...]
    """Voxels per spatial axis."""
    foreground_fraction: float
    """Share of patches that are centered on foreground."""
    policy: Policy
    """Random changes."""
    mirror_axes: tuple[int, ...]
    """Spatial axes along which patches may be mirrored."""
    inside_only: tuple[bool, ...]
    """Per channel whether it is 0 outside the nonzero mask."""
    previous_labels: int = 0
    """Foreground labels that the previous stage predicts; 0 where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One slot of a batch, as read: the patch and what was drawn for it."""

    case: str
    """Case that it was cut from."""
    patch: Patch
    """Voxels, at least as many as the patch size."""
    augmentation: Augmentation
    """What is to be done to them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One batch on the training device."""

    images: Tensor
    """(N, C, *patch) float32; in a cascade a channel per foreground label follows the image's."""
    targets: Tensor
    """(N, *patch) int64 label map."""
    waited_s: float
    """Time that the device waited for the disk."""


def stream(
    source: BatchSource,
    addresses: Sequence[tuple[int, int]],
    device: torch.device,
    *,
    threads: int = 2,
    ahead: int = 4,
) -> Iterator[Batch]:
    """Yield the batches of some (epoch, step) addresses, in order.

    Parameters
    ----------
    source : BatchSource
        What to draw from.
    addresses : sequence of (epoch, step)
        Which batches; the same address always gives the same batch.
    device : torch.device
        Where patches are augmented.
    threads : int
        Threads that read; their number never changes a batch.
    ahead : int
        Batches read before they are needed.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="read-patches") as pool:
        waiting: deque[Future[list[Sample]]] = deque()
        try:
            for place in range(len(addresses) + ahead):
                if place < len(addresses):
                    waiting.append(pool.submit(read_samples, source, *addresses[place]))
                if place >= ahead:
                    began = perf_counter()
                    samples = waiting.popleft().result()
                    waited = perf_counter() - began
                    yield _collate(source, samples, device, waited)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def read_samples(source: BatchSource, epoch: int, step: int) -> list[Sample]:
    """Draw and read all slots of one batch."""
    return [_read_sample(source, epoch, step, slot) for slot in range(source.batch_size)]


def _read_sample(source: BatchSource, epoch: int, step: int, slot: int) -> Sample:
    rng = generator(
        source.seed, fold=source.fold, purpose=source.purpose, epoch=epoch, step=step, slot=slot
    )
    case = source.cases[int(rng.integers(len(source.cases)))]
    channels = case.arrays.image.shape[0]
    drawn = draw_augmentation(
        rng,
        source.policy,
        source.patch_size,
        channels,
        source.mirror_axes,
        source.previous_labels,
    )
    ones = (1,) * (len(case.record.shape) - len(source.patch_size))  # 2D patches of a 3D image
    forced = is_forced(slot, source.batch_size, source.foreground_fraction, step=step)
    start = draw_start(rng, case, (*ones, *source.patch_size), forced=forced)
    shape = (*ones, *drawn.source_shape(source.patch_size))
    margin = (
        (wide - patch) // 2 for wide, patch in zip(shape, (*ones, *source.patch_size), strict=True)
    )
    patch = read_patch(case, [a - m for a, m in zip(start, margin, strict=True)], shape)
    return Sample(case=case.record.name, patch=_without(patch, len(ones)), augmentation=drawn)


def _without(patch: Patch, axes: int) -> Patch:
    """Drop leading spatial axes of one voxel."""
    gone = tuple(range(axes))
    return Patch(
        image=patch.image.squeeze(tuple(axis + 1 for axis in gone)),
        segmentation=patch.segmentation.squeeze(gone),
        nonzero=patch.nonzero.squeeze(gone),
        previous=None if patch.previous is None else patch.previous.squeeze(gone),
    )


def _collate(
    source: BatchSource, samples: Sequence[Sample], device: torch.device, waited_s: float
) -> Batch:
    images, targets = [], []
    for sample in samples:
        patch, previous = sample.patch, sample.patch.previous
        image, target = augment(
            torch.from_numpy(patch.image).to(device),
            torch.from_numpy(patch.segmentation).to(device).long(),
            torch.from_numpy(patch.nonzero).to(device),
            sample.augmentation,
            source.patch_size,
            inside_only=source.inside_only,
            previous=None if previous is None else torch.from_numpy(previous).to(device).long(),
        )
        images.append(image)
        targets.append(target)
    return Batch(images=torch.stack(images), targets=torch.stack(targets), waited_s=waited_s)
