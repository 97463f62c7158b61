"""Make the next items of a sequence while the present one is worked on."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")

_POLL_S: Final = 0.1
"""How often a full queue is tried again, seconds."""


@dataclass(frozen=True, slots=True)
class _Made(Generic[Item]):
    """What the thread has to tell: an item, an error, or that there are no more."""

    item: Item | None = None
    error: BaseException | None = None
    is_last: bool = False


def ahead(items: Iterator[Item], count: int = 1) -> Generator[Item]:
    """Yield the items of an iterator that a thread of its own advances.

    Parameters
    ----------
    items : iterator
        Work that waits for other processes, or that lets other threads compute.
    count : int
        Items that may lie ready, at least 1; the thread makes one more and waits.

    Yields
    ------
    Item
        In their order. An error of the iterator is raised in its turn.

    Notes
    -----
    When the caller stops early, an item that is being made is not waited for.
    """
    ready: Queue[_Made[Item]] = Queue(maxsize=count)
    stopped = Event()
    Thread(target=_fill, args=(items, ready, stopped), daemon=True).start()
    try:
        while not (made := ready.get()).is_last:
            if made.error is not None:
                raise made.error
            yield made.item  # type: ignore[misc]
    finally:
        stopped.set()
        _empty(ready)


def _fill(items: Iterator[Item], ready: "Queue[_Made[Item]]", stopped: Event) -> None:
    """Put every item into the queue, then that it was the last."""
    try:
        for item in items:
            _put(ready, _Made(item=item), stopped)
            if stopped.is_set():
                return
    except BaseException as error:
        _put(ready, _Made(error=error), stopped)
    else:
        _put(ready, _Made(is_last=True), stopped)


def _put(ready: "Queue[_Made[Item]]", made: _Made[Item], stopped: Event) -> None:
    while not stopped.is_set():
        try:
            ready.put(made, timeout=_POLL_S)
        except Full:
            continue
        return


def _empty(ready: "Queue[_Made[Item]]") -> None:
    """Let go of what lies ready."""
    try:
        while True:
            ready.get_nowait()
    except Empty:
        return
