"""Where prediction happens, and how it makes do with less memory than it hoped for."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import prod
from typing import Final

import torch

from autoseg.core.errors import ResourceError
from autoseg.execution.machine import is_memory_error
from autoseg.networks.assembler import UNet
from autoseg.networks.device import Device, choose_device, narrow_convolutions, place_network

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
    takes_turns: bool = False
    """Whether the weights lie on the host, and each network comes to the device for its turn."""
    notes: list[str] = field(default_factory=list)
    """How it made do, for people; emptied by whoever tells them."""

    def patches(self, tile: Sequence[int]) -> int:
        """Return how many patches one pass takes."""
        return max(1, self.most_voxels // prod(tile))

    @contextmanager
    def at_work(self, network: UNet) -> Iterator[UNet]:
        """Have one of the networks on the device for the block."""
        if not self.takes_turns:
            yield network
            return
        try:
            network.to(self.device.torch_device)
            yield network
        finally:
            network.to("cpu")

    def take_turns(self) -> None:
        """Keep weights on the host from now on."""
        self.takes_turns = True
        for network in self.networks:
            network.to("cpu")
        self.notes.append(
            f"{self.device.torch_device} ran out of memory: the weights of {len(self.networks)} "
            "folds take turns on it"
        )

    def make_do(self, error: Exception, tile: Sequence[int]) -> None:
        """Go on with less device memory, each time by one measure that was not yet taken.

        Fewer patches; sums on the host; of several networks one at a time; the CPU.

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
        elif len(self.networks) > 1 and not self.takes_turns and self.device.torch_device != cpu:
            self.take_turns()
        elif self.device.torch_device != cpu:
            self.device, self.takes_turns = choose_device("cpu"), False
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


def workplace(networks: Sequence[UNet], device: Device, *, axes: int) -> Workplace:
    """Bring networks to a device; where it cannot hold all of them, they take turns.

    On a CPU that computes in half precision their weights are kept so: nothing comes after it that
    would need more.

    Parameters
    ----------
    networks : sequence of Module
        One per fold.
    device : Device
        Where they shall run, and how.
    axes : int
        Spatial axes of their convolutions, 2 or 3.
    """
    on_cpu = device.torch_device == torch.device("cpu")
    place = Workplace(
        networks=tuple(networks),
        device=device,
        sums_on=device.torch_device,
        most_voxels=CPU_VOXELS if on_cpu else DEVICE_VOXELS,
    )
    for network in place.networks:
        place_network(network, replace(device, torch_device=torch.device("cpu")), axes=axes).eval()
        if on_cpu and device.autocast is not None:
            narrow_convolutions(network, device.autocast)
    try:
        for network in place.networks:
            network.to(device.torch_device)
    except RuntimeError as error:
        if on_cpu or len(place.networks) == 1 or not is_memory_error(error):
            raise
        place.take_turns()
    return place
