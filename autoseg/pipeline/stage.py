"""One stage of a command: the same work on every case, by workers that stages may share."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from autoseg.core.errors import AutosegError, ResourceError
from autoseg.execution.executor import Outcome, run_tasks
from autoseg.execution.machine import inspect_machine, worker_count
from autoseg.execution.progress import Progress
from autoseg.execution.workers import WorkerPool, open_workers
from preprocessing.footprint import PROCESS_BYTES

Item = TypeVar("Item")
Value = TypeVar("Value")

Workers = int | WorkerPool | None
"""Worker processes for one stage, those that are open, or None to let the machine decide."""
CASE_MODULES: Final = (
    "blosc2",
    "nibabel",
    "scipy.ndimage",
    "preprocessing.fingerprint",
    "preprocessing.runner",
)
"""What workers need to measure and preprocess cases; loaded while the command does other things."""
FULL_DISK: Final = "E-RES-63"
"""The rule that a full disk breaks: no other case will find more room."""


def open_case_workers(asked: int | None, cases: int) -> WorkerPool:
    """Start workers that measure and preprocess cases; to be used in a ``with`` statement.

    Parameters
    ----------
    asked : int or None
        The user's choice; None takes one per core, fewer where memory is short.
    cases : int
        Cases of the dataset.
    """
    count = worker_count(asked, task_bytes=PROCESS_BYTES, tasks=cases)
    return open_workers(count, preload=CASE_MODULES)


def count_workers(workers: Workers, *, tasks: int, task_bytes: int = 0) -> int:
    """Return how many workers of a stage work at a time: no more than have tasks or memory."""
    if not isinstance(workers, WorkerPool):
        return worker_count(workers, task_bytes=task_bytes, tasks=tasks)
    affordable = inspect_machine().budget_bytes // max(task_bytes, 1)
    return min(workers.count, tasks, max(1, affordable))


def run_stage(
    stage: str,
    function: Callable[[Item], Value],
    tasks: Sequence[Item],
    *,
    name: Callable[[Item], str],
    workers: Workers,
    progress: Progress,
    memory_bytes: Callable[[Item], int] | None = None,
    guessed_bytes: Callable[[Item], int] | None = None,
    when_done: Callable[[Outcome[Item, Value]], None] | None = None,
) -> list[Outcome[Item, Value]]:
    """Work on all tasks of a stage and tell the progress of each as it finishes.

    Parameters
    ----------
    stage : str
        Name of the stage, for the progress.
    function : callable
        Importable function of one task.
    tasks : sequence
        What to work on.
    name : callable
        Name of a task for messages.
    workers : int, WorkerPool or None
        Worker processes.
    progress : Progress
        Told about every task.
    memory_bytes : callable, optional
        Memory that a task needs at its peak. One that does not fit by itself is refused.
    guessed_bytes : callable, optional
        The same where it is not known beforehand: one that may not fit runs with none beside it.
    when_done : callable, optional
        Called with each outcome as soon as it is there, in any order.

    Returns
    -------
    list of Outcome
        In the order of the tasks.

    Raises
    ------
    ResourceError
        If the disk is full: it is about no case, and what is done is kept.
    """
    pool = workers if isinstance(workers, WorkerPool) else count_workers(workers, tasks=len(tasks))

    budget = inspect_machine().budget_bytes

    def bounded(task: Item) -> int:
        return min(guessed_bytes(task), budget) if guessed_bytes else 0

    def advance(outcome: Outcome[Item, Value]) -> None:
        if isinstance(outcome.error, ResourceError) and outcome.error.rule == FULL_DISK:
            raise outcome.error
        progress.advance(name(outcome.item))
        if when_done:
            when_done(outcome)

    progress.start(stage, len(tasks))
    outcomes = list(
        run_tasks(
            function,
            tasks,
            workers=pool,
            name=name,
            memory_bytes=memory_bytes or bounded,
            budget_bytes=budget,
            when_done=advance,
        )
    )
    progress.finish()
    return outcomes


def finished(outcomes: Sequence[Outcome[Item, Value]]) -> list[Value]:
    """Return what the tasks gave, those that failed left out."""
    return [outcome.value for outcome in outcomes if outcome.value is not None]


def failed(outcomes: Sequence[Outcome[Item, Value]]) -> list[AutosegError]:
    """Return why tasks failed."""
    return [outcome.error for outcome in outcomes if outcome.error is not None]
