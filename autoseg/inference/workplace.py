"""Where prediction happens, and how it makes do with less memory than it hoped for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Final

import torch

from autoseg.core.errors import ResourceError
from autoseg.execution.machine import is_memory_error
from autoseg.networks.assembler import UNet
from autoseg.networks.device import Device, choose_device, place_network

CPU_VOXELS: Final = 2**19
"""Voxels of the patches that a CPU sees in one pass: our choice, five of 40x56x40."""
DEVICE_VOXELS: Final = 2**24
"""Voxels of the patches that other devices see in one pass at most; halved where memory is short.
Eight patches of 128^3: their widest features, 64 channels in half precision, take 2 GiB."""


@dataclass(slots=True, kw_only=True)
class Workplace:
    """Networks on a device, and how much they take on at a time; shrinks where memory is short."""

    networks: tuple[UNet, ...]
    """One per fold, in evaluation mode."""
    device: Device
    """Where they lie, and how they compute."""
    sums_on: torch.device
    """Where logits are added up."""
    most_voxels: int
    """Voxels of the patches of one pass; one patch is always taken."""
    notes: list[str] = field(default_factory=list)
    """How it made do, for people; emptied by whoever tells them."""

    def patches(self, tile: Sequence[int]) -> int:
        """Return how many patches one pass takes."""
        return max(1, self.most_voxels // prod(tile))

    def make_do(self, error: Exception, tile: Sequence[int]) -> None:
        """Go on with less device memory: fewer patches, then sums on the host, then the CPU.

        Raises
        ------
        Exception
            The error itself if it has another reason.
        ResourceError
            E-RES-65 if nothing is left to try.
        """
        if not is_memory_error(error):
            raise error
        short = f"{self.device.torch_device} ran out of memory"
        patches, cpu = self.patches(tile), torch.device("cpu")
        if patches > 1:
            self.most_voxels = patches // 2 * prod(tile)
            self.notes.append(f"{short}: {patches // 2} patches per pass instead of {patches}")
        elif self.sums_on != cpu:
            self.sum_on_host(error)
        elif self.device.torch_device != cpu:
            self.device = choose_device("cpu")
            axes = len(tile)
            self.networks = tuple(
                place_network(network, self.device, axes=axes) for network in self.networks
            )
            self.notes.append(f"{short}: the prediction goes on on the CPU")
        else:
            raise ResourceError(
                f"prediction: memory ran out with one patch of {'x'.join(map(str, tile))} voxels "
                f"({' '.join(str(error).split())[:200]})",
                rule="E-RES-65",
                hint="close other programs, or predict on a machine with more memory",
            ) from error

    def sum_on_host(self, error: Exception) -> None:
        """Add logits up on the host from now on; raise the error if that is not its remedy."""
        cpu = torch.device("cpu")
        if not is_memory_error(error) or self.sums_on == cpu:
            raise error
        self.sums_on = cpu
        self.notes.append(
            f"{self.device.torch_device} ran out of memory: logits are added up in the host's "
            "memory"
        )


def workplace(networks: Sequence[UNet], device: Device) -> Workplace:
    """Return a workplace on a device where networks lie already."""
    on_cpu = device.torch_device.type == "cpu"
    return Workplace(
        networks=tuple(networks),
        device=device,
        sums_on=device.torch_device,
        most_voxels=CPU_VOXELS if on_cpu else DEVICE_VOXELS,
    )
