"""Run one function over many items, in this process or in workers, whatever becomes of them.

A worker that dies or stalls costs the item it held, which is tried once more, alone, after the
others. The outcomes come in the items' order, however many workers there are.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from autoseg.core.errors import AutosegError
from autoseg.execution.admission import Loss, Queue, Task, gave_up, list_tasks, too_large
from autoseg.execution.machine import inspect_machine
from autoseg.execution.worker_process import Answer, attempt, read_answer
from autoseg.execution.workers import Worker, WorkerPool, ending, open_workers

Item = TypeVar("Item")
Value = TypeVar("Value")

LONGEST_TASK_S: Final = 3600.0
"""Time after which a worker counts as stalled: the slowest single case takes minutes."""

LONGEST_START_S: Final = 120.0
"""Time that a worker may take to start, seconds; idle machines need about one."""

_LONGEST_WAIT_S: Final = 0.5
"""How often workers are looked at that say nothing, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[Item, Value]):
    """What became of one item: a value, or an error."""

    item: Item
    """The item."""
    value: Value | None = None
    """What the function returned."""
    error: AutosegError | None = None
    """Why there is no value."""
    peak_bytes: int | None = None
    """Most memory that the process held meanwhile; None if it once held more, or if unknown."""


def run_tasks(
    function: Callable[[Item], Value],
    items: Sequence[Item],
    *,
    workers: int | WorkerPool,
    name: Callable[[Item], str] = str,
    timeout_s: float | Callable[[Item], float] | None = LONGEST_TASK_S,
    memory_bytes: Callable[[Item], int] | None = None,
    budget_bytes: int | None = None,
    most_ahead: int | None = None,
    when_done: Callable[[Outcome[Item, Value]], None] | None = None,
) -> Iterator[Outcome[Item, Value]]:
    """Apply a function to items and yield the outcomes in the items' order.

    Parameters
    ----------
    function : callable
        Importable function of one item; items and values travel between processes, so they should
        be paths and small records, not arrays.
    items : sequence
        What to work on.
    workers : int or WorkerPool
        Worker processes for this call, or those that are open; 0 works in this process.
    name : callable
        Name of an item for messages.
    timeout_s : float or callable, optional
        Longest time for one item in a worker, seconds, or a function of the item that tells it.
    memory_bytes : callable, optional
        Memory that the process needs for an item at its peak. Items run together only if they fit
        together; one that does not fit by itself is refused before any work starts.
    budget_bytes : int, optional
        Memory for all items that run at the same time; measured if left out.
    most_ahead : int, optional
        Items at most, at least 1, that are at work or wait for their turn: for values that take
        room, such as files. Items then start in their order, and one that lost its worker is tried
        again before the next.
    when_done : callable, optional
        Called in this process with each outcome as soon as it is there, in any order.

    Yields
    ------
    Outcome
        One per item. An `AutosegError` is an outcome; any other exception is a bug and is raised in
        its item's turn, with a note that names the item.
    """
    budget = inspect_machine().budget_bytes if budget_bytes is None else budget_bytes
    tasks = list_tasks(items, name=name, memory_bytes=memory_bytes, timeout_s=timeout_s)
    stage = _Stage(function, budget, when_done or _ignore, most_ahead)
    fitting = stage.refuse_too_large(tasks)
    if isinstance(workers, WorkerPool):
        yield from _run_stage(stage, fitting, workers, len(tasks))
    else:
        with open_workers(min(workers, len(fitting))) as own:
            yield from _run_stage(stage, fitting, own, len(tasks))


def _run_stage(
    stage: "_Stage[Item, Value]", tasks: Sequence[Task[Item]], workers: WorkerPool, count: int
) -> Iterator[Outcome[Item, Value]]:
    """Yield the outcomes of a stage in order, those of its ``tasks`` as they are worked on."""
    with workers.claimed():
        steps = stage.run_in_workers(tasks, workers) if workers.count else stage.run_here(tasks)
        for index in range(count):
            while index not in stage.settled:
                next(steps)
            settled = stage.settled.pop(index)
            if isinstance(settled, BaseException):
                raise settled
            yield settled


def _ignore(_: object) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Run(Generic[Item]):
    """A worker at work."""

    task: Task[Item]
    worker: Worker
    future: Future[bytes]
    began: float

    @property
    def ran_s(self) -> float:
        """Time since the worker, having started, has the item, seconds; 0 while it starts."""
        ready_at = self.worker.ready_at
        return 0.0 if ready_at is None else time.monotonic() - max(self.began, ready_at)

    @property
    def left_s(self) -> float:
        """Time until the worker counts as stalled, seconds."""
        if self.worker.ready_at is None:
            return self.began + LONGEST_START_S - time.monotonic()
        limit = self.task.timeout_s
        return float("inf") if limit is None else limit - self.ran_s

    def loss(self) -> Loss | None:
        """Return how the attempt was lost, or None if it goes on or has given an answer."""
        from pebble import ProcessExpired

        if self.future.done():
            error = self.future.exception()
            if not isinstance(error, ProcessExpired | BrokenProcessPool):
                return None
            how = ending(getattr(error, "exitcode", self.worker.exit_code))
        elif not self.worker.lives:
            how = ending(self.worker.exit_code)
        elif self.left_s <= 0:
            limit = LONGEST_START_S if self.worker.ready_at is None else self.task.timeout_s
            how = f"was stopped because it stalled for {limit:g} s"
        else:
            return None
        return Loss(ending=how, ran_s=self.ran_s)


class _Stage(Generic[Item, Value]):
    """The items of one call: which are settled, and what to do next."""

    def __init__(
        self,
        function: Callable[[Item], Value],
        budget_bytes: int,
        when_done: Callable[[Outcome[Item, Value]], None],
        most_ahead: int | None,
    ) -> None:
        self._function = function
        self._most_ahead = most_ahead
        self._budget_bytes = budget_bytes
        self._when_done = when_done
        self._runs: list[_Run[Item]] = []
        self.settled: dict[int, Outcome[Item, Value] | BaseException] = {}

    def refuse_too_large(self, tasks: Sequence[Task[Item]]) -> list[Task[Item]]:
        """Settle the items that do not fit into memory by themselves; return the others."""
        for task in tasks:
            if task.needed_bytes > self._budget_bytes:
                self._settle(task, Answer(error=too_large(task, self._budget_bytes)))
        return [task for task in tasks if task.needed_bytes <= self._budget_bytes]

    def run_here(self, tasks: Sequence[Task[Item]]) -> Iterator[None]:
        """Settle one item after the other in this process."""
        for task in tasks:
            try:
                answer = attempt(self._function, task.item, task.name)
            except Exception as error:
                error.add_note(f"while working on {task.name}")
                raise
            self._settle(task, answer)
            yield

    def run_in_workers(self, tasks: Sequence[Task[Item]], workers: WorkerPool) -> Iterator[None]:
        """Settle items in workers, one or more or none in each step."""
        queue = Queue(tasks, self._budget_bytes, in_order=self._most_ahead is not None)
        while True:
            self._start(queue, workers)
            limits = [_LONGEST_WAIT_S, *(run.left_s for run in self._runs)]
            futures = [run.future for run in self._runs]
            wait(futures, timeout=max(0.0, min(limits)), return_when=FIRST_COMPLETED)
            for run in tuple(self._runs):
                self._look_at(run, queue, workers)
            yield

    def _start(self, queue: Queue[Item], workers: WorkerPool) -> None:
        while len(self._runs) < workers.count and self._has_room():
            task = queue.pop([run.task for run in self._runs])
            if task is None:
                return
            worker = workers.take()
            if worker is None:
                raise RuntimeError("a worker is lost that no item holds")
            began = time.monotonic()
            future = worker.begin(self._function, task.item, task.name)
            self._runs.append(_Run(task=task, worker=worker, future=future, began=began))

    def _has_room(self) -> bool:
        """Tell whether one more item may be begun; one always may where none is at work."""
        most = self._most_ahead
        return not self._runs or most is None or len(self._runs) + len(self.settled) < most

    def _look_at(self, run: _Run[Item], queue: Queue[Item], workers: WorkerPool) -> None:
        has_ended = run.future.done()  # before the look: it may end, and break, meanwhile
        loss = run.loss()
        if loss is not None:
            self._runs.remove(run)
            workers.replace(run.worker)
            if run.worker.ready_at is not None:  # else it never had the item
                run.task.losses.append(loss)
            if len(run.task.losses) < 2:
                queue.put_back(run.task)
            else:
                self._settle(run.task, Answer(error=gave_up(run.task, self._budget_bytes)))
        elif has_ended:
            self._runs.remove(run)
            workers.give_back(run.worker)
            try:
                answer: Answer[Value] = read_answer(run.future.result())
            except Exception as error:
                # A bug: what comes before its item is still wanted, what comes behind is not.
                error.add_note(f"while working on {run.task.name}")
                self.settled[run.task.index] = error
                queue.drop_behind(run.task.index)
            else:
                self._settle(run.task, answer)

    def _settle(self, task: Task[Item], answer: Answer[Value]) -> None:
        outcome = Outcome(
            item=task.item, value=answer.value, error=answer.error, peak_bytes=answer.peak_bytes
        )
        self.settled[task.index] = outcome
        self._when_done(outcome)
