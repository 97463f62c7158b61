"""Which batches a training sees, in which order, so that they can be read ahead."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from autoseg.training.sampling import Purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Which batch of a training: the same address always gives the same batch."""

    purpose: Purpose
    """Whether it trains or validates."""
    epoch: int
    """Epoch, from 0."""
    step: int
    """Step of the epoch, from 0; those of training and validation are counted apart."""

    def __str__(self) -> str:
        return f"{self.purpose} batch of epoch {self.epoch}, step {self.step}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """The order of batches: an epoch's training, its validation, the next epoch, without an end."""

    steps_per_epoch: int
    """Training batches of an epoch, at least 1."""
    validation_steps: int = 0
    """Validation batches behind them."""

    def __post_init__(self) -> None:
        if self.steps_per_epoch < 1 or self.validation_steps < 0:
            raise ValueError(
                f"course of {self.steps_per_epoch} training and {self.validation_steps} validation "
                "batches: at least 1 and 0 are needed"
            )

    def holds(self, address: Address) -> bool:
        """Tell whether an address occurs."""
        training = address.purpose == "training"
        steps = self.steps_per_epoch if training else self.validation_steps
        return address.epoch >= 0 and 0 <= address.step < steps

    def at(self, place: int) -> Address:
        """Return what comes at a place, from 0.

        Examples
        --------
        >>> course = Course(steps_per_epoch=3, validation_steps=1)
        >>> [(a.purpose[0], a.epoch, a.step) for a in map(course.at, range(5))]
        [('t', 0, 0), ('t', 0, 1), ('t', 0, 2), ('v', 0, 0), ('t', 1, 0)]
        """
        epoch, step = divmod(place, self.steps_per_epoch + self.validation_steps)
        if step < self.steps_per_epoch:
            return Address(purpose="training", epoch=epoch, step=step)
        return Address(purpose="validation", epoch=epoch, step=step - self.steps_per_epoch)

    def place(self, address: Address) -> int:
        """Return where an address comes; `ValueError` if it does not."""
        if not self.holds(address):
            raise ValueError(f"{address}: is not part of {self}")
        before = 0 if address.purpose == "training" else self.steps_per_epoch
        return (
            address.epoch * (self.steps_per_epoch + self.validation_steps) + before + address.step
        )

    def onwards(self, address: Address) -> Iterator[Address]:
        """Yield an address and all that follow, without an end."""
        return map(self.at, count(self.place(address)))
