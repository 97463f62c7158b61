"""One update of the network, and the state that updates change."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from autoseg.core.labels import Labels
from autoseg.core.training_config import TrainingConfig
from autoseg.networks.assembler import UNet
from autoseg.networks.device import Device
from autoseg.training.batches import Batch
from autoseg.training.losses.deep_supervision import supervised_loss


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


def training_step(
    state: TrainState,
    batch: Batch,
    *,
    labels: Labels,
    learning_rate: float,
    gradient_norm: float,
    batch_dice: bool,
    device: Device,
) -> Tensor:
    """Update the network once and return the loss, a () tensor on the device.

    Parameters
    ----------
    state : TrainState
        Changed in place; its step count rises by 1.
    batch : Batch
        Patches and targets.
    labels : Labels
        What outputs and targets mean.
    learning_rate : float
        Rate of this step.
    gradient_norm : float
        Gradients are scaled down to this norm.
    batch_dice : bool
        See `autoseg.training.losses.segmentation.segmentation_loss`.
    device : Device
        Where and how precisely to compute.
    """
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate
    state.optimizer.zero_grad(set_to_none=True)
    with device.precision():
        outputs = state.network(batch.images, state.network.supervised_levels)
    loss = supervised_loss(outputs, batch.targets, labels, batch_dice=batch_dice)
    state.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
    state.scaler.unscale_(state.optimizer)
    nn.utils.clip_grad_norm_(state.network.parameters(), gradient_norm)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    state.step += 1
    return loss.detach()
