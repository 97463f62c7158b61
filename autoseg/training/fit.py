"""Whether a training fits into the memory of its device, found out before it starts."""

from math import floor
from typing import Final

import torch

from autoseg.core.errors import ResourceError
from autoseg.core.model import ModelDescription
from autoseg.execution.machine import inspect_machine, size_text
from autoseg.networks.device import Device
from autoseg.training.memory import step_bytes

KEPT_BYTES: Final = 2**29
"""Memory of a GPU beside a step's: CUDA's context and workspaces of cuDNN, about."""


def check_fits(description: ModelDescription, device: Device, *, processes: int = 1) -> None:
    """Refuse a training whose step needs more memory than its device has free.

    Parameters
    ----------
    description : ModelDescription
        What is trained.
    device : Device
        Where, and how precisely.
    processes : int
        Processes that share the batch.

    Raises
    ------
    ResourceError
        E-RES-65, with the memory that a plan would have to be made for.
    """
    free = free_bytes(device)
    if free is None:
        return
    configuration = description.configuration
    needed = step_bytes(
        configuration,
        channels=len(description.dataset.channels),
        labels=description.dataset.labels,
        training=description.training,
        half_precision=device.autocast is not None,
        device="cuda" if device.torch_device.type == "cuda" else "cpu",
    )
    if needed <= free * processes:
        return
    raise ResourceError(
        f"{configuration.name}: a training step of batch "
        f"{description.training.batch_size(configuration)} needs {size_text(needed)} of memory; "
        f"{device} has {size_text(free)} free",
        rule="E-RES-65",
        hint=f"plan for it: autoseg plan --gpu-memory-gib {_planned_gib(free):g} --plan small, "
        f"then train with --plan small; or end what else runs there",
    )


def free_bytes(device: Device) -> int | None:
    """Return the memory that a training may take on a device; None where nobody can tell."""
    kind = device.torch_device.type
    if kind == "cuda":
        torch.cuda.empty_cache()  # of earlier folds and comparisons
        free, _ = torch.cuda.mem_get_info(device.torch_device)
        return max(0, free - KEPT_BYTES)
    return inspect_machine().budget_bytes if kind == "cpu" else None


def _planned_gib(free: int) -> float:
    """Return a memory that a plan can be made for, half a GiB at least, rounded down to halves."""
    return max(0.5, floor(2 * free / 2**30) / 2)
