"""Everything one fold's training works with, gathered before the first step."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from autoseg.core.folds import Fold
from autoseg.core.model import ModelDescription
from autoseg.io import store
from autoseg.io.documents import encode
from autoseg.networks.assembler import UNet, build_network
from autoseg.networks.device import Device, place_network
from autoseg.training.augmentation.policy import NONE, policy_named
from autoseg.training.batches import BatchSource
from autoseg.training.course import Course
from autoseg.training.feeding import Feed, chosen_workers, open_feed
from autoseg.training.initial_weights import InitialWeights, start_from
from autoseg.training.origin import Origin
from autoseg.training.own_transforms import load_transforms
from autoseg.training.ranks import SINGLE, Ranks
from autoseg.training.sampling import OpenCase, Purpose, open_cases


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldSetup:
    """One fold to train."""

    folder: Path
    """Folder of the fold in the model folder."""
    number: int
    """Number of the fold."""
    fold: Fold
    """Cases that train and that validate."""
    description: ModelDescription
    """What is trained, and how."""
    cases: tuple[OpenCase, ...]
    """Preprocessed training cases."""
    validation_cases: tuple[OpenCase, ...]
    """Preprocessed validation cases."""
    device: Device
    """Where to train."""
    cases_folder: Path
    """Where the preprocessed cases lie."""
    previous_folder: Path | None = None
    """Where the previous stage's predictions for them lie."""
    initial: InitialWeights | None = None
    """Trained weights to start from, if any."""

    @property
    def origin(self) -> Origin:
        """What a checkpoint must have been started with."""
        as_asked = replace(self.description, autoseg_version="", decisions=())
        return Origin(
            description=store.content_key(encode(as_asked).decode()),
            fold=self.number,
            initial=None if self.initial is None else self.initial.origin,
            cases=tuple(
                (case.record.name, store.content_key(case.record.key, case.previous_key))
                for case in (*self.cases, *self.validation_cases)
            ),
        )

    def source(self, purpose: Purpose, *, ranks: Ranks = SINGLE) -> BatchSource:
        """Return where training or validation batches are drawn from.

        Parameters
        ----------
        purpose : {"training", "validation"}
            Patches for validation are not changed.
        ranks : Ranks
            The processes that share each batch.

        Raises
        ------
        UsageError
            If there are more processes than slots, or one's own transforms are not installed.
        """
        description = self.description
        config, configuration = description.training, description.configuration
        training = purpose == "training"
        batch_size, labels = config.batch_size(configuration), description.dataset.labels
        return BatchSource(
            cases=self.cases if training else self.validation_cases,
            purpose=purpose,
            seed=config.seed,
            fold=self.number,
            batch_size=batch_size,
            patch_size=configuration.patch_size,
            foreground_fraction=config.foreground_fraction,
            policy=policy_named(config.augmentation) if training else NONE,
            mirror_axes=description.mirror_axes,
            inside_only=tuple(
                scheme.inside_nonzero_only for scheme in description.plan.normalization
            ),
            previous_labels=description.previous_labels,
            slots=None if ranks.count == 1 else ranks.share(batch_size),
            transforms=load_transforms(
                config.transforms, largest_label=labels.count - 1 + (labels.ignored is not None)
            )
            if training and config.transforms
            else None,
            folder=self.cases_folder,
            previous_folder=self.previous_folder,
        )

    @contextmanager
    def open_feed(self, ranks: Ranks = SINGLE, *, workers: int | None = None) -> Iterator[Feed]:
        """Open what brings training and validation batches to the device.

        Parameters
        ----------
        ranks : Ranks
            The processes that share each batch.
        workers : int, optional
            Who makes batches: see `autoseg.training.feeding.chosen_workers`.
        """
        config = self.description.training
        course = Course(
            steps_per_epoch=config.steps_per_epoch,
            validation_steps=config.validation_steps if ranks.is_first else 0,
        )
        with open_feed(
            self.source("training", ranks=ranks),
            self.device.torch_device,
            course=course,
            validation=self.source("validation"),
            workers=chosen_workers(workers, self.device.torch_device),
        ) as feed:
            yield feed

    def fresh_network(self) -> UNet:
        """Return a new network on the device; the same seed and fold give the same weights."""
        torch.manual_seed(self.description.training.seed * 1000 + self.number)
        network = build_network(
            self.description.configuration.arch,
            self.description.topology,
            channels_in=self.description.channels_in,
            channels_out=self.description.dataset.labels.channels,
        )
        if self.initial is not None:
            start_from(network, self.initial, self.description)
        return place_network(network, self.device, axes=self.description.configuration.ndim)


def gather_fold(
    folder: Path,
    number: int,
    fold: Fold,
    description: ModelDescription,
    *,
    cases: Path,
    device: Device,
    previous: Path | None = None,
) -> FoldSetup:
    """Open what a fold needs.

    Parameters
    ----------
    folder : Path
        Model folder.
    number : int
        Number of the fold.
    fold : Fold
        Its cases.
    description : ModelDescription
        What to train.
    cases : Path
        Folder of preprocessed cases.
    device : Device
        Where to train; see `sound_precision`.
    previous : Path, optional
        Folder of what the previous stage predicted for the cases, on the same grid.

    Raises
    ------
    DamagedError
        If a preprocessed case or a prediction is missing or damaged.
    """
    return FoldSetup(
        folder=folder / f"fold_{number}",
        number=number,
        fold=fold,
        description=description,
        cases=open_cases(cases, fold.training, previous=previous),
        validation_cases=open_cases(cases, fold.validation, previous=previous),
        device=sound_precision(device, description),
        cases_folder=cases,
        previous_folder=previous,
    )


def sound_precision(device: Device, description: ModelDescription) -> Device:
    """Return the device, in float32 where its bfloat16 would give wrong gradients.

    Notes
    -----
    On CPUs with AVX512-bf16 the weight gradient of a 3D convolution over a first axis of exactly
    2 voxels, with a kernel of 3 and stride 1 along it, is uninitialized memory (torch 2.13, oneDNN
    3.12, kernel ``jit_bf16:avx512_core_bf16``); any other size and axis is right.
    """
    configuration, topology = description.configuration, description.topology
    if device.torch_device.type != "cpu" or configuration.ndim < 3:
        return device
    depth = configuration.patch_size[0]
    for stride, kernel in zip(topology.strides, topology.kernels, strict=True):
        depth //= stride[0]
        if depth == 2 and kernel[0] > 1:
            return replace(device, autocast=None)
    return device
