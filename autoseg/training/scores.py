"""Scores on patches of validation cases, which follow a training and do not replace validation."""

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Final

import torch
from torch import Tensor

from autoseg.core.labels import Region
from autoseg.networks.assembler import UNet
from autoseg.training.feeding import Feed
from autoseg.training.losses.segmentation import segmentation_loss
from autoseg.training.losses.structures import predicted_overlaps
from autoseg.training.setup import FoldSetup
from autoseg.training.state import TrainState

COMPARED_BATCHES: Final = 20
"""Batches of patches that decide between weights and averaged weights, at least."""


def patch_scores(
    setup: FoldSetup,
    state: TrainState,
    feed: Feed,
    epoch: int,
    *,
    stopped: Callable[[], bool] = lambda: False,
) -> dict[str, float] | None:
    """Return loss and Dice of weights and averaged weights over the same validation patches.

    Returns
    -------
    dict or None
        None if a stop was asked for meanwhile. Else ``validation_loss``, ``dice_<structure>`` and
        their mean ``pseudo_dice``; of the averaged weights the same behind ``average_``. Overlaps
        are summed over all patches before the ratio; a structure without any voxel in reference and
        prediction is left out, and so are ignored voxels.
    """
    steps = setup.description.training.validation_steps
    return _scores(setup, state, feed, epoch, steps, stopped)


def better_weights(
    setup: FoldSetup, state: TrainState, *, workers: int | None = None
) -> tuple[UNet, str]:
    """Return the network whose weights score better on validation patches, and what they are.

    Returns
    -------
    UNet
        The averaged one where both score the same.
    str
        For a person: which one, and both scores.
    """
    if state.average is None:
        return state.network, "the last weights"
    steps = max(COMPARED_BATCHES, setup.description.training.validation_steps)
    epoch = state.step  # an address of its own, which no epoch has
    with setup.open_feed(workers=workers) as feed:
        scores = _scores(setup, state, feed, epoch, steps, lambda: False) or {}
    last, averaged = scores.get("pseudo_dice", 0.0), scores.get("average_pseudo_dice", 0.0)
    told = (
        f"Dice on {steps} batches of validation patches: averaged {averaged:.4f}, last {last:.4f}"
    )
    if averaged >= last:
        return state.average, f"the averaged weights ({told})"
    return state.network, f"the last weights ({told})"


@torch.no_grad()
def _scores(
    setup: FoldSetup,
    state: TrainState,
    feed: Feed,
    epoch: int,
    steps: int,
    stopped: Callable[[], bool],
) -> dict[str, float] | None:
    description, device = setup.description, setup.device
    labels = description.dataset.labels
    networks = {"": state.network}
    if state.average is not None:
        networks["average_"] = state.average
    counts = {name: torch.zeros(2, len(labels.structures), dtype=torch.int64) for name in networks}
    losses: dict[str, list[Tensor]] = {name: [] for name in networks}
    addresses = [(epoch, step) for step in range(steps)]
    for network in networks.values():
        network.eval()
    for batch in feed.validation_batches(addresses):
        if stopped():
            return None
        for name, network in networks.items():
            with device.precision():
                logits = network(batch.images)[0]
            batch_dice = description.configuration.batch_dice
            losses[name].append(
                segmentation_loss(logits, batch.targets, labels, batch_dice=batch_dice)
            )
            overlaps = torch.stack(predicted_overlaps(logits, batch.targets, labels))
            counts[name] = counts[name].to(overlaps.device) + overlaps
    state.network.train()
    found: dict[str, float] = {}
    for name in networks:
        found |= _named(name, labels.structures, counts[name], losses[name])
    return found


def _named(
    prefix: str, structures: Sequence[Region], counts: Tensor, losses: Sequence[Tensor]
) -> dict[str, float]:
    """Name the scores of one network."""
    dice = {
        f"{prefix}dice_{structure.name}": 2 * overlap / total
        for structure, (overlap, total) in zip(structures, counts.T.tolist(), strict=True)
        if total > 0
    }
    mean = {f"{prefix}pseudo_dice": sum(dice.values()) / len(dice)} if dice else {}
    mean_loss = float(torch.stack(list(losses)).mean()) if losses else float("nan")
    loss = {f"{prefix}validation_loss": mean_loss} if isfinite(mean_loss) else {}
    return {**loss, **dice, **mean}
