"""How long a training step takes on this machine's CPU: measured once, kept in the workspace."""

from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import ClassVar, Final

import torch

from autoseg.core.errors import DocumentError
from autoseg.core.geometry import STRICT
from autoseg.core.model import ModelDescription
from autoseg.execution.machine import inspect_machine
from autoseg.execution.processor import processor_name, watch_others
from autoseg.execution.progress import Progress
from autoseg.io import documents
from autoseg.io.store import content_key
from autoseg.networks.device import Device, choose_device
from autoseg.training.setup import sound_precision
from autoseg.training.timed_step import measure_augmentation_s, measure_update_s, whole_step

MEASURE_VERSION: Final = 2
"""Raised when something else is measured, so that old times are left alone."""
PASS_FRACTION: Final = 1 / 3
"""Time of a batch without gradients, as a fraction of an update's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """What one step of a training takes on one machine, on average over an epoch."""

    __pydantic_config__: ClassVar = STRICT

    key: str
    """Digest of all of machine and training that the time depends on."""
    machine: str
    """The CPU, its threads, torch, and the precision."""
    training: str
    """What was timed, for a reader."""
    update_s: float
    """Update of the network on a batch that is ready, seconds."""
    augmentation_s: float
    """Random changes of the batch, which the same processor makes, seconds."""
    validation_s: float
    """The step's share of the validation patches that follow each epoch, seconds."""
    is_disturbed: bool
    """Whether other processes slowed the measurement down."""

    def __post_init__(self) -> None:
        parts = (self.update_s, self.augmentation_s, self.validation_s)
        if not (min(parts) >= 0 and sum(parts) > 0 and isfinite(sum(parts))):
            raise DocumentError(
                f"step time: update_s, augmentation_s and validation_s are {parts}; they must be "
                "at least 0, finite, and not all 0"
            )

    @property
    def seconds(self) -> float:
        """Time of a step with all that belongs to it, seconds."""
        return self.update_s + self.augmentation_s + self.validation_s


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimes:
    """All step times that were measured in a workspace."""

    __pydantic_config__: ClassVar = STRICT

    schema_version: int = 1
    """Version of this document."""
    times: tuple[StepTime, ...] = ()
    """The times, oldest first."""


class StepTimer:
    """Tells how long training steps take on this machine's CPU; none is measured twice.

    Parameters
    ----------
    cache : Path
        File of the `StepTimes`; made anew where it is missing or cannot be read.
    progress : Progress
        Told before anything is measured.
    """

    def __init__(self, cache: Path, progress: Progress) -> None:
        self._cache, self._progress = cache, progress
        self._measured: dict[str, StepTime] = {}

    def time(self, description: ModelDescription) -> StepTime:
        """Return the time of a step of a training.

        Parameters
        ----------
        description : ModelDescription
            What would be trained, and how.

        Returns
        -------
        StepTime
            Not counted are waiting for the disk, what comes before the first step, and the
            validation of whole cases after the last.

        Raises
        ------
        ResourceError
            If the file cannot be written.

        Notes
        -----
        A measurement takes 1 to 8 s. One that other processes disturbed, which may be wrong by any
        factor, is made again by the next timer. Undisturbed updates were predicted at 0.92 to 1.17
        times their real time (``benchmarks/cpu_schedule.py``: 2D and 3D, plain and residual, 8 to
        32 channels, batches of 1 to 366); whole steps of ``fast`` on Task04_Hippocampus at 0.92
        times, as reading patches takes its share of the same processor.
        """
        device = sound_precision(choose_device("cpu"), description)
        machine = (
            f"{processor_name()}, {inspect_machine().cores} cores, {torch.get_num_threads()} "
            f"threads, torch {torch.__version__}, {device}"
        )
        key = content_key(MEASURE_VERSION, machine, *_facts(description))
        if key in self._measured:
            return self._measured[key]
        kept = {time.key: time for time in _read(self._cache).times}.get(key)
        if kept is not None and not kept.is_disturbed:
            return kept
        made = self._measure(description, device, machine, key)
        if kept is not None and made.is_disturbed and kept.seconds < made.seconds:
            made = kept
        self._measured[key] = made
        # Read again: another command may have measured in the meantime.
        others = [time for time in _read(self._cache).times if time.key != key]
        documents.write(self._cache, StepTimes(times=(*others, made)), durable=False)
        return made

    def _measure(
        self, description: ModelDescription, device: Device, machine: str, key: str
    ) -> StepTime:
        config = description.training
        what = (
            f"{description.configuration_name}, {description.topology.features[0]} channels, "
            f"batch {whole_step(description).batch_size}, augmentation {config.augmentation}"
        )
        self._progress.note(f"measuring a training step on this CPU: {what}")
        with watch_others(torch.get_num_threads()) as watch:
            update_s = measure_update_s(description, device)
            augmentation_s = measure_augmentation_s(description)
        passes = config.validation_steps / config.steps_per_epoch
        return StepTime(
            key=key,
            machine=machine,
            training=what,
            update_s=update_s,
            augmentation_s=augmentation_s,
            validation_s=update_s * PASS_FRACTION * passes,
            is_disturbed=watch.is_disturbed,
        )


def _facts(description: ModelDescription) -> tuple[object, ...]:
    """Return everything about a training that its time depends on, as JSON values."""
    config, configuration = description.training, description.configuration
    load = whole_step(description)
    return (
        documents.to_json(configuration.arch),
        documents.to_json(description.topology),
        (load.batch_size, *load.patch_size),
        (description.channels_in, description.previous_labels, description.dataset.labels.channels),
        (config.optimizer, config.augmentation, config.validation_steps, config.steps_per_epoch),
        description.mirror_axes,
        [scheme.inside_nonzero_only for scheme in description.plan.normalization],
    )


def _read(cache: Path) -> StepTimes:
    """Return the times that are kept; none where the file cannot be read."""
    try:
        return documents.read(cache, StepTimes)
    except DocumentError:
        return StepTimes()
