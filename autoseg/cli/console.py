"""How long work looks: a live bar on a terminal, plain lines elsewhere, nothing when quiet."""

import sys
import time
from typing import TYPE_CHECKING, Final

import click

from autoseg.execution.progress import Progress, Silence

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

LINE_EVERY_S: Final = 10.0
"""Shortest time between plain progress lines."""


def make_progress(*, quiet: bool) -> Progress:
    """Return the listener that fits where messages go; a bar ends with its command."""
    if quiet:
        return Silence()
    if not sys.stderr.isatty():
        return PlainProgress()
    live = LiveProgress()
    click.get_current_context().call_on_close(live.finish)
    return live


class PlainProgress:
    """Lines on stderr: notes at once, progress and status every ten seconds."""

    def __init__(self) -> None:
        self._stage, self._total, self._done = "", 0, 0
        self._began = self._told = time.monotonic()
        self._status = ""

    def start(self, stage: str, total: int) -> None:
        """Begin a stage."""
        self._stage, self._total, self._done = stage, total, 0
        self._began = self._told = time.monotonic()
        self._status = ""

    def advance(self, item: str) -> None:
        """Count one item."""
        self._done += 1
        self._tell()

    def status(self, text: str) -> None:
        """Remember the present state for the next line."""
        self._status = text
        self._tell()

    def finish(self) -> None:
        """Say how long the stage took."""
        if self._stage:
            took = time.monotonic() - self._began
            click.echo(f"{self._stage}: done in {took:.1f} s", err=True)
        self._stage = ""

    def note(self, text: str) -> None:
        """Print a line."""
        self._told = time.monotonic()
        click.echo(text, err=True)

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._told < LINE_EVERY_S:
            return
        self._told = now
        took = now - self._began
        rate = self._done / took
        left = f", {(self._total - self._done) / rate:.0f} s left" if rate else ""
        share = f"{self._done}/{self._total}"
        click.echo(f"{self._stage}: {self._status or share + left}", err=True)


class LiveProgress:
    """A bar with rate and remaining time, and the present state behind it."""

    def __init__(self) -> None:
        self._bars: Bars | None = None
        self._task: TaskID | None = None

    def start(self, stage: str, total: int) -> None:
        """Begin a stage."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bars

        self.finish()
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[state]}"),
            console=Console(stderr=True),
        )
        self._bars.start()
        self._task = self._bars.add_task(stage, total=total, state="")

    def advance(self, item: str) -> None:
        """Count one item."""
        if self._bars is not None and self._task is not None:
            self._bars.advance(self._task)

    def status(self, text: str) -> None:
        """Show the present state."""
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, state=text)

    def finish(self) -> None:
        """Leave the finished bar standing."""
        if self._bars is not None:
            self._bars.stop()
        self._bars = None

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        if self._bars is not None:
            self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            click.echo(text, err=True)
