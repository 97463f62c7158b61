"""One process's part of a training: steps and epochs, with all that may happen between them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import isfinite, nan
from time import perf_counter
from typing import Final, NoReturn

import torch
from torch import Tensor

from autoseg.core.errors import InterruptedRun
from autoseg.core.training_config import TrainingConfig
from autoseg.training import checkpoint
from autoseg.training.batches import Batch
from autoseg.training.ending import (
    Clock,
    begin_cool_down,
    fraction_done,
    is_patience_over,
    is_stop_wanted,
)
from autoseg.training.feeding import Feed
from autoseg.training.ranks import SINGLE, Ranks
from autoseg.training.report import Listener, Report, Tell
from autoseg.training.saving import Saver
from autoseg.training.schedule import scheduled
from autoseg.training.scores import patch_scores
from autoseg.training.setup import FoldSetup
from autoseg.training.state import TrainState, make_state, update_average
from autoseg.training.step import training_step
from autoseg.training.trouble import (
    LOOKED_AT_ONCE,
    MOST_SKIPPED,
    ROLLED_BACK_RATE,
    Skipped,
    find_skipped,
    no_number,
)

MOST_TOLD: Final = 3
"""Skipped steps of an epoch that are told one by one."""


def learning_rate(config: TrainingConfig, fraction: float) -> float:
    """Return the learning rate when a fraction of the training is done."""
    return scheduled(config.schedule, fraction, config.learning_rate, warmup=config.warmup_fraction)


@dataclass(slots=True, kw_only=True)
class Sitting:
    """One process's part of a training."""

    setup: FoldSetup
    """What is trained."""
    state: TrainState
    """What the steps change."""
    clock: Clock
    """Training time."""
    feed: Feed
    """Brings batches to the device."""
    saver: Saver
    """Writes checkpoints."""
    stopped: Callable[[], bool]
    """Whether a signal asked for a stop."""
    listener: Listener
    """Told about every step."""
    tell: Tell
    """Told what a person should read."""
    ranks: Ranks = SINGLE
    """The processes that train together; what decides the course, the first one tells all."""
    unseen: list[tuple[tuple[int, int], Tensor, Tensor]] = field(default_factory=list)
    """Address, loss and gradient norm of steps that were not looked at yet."""
    skipped: list[Skipped] = field(default_factory=list)
    """Steps of this epoch that were skipped."""

    @property
    def config(self) -> TrainingConfig:
        """How it is trained."""
        return self.setup.description.training

    def fraction(self, ahead: float = 0.0) -> float:
        """Return the share of the training that is done, or will be some steps ahead."""
        elapsed_s = self.clock.elapsed_s() if self.config.max_minutes else 0.0
        step = self.state.step + ahead
        done = fraction_done(self.config, step, elapsed_s, self.state.cool_down)
        return self.ranks.of_first(done) if self.config.max_minutes else done

    def train_epoch(self) -> None:
        """Train to the end of the epoch or of the training; save and leave if asked to stop."""
        state, config = self.state, self.config
        epoch, first = divmod(state.step, config.steps_per_epoch)
        if state.losses and (first == 0 or self.fraction() >= 1.0):
            # An earlier sitting made the last step, and was stopped before the epoch had its row.
            self._finish_epoch(epoch if first else epoch - 1, {})
            return
        addresses = [(epoch, step) for step in range(first, config.steps_per_epoch)]
        self.skipped.clear()
        began, waited, made, values = perf_counter(), 0.0, 0, {}
        for address, batch in zip(addresses, self._batches(addresses), strict=False):
            rate = self._step(address, batch)
            waited, made = waited + batch.waited_s, made + 1
            values = {
                "learning_rate": rate,
                "wait_fraction": waited / (perf_counter() - began),
                "step_s": (perf_counter() - began) / made,
            }
            self._report(values, complete=False)
            if self._looks_bad():
                self._go_back()
                return
            self._end_early_if_wanted()
            self._save_or_stop()
            if self.fraction() >= 1.0:
                break
        self._look()
        values["epoch_s"] = perf_counter() - began
        self._finish_epoch(epoch, values)

    def _batches(self, addresses: list[tuple[int, int]]) -> Iterator[Batch]:
        self.state.network.train()
        return self.feed.batches(addresses)

    def _step(self, address: tuple[int, int], batch: Batch) -> float:
        """Make one step and return its learning rate."""
        state, description = self.state, self.setup.description
        # In the middle of the step, so that neither the first nor the last has a rate of 0.
        rate = learning_rate(self.config, self.fraction(0.5))
        rate *= ROLLED_BACK_RATE if state.rolled_back else 1.0
        result = training_step(
            state,
            batch,
            labels=description.dataset.labels,
            learning_rate=rate,
            gradient_norm=self.config.gradient_norm,
            batch_dice=description.configuration.batch_dice,
            device=self.setup.device,
            ranks=self.ranks,
        )
        update_average(state, self.config.average_decay)
        state.losses.append(result.loss)
        self.unseen.append((address, result.loss, result.norm))
        return rate

    def _looks_bad(self) -> bool:
        """Look at the last losses if it is time to; tell whether too many steps were skipped.

        Time is counted in steps, so that all processes look, and go back, at the same one.
        """
        step, epoch = self.state.step, self.config.steps_per_epoch
        is_cpu = self.setup.device.torch_device.type == "cpu"
        if not (is_cpu or step % LOOKED_AT_ONCE == 0 or step % epoch == 0):
            return False
        self._look()
        return self.state.skipped >= min(MOST_SKIPPED, epoch)

    def _look(self) -> None:
        """Fetch the losses of steps that were not looked at; tell which were skipped."""
        if not self.unseen:
            return
        addresses, losses, norms = zip(*self.unseen, strict=True)
        self.unseen.clear()
        found = find_skipped(
            lambda: self.setup.source("training"),
            addresses,
            torch.stack(losses),
            torch.stack(norms),
        )
        for each in found:
            if len(self.skipped) < MOST_TOLD:
                self.tell("warning", f"skipped {each}")
            self.skipped.append(each)
        bad = {(each.epoch, each.step) for each in found}
        for address in addresses:
            self.state.skipped = self.state.skipped + 1 if address in bad else 0

    def _go_back(self) -> None:
        """Go back to the last checkpoint, once; a second time is an error."""
        if self.state.rolled_back:
            raise no_number(self.setup.number, self.skipped)
        self.saver.wait()
        self.ranks.barrier()
        fresh = make_state(self.setup.fresh_network(), self.config, self.setup.device)
        checkpoint.restore_latest(self.setup.folder, fresh, only=lambda found: not found.skipped)
        self.ranks.barrier()  # all have read before the first one writes
        fresh.rolled_back, fresh.skipped = True, 0
        self.tell(
            "rollback",
            f"{len(self.skipped)} steps were skipped, up to {self.skipped[-1]}; going back to step "
            f"{fresh.step} with {ROLLED_BACK_RATE:g} of the learning rate",
        )
        self.state = fresh
        self.save()

    def _end_early_if_wanted(self) -> None:
        if self.state.cool_down is None and self.ranks.agree(
            self.ranks.is_first and is_stop_wanted(self.setup.folder)
        ):
            self._cool_down("a file STOP is there")

    def _cool_down(self, reason: str) -> None:
        end = begin_cool_down(self.state.step, self.fraction())
        self.state.cool_down = end
        self.tell("stop", f"{reason}: the learning rate falls to its end within {end.steps} steps")

    def _save_or_stop(self) -> None:
        """Save if it is time to; if a stop was asked for, save and leave."""
        self.state.elapsed_s = self.clock.elapsed_s()
        if self.ranks.agree(self.stopped()):
            self._leave()
        if self.ranks.is_first and self.saver.is_due:
            self._look()
            if not self.state.skipped:  # the last good one is kept to go back to
                self.saver.save(self.state)

    def _leave(self) -> NoReturn:
        """Save and stop."""
        self._look()
        self.save()
        raise InterruptedRun(
            f"stopped after step {self.state.step}; the state is saved",
            hint="run the same command again: it carries on; for a model now, put a file STOP into "
            f"{self.setup.folder} first",
        )

    def _finish_epoch(self, epoch: int, values: dict[str, float]) -> None:
        """Score the epoch, add its row to the history, and save if it is time to."""
        state = self.state
        scores: dict[str, float] | None = {}
        if self.ranks.is_first:
            scores = patch_scores(self.setup, state, self.feed, epoch, stopped=self.stopped)
        if self.ranks.agree(scores is None):
            self._leave()
        losses = [loss for loss in torch.stack(state.losses).tolist() if isfinite(loss)]
        values["train_loss"] = sum(losses) / len(losses) if losses else nan
        if self.skipped:
            values["skipped_steps"] = len(self.skipped)
        values |= scores or {}
        state.losses.clear()
        state.elapsed_s = self.clock.elapsed_s()
        row = {"epoch": epoch, "step": state.step, "elapsed_s": state.elapsed_s, **values}
        state.history.append({key: value for key, value in row.items() if isfinite(value)})
        self._report(state.history[-1], complete=True)
        if state.cool_down is None and self.ranks.agree(
            self.ranks.is_first and is_patience_over(self.config, state.history)
        ):
            self._cool_down(f"{self.config.patience} epochs brought no better Dice")
        self._save_or_stop()

    def save(self) -> None:
        """Save and wait until it is written."""
        if self.ranks.is_first:
            self.saver.save(self.state)
            self.saver.wait()
        self.ranks.barrier()

    def _report(self, values: dict[str, float], *, complete: bool) -> None:
        elapsed_s, fraction = self.clock.elapsed_s(), self.fraction()
        self.listener(
            Report(
                epoch=(self.state.step - 1) // self.config.steps_per_epoch,
                epochs=self.config.epochs,
                fraction=fraction,
                values=values,
                remaining_s=elapsed_s * (1 - fraction) / max(fraction, 1e-6),
                epoch_is_complete=complete,
            )
        )
