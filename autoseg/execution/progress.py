"""How long work tells how far it is; the command line decides how that looks."""

from collections.abc import Sequence
from typing import Protocol


class View(Protocol):
    """The present state of work that has more to tell than one line."""

    @property
    def line(self) -> str:
        """The state in one line."""

    @property
    def is_milestone(self) -> bool:
        """Whether a log should keep the line."""

    def lines(self, width: int) -> Sequence[str]:
        """Return the state in several lines for a terminal that is ``width`` characters wide."""


class Progress(Protocol):
    """A listener to long work."""

    def start(self, stage: str, total: int) -> None:
        """Begin a stage of ``total`` items."""

    def advance(self, item: str) -> None:
        """Count one finished item of the stage."""

    def finish(self) -> None:
        """End the stage."""

    def note(self, text: str) -> None:
        """Say one line that a person should read."""

    def status(self, text: str) -> None:
        """Replace the line that tells the present state."""

    def show(self, view: View) -> None:
        """Replace the stage, or the view before, by a view of the present state."""


class Silence:
    """A listener that says nothing."""

    def start(self, stage: str, total: int) -> None:
        """Say nothing."""

    def advance(self, item: str) -> None:
        """Say nothing."""

    def finish(self) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def status(self, text: str) -> None:
        """Say nothing."""

    def show(self, view: View) -> None:
        """Say nothing."""
