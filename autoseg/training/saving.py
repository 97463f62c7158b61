"""Checkpoints written beside the training: it waits for the copy only, not for the disk."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Final, Self

from autoseg.networks.device import Device
from autoseg.training import checkpoint
from autoseg.training.origin import Origin
from autoseg.training.state import TrainState

SAVE_EVERY_S: Final = 60.0
"""Time between checkpoints, seconds: what a sudden end costs at most, and one step."""


class Saver:
    """Writes the checkpoints of one fold; to be used in a ``with`` statement.

    Parameters
    ----------
    folder : Path
        Folder of the fold.
    origin : Origin
        What the training was started with.
    device : Device
        Where it runs, and how precisely.
    every_s : float
        Time between checkpoints, seconds.
    """

    def __init__(
        self, folder: Path, origin: Origin, device: Device, *, every_s: float = SAVE_EVERY_S
    ) -> None:
        self._folder, self._origin, self._device = folder, origin, device
        self._every_s, self._saved_at = every_s, monotonic()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="save-checkpoint")
        self._writing: Future[None] | None = None

    @property
    def is_due(self) -> bool:
        """Whether the last time is long enough ago."""
        return monotonic() - self._saved_at >= self._every_s

    def save(self, state: TrainState) -> None:
        """Copy the state and begin to write it; raise the error of the writing before, if any."""
        self.wait()
        snapshot = checkpoint.take(state, self._origin, self._device)
        self._writing = self._thread.submit(checkpoint.write, self._folder, snapshot)
        self._saved_at = monotonic()

    def wait(self) -> None:
        """Wait until the last checkpoint is written; raise its error, if any."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait for the writing; its error counts unless there is one already."""
        self._thread.shutdown(wait=True)
        if error is None:
            self.wait()
