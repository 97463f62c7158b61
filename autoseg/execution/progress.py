"""How long work tells how far it is; the command line decides how that looks."""

from typing import Protocol


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
