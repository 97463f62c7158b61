"""One update of the network. Nothing in it makes the processor wait for the device."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from autoseg.core.labels import Labels
from autoseg.networks.device import Device
from autoseg.training.batches import Batch
from autoseg.training.losses.deep_supervision import supervised_loss, weighted_levels
from autoseg.training.ranks import SINGLE, Ranks
from autoseg.training.state import TrainState


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What a step found; to look at the numbers is to wait for the device."""

    loss: Tensor
    """() Loss of the batch before the update."""
    norm: Tensor
    """() Norm of the gradients before they were scaled down. Where it is not finite, and it is not
    where the loss is not, the step changed neither weights nor optimizer."""


def training_step(
    state: TrainState,
    batch: Batch,
    *,
    labels: Labels,
    learning_rate: float,
    gradient_norm: float,
    batch_dice: bool,
    device: Device,
    ranks: Ranks = SINGLE,
) -> StepResult:
    """Update the network once, unless loss or gradients are not finite.

    Parameters
    ----------
    state : TrainState
        Changed in place; its step count rises by 1, whether or not weights change.
    batch : Batch
        Patches and targets: this process's share of them.
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
    ranks : Ranks
        The processes that share the batch. Each makes the same update.

    Returns
    -------
    StepResult
        Of the whole batch, on the device.

    Notes
    -----
    The optimizer's first step waits for the device, and so do all with an optimizer that is not
    fused: only fused ones can themselves leave a step out.
    """
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate
    state.optimizer.zero_grad(set_to_none=True)
    weights, levels = list(state.network.parameters()), state.network.supervised_levels
    with device.precision():
        outputs = state.network(batch.images, weighted_levels(levels))
    loss = supervised_loss(
        outputs, batch.targets, labels, batch_dice=batch_dice, levels=levels, ranks=ranks
    )
    # 1, but no number if the loss is none: then no gradient is one, and their norm tells both.
    start = 1.0 + 0.0 * loss.detach()
    state.scaler.scale(loss).backward(start)  # type: ignore[no-untyped-call]
    ranks.reduce_in_place(weight.grad for weight in weights if weight.grad is not None)
    state.scaler.unscale_(state.optimizer)
    norm = nn.utils.clip_grad_norm_(weights, gradient_norm)
    _update(state.optimizer, norm)
    state.scaler.update()
    state.step += 1
    return StepResult(loss=loss.detach(), norm=norm)


def _update(optimizer: torch.optim.Optimizer, norm: Tensor) -> None:
    """Let the optimizer change the weights if the norm of their gradients is finite.

    In place of `torch.amp.GradScaler.step`, which does so for elements that are not finite.
    """
    fused = all(group.get("fused") for group in optimizer.param_groups)
    # In its first step, torch 2.13's fused SGD makes momenta of uninitialized memory, and leaves
    # them so if the step is left out.
    if fused and optimizer.state:
        optimizer.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]
        optimizer.step()
        del optimizer.found_inf  # type: ignore[attr-defined]
    elif norm.is_meta or bool(norm.isfinite()):  # the memory of a step is found without numbers
        optimizer.step()
