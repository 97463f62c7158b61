"""One update of the network."""

from torch import Tensor, nn

from autoseg.core.labels import Labels
from autoseg.networks.device import Device
from autoseg.training.batches import Batch
from autoseg.training.losses.deep_supervision import supervised_loss
from autoseg.training.state import TrainState


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
