"""Run one function over many items, in this process or in a pool that survives its workers.

A worker that dies or stalls costs the item it held, which is tried once more, alone, after the
others. Workers are spawned, ignore Ctrl-C (the parent stops them) and end with their parent.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from autoseg.core.errors import AutosegError, ResourceError
from autoseg.execution.machine import memory_errors

if TYPE_CHECKING:
    from pebble import ProcessPool

Item = TypeVar("Item")
Value = TypeVar("Value")


LONGEST_TASK_S: Final = 3600.0
"""Time after which a worker counts as stalled: the slowest single case takes minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[Item, Value]):
    """What became of one item: a value, or an error."""

    item: Item
    """The item."""
    value: Value | None = None
    """What the function returned."""
    error: AutosegError | None = None
    """Why there is no value."""


def run_tasks(
    function: Callable[[Item], Value],
    items: Sequence[Item],
    *,
    workers: int,
    name: Callable[[Item], str] = str,
    timeout_s: float | None = LONGEST_TASK_S,
) -> Iterator[Outcome[Item, Value]]:
    """Apply a function to items and yield each outcome when it is there, in the items' order.

    Items whose worker died or stalled come last, after their second attempt.

    Parameters
    ----------
    function : callable
        Importable function of one item; items and values travel between processes, so they should
        be paths and small records, not arrays.
    items : sequence
        What to work on.
    workers : int
        Worker processes; 0 works in this process.
    name : callable
        Name of an item for messages.
    timeout_s : float, optional
        Longest time for one item in a worker, seconds.

    Yields
    ------
    Outcome
        One per item. An `AutosegError` is an outcome; any other exception is a bug and is raised.
    """
    if workers == 0:
        for item in items:
            yield _attempt(function, item)
        return
    lost: list[Item] = []
    for item, outcome in _run_pool(function, items, workers=workers, timeout_s=timeout_s):
        if outcome is None:
            lost.append(item)
        else:
            yield outcome
    for item in lost:
        for _, outcome in _run_pool(function, [item], workers=1, timeout_s=timeout_s):
            yield outcome or Outcome(item=item, error=_gave_up(name(item)))


def _attempt(function: Callable[[Item], Value], item: Item) -> Outcome[Item, Value]:
    try:
        with memory_errors(str(getattr(function, "__name__", function))):
            return Outcome(item=item, value=function(item))
    except AutosegError as error:
        return Outcome(item=item, error=error)


def _run_pool(
    function: Callable[[Item], Value],
    items: Sequence[Item],
    *,
    workers: int,
    timeout_s: float | None,
) -> Iterator[tuple[Item, Outcome[Item, Value] | None]]:
    """Yield each item's outcome, or None where its worker died or ran out of time."""
    from pebble import ProcessPool

    pool = ProcessPool(
        max_workers=workers,
        context=multiprocessing.get_context("spawn"),
        initializer=_prepare_worker,
        initargs=[os.getpid()],
    )
    try:
        with _without_interrupts():
            futures = [
                pool.schedule(_attempt, args=[function, item], timeout=timeout_s) for item in items
            ]
        for item, future in zip(items, futures, strict=True):
            yield item, _wait_for(future, pool)
        pool.close()
    except BaseException:
        pool.stop()
        raise
    finally:
        pool.stop()
        pool.join()


def _wait_for(
    future: "Future[Outcome[Item, Value]]", pool: "ProcessPool"
) -> Outcome[Item, Value] | None:
    """Return an outcome, or None if its worker, or the pool with all workers, is lost."""
    from pebble import ProcessExpired

    # A pool whose idle workers die breaks, and never answers for items still in its queue.
    while not future.done() and pool.active:
        wait([future], timeout=1.0)
    if not future.done():
        return None
    try:
        return future.result()
    except (ProcessExpired, BrokenProcessPool, TimeoutError):
        return None


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Start workers with Ctrl-C blocked: one that is still importing would print a traceback."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare_worker(parent: int) -> None:
    """Leave Ctrl-C to the parent, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)


def _gave_up(name: str) -> ResourceError:
    return ResourceError(
        f"{name}: its worker process died or stalled twice",
        rule="E-RES-66",
        hint="often memory ran out: close other programs or use --workers 0, then run it again",
    )
