"""What training changes from step to step: weights, their average, optimizer and history."""

from copy import deepcopy
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from autoseg.core.training_config import TrainingConfig
from autoseg.networks.assembler import UNet
from autoseg.networks.device import Device
from autoseg.training.ending import CoolDown


@dataclass(slots=True, kw_only=True)
class TrainState:
    """Everything that a checkpoint holds."""

    network: UNet
    """The network."""
    average: UNet | None
    """The same with the moving average of its weights, where one is kept."""
    optimizer: torch.optim.Optimizer
    """Its optimizer."""
    scaler: torch.amp.GradScaler
    """Loss scaling; passes everything through where the precision needs none."""
    step: int = 0
    """Updates made, and those that were skipped."""
    elapsed_s: float = 0.0
    """Training time so far, over all sittings."""
    losses: list[Tensor] = field(default_factory=list)
    """Loss of every step of the epoch that has begun, () on the device."""
    skipped: int = 0
    """Steps in a row, up to the last, that were skipped for a loss that was no number."""
    rolled_back: bool = False
    """Whether the training once went back to a checkpoint for such losses."""
    cool_down: CoolDown | None = None
    """How the training ends early, once that is decided."""
    history: list[dict[str, float]] = field(default_factory=list)
    """One row of numbers per finished epoch."""


def make_optimizer(
    network: nn.Module, config: TrainingConfig, *, fused: bool | None = None
) -> torch.optim.Optimizer:
    """Return the optimizer that a training asks for, at its peak learning rate.

    Parameters
    ----------
    network : Module
        What it changes.
    config : TrainingConfig
        Which one, and how.
    fused : bool, optional
        Whether one kernel changes all weights; torch decides if left out.
    """
    if config.optimizer == "adamw":
        return torch.optim.AdamW(
            network.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=fused,
        )
    return torch.optim.SGD(
        network.parameters(),
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=True,
        fused=fused,
    )


def make_state(network: UNet, config: TrainingConfig, device: Device) -> TrainState:
    """Return the state before the first step."""
    return TrainState(
        network=network,
        average=deepcopy(network).requires_grad_(False) if config.average_decay else None,
        optimizer=make_optimizer(network, config, fused=device.fused or None),
        scaler=torch.amp.GradScaler(device.torch_device.type, enabled=device.scales_gradients),
    )


@torch.no_grad()
def update_average(state: TrainState, decay: float) -> None:
    """Move the average of the weights towards the weights.

    Parameters
    ----------
    state : TrainState
        Its average is changed in place, if it has one.
    decay : float
        Weight of the past, from 0 to below 1. In the first steps it is ``(1 + step) / (10 + step)``
        if that is less, so that the first weights are soon forgotten.

    References
    ----------
    Polyak and Juditsky 1992, doi:10.1137/0330046; the ramp is that of TensorFlow's
    ``ExponentialMovingAverage``.
    """
    if state.average is None:
        return
    past = min(decay, (1 + state.step) / (10 + state.step))
    torch._foreach_lerp_(
        list(state.average.parameters()), list(state.network.parameters()), 1 - past
    )
