"""What training changes from step to step: network, optimizer, loss scale and history."""

from dataclasses import dataclass, field

import torch
from torch import nn

from autoseg.core.training_config import TrainingConfig
from autoseg.networks.assembler import UNet
from autoseg.networks.device import Device


@dataclass(slots=True, kw_only=True)
class TrainState:
    """Everything that a checkpoint holds."""

    network: UNet
    """The network."""
    optimizer: torch.optim.Optimizer
    """Its optimizer."""
    scaler: torch.amp.GradScaler
    """Loss scaling; passes everything through where the precision needs none."""
    step: int = 0
    """Updates made."""
    elapsed_s: float = 0.0
    """Training time so far, over all sittings."""
    history: list[dict[str, float]] = field(default_factory=list)
    """One row of numbers per finished epoch."""


def make_optimizer(network: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """Return the optimizer that a training asks for, at its peak learning rate."""
    if config.optimizer == "adamw":
        return torch.optim.AdamW(
            network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
    return torch.optim.SGD(
        network.parameters(),
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=True,
    )


def make_state(network: UNet, config: TrainingConfig, device: Device) -> TrainState:
    """Return the state before the first step."""
    return TrainState(
        network=network,
        optimizer=make_optimizer(network, config),
        scaler=torch.amp.GradScaler(device.torch_device.type, enabled=device.scales_gradients),
    )
