"""Batches made by processes of batchgenerators' augmenter, on machines without an accelerator.

Process ``t`` of ``n`` makes the batches ``t``, ``t + n``, ``t + 2 n`` ... behind the first, each
from its address alone, and the augmenter takes from them in turn.

batchgenerators 0.25.5 forks its processes, which torch's and OpenMP's threads do not survive, and
they share locks and pipes with this one: a process that is killed at the wrong moment would leave
it waiting for ever. So `SpawnedAugmenter` replaces how it starts them, and nothing else: they are
spawned, no lock is shared, and the only writer of each pipe is the process that fills it, so that
its death ends the pipe. They compute with one thread and end with this process.
"""

import logging
import multiprocessing
import os
import queue
import threading
import traceback
from collections import Counter
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any, Final

import torch
from batchgenerators.dataloading.multi_threaded_augmenter import (
    MultiThreadedAugmenter,
    producer,
    results_loop,
)

from autoseg.core.errors import ResourceError
from autoseg.execution.process_start import (
    KERNEL_ENDS_ORPHANS,
    interrupts_held,
    worker_environment,
)
from autoseg.execution.worker_process import Answer, attempt, prepare_worker
from autoseg.execution.workers import ending
from autoseg.training.batches import Made, Sources, make_batch
from autoseg.training.course import Address, Course
from autoseg.training.piped_stop import PipedStop, PipeEnd
from autoseg.training.stored_cases import travelling
from autoseg.training.trouble import drawn_cases

CACHED: Final = 2
"""Batches that each process has ready, beside the one that it makes."""
TOLERATED_LOSSES: Final = 3
"""How often in a row processes may be lost before a batch arrives, wherever they were."""
LONGEST_BATCH_S: Final = 600.0
"""Time after which a process counts as stalled, the start of processes included, seconds."""
POLLED_S: Final = 0.02
"""How often processes and the augmenter look whether they shall end, seconds."""
CPU: Final = torch.device("cpu")

_SPAWN: Final = multiprocessing.get_context("spawn")
_LOG: Final = logging.getLogger(__name__)


class Loader:
    """What a process of the augmenter draws batches from, in batchgenerators' convention.

    Parameters
    ----------
    sources : mapping of purpose to BatchSource
        What to draw from; see `travelling`.
    course : Course
        What follows what.
    count : int
        Processes among which the batches are dealt out.
    """

    def __init__(self, sources: Sources, course: Course, count: int) -> None:
        self.first = 0
        """Place on the course at which the first process starts."""
        self.working_on = _SPAWN.RawArray("q", [-1] * count)
        """Place at which each process is; -1 before its first. No lock guards it: each writes its
        own entry, which is read when it has ended."""
        self._sources = sources
        self._course = course
        self._number = 0
        self._place = 0

    def set_thread_id(self, number: int) -> None:
        """Say which process this is."""
        self._number = number
        self._place = self.first + number

    def __next__(self) -> dict[str, Any]:
        """Return the next batch of this process, or the error that it ended in, and its place."""
        place = self._place
        self._place += len(self.working_on)
        self.working_on[self._number] = place
        return {"place": place, **self._made(self._course.at(place))}

    def _made(self, address: Address) -> dict[str, Any]:
        make = partial(make_batch, self._sources, CPU)
        try:
            answer: Answer[Made] = attempt(make, address, str(address))
        except Exception as error:  # the augmenter would print it, and lose it
            failure = RuntimeError(f"{address}: {type(error).__name__}: {error}")
            failure.add_note(traceback.format_exc())
            return {"error": failure}
        if answer.error is not None:
            return {"error": answer.error}
        assert isinstance(answer.value, tuple)  # on a CPU
        images, targets = answer.value
        return {"data": images.numpy(), "seg": targets.numpy()}


class SpawnedAugmenter(MultiThreadedAugmenter):  # type: ignore[misc]
    """batchgenerators' augmenter with processes that share nothing with this one but pipes."""

    def __init__(self, loader: Loader, count: int) -> None:
        super().__init__(loader, None, count, num_cached_per_queue=CACHED, wait_time=POLLED_S)
        self.abort_event = threading.Event()
        self.pause_event = None
        self.lost: dict[int, int] = {}
        """Exit codes of the processes that ended by themselves, by number."""

    def begin(self, place: int) -> None:
        """Let new processes go on from a place on the course."""
        self._finish()
        self.generator.first = place
        self.generator.working_on[:] = [-1] * self.num_processes
        self._start()

    def _start(self) -> None:
        told_to_end, self_ends = _SPAWN.Pipe(duplex=False)
        self.abort_event = PipedStop(self_ends)
        with interrupts_held(), worker_environment():
            for number in range(self.num_processes):
                made = _SPAWN.Queue(CACHED)
                arguments = (os.getpid(), made, self.generator, number, told_to_end)
                process = _SPAWN.Process(target=_work, args=arguments, daemon=True)
                process.start()
                made._writer.close()  # type: ignore[attr-defined]
                self._queues.append(made)
                self._processes.append(process)
        self.pin_memory_queue: queue.Queue[dict[str, Any]] = queue.Queue(
            CACHED + self.num_processes
        )
        self.pin_memory_thread = threading.Thread(target=self._collect, daemon=True)
        self.pin_memory_thread.start()
        self.was_initialized = True

    def _collect(self) -> None:
        """Take batches from the processes in turn, until one of them ends or all shall."""
        processes = tuple(self._processes)
        with suppress(RuntimeError, EOFError, OSError):  # one has ended, perhaps while it sent
            results_loop(
                self._queues,
                self.pin_memory_queue,
                self.abort_event,
                pin_memory=False,
                gpu=None,
                wait_time=POLLED_S,
                worker_list=processes,
            )
        if not self.abort_event.is_set():
            wait([process.sentinel for process in processes], timeout=1.0)
        self.abort_event.set()

    def _finish(self, timeout: float = 10, force: bool = False) -> None:
        self.abort_event.set()
        if self.pin_memory_thread is not None:
            self.pin_memory_thread.join(1.0)
        if self._processes:
            ended = wait([process.sentinel for process in self._processes], timeout=0)
            for process in self._processes:
                if process.sentinel in ended:  # its code comes a moment later
                    process.join(1.0)
            codes = {number: process.exitcode for number, process in enumerate(self._processes)}
            self.lost = {number: code for number, code in codes.items() if code}
        for process in self._processes:
            process.kill()
        super()._finish(timeout, force)


def _work(parent: int, made: Any, loader: Loader, number: int, told_to_end: Connection) -> None:
    """Run one process of the augmenter."""
    prepare_worker(parent, KERNEL_ENDS_ORPHANS)
    torch.set_num_threads(1)
    made.cancel_join_thread()  # what nobody waits for any more need not be sent
    producer(made, loader, None, number, None, PipeEnd(told_to_end), wait_time=POLLED_S)


class ProcessReader:
    """Makes batches in processes; one that ends is started anew at the step that is needed next.

    Parameters
    ----------
    sources : mapping of purpose to BatchSource
        What to draw from; each says where its cases lie.
    course : Course
        What follows what.
    count : int
        Processes, at least 1.
    """

    def __init__(self, sources: Sources, course: Course, count: int) -> None:
        sent = {purpose: travelling(source) for purpose, source in sources.items()}
        self._augmenter = SpawnedAugmenter(Loader(sent, course, count), count)
        self._sources = sources
        self._course = course
        self._place = 0
        self._deaths: Counter[int] = Counter()
        self._in_a_row = 0

    def start(self, address: Address) -> None:
        """Go on from an address, with new processes."""
        self._place = self._course.place(address)
        self._augmenter.begin(self._place)

    def take(self) -> Made:
        """Return the next batch.

        Raises
        ------
        ResourceError
            If a process ended or stalled twice at the same batch, or several did in a row.
        """
        while True:
            stalls = threading.Timer(LONGEST_BATCH_S, self._augmenter.abort_event.set)
            stalls.daemon = True
            stalls.start()
            try:
                item = next(self._augmenter)
                break
            except RuntimeError:  # what the augmenter makes of a process that has ended
                self._note_loss()
                self._augmenter.begin(self._place)
            finally:
                stalls.cancel()
        self._in_a_row = 0
        if item["place"] != self._place:
            raise RuntimeError(f"batch {item['place']} came instead of batch {self._place}")
        self._place += 1
        if "error" in item:
            raise item["error"]
        return torch.from_numpy(item["data"]), torch.from_numpy(item["seg"])

    def close(self) -> None:
        """End the processes at once."""
        self._augmenter._finish()

    def _note_loss(self) -> None:
        """Count how often processes were lost, and where; refuse to go on when it is no use."""
        self._in_a_row += 1
        working_on = self._augmenter.generator.working_on
        codes = {working_on[number]: code for number, code in self._augmenter.lost.items()}
        for place, code in codes.items() if codes else [(self._place, None)]:
            self._deaths[place] += 1
            loss = f"a worker process {ending(code)} {self._where(place)}"
            _LOG.warning("%s; starting again", loss)
            if self._deaths[place] > 1 or self._in_a_row > TOLERATED_LOSSES:
                often = "for the second time" if self._deaths[place] > 1 else "as others before it"
                raise ResourceError(
                    f"{loss}, {often}",
                    rule="E-RES-66",
                    hint="close other programs; check these cases; --workers 0 works without them",
                ).about(*self._cases(place))

    def _where(self, place: int) -> str:
        if place < 0:
            return "while it started"
        return f"at the {self._course.at(place)} (cases {', '.join(self._cases(place))})"

    def _cases(self, place: int) -> tuple[str, ...]:
        if place < 0:
            return ()
        address = self._course.at(place)
        return drawn_cases(self._sources[address.purpose], address.epoch, address.step)
