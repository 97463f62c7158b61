"""Where networks run and in which precision."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from autoseg.core.errors import UsageError

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A torch device, and how networks compute on it."""

    torch_device: torch.device
    """The device."""
    autocast: torch.dtype | None
    """Type of convolutions under autocast; None computes in float32."""
    channels_last: bool = True
    """Whether convolutions compute with the channels of a voxel side by side."""
    compiled: bool = False
    """Whether networks are compiled."""
    fused: bool = False
    """Whether one kernel of the optimizer changes all weights."""

    @property
    def scales_gradients(self) -> bool:
        """Whether gradients would underflow without a scaler."""
        return self.autocast == torch.float16

    def __str__(self) -> str:
        ways = {
            "channels last": self.channels_last,
            "compiled": self.compiled,
            "fused optimizer": self.fused,
        }
        precision = str(self.autocast or torch.float32).removeprefix("torch.")
        return ", ".join(
            (f"{self.torch_device} in {precision}", *(way for way in ways if ways[way]))
        )

    @contextmanager
    def precision(self) -> Iterator[None]:
        """Run the block in the device's precision."""
        with torch.autocast(
            self.torch_device.type,
            dtype=self.autocast or torch.bfloat16,
            enabled=self.autocast is not None,
        ):
            yield


def choose_device(asked: str = "auto") -> Device:
    """Return the device of a name, with the fastest precision that it has, nothing being measured.

    Parameters
    ----------
    asked : str
        ``auto`` (CUDA, then MPS, then CPU), ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; with
        ``/float32`` behind it, such as ``cpu/float32``, half precision is not used. A CPU uses
        bfloat16 only where it computes in it (``benchmarks/step_time.py``).

    Raises
    ------
    UsageError
        If the machine has no such device.
    """
    place, slash, precision = asked.partition("/")
    if place == "auto":
        place = "cuda" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu"
    kind, colon, number = place.partition(":")
    available = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(_has_mps())}
    nonsense = (colon and not number.isdecimal()) or (slash and precision != "float32")
    if kind not in available or nonsense:
        raise UsageError(
            f"device {asked!r} is unknown; allowed are auto, cpu, cuda, cuda:N and mps, "
            "also with /float32 behind",
            hint="leave --device out to take the best there is",
        )
    if int(number or 0) >= available[kind]:
        raise UsageError(
            f"device {asked!r}: this machine has {available[kind]} of kind {kind}",
            hint="use --device cpu, or --device auto to take what there is",
        )
    return Device(
        torch_device=torch.device("cpu" if kind == "cpu" else place),
        autocast=None if slash else _fast_type(kind),
        channels_last=kind != "mps",
    )


def place_network(network: Network, device: Device, *, axes: int) -> Network:
    """Move a network to a device, and bring it into the order and the form that it computes in.

    Parameters
    ----------
    network : Module
        Changed in place and returned. Names of weights stay, compiled or not.
    device : Device
        Where it shall run, and how.
    axes : int
        Spatial axes of its convolutions, 2 or 3.
    """
    order = torch.contiguous_format
    if device.channels_last:
        order = torch.channels_last if axes == 2 else torch.channels_last_3d
    network.to(device.torch_device)
    network.to(memory_format=order)  # type: ignore[call-overload]
    if device.compiled:
        network.compile()
    return network


def narrow_convolutions(network: nn.Module, kind: torch.dtype) -> None:
    """Keep the weights of convolutions in the precision that they are used in, changed in place.

    Autocast, which rounds them so before every use, gives the same results either way.
    """
    convolutions = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    for part in network.modules():
        if isinstance(part, convolutions):
            part.to(kind)


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def _fast_type(kind: str) -> torch.dtype | None:
    if kind == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float16
    if kind == "cpu":
        features = torch.cpu.get_capabilities()
        if features.get("avx512_bf16") or features.get("amx_bf16"):
            return torch.bfloat16
    return None
