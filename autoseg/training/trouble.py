"""Steps whose loss is no number, and devices that fail: what is skipped, undone, or told."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from typing import Final

import torch
from torch import Tensor

from autoseg.core.errors import ResourceError, TrainingError
from autoseg.networks.device_loss import device_losses
from autoseg.training.batches import BatchSource, draw_case

MOST_SKIPPED: Final = 20
"""Steps in a row that may be skipped: a loss scale needs up to 16 to come down from 2**16."""
LOOKED_AT_ONCE: Final = 20
"""Steps whose losses are fetched together from an accelerator, which must not wait for the host."""
ROLLED_BACK_RATE: Final = 0.5
"""Factor of the learning rate after a training went back to a checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A step whose loss or gradient was no number; it changed no weight."""

    epoch: int
    """Its epoch."""
    step: int
    """Its step within the epoch."""
    loss: float
    """The loss."""
    norm: float
    """Norm of the gradient."""
    cases: tuple[str, ...]
    """Cases that its patches came from."""

    def __str__(self) -> str:
        what = f"gradient norm {self.norm}" if isfinite(self.loss) else f"loss {self.loss}"
        return f"epoch {self.epoch}, step {self.step} ({', '.join(self.cases)}): {what}"


def find_skipped(
    source: Callable[[], BatchSource],
    addresses: Sequence[tuple[int, int]],
    losses: Tensor,
    norms: Tensor,
) -> list[Skipped]:
    """Return the steps whose loss or gradient norm is not finite.

    Parameters
    ----------
    source : callable
        Returns what their patches were drawn from; called where some step is found.
    addresses : sequence of (epoch, step)
        The steps.
    losses, norms : (steps,) tensor
        What they gave; fetched from the device.
    """
    found = []
    rows = torch.stack([losses.float(), norms.float()], dim=1).tolist()
    for (epoch, step), (loss, norm) in zip(addresses, rows, strict=True):
        if not (isfinite(loss) and isfinite(norm)):
            cases = drawn_cases(source(), epoch, step)
            found.append(Skipped(epoch=epoch, step=step, loss=loss, norm=norm, cases=cases))
    return found


def drawn_cases(source: BatchSource, epoch: int, step: int) -> tuple[str, ...]:
    """Return the names of the cases that a batch is drawn from, each once, in order."""
    slots = range(source.batch_size)
    names = (draw_case(source, epoch, step, slot)[1].record.name for slot in slots)
    return tuple(dict.fromkeys(names))


def no_number(fold: int, skipped: Sequence[Skipped]) -> TrainingError:
    """Return the error of a training whose loss stays no number although it went back once."""
    cases = dict.fromkeys(name for each in skipped for name in each.cases)
    return TrainingError(
        f"fold {fold}, {skipped[-1]}; {len(skipped)} steps were skipped, the training went back to "
        "a checkpoint once and came to the same",
        rule="E-RUN-70",
        hint=f"look for extreme intensities in {', '.join(list(cases)[:5])} (autoseg check); or "
        "train another --run with a lower --learning-rate",
    )


@contextmanager
def device_failures(fold: int, device: str) -> Iterator[None]:
    """Turn the failures of an accelerator into what a person or a scheduler can act on.

    Raises
    ------
    ResourceError
        E-RES-65 if its memory is too small.
    InterruptedRun
        If it is lost: what is saved goes on elsewhere, or when it is back.
    """
    try:
        with device_losses(f"fold {fold}", device, kept="the last checkpoint is kept"):
            yield
    except torch.OutOfMemoryError as error:
        raise ResourceError(
            f"fold {fold}: the memory of {device} is too small or in use by others "
            f"({str(error).splitlines()[0][:160]})",
            rule="E-RES-65",
            hint="end other programs on it; or plan for less: autoseg plan --gpu-memory-gib GIB "
            "--plan small, and train with --plan small",
        ) from error
