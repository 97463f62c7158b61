"""Worker processes that several stages of a command share, because each takes long to start.

Each worker is a Pebble pool of one process. Processes of one pool share a queue under one lock:
when one was killed while it held that lock, the others stood still in six of eight trials.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from multiprocessing.context import SpawnContext, SpawnProcess
from threading import Lock
from types import TracebackType
from typing import Final, Self, TypeVar

from autoseg.core.errors import ResourceError
from autoseg.execution.process_start import (
    KERNEL_ENDS_ORPHANS,
    interrupts_held,
    worker_environment,
)
from autoseg.execution.worker_process import attempt_in_worker, load_modules, prepare_worker

Item = TypeVar("Item")
Value = TypeVar("Value")

TOLERATED_FAILED_STARTS: Final = 2
"""Workers in a row that may end while they start; then no worker can be expected to start."""


def open_workers(count: int, *, preload: tuple[str, ...] = ()) -> "WorkerPool":
    """Start worker processes and return at once, while they load.

    Open them in the main thread: on Linux they end with the thread that started them.

    Parameters
    ----------
    count : int
        Worker processes, at least 0; 0 works in this process.
    preload : tuple of str
        Modules that the workers import meanwhile, such as ``"scipy.ndimage"``.

    Returns
    -------
    WorkerPool
        To be used in a ``with`` statement, which ends the processes.

    Raises
    ------
    ValueError
        If the count is negative.
    """
    if count < 0:
        raise ValueError(f"workers: {count} are impossible; 0 or more")
    return WorkerPool(count, preload)


class Worker:
    """One process that works on one item at a time."""

    def __init__(self, preload: tuple[str, ...]) -> None:
        from pebble import ProcessPool

        context = _OneProcess()
        self._pool = ProcessPool(
            max_workers=1,
            context=context,
            initializer=prepare_worker,
            initargs=[os.getpid(), KERNEL_ENDS_ORPHANS],
        )
        self.ready_at: float | None = None
        """When it had loaded, on the clock of `time.monotonic`; None before."""
        with interrupts_held(), worker_environment():
            self._loaded: Future[None] = self._pool.schedule(load_modules, args=[preload])
        self._process = context.processes[0]
        self._loaded.add_done_callback(self._note_loaded)

    @property
    def lives(self) -> bool:
        """Whether it can be given an item."""
        return self._process.is_alive() and bool(self._pool.active)

    @property
    def exit_code(self) -> int | None:
        """How it ended, negative for a signal; None while it lives."""
        return self._process.exitcode

    def begin(self, function: Callable[[Item], Value], item: Item, name: str) -> Future[bytes]:
        """Let it work on an item.

        Returns
        -------
        Future
            The answer for `read_answer`. The worker's death breaks it, or leaves it open for ever
            where the worker was dead already.
        """
        future: Future[bytes] = Future()
        with suppress(RuntimeError):  # Pebble's answer if the process ended this moment
            future = self._pool.schedule(attempt_in_worker, args=[function, item, name])
        return future

    def check_preload(self) -> None:
        """Raise the error of a module that could not be loaded."""
        if self._loaded.done() and isinstance(error := self._loaded.exception(), ImportError):
            raise error

    def kill(self) -> None:
        """End it at once, whatever it does; `join` must follow."""
        self._pool.stop()
        self._process.kill()

    def join(self) -> None:
        """Wait until it has ended."""
        self._pool.join()
        self._process.join()

    def _note_loaded(self, loaded: "Future[None]") -> None:
        if loaded.exception() is None:
            self.ready_at = time.monotonic()


class WorkerPool:
    """Workers for one stage after another; those that die are replaced when they are needed.

    Parameters
    ----------
    count : int
        Worker processes; 0 works in this process.
    preload : tuple of str
        Modules that each worker imports when it starts.
    """

    def __init__(self, count: int, preload: tuple[str, ...] = ()) -> None:
        self.count = count
        self._preload = preload
        self._idle: list[Worker] = []
        self._taken: list[Worker] = []
        self._failed_starts = 0
        self._is_claimed = False
        self._is_closed = False
        self._moving = Lock()
        try:
            for _ in range(count):
                self._idle.append(Worker(preload))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all workers at once, even while a thread has a stage of them under way."""
        with self._moving:
            self._is_closed = True
            workers = [*self._idle, *self._taken]
            self._idle, self._taken = [], []
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.join()

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep the workers for one stage; those that it leaves at work are ended."""
        if self._is_claimed:
            raise RuntimeError("these workers are in use: finish the stage that holds them first")
        self._is_claimed = True
        self._failed_starts = 0
        try:
            yield
        finally:
            for worker in tuple(self._taken):
                self.drop(worker)
            self._is_claimed = False

    def take(self) -> Worker | None:
        """Return a worker that is free, or None if all are at work.

        Raises
        ------
        RuntimeError
            If the workers are closed.
        """
        while (worker := self._taken_from_idle()) is not None:
            if worker.lives:
                return worker
            self._note_end(worker)
            self.drop(worker)
        if len(self._taken) == self.count:
            return None
        with self._moving:
            if self._is_closed:
                raise RuntimeError("these workers are closed")
            worker = Worker(self._preload)
            self._taken.append(worker)
        return worker

    def _taken_from_idle(self) -> Worker | None:
        with self._moving:
            if not self._idle:
                return None
            self._taken.append(self._idle.pop())
            return self._taken[-1]

    def give_back(self, worker: Worker) -> None:
        """Take a worker back that has done its item."""
        worker.check_preload()
        self._failed_starts = 0
        with self._moving:
            if worker in self._taken:  # else closed meanwhile
                self._taken.remove(worker)
                self._idle.append(worker)

    def drop(self, worker: Worker) -> None:
        """End a worker."""
        with self._moving:
            if worker not in self._taken:  # whoever closed the pool ends it
                return
            self._taken.remove(worker)
        worker.kill()
        worker.join()

    def replace(self, worker: Worker) -> None:
        """End a worker that lost its item; refuse to go on when none manages to start."""
        self._note_end(worker)
        self.drop(worker)

    def _note_end(self, worker: Worker) -> None:
        worker.check_preload()
        self._failed_starts = 0 if worker.ready_at is not None else self._failed_starts + 1
        if self._failed_starts > TOLERATED_FAILED_STARTS:
            raise ResourceError(
                f"worker processes: {self._failed_starts} in a row ended while they started "
                f"({ending(worker.exit_code)})",
                rule="E-RES-66",
                hint="--workers 0 works without them",
            )


def ending(exit_code: int | None) -> str:
    """Return how a process ended, in words: the signal or the exit code."""
    if exit_code is None:
        return "gave no answer"
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    try:
        return f"was ended by {signal.Signals(-exit_code).name}"
    except ValueError:  # a real-time signal has no name
        return f"was ended by signal {-exit_code}"


class _OneProcess(SpawnContext):
    """Starts one process, not Pebble's replacement: that would find the dead one's lock closed."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[SpawnProcess] = []

    def Process(self, *args: object, **kwargs: object) -> SpawnProcess:  # type: ignore[override]  # noqa: N802
        if self.processes:
            raise OSError("the one process of this worker has ended")
        self.processes.append(SpawnProcess(*args, **kwargs))  # type: ignore[arg-type]
        return self.processes[0]
