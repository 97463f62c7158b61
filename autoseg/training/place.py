"""Where a training runs: its device, and the processes that share it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from autoseg.networks.device import Device, choose_device
from autoseg.training.ranks import SINGLE, Ranks, open_ranks


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a training runs."""

    device: Device
    """Device of this process."""
    ranks: Ranks
    """Which of the processes that train together this one is."""


def alone(asked: str) -> Place:
    """Choose the device of a process that works by itself; see `open_place`."""
    return Place(device=choose_device(asked), ranks=SINGLE)


@contextmanager
def open_place(asked: str) -> Iterator[Place]:
    """Choose the device and connect with the processes that torchrun started, if it did.

    Parameters
    ----------
    asked : str
        As `autoseg.networks.device.choose_device` takes it. Of several processes on GPUs, each
        takes the one of its number.

    Raises
    ------
    UsageError
        If the machine has no such device, or processes cannot share that kind.
    ResourceError
        If there are fewer GPUs than processes, or the others cannot be reached.
    """
    device = choose_device(asked)
    with open_ranks(device.torch_device.type) as ranks:
        if ranks.count > 1 and device.torch_device.type == "cuda":
            slash = asked.find("/")
            precision = asked[slash:] if slash >= 0 else ""
            device = choose_device(f"cuda:{ranks.local_rank}{precision}")
        torch.backends.cudnn.benchmark = True  # patches have one size: the fastest kernels are kept
        yield Place(device=device, ranks=ranks)
