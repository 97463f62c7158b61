"""How long a training step takes on a CPU, found out in seconds from less than a step.

A step of a large plan may take a minute there. So real steps are made on a part of the batch, and
their time is scaled by the voxels.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil, inf, prod
from time import perf_counter
from typing import Final

import numpy as np
import torch
from torch import nn

from autoseg.core.model import ModelDescription
from autoseg.execution.allocator import keep_freed_memory
from autoseg.networks.assembler import build_network
from autoseg.networks.device import Device, place_network
from autoseg.training.augmentation.augment import augment, draw_augmentation
from autoseg.training.augmentation.policy import policy_named
from autoseg.training.batches import Batch
from autoseg.training.state import make_state
from autoseg.training.step import training_step

LONGEST_STEP_S: Final = 2.0
"""Time that the timed part of a batch may take, seconds."""
MOST_REPEATS: Final = 5
"""Repeats of one step; fewer once they have taken `LONGEST_STEP_S` together."""
LEAST_VOXELS: Final = 2**15
"""Voxels below which a step's time says little of a larger one's."""
LARGEST_KEPT_BYTES: Final = 2**25
"""Tensors from this size on are given back to the system and asked for anew in every step: the
largest ``M_MMAP_THRESHOLD`` that glibc's malloc chooses by itself."""
FRESH_MEMORY: Final = 1.25
"""Time per voxel of a step with such tensors in the finest stage, as a multiple of one without:
1.17 to 1.31 was measured. Where malloc keeps freed memory it is 1."""
DRAWS: Final = 8
"""Patches that are changed for the mean time of one."""
AUGMENTED_VOXELS: Final = 2**18
"""Voxels of these patches at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What one timed step computes."""

    patch_size: tuple[int, ...]
    """Voxels per spatial axis."""
    batch_size: int
    """Patches."""

    @property
    def voxels(self) -> int:
        """Voxels of the batch."""
        return self.batch_size * prod(self.patch_size)


def whole_step(description: ModelDescription) -> Workload:
    """Return what a real step of a training computes."""
    configuration = description.configuration
    return Workload(
        patch_size=configuration.patch_size,
        batch_size=description.training.batch_size(configuration),
    )


def smaller_workloads(whole: Workload, divisor: tuple[int, ...]) -> tuple[Workload, ...]:
    """Return ever larger parts of a batch, the whole of it last.

    Parameters
    ----------
    whole : Workload
        The batch.
    divisor : tuple of int
        What patches must be a multiple of, per axis.

    Notes
    -----
    From the whole on, the batch is halved down to one patch; then, time and again, the axis along
    which the network's coarsest stage has most voxels is, rounded up to the divisor. The coarsest
    stage keeps 2 voxels along some axis, for its normalization, and the patch `LEAST_VOXELS`.

    Examples
    --------
    >>> whole = Workload(patch_size=(12, 256, 192), batch_size=3)
    >>> [(load.batch_size, *load.patch_size) for load in smaller_workloads(whole, (4, 64, 64))]
    [(1, 4, 64, 128), (1, 4, 128, 128), (1, 8, 128, 128), ..., (1, 12, 256, 192), (3, 12, 256, 192)]
    """
    found = [whole]
    while found[-1].batch_size > 1:
        found.append(replace(found[-1], batch_size=found[-1].batch_size // 2))
    while (smaller := _halved(found[-1], divisor)) is not None:
        found.append(smaller)
    return tuple(reversed(found))


def _halved(load: Workload, divisor: tuple[int, ...]) -> Workload | None:
    """Return the patch halved where its coarsest stage is longest; None if it is too small."""
    coarse = [size // by for size, by in zip(load.patch_size, divisor, strict=True)]
    axis = coarse.index(max(coarse))
    half = [ceil(n / 2) if a == axis else n for a, n in enumerate(coarse)]
    patch = tuple(n * by for n, by in zip(half, divisor, strict=True))
    if half == coarse or prod(half) < 2 or prod(patch) < LEAST_VOXELS:
        return None
    return replace(load, patch_size=patch)


def measure_update_s(
    description: ModelDescription, device: Device, *, clock: Callable[[], float] = perf_counter
) -> float:
    """Time the update of a network on a batch that is ready, seconds.

    Parameters
    ----------
    description : ModelDescription
        What would be trained, and how.
    device : Device
        A CPU, and the precision that the whole patch is trained in.
    clock : callable
        Tells the time, seconds.

    Returns
    -------
    float
        Of a step on the whole batch.

    Notes
    -----
    Steps are made on the largest of `smaller_workloads` that takes up to `LONGEST_STEP_S`. The
    fastest counts, which other processes disturb least. What the optimizer does takes the same in
    every step; the rest is proportional to voxels, but for `fresh_memory` where the process cannot
    keep what it frees.
    """
    keeps = keep_freed_memory()
    whole = whole_step(description)
    loads = smaller_workloads(whole, description.topology.divisor)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        step = _Stepper(description, device, clock)
        smallest_s = min(step.time(loads[0]), step.time(loads[0]))  # the first wakes libraries
        load = _largest(loads, LONGEST_STEP_S * loads[0].voxels / smallest_s)
        fastest_s = _fastest(lambda: step.time(load))
        if load == loads[0]:
            fastest_s = min(smallest_s, fastest_s)
        fixed_s = min(_fastest(step.time_optimizer), fastest_s)
    slower = 1.0 if keeps else fresh_memory(description, device, load)
    per_voxel_s = (fastest_s - fixed_s) / load.voxels * slower
    return fixed_s + per_voxel_s * whole.voxels


def measure_augmentation_s(description: ModelDescription) -> float:
    """Time the random changes of a batch, which take turns with its update on a CPU, seconds.

    Parameters
    ----------
    description : ModelDescription
        What would be trained, and how.

    Returns
    -------
    float
        Mean over `DRAWS` patches of at most `AUGMENTED_VOXELS`, scaled to the batch.
    """
    channels = len(description.dataset.channels)
    whole = whole_step(description)
    loads = smaller_workloads(replace(whole, batch_size=1), description.topology.divisor)
    load = _largest(loads, AUGMENTED_VOXELS)
    rng = np.random.default_rng(0)
    spent_s = 0.0
    for _ in range(DRAWS):
        drawn = draw_augmentation(
            rng,
            policy_named(description.training.augmentation),
            load.patch_size,
            channels,
            description.mirror_axes,
            description.previous_labels,
        )
        shape = drawn.source_shape(load.patch_size)
        labels = torch.ones(shape, dtype=torch.int64)
        image, inside = torch.ones(channels, *shape), torch.ones(shape, dtype=torch.bool)
        began = perf_counter()
        augment(
            image,
            labels,
            inside,
            drawn,
            load.patch_size,
            inside_only=tuple(
                scheme.inside_nonzero_only for scheme in description.plan.normalization
            ),
            previous=labels if description.previous_labels else None,
        )
        spent_s += perf_counter() - began
    return spent_s / DRAWS / load.voxels * whole.voxels


def fresh_memory(description: ModelDescription, device: Device, timed: Workload) -> float:
    """Return how much more a voxel costs in the whole step, for the size of its tensors."""
    width = description.topology.features[0] * (device.autocast or torch.float32).itemsize
    small, large = timed.voxels * width, whole_step(description).voxels * width
    return FRESH_MEMORY if small < LARGEST_KEPT_BYTES <= large else 1.0


def _largest(loads: tuple[Workload, ...], voxels: float) -> Workload:
    """Return the largest workload of some voxels at most, or the smallest there is."""
    return [loads[0], *(load for load in loads if load.voxels <= voxels)][-1]


def _fastest(work: Callable[[], float]) -> float:
    """Return the shortest of the times that some work tells, seconds."""
    fastest, spent = inf, 0.0
    for _ in range(MOST_REPEATS):
        took = work()
        fastest, spent = min(fastest, took), spent + took
        if spent > LONGEST_STEP_S:
            break
    return fastest


class _Stepper:
    """A network that makes steps on random patches and tells their time, seconds."""

    def __init__(
        self, description: ModelDescription, device: Device, clock: Callable[[], float]
    ) -> None:
        self._description, self._device, self._clock = description, device, clock
        configuration = description.configuration
        torch.manual_seed(0)
        network = build_network(
            configuration.arch,
            description.topology,
            channels_in=description.channels_in,
            channels_out=description.dataset.labels.channels,
        )
        place_network(network, device, axes=configuration.ndim)
        self._state = make_state(network, description.training, device)

    def time(self, load: Workload) -> float:
        """Make a step."""
        description, config = self._description, self._description.training
        shape, labels = load.patch_size, description.dataset.labels
        batch = Batch(
            images=torch.randn(load.batch_size, description.channels_in, *shape),
            targets=torch.randint(0, labels.count, (load.batch_size, *shape)),
            waited_s=0.0,
        )
        began = self._clock()
        training_step(
            self._state,
            batch,
            labels=labels,
            learning_rate=config.learning_rate,
            gradient_norm=config.gradient_norm,
            batch_dice=description.configuration.batch_dice,
            device=self._device,
        )
        return self._clock() - began

    def time_optimizer(self) -> float:
        """Do what a step does to the weights, whatever its voxels, with the last gradients."""
        began = self._clock()
        nn.utils.clip_grad_norm_(
            self._state.network.parameters(), self._description.training.gradient_norm
        )
        self._state.optimizer.step()
        return self._clock() - began
