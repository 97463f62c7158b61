"""Asking threads of this process and others to end, with no lock between processes.

A lock that a killed process holds is never released; a pipe ends with the process that held it.
"""

import threading
from multiprocessing.connection import Connection


class PipedStop(threading.Event):
    """Asks threads of this process to end, and the others by the end of a pipe."""

    def __init__(self, pipe: Connection) -> None:
        super().__init__()
        self._pipe = pipe
        self._closing = threading.Lock()

    def set(self) -> None:
        """Ask; once is enough."""
        super().set()
        if self._closing.acquire(blocking=False):  # by the first of several threads
            self._pipe.close()


class PipeEnd:
    """Whether a process was asked to end; what the augmenter's producer takes for an event."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._is_set = False

    def is_set(self) -> bool:
        """Tell whether it was asked, by the pipe or by itself."""
        try:
            return self._is_set or self._pipe.poll()
        except OSError:  # how Windows says that the pipe has ended
            return True

    def set(self) -> None:
        """Let the process end by itself."""
        self._is_set = True
