"""What a training tells those who watch it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

EventName = Literal["warning", "rollback", "stop"]


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
"""Told about every step and every epoch."""
Tell = Callable[[EventName, str], None]
"""Told what a person should read."""
