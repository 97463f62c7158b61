"""What a training tells while it runs: where it starts, a line per step, an event per epoch."""

from typing import TYPE_CHECKING

from autoseg.execution.progress import Progress
from autoseg.io.journal import Journal

if TYPE_CHECKING:
    from autoseg.training.loop import Listener, Report
    from autoseg.training.setup import FoldSetup


def tell_start(setup: "FoldSetup", progress: Progress) -> None:
    """Say what is trained, and what differs from nnU-Net's recipe."""
    description = setup.description
    config, configuration = description.training, description.configuration
    length = f"{config.epochs} epochs" if config.epochs else f"{config.max_minutes:g} minutes"
    progress.note(
        f"training {configuration.name} fold {setup.number} on {setup.device}: "
        f"{len(setup.cases)} cases, patch {'x'.join(map(str, configuration.patch_size))}, "
        f"batch {config.batch_size(configuration)}, {length}, preset {config.preset}"
    )
    changed = [f"{d.subject.rpartition('.')[2]} {d.value}" for d in description.decisions]
    if changed:
        progress.note(f"other than nnU-Net's recipe: {', '.join(changed)}; model.json says why")


def make_listener(setup: "FoldSetup", journal: Journal, progress: Progress) -> "Listener":
    """Return what turns reports of the training into progress lines and journal events."""
    config = setup.description.training
    last: dict[str, float] = {}
    progress.start(f"fold {setup.number}", 1000)
    told = 0

    def listen(report: "Report") -> None:
        nonlocal told
        if report.epoch_is_complete:
            last.update(report.values)
            journal.record("epoch", epoch=report.epoch, **report.values)
        line = _progress_line(report, last, config.epochs)
        progress.status(line)
        while told < int(report.fraction * 1000):
            told += 1
            progress.advance("")
        if report.epoch_is_complete:
            progress.note(line)

    return listen


def _progress_line(report: "Report", last: dict[str, float], epochs: int | None) -> str:
    """Say where a training stands; losses and Dice are those of the last whole epoch."""
    minutes, seconds = divmod(int(report.remaining_s), 60)
    parts = [f"epoch {report.epoch + 1}" + (f"/{epochs}" if epochs else "")]
    if "train_loss" in last:
        parts.append(f"loss {last['train_loss']:.3f}")
    if "validation_loss" in last:
        parts.append(f"validation {last['validation_loss']:.3f}")
    if "pseudo_dice" in last:
        parts.append(f"Dice {last['pseudo_dice']:.3f}")
    parts += [f"wait {report.values['wait_fraction']:.0%}", f"ETA {minutes}:{seconds:02d}"]
    return "  ".join(parts)
