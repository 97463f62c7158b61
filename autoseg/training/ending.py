"""When a training ends: by steps, by time, or early, with a learning rate that reaches its end."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import ClassVar, Final

from autoseg.core.geometry import STRICT
from autoseg.core.training_config import TrainingConfig

STOP_FILE: Final = "STOP"
"""A file of this name in the fold's folder ends the training early, with a model."""
COOL_DOWN: Final = 0.1
"""Steps of a cool-down, as a fraction of those made. Language models whose rate was constant, but
fell over the last 10 to 20 %, ended as low as with a cosine: Hägele et al. 2024, arXiv:2405.18392.
"""
SMOOTHING: Final = 0.9
"""Weight of the past in the Dice that patience looks at, as in nnU-Net's choice of the best."""
REQUESTS: Final = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP")
    if hasattr(signal, name)
)
"""Signals that ask for a stop: Ctrl-C, a scheduler's end, its warning before, a terminal's end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoolDown:
    """The rest of a training that ends early."""

    __pydantic_config__: ClassVar = STRICT

    step: int
    """Step at which it began."""
    fraction: float
    """Share of the training that was done then: the learning rate goes on from there."""
    steps: int
    """Steps in which the rest of the schedule is run through."""


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


def fraction_done(
    config: TrainingConfig, step: float, elapsed_s: float, cool_down: CoolDown | None = None
) -> float:
    """Return the share of the training that is done, by steps or by time, whichever is more.

    Parameters
    ----------
    config : TrainingConfig
        Its length.
    step : float
        Steps made.
    elapsed_s : float
        Training time, seconds; plays no part where only steps count.
    cool_down : CoolDown, optional
        How the training ends early.
    """
    by_steps = step / (config.epochs * config.steps_per_epoch) if config.epochs else 0.0
    by_time = elapsed_s / (60 * config.max_minutes) if config.max_minutes else 0.0
    by_end = 0.0
    if cool_down is not None:
        share = (step - cool_down.step) / cool_down.steps
        by_end = cool_down.fraction + (1.0 - cool_down.fraction) * share
    return min(1.0, max(by_steps, by_time, by_end))


def begin_cool_down(step: int, fraction: float) -> CoolDown:
    """Return the end of a training from a step on, at which a share of it was done."""
    return CoolDown(step=step, fraction=fraction, steps=max(1, ceil(COOL_DOWN * step)))


def is_stop_wanted(folder: Path) -> bool:
    """Tell whether a person put a `STOP_FILE` into the fold's folder."""
    return (folder / STOP_FILE).exists()


def smoothed_scores(history: Sequence[dict[str, float]]) -> list[float]:
    """Return the smoothed Dice on validation patches after each epoch that has one.

    Of weights and averaged weights, the better counts.
    """
    smoothed: list[float] = []
    for row in history:
        scores = [row[key] for key in ("pseudo_dice", "average_pseudo_dice") if key in row]
        if scores:
            past = smoothed[-1] if smoothed else max(scores)
            smoothed.append(SMOOTHING * past + (1 - SMOOTHING) * max(scores))
    return smoothed


def is_patience_over(config: TrainingConfig, history: Sequence[dict[str, float]]) -> bool:
    """Tell whether the last ``config.patience`` epochs brought no better smoothed Dice."""
    scores = smoothed_scores(history)
    if config.patience is None or len(scores) <= config.patience:
        return False
    return max(scores[-config.patience :]) <= max(scores[: -config.patience])


@contextmanager
def stop_on_request() -> Iterator[Callable[[], bool]]:
    """Let the first of `REQUESTS` ask for a stop; a Ctrl-C behind it acts at once.

    What is ignored stays ignored, such as the terminal's end under ``nohup``.
    """
    asked = False
    if threading.current_thread() is not threading.main_thread():
        yield lambda: asked
        return
    handlers = {number: signal.getsignal(number) for number in REQUESTS}
    before = {number: each for number, each in handlers.items() if each != signal.SIG_IGN}

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        if signal.SIGINT in before:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    for number in before:
        signal.signal(number, ask)
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
