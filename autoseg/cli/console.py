"""How long work looks: a live bar or view on a terminal, plain lines elsewhere, or nothing."""

import os
import sys
import time
from typing import TYPE_CHECKING, Final

import click

from autoseg.execution.progress import Progress, Silence, View

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

LINE_EVERY_S: Final = 10.0
"""Shortest time between plain progress lines."""
VIEW_HZ: Final = 1.0
"""How often a view is drawn: a training on a CPU needs the time more."""


def make_progress(*, quiet: bool) -> Progress:
    """Return the listener that fits where messages go; a bar ends with its command."""
    if quiet:
        return Silence()
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":  # it cannot move the cursor
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

    def show(self, view: View) -> None:
        """Print the view's line if it is a milestone or the last line is old."""
        now = time.monotonic()
        if view.is_milestone or now - self._told >= LINE_EVERY_S:
            self._told = now
            click.echo(view.line, err=True)

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


class DrawnView:
    """A view as rich draws it, in its own thread, as wide as the terminal then is."""

    def __init__(self, view: View) -> None:
        self.view = view

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        """Give the lines of the view, none of which may wrap: that would tear the block."""
        from rich.text import Text

        for line in self.view.lines(options.max_width):
            yield Text(line, no_wrap=True, overflow="crop", end="\n")


class LiveProgress:
    """A bar with rate and remaining time and the present state behind it; or a view."""

    def __init__(self) -> None:
        self._bars: Bars | None = None
        self._task: TaskID | None = None
        self._live: Live | None = None
        self._drawn: DrawnView | None = None

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

    def show(self, view: View) -> None:
        """Show a view instead of the bar."""
        if self._drawn is not None:
            self._drawn.view = view
            return
        from rich.console import Console
        from rich.live import Live

        self.finish()
        self._drawn = DrawnView(view)
        self._live = Live(
            self._drawn,
            console=Console(stderr=True),
            refresh_per_second=VIEW_HZ,
            redirect_stdout=False,
        )
        self._live.start(refresh=True)

    def finish(self) -> None:
        """Leave the finished bar or view standing."""
        for shown in (self._bars, self._live):
            if shown is not None:
                shown.stop()
        self._bars = self._live = self._drawn = None

    def note(self, text: str) -> None:
        """Print a line above the bar or the view."""
        shown = self._bars or self._live
        if shown is not None:
            shown.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            click.echo(text, err=True)
