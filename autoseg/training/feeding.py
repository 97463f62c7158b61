"""How batches reach the training device, read ahead over the whole training.

Beside an accelerator threads read, into pinned memory, and the device augments. Without one, a
thread of this process or the processes of `autoseg.training.multiprocess_feed` do all of it. Each
computes with one torch thread: a sum over an image depends on their number, a batch must not.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from threading import Barrier
from time import perf_counter
from typing import Final, Literal, Protocol

import torch
from torch import Tensor

from autoseg.core.errors import UsageError
from autoseg.execution.machine import inspect_machine
from autoseg.training.batches import (
    Batch,
    BatchSource,
    Made,
    Patches,
    Sources,
    augment_patches,
    make_batch,
)
from autoseg.training.course import Address, Course
from autoseg.training.multiprocess_feed import ProcessReader

AHEAD: Final = 2
"""Batches that are read before they are needed, beside those that are being read."""

MOST_THREADS: Final = 4
"""Threads that read beside an accelerator, where there are as many cores: to read a batch of two
patches of 128^3 takes one core 0.05 s, half of a fast card's step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """Who makes batches beside the training."""

    kind: Literal["threads", "processes"]
    """Processes are for machines without an accelerator."""
    count: int
    """How many; without any, a batch is made when it is asked for."""

    def __post_init__(self) -> None:
        if self.count < 0:
            raise UsageError(f"workers: {self.count} are impossible; 0 or more")


def default_workers(device: torch.device, cores: int) -> Workers:
    """Return who shall make batches where nobody chose.

    Parameters
    ----------
    device : torch.device
        Where the training runs.
    cores : int
        Processor cores that it may use.

    Notes
    -----
    On a CPU one thread: it makes a batch of four patches of 40x56x40 in 0.03 s of CPU time, a small
    part of the step that follows, and the training waits for 0.1 % of a step of 0.1 s. A process
    takes a tenth more for sending, 1.7 s to start, and memory of its own; it pays for transforms of
    one's own that keep Python busy (``benchmarks/feeding.py``).
    """
    if device.type == "cpu":
        return Workers(kind="threads", count=1)
    return Workers(kind="threads", count=max(1, min(MOST_THREADS, cores - 1)))


def chosen_workers(asked: int | None, device: torch.device) -> Workers:
    """Return who shall make batches as a user asked.

    Parameters
    ----------
    asked : int or None
        Beside an accelerator, threads; on a CPU, processes. None, and 0 on a CPU, take
        `default_workers`.
    device : torch.device
        Where the training runs.
    """
    if asked is None or (asked == 0 and device.type == "cpu"):
        return default_workers(device, inspect_machine().cores)
    return Workers(kind="threads" if device.type != "cpu" else "processes", count=asked)


class Reader(Protocol):
    """What makes batches one after the other, in the order of a course."""

    def start(self, address: Address) -> None:
        """Go on from an address; forget what was read ahead."""

    def take(self) -> Made:
        """Return the next batch."""


class ThreadReader:
    """Makes batches in threads of this process.

    Parameters
    ----------
    make : callable
        Returns the batch of an address.
    course : Course
        What follows what.
    count : int
        Threads; without any, one makes each batch when it is asked for.
    """

    def __init__(self, make: Callable[[Address], Made], course: Course, count: int) -> None:
        self._make = make
        self._course = course
        self._ahead = count + AHEAD if count else 0
        self._pool = ThreadPoolExecutor(max(count, 1), thread_name_prefix="make-batches")
        self._stream: Generator[Made] | None = None
        self._limit_torch(max(count, 1))

    def start(self, address: Address) -> None:
        """Go on from an address; forget what was read ahead."""
        if self._stream is not None:
            self._stream.close()
        self._stream = self.apart(self._course.onwards(address))

    def take(self) -> Made:
        """Return the next batch."""
        if self._stream is None:
            raise RuntimeError("nothing was started")
        return next(self._stream)

    def apart(self, addresses: Iterable[Address]) -> Generator[Made]:
        """Yield batches off the course, read ahead too."""
        waiting: deque[Future[Made]] = deque()
        try:
            for address in addresses:
                waiting.append(self._pool.submit(self._make, address))
                if len(waiting) > self._ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def close(self) -> None:
        """End the threads, as soon as they have what they are reading."""
        self._pool.shutdown(cancel_futures=True)

    def _limit_torch(self, threads: int) -> None:
        """Let each thread of the pool, and none else, compute with one torch thread."""
        before = torch.get_num_threads()
        everyone = Barrier(threads)  # so that none takes two of the tasks
        for task in [self._pool.submit(_compute_alone, everyone) for _ in range(threads)]:
            task.result()
        torch.set_num_threads(before)  # for threads that will come


def _compute_alone(everyone: Barrier) -> None:
    everyone.wait()
    torch.get_num_threads()  # or the first computation would ask for the number of the process
    torch.set_num_threads(1)


class Feed:
    """The batches of one training, in the order of a course; use `open_feed`."""

    def __init__(
        self,
        sources: Sources,
        device: torch.device,
        *,
        course: Course,
        threads: "ThreadReader",
        reader: Reader,
    ) -> None:
        self._sources = sources
        self._device = device
        self._course = course
        self._reader = reader
        self._threads = threads
        self._next: Address | None = None

    def batches(self, addresses: Iterable[tuple[int, int]]) -> Iterator[Batch]:
        """Yield training batches of some (epoch, step), in this order.

        Whatever follows the last one on the course is being read when they end. Addresses off the
        course's order are right but make the reading start anew.

        Raises
        ------
        DamagedError
            If a preprocessed case can no longer be read; names it.
        TrainingError
            If a transform of the user's fails, or a worker process dies again and again.
        """
        return self._serve([Address(purpose="training", epoch=e, step=s) for e, s in addresses])

    def validation_batches(self, addresses: Iterable[tuple[int, int]]) -> Iterator[Batch]:
        """Yield validation batches; as `batches`.

        Those that the course does not have next are read apart, and it goes on where it was.
        """
        return self._serve([Address(purpose="validation", epoch=e, step=s) for e, s in addresses])

    def _serve(self, addresses: Sequence[Address]) -> Iterator[Batch]:
        for number, address in enumerate(addresses):
            if address != self._next and address.purpose == "validation":
                apart = self._threads.apart(addresses[number:])
                yield from (self._batch(address, apart.__next__) for address in addresses[number:])
                return
            yield self._take(address)

    def _take(self, address: Address) -> Batch:
        if address != self._next:
            self._next = None
            self._reader.start(address)
        following, self._next = self._course.at(self._course.place(address) + 1), None
        batch = self._batch(address, self._reader.take)
        self._next = following
        return batch

    def _batch(self, address: Address, take: Callable[[], Made]) -> Batch:
        began = perf_counter()
        made = take()
        waited_s = perf_counter() - began
        images, targets = self._on_device(made, self._sources[address.purpose])
        return Batch(images=images, targets=targets, waited_s=waited_s)

    def _on_device(self, made: Made, source: BatchSource) -> tuple[Tensor, Tensor]:
        if isinstance(made, Patches):
            return augment_patches(
                source, made.mapped(lambda tensor: tensor.to(self._device, non_blocking=True))
            )
        images, targets = made
        return images, targets.long()


@contextmanager
def open_feed(
    training: BatchSource,
    device: torch.device,
    *,
    course: Course,
    validation: BatchSource | None = None,
    workers: Workers | None = None,
) -> Iterator[Feed]:
    """Feed a training from its first step to its last.

    Parameters
    ----------
    training : BatchSource
        What training batches are drawn from.
    device : torch.device
        Where the training runs.
    course : Course
        What it will ask for, so that batches are read ahead over the ends of epochs.
    validation : BatchSource, optional
        What validation batches are drawn from; needed where the course has some.
    workers : Workers, optional
        Who makes batches; `default_workers` if left out. They never change a batch.

    Yields
    ------
    Feed
        Its threads and processes end with the ``with`` block, however that is left.

    Raises
    ------
    UsageError
        If there shall be processes beside an accelerator.
    """
    workers = default_workers(device, inspect_machine().cores) if workers is None else workers
    sources: Sources = {"training": training, "validation": validation or training}
    if validation is None and course.validation_steps:
        raise ValueError(f"{course} needs a source of validation batches")
    if workers.kind == "processes" and device.type != "cpu":
        raise UsageError(
            f"{workers.count} worker processes beside {device}: only the threads of this process "
            "reach its memory",
            hint="use threads",
        )
    is_threaded = workers.kind == "threads"
    with ExitStack() as opened:
        make = partial(make_batch, sources, device)
        threads = ThreadReader(make, course, workers.count if is_threaded else 1)
        opened.callback(threads.close)
        reader: Reader = threads
        if not is_threaded and workers.count:
            processes = ProcessReader(sources, course, workers.count)
            opened.callback(processes.close)
            reader = processes
        yield Feed(sources, device, course=course, threads=threads, reader=reader)
