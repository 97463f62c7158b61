"""The training of one fold: steps, epochs, checkpoints, and an end in time."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from time import monotonic, perf_counter
from types import FrameType

import torch

from autoseg.core.errors import InterruptedRun, TrainingError
from autoseg.core.training_config import TrainingConfig
from autoseg.training import checkpoint
from autoseg.training.batches import stream
from autoseg.training.losses.segmentation import segmentation_loss
from autoseg.training.losses.structures import predicted_overlaps
from autoseg.training.schedule import cosine, polynomial
from autoseg.training.setup import FoldSetup
from autoseg.training.state import TrainState, make_state
from autoseg.training.step import training_step


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Where a training stands, for a progress line."""

    epoch: int
    """Epoch, from 0."""
    epochs: int | None
    """Epochs to train; None where only time counts."""
    fraction: float
    """Share of the training that is done, 0 to 1."""
    values: dict[str, float]
    """Losses, Dice, rate and times of the epoch so far."""
    remaining_s: float
    """Estimate of the time to the end."""
    epoch_is_complete: bool
    """Whether the values are those of the whole epoch."""


Listener = Callable[[Report], None]


@dataclass(slots=True, kw_only=True)
class Clock:
    """Training time over all sittings."""

    started: float
    """Time of the monotonic clock at which this sitting began."""
    before_s: float = 0.0
    """Training time of earlier sittings."""

    def elapsed_s(self) -> float:
        """Return the training time so far, seconds."""
        return self.before_s + monotonic() - self.started


def train_fold(setup: FoldSetup, *, started: float, listener: Listener) -> TrainState:
    """Train a fold to its end, from its checkpoint if there is one.

    Parameters
    ----------
    setup : FoldSetup
        What to train.
    started : float
        `time.monotonic` at the start of the command; time budgets count from there.
    listener : callable
        Told about progress after every step.

    Returns
    -------
    TrainState
        The trained network and its history; a checkpoint of it is saved.

    Raises
    ------
    InterruptedRun
        If SIGINT or SIGTERM came, the state being saved, or if what came before the training used
        its time up; the same call carries on.
    TrainingError
        If the loss is no longer a number.
    DamagedError
        If the checkpoint is damaged.
    UsageError
        If the checkpoint belongs to another training.
    """
    config = setup.description.training
    state = make_state(setup.fresh_network(), config, setup.device)
    resume(setup, state)
    clock = Clock(started=started, before_s=state.elapsed_s)
    if state.step == 0 and _is_finished(config, state, clock):
        raise InterruptedRun(
            f"fold {setup.number}: {clock.elapsed_s() / 60:.1f} minutes had passed before the "
            f"first step; the training may take {config.max_minutes:g}",
            hint="run the same command again: what was prepared is kept; or raise --max-minutes",
        )
    with _stop_on_request() as stopped:
        while not _is_finished(config, state, clock):
            _train_epoch(setup, state, clock, listener, stopped)
            checkpoint.save(setup.folder, state, setup.key)
            if stopped():
                raise InterruptedRun(
                    f"stopped after step {state.step}; the state is saved",
                    hint="run the same command again: it carries on",
                )
    return state


def resume(setup: FoldSetup, state: TrainState) -> None:
    """Restore the fold's checkpoint into a fresh state, if there is one."""
    found = checkpoint.find(setup.folder)
    if found is None:
        return
    if found.key != setup.key:
        raise checkpoint.foreign(setup.folder)
    checkpoint.restore(setup.folder, found, state)


def learning_rate(config: TrainingConfig, fraction: float) -> float:
    """Return the learning rate when a fraction of the training is done."""
    if config.schedule == "cosine":
        return cosine(fraction, config.learning_rate, warmup=config.warmup_fraction)
    return polynomial(fraction, config.learning_rate)


def fraction_done(config: TrainingConfig, step: float, elapsed_s: float) -> float:
    """Return the share of the training that is done, by steps or by time, whichever is more."""
    by_steps = step / (config.epochs * config.steps_per_epoch) if config.epochs else 0.0
    by_time = elapsed_s / (60 * config.max_minutes) if config.max_minutes else 0.0
    return min(1.0, max(by_steps, by_time))


def _is_finished(config: TrainingConfig, state: TrainState, clock: Clock) -> bool:
    elapsed_s = clock.elapsed_s() if config.max_minutes else 0.0
    return fraction_done(config, state.step, elapsed_s) >= 1.0


def _train_epoch(
    setup: FoldSetup,
    state: TrainState,
    clock: Clock,
    listener: Listener,
    stopped: Callable[[], bool],
) -> None:
    """Train to the end of the epoch, of the training, or until a stop is asked for."""
    config, configuration = setup.description.training, setup.description.configuration
    epoch, first = divmod(state.step, config.steps_per_epoch)
    addresses = [(epoch, step) for step in range(first, config.steps_per_epoch)]
    began, waited, losses = perf_counter(), 0.0, []
    state.network.train()
    for batch in stream(setup.source("training"), addresses, setup.device.torch_device):
        # In the middle of the step, so that neither the first nor the last has a rate of 0.
        rate = learning_rate(config, fraction_done(config, state.step + 0.5, clock.elapsed_s()))
        loss = training_step(
            state,
            batch,
            labels=setup.description.dataset.labels,
            learning_rate=rate,
            gradient_norm=config.gradient_norm,
            batch_dice=configuration.batch_dice,
            device=setup.device,
        )
        waited += batch.waited_s
        losses.append(loss)
        values = {"learning_rate": rate, "wait_fraction": waited / (perf_counter() - began)}
        _tell(listener, config, state, clock, values, complete=False)
        if stopped() or _is_finished(config, state, clock):
            break
    state.elapsed_s = clock.elapsed_s()
    train_loss = float(torch.stack(losses).mean())
    if not isfinite(train_loss):
        raise TrainingError(
            f"fold {setup.number}, epoch {epoch}: the loss is {train_loss}; it must be a number",
            rule="E-RUN-70",
            hint="run it again with another --run and --seed; look for extreme image intensities",
        )
    values |= {"train_loss": train_loss, "epoch_s": perf_counter() - began}
    if state.step % config.steps_per_epoch == 0 or _is_finished(config, state, clock):
        values |= patch_scores(setup, state, epoch)
        state.history.append({"epoch": epoch, "step": state.step, **values})
        _tell(listener, config, state, clock, values, complete=True)


@torch.no_grad()
def patch_scores(setup: FoldSetup, state: TrainState, epoch: int) -> dict[str, float]:
    """Return the loss and the Dice of each structure over random validation patches.

    Structures are numbered from 1. Overlaps are summed over all patches before the ratio; a
    structure without any voxel in reference and prediction is left out, and so are ignored voxels.
    It follows a training cheaply; it does not replace validation.
    """
    source = setup.source("validation")
    steps = setup.description.training.validation_steps
    labels = setup.description.dataset.labels
    batch_dice = setup.description.configuration.batch_dice
    counts = torch.zeros(2, len(labels.structures), dtype=torch.int64)
    losses = []
    state.network.eval()
    for batch in stream(
        source, [(epoch, step) for step in range(steps)], setup.device.torch_device
    ):
        with setup.device.precision():
            logits = state.network(batch.images)[0]
        losses.append(segmentation_loss(logits, batch.targets, labels, batch_dice=batch_dice))
        counts += torch.stack(predicted_overlaps(logits, batch.targets, labels)).cpu()
    dice = {
        f"dice_{structure.name}": 2 * overlap / total
        for structure, (overlap, total) in zip(labels.structures, counts.T.tolist(), strict=True)
        if total > 0
    }
    mean = {"pseudo_dice": sum(dice.values()) / len(dice)} if dice else {}
    mean_loss = float(torch.stack(losses).mean()) if losses else float("nan")
    loss = {"validation_loss": mean_loss} if isfinite(mean_loss) else {}
    return {**loss, **dice, **mean}


def _tell(
    listener: Listener,
    config: TrainingConfig,
    state: TrainState,
    clock: Clock,
    values: dict[str, float],
    *,
    complete: bool,
) -> None:
    elapsed_s = clock.elapsed_s()
    fraction = fraction_done(config, state.step, elapsed_s)
    listener(
        Report(
            epoch=(state.step - 1) // config.steps_per_epoch,
            epochs=config.epochs,
            fraction=fraction,
            values=values,
            remaining_s=elapsed_s * (1 - fraction) / max(fraction, 1e-6),
            epoch_is_complete=complete,
        )
    )


@contextmanager
def _stop_on_request() -> Iterator[Callable[[], bool]]:
    """Let the first SIGINT or SIGTERM ask for a stop; a second one acts at once."""
    asked = False
    if threading.current_thread() is not threading.main_thread():
        yield lambda: asked
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.signal(number, signal.default_int_handler)

    for number in before:
        signal.signal(number, ask)
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
