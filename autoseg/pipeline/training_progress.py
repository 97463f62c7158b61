"""What a training tells while it runs: its start, its state, its epochs, and what goes wrong."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Final

from autoseg.core.errors import ResourceError
from autoseg.core.training_history import Row, TrainingHistory, gather_history
from autoseg.execution.machine import inspect_machine
from autoseg.execution.progress import Progress
from autoseg.io import files
from autoseg.io.journal import Journal
from autoseg.pipeline.training_view import TrainingView
from autoseg.reporting.training_figure import training_figure
from autoseg.training.symptoms import Seen, bottleneck, find_symptoms, tell_new

if TYPE_CHECKING:
    from autoseg.pipeline.tensorboard import Board
    from autoseg.training.report import EventName, Report
    from autoseg.training.setup import FoldSetup

JOURNAL_FILE: Final = "run.jsonl"
"""Name of the journal in the folder of a fold."""
FIGURE_FILE: Final = "progress.svg"
"""Name of the figure beside it."""
FIGURE_EVERY_S: Final = 10.0
"""Shortest time between two drawings; one takes up to 0.05 s."""


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


def read_history(folder: Path) -> TrainingHistory:
    """Return the epochs that the journal of a fold's folder tells; none if there is no journal."""
    events = Journal(path=folder / JOURNAL_FILE).events()
    return gather_history(event for event in events if event.get("event") == "epoch")


def make_listener(
    setup: "FoldSetup",
    journal: Journal,
    progress: Progress,
    *,
    workers: int,
    tensorboard: bool = False,
) -> "TrainingListener":
    """Return what turns reports of the training into views, events, warnings and a figure.

    Parameters
    ----------
    setup : FoldSetup
        What is trained.
    journal : Journal
        Gets an event per epoch and per warning; what it holds of an earlier sitting goes on.
    progress : Progress
        Gets the view, warnings, and where the time of the first epoch went.
    workers : int
        Threads or processes that prepare patches.
    tensorboard : bool
        Whether to write the figures of each epoch for TensorBoard too.

    Raises
    ------
    UsageError
        If TensorBoard is asked for and not installed.
    """
    board = None
    if tensorboard:
        from autoseg.pipeline.tensorboard import open_board

        board = open_board(setup.folder / "tensorboard")

    def slowest(row: Row) -> str:
        import torch

        return bottleneck(
            row,
            threads=torch.get_num_threads(),
            workers=workers,
            cores=inspect_machine().cores,
            device=str(setup.device),
        )

    description = setup.description
    return TrainingListener(
        folder=setup.folder,
        name=f"fold {setup.number}",
        title=f"{description.dataset.name} {description.configuration.name} fold {setup.number}",
        label=description.training.title,
        journal=journal,
        progress=progress,
        slowest=slowest,
        board=board,
    )


@dataclass(slots=True, kw_only=True)
class TrainingListener:
    """What is known of a running training, and who is told; call `close` at its end."""

    folder: Path
    """Folder of the fold; the figure goes there."""
    name: str
    """What is trained, shortly."""
    title: str
    """What is trained, above the figure."""
    label: str
    """How it is trained, above the figure."""
    journal: Journal
    """Gets an event per epoch and per warning."""
    progress: Progress
    """Gets views and notes."""
    slowest: Callable[[Row], str]
    """Says where the time of an epoch went."""
    board: "Board | None" = None
    """Event file of TensorBoard; None if it was not asked for, or failed."""
    history: TrainingHistory | None = field(default=None, init=False)
    """Epochs so far, those of earlier sittings included; None before the first report."""
    seen: Seen = field(default_factory=dict, init=False)
    """When each symptom was last there."""
    event: str = field(default="", init=False)
    """The last warning or other event, as it was told."""
    told_slowest: bool = field(default=False, init=False)
    """Whether this sitting said where the time goes."""
    drawn: float = field(default=-inf, init=False)
    """Time of the monotonic clock at the last drawing."""
    is_stale: bool = field(default=False, init=False)
    """Whether the figure lacks an epoch."""

    def __call__(self, report: "Report") -> None:
        """Take in a report."""
        if self.history is None:
            self._begin(report)
        warnings = self._take_epoch(report) if report.epoch_is_complete else ()
        if warnings:
            self.event = f"warning: {warnings[-1]}"
        self.progress.show(self._view(report))
        if report.epoch_is_complete and not self.told_slowest:
            self._tell_slowest()
        for warning in warnings:
            self.tell("warning", warning)
        is_due = report.fraction >= 1.0 or time.monotonic() - self.drawn >= FIGURE_EVERY_S
        if self.is_stale and is_due:
            self._draw()

    def tell(self, name: "EventName", text: str) -> None:
        """Tell of an event: the person, the journal, and the next view."""
        self.event = f"{name}: {text}"
        self.journal.record(name, text=text)
        self.progress.note(self.event)

    def close(self) -> None:
        """Draw what is not drawn yet, and close what is open; may be called twice."""
        if self.is_stale:
            self._draw()
        if self.board is not None:
            with suppress(OSError):  # nothing is lost: the journal has it all
                self.board.close()
        self.board = None

    def _begin(self, report: "Report") -> None:
        """Go on with what an earlier sitting left; its symptoms have been told."""
        self.history = read_history(self.folder).before(report.epoch)
        symptoms = find_symptoms(self.history, fraction=report.fraction)
        _, self.seen = tell_new(symptoms, {}, epoch=self.history.last.get("epoch", 0.0))

    def _take_epoch(self, report: "Report") -> tuple[str, ...]:
        """Keep the figures of an epoch; return what is to be warned of."""
        row = {name: value for name, value in report.values.items() if isfinite(value)}
        row["epoch"] = report.epoch
        self.history = self._known.with_row(row)
        self.is_stale = True
        self.journal.record("epoch", **row)
        self._record_on_board(row)
        symptoms = find_symptoms(self.history, fraction=report.fraction)
        fresh, self.seen = tell_new(symptoms, self.seen, epoch=report.epoch)
        return tuple(f"epoch {report.epoch + 1}: {each.text}; {each.hint}" for each in fresh)

    def _tell_slowest(self) -> None:
        """Say where the time of this sitting's first epoch went."""
        self.told_slowest = True
        text = self.slowest(self._known.last)
        self.journal.record("bottleneck", text=text)
        self.progress.note(text)

    @property
    def _known(self) -> TrainingHistory:
        return self.history or TrainingHistory()

    def _view(self, report: "Report") -> TrainingView:
        return TrainingView(
            name=self.name,
            epoch=report.epoch,
            epochs=report.epochs,
            fraction=report.fraction,
            remaining_s=report.remaining_s,
            values=report.values,
            history=self._known,
            event=self.event,
            is_milestone=report.epoch_is_complete,
        )

    def _draw(self) -> None:
        """Draw the figure; a training does not end because it cannot be written."""
        self.drawn, self.is_stale = time.monotonic(), False
        figure = training_figure(self._known, title=self.title, label=self.label)
        try:
            files.write_atomically(self.folder / FIGURE_FILE, figure, durable=False)
        except ResourceError as error:
            self.tell("warning", f"{error.text}; the training goes on without the figure")
            self.drawn = inf

    def _record_on_board(self, row: Row) -> None:
        """Give TensorBoard an epoch; a training does not end because that fails."""
        if self.board is None:
            return
        try:
            self.board.record(row)
        except OSError as error:
            self.board = None
            self.tell("warning", f"TensorBoard: {error}; the training goes on without it")
