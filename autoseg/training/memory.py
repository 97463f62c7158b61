"""The memory that one training step takes on a device, found out without the device.

The step itself runs on torch's ``meta`` device, where tensors have shapes and storages but no
numbers, and what it allocates and frees is added up. Modelled is only what torch does beneath that:
the casts of autocast, and the copies that a convolution makes in the memory order of its weights.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from autoseg.core.errors import UsageError
from autoseg.core.labels import Labels
from autoseg.core.plan import Configuration
from autoseg.core.training_config import PRESETS, TrainingConfig
from autoseg.networks.assembler import build_network
from autoseg.networks.device import Device, place_network
from autoseg.networks.instance_norm import InstanceNorm
from autoseg.training.batches import Batch
from autoseg.training.ledger import META, Ledger
from autoseg.training.state import TrainState, make_state
from autoseg.training.step import training_step

Kind = Literal["cuda", "cpu"]

TRACED: Final = (2, 3)
"""Batches that are traced; for a batch of 1 torch takes other ways."""
BLOCK_BYTES: Final[dict[Kind, int]] = {"cuda": 512, "cpu": 1}
"""What a storage is rounded up to; the block of CUDA's caching allocator (``kMinBlockSize``)."""
LOWERED: Final[frozenset[Callable[..., Any]]] = frozenset(
    (torch.conv2d, torch.conv3d, torch.conv_transpose2d, torch.conv_transpose3d)
)
"""Functions of our networks that autocast computes in its own type."""
RAISED: Final[dict[Kind, frozenset[Callable[..., Any]]]] = {
    "cuda": frozenset(),
    "cpu": frozenset((torch.nn.functional.avg_pool3d,)),
}
"""Functions of our networks that autocast computes in float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMemory:
    """The memory of a training step as a function of its batch."""

    moments: tuple[tuple[int, int], ...]
    """Bytes in use at the moments of the step, with each of the batches `TRACED`."""

    def peak_bytes(self, batch_size: int) -> int:
        """Return the most bytes in use at once with batches of a size, at least 1.

        Raises
        ------
        UsageError
            If the batch is smaller than 1.

        Notes
        -----
        At a moment, the bytes are a constant plus a multiple of the batch; the peak is the largest
        of these lines: convex, steeper with large batches than with small ones.
        """
        if batch_size < 1:
            raise UsageError(f"batch size is {batch_size}; it must be at least 1")
        return max(two + (three - two) * (batch_size - 2) for two, three in self.moments)


def step_bytes(
    configuration: Configuration,
    *,
    channels: int,
    labels: Labels,
    training: TrainingConfig = PRESETS["full"],
    half_precision: bool = True,
    device: Kind = "cuda",
) -> int:
    """Predict the peak of one training step, any but the first, in bytes on the device.

    Parameters
    ----------
    configuration : Configuration
        What is trained, with its patch and batch.
    channels : int
        Channels of the image; those for the labels of a previous stage are added here.
    labels : Labels
        What the network tells apart.
    training : TrainingConfig
        Optimizer, width, and the limit of the batch.
    half_precision : bool
        Whether convolutions compute in bfloat16 (float16 takes as much) by autocast.
    device : {"cuda", "cpu"}
        Whose rules count; the device need not be there.

    Returns
    -------
    int
        Weights, their average, gradients, the optimizer's state, the batch, and the activations at
        their most.

    Raises
    ------
    PlanError
        If the topology has a single stage.

    Notes
    -----
    Not counted: workspaces of cuDNN and oneDNN, CUDA's context, and what the caching allocator
    reserves beyond its blocks in use (blocks are counted as multiples of 512 bytes). Against
    measured steps: ``benchmarks/memory_model.py``.
    """
    return max(
        trace_step(
            configuration,
            training.batch_size(configuration),
            channels=channels,
            labels=labels,
            training=training,
            half_precision=half_precision,
            device=device,
        )
    )


def trace_step(
    configuration: Configuration,
    batch_size: int,
    *,
    channels: int,
    labels: Labels,
    training: TrainingConfig,
    half_precision: bool,
    device: Kind,
) -> list[int]:
    """Return the bytes in use in the course of every operation of a step that is not the first.

    Parameters are those of `step_bytes`; the operations come in their order, whatever the batch.
    """
    channels += len(labels.foreground) if configuration.previous_stage else 0
    place = TracedDevice(
        torch_device=torch.device("cpu"),  # of torch's autocast and scaler, which stay off
        autocast=torch.bfloat16 if half_precision else None,
        kind=device,
    )
    with torch.inference_mode(False), torch.enable_grad():
        state = _fresh_state(configuration, channels, labels.channels, training, place)
        with Ledger(BLOCK_BYTES[device]) as ledger:
            ledger.hold(state.network.parameters())
            if state.average is not None:
                ledger.hold(state.average.parameters())
            _fill_optimizer(state)
            shape = (batch_size, *configuration.patch_size)
            batch = Batch(
                images=torch.empty(batch_size, channels, *configuration.patch_size, device=META),
                targets=torch.empty(shape, dtype=torch.long, device=META),
                waited_s=0.0,
            )
            ledger.moments.clear()
            training_step(
                state,
                batch,
                labels=labels,
                learning_rate=training.learning_rate,
                gradient_norm=training.gradient_norm,
                batch_dice=configuration.batch_dice,
                device=place,
            )
    # `_fill_optimizer` cannot know which weights the loss leaves out.
    unused = (weight for weight in state.network.parameters() if weight.grad is None)
    excess = sum(ledger.size(t) for w in unused for t in state.optimizer.state[w].values())
    return [used - excess for used in ledger.moments]


def _fresh_state(
    configuration: Configuration,
    channels_in: int,
    channels_out: int,
    training: TrainingConfig,
    place: "TracedDevice",
) -> TrainState:
    """Return the state before the first step, on the meta device."""
    with META:
        network = build_network(
            configuration.arch,
            training.topology(configuration),
            channels_in=channels_in,
            channels_out=channels_out,
        )
    place_network(network, Device(torch_device=META, autocast=None), axes=configuration.ndim)
    for part in network.modules():
        if isinstance(part, InstanceNorm):
            part.kind = place.kind
    state = make_state(network, training, place)
    for group in state.optimizer.param_groups:
        group["foreach"] = place.kind == "cuda"  # as torch chooses; it does not know meta tensors
    return state


def _fill_optimizer(state: TrainState) -> None:
    """Let the optimizer make what it keeps between steps."""
    for weight in state.network.parameters():
        weight.grad = torch.empty_like(weight)
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedDevice(Device):
    """A device that stands for another, with that one's autocast on meta tensors."""

    kind: Kind
    """The device that it stands for."""

    @contextmanager
    def precision(self) -> Iterator[None]:
        """Run the block in the device's precision."""
        if self.autocast is None:
            yield
            return
        with _Autocast(self.autocast, RAISED[self.kind]):
            yield


class _Autocast(TorchFunctionMode):
    """What `torch.autocast` does, which knows no meta tensors; see `LOWERED` and `RAISED`.

    It keeps no copies: each weight of our networks is used once in a step.
    """

    def __init__(self, lower: torch.dtype, raised: frozenset[Callable[..., Any]]) -> None:
        super().__init__()
        self._types = dict.fromkeys(LOWERED, lower) | dict.fromkeys(raised, torch.float32)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call a function with its tensors in the type that autocast gives them."""
        if dtype := self._types.get(func):
            args = tuple(x.to(dtype) if isinstance(x, Tensor) else x for x in args)
        return func(*args, **(kwargs or {}))
