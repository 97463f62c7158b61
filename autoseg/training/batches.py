"""What a batch is made of: patches drawn by address, read, and changed on the training device."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from autoseg.core.errors import AutosegError, DamagedError
from autoseg.training.augmentation.augment import (
    Augmentation,
    augment_batch,
    draw_augmentation,
)
from autoseg.training.augmentation.policy import Policy
from autoseg.training.course import Address
from autoseg.training.own_transforms import OwnTransforms
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

    cases: Sequence[OpenCase]
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
    slots: range | None = None
    """Slots of each batch to make, where several devices share it; None makes all."""
    transforms: OwnTransforms | None = None
    """The user's own transforms; None if there are none."""
    folder: Path | None = None
    """Where the cases lie, for processes that open them anew; None if there will be none."""
    previous_folder: Path | None = None
    """Where the previous stage's predictions lie, for the same."""


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
class Patches:
    """The patches of a batch before augmentation, each with a shape of its own."""

    images: tuple[Tensor, ...]
    """(C, *source) float32 each."""
    segmentations: tuple[Tensor, ...]
    """(*source) label maps, unsigned."""
    masks: tuple[Tensor, ...]
    """(*source) bool; none where no channel is 0 outside the imaged body."""
    previous: tuple[Tensor, ...]
    """(*source) label maps of the previous stage, unsigned; none if there is no such stage."""
    drawn: tuple[Augmentation, ...]
    """What is to be done to each."""

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "Patches":
        """Return the patches with every tensor changed, such as moved to a device."""
        return Patches(
            images=tuple(map(change, self.images)),
            segmentations=tuple(map(change, self.segmentations)),
            masks=tuple(map(change, self.masks)),
            previous=tuple(map(change, self.previous)),
            drawn=self.drawn,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One batch on the training device."""

    images: Tensor
    """(N, C, *patch) float32; in a cascade a channel per foreground label follows the image's."""
    targets: Tensor
    """(N, *patch) int64 label map."""
    waited_s: float
    """Time that the device waited for the disk."""


Sources = Mapping[Purpose, BatchSource]
"""What training and validation batches are drawn from."""
Made = Patches | tuple[Tensor, Tensor]
"""A batch in host memory: as read, or augmented (images, and label maps of a small type)."""


def make_batch(sources: Sources, device: torch.device, address: Address) -> Made:
    """Make what of a batch can be made beside the training.

    Parameters
    ----------
    sources : mapping of purpose to BatchSource
        What to draw from.
    device : torch.device
        Where the training runs: on a CPU the batch is augmented at once.
    address : Address
        Which batch.
    """
    source = sources[address.purpose]
    patches = read_patches(source, address.epoch, address.step)
    if device.type == "cuda":
        return patches.mapped(Tensor.pin_memory)
    if device.type != "cpu":
        return patches
    images, targets = augment_patches(source, patches)
    return images, targets.to(patches.segmentations[0].dtype)


def read_samples(source: BatchSource, epoch: int, step: int) -> list[Sample]:
    """Draw and read the slots of one batch, and run the user's own transforms on them.

    Raises
    ------
    DamagedError
        If a case cannot be decoded; names it.
    TrainingError
        If a transform of the user's fails; names it.
    """
    slots = range(source.batch_size) if source.slots is None else source.slots
    return [_read_sample(source, epoch, step, slot) for slot in slots]


def read_patches(source: BatchSource, epoch: int, step: int) -> Patches:
    """As `read_samples`, as tensors that share the arrays' memory."""
    samples = read_samples(source, epoch, step)
    patches = [sample.patch for sample in samples]
    masked = any(source.inside_only)
    return Patches(
        images=tuple(torch.from_numpy(patch.image) for patch in patches),
        segmentations=tuple(torch.from_numpy(patch.segmentation) for patch in patches),
        masks=tuple(torch.from_numpy(patch.nonzero) for patch in patches if masked),
        previous=tuple(
            torch.from_numpy(patch.previous) for patch in patches if patch.previous is not None
        ),
        drawn=tuple(sample.augmentation for sample in samples),
    )


def augment_patches(source: BatchSource, patches: Patches) -> tuple[Tensor, Tensor]:
    """Change patches as it was drawn, on the device that they lie on.

    Returns
    -------
    images : (N, C, *patch) float32 tensor
        In a cascade a channel per foreground label follows the image's.
    targets : (N, *patch) int64 tensor
        Label maps.
    """
    label_maps = (*patches.segmentations, *patches.previous)
    are_bytes = all(label_map.dtype == torch.uint8 for label_map in label_maps)
    kind = torch.uint8 if are_bytes else torch.int64  # bytes are interpolated faster
    images, targets = augment_batch(
        patches.images,
        [segmentation.to(kind) for segmentation in patches.segmentations],
        patches.masks or None,
        patches.drawn,
        source.patch_size,
        inside_only=source.inside_only,
        previous=[label_map.to(kind) for label_map in patches.previous] or None,
    )
    return images, targets.long()


def draw_case(
    source: BatchSource, epoch: int, step: int, slot: int
) -> tuple[np.random.Generator, OpenCase]:
    """Return a patch's generator, which first drew the case, and that case."""
    rng = generator(
        source.seed, fold=source.fold, purpose=source.purpose, epoch=epoch, step=step, slot=slot
    )
    return rng, source.cases[int(rng.integers(len(source.cases)))]


def _read_sample(source: BatchSource, epoch: int, step: int, slot: int) -> Sample:
    rng, case = draw_case(source, epoch, step, slot)
    with _about(case.record.name):
        return _cut_sample(source, rng, case, step, slot)


def _cut_sample(
    source: BatchSource, rng: np.random.Generator, case: OpenCase, step: int, slot: int
) -> Sample:
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
    patch = _without(patch, len(ones))
    if source.transforms is not None:
        patch = source.transforms.apply(
            patch,
            seed=int(rng.integers(2**32)),
            case=case.record.name,
            masked=any(source.inside_only),
            previous_labels=source.previous_labels,
        )
    return Sample(case=case.record.name, patch=patch, augmentation=drawn)


@contextmanager
def _about(case: str) -> Iterator[None]:
    """Let whatever is raised in the block name the case."""
    try:
        yield
    except AutosegError as error:
        error.about(case)
        raise
    except RuntimeError as error:  # how blosc2 says that it cannot decode
        raise DamagedError(
            f"preprocessed case {case!r}: a patch cannot be read: {error}",
            rule="E-RES-76",
            hint="build it again: autoseg preprocess",
        ).about(case) from error
    except Exception as error:
        error.add_note(f"while a patch of case {case!r} was made")
        raise


def _without(patch: Patch, axes: int) -> Patch:
    """Drop leading spatial axes of one voxel."""
    gone = tuple(range(axes))
    return Patch(
        image=patch.image.squeeze(tuple(axis + 1 for axis in gone)),
        segmentation=patch.segmentation.squeeze(gone),
        nonzero=patch.nonzero.squeeze(gone),
        previous=None if patch.previous is None else patch.previous.squeeze(gone),
    )
