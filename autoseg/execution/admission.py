"""Which item may run next: only as many at once as fit into memory, and a suspect one alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from autoseg.core.errors import ResourceError
from autoseg.execution.machine import size_text

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """An attempt that gave no answer."""

    ending: str
    """How the worker ended, such as ``"was ended by SIGKILL"``."""
    ran_s: float
    """How long it had worked on the item, seconds."""


@dataclass(slots=True, kw_only=True, eq=False)
class Task(Generic[Item]):
    """An item with what is known of it."""

    index: int
    """Place among the items."""
    item: Item
    """The item."""
    name: str
    """Its name in messages."""
    needed_bytes: int = 0
    """Memory that it needs, as estimated; 0 without an estimate."""
    timeout_s: float | None = None
    """Longest time in a worker, seconds."""
    losses: list[Loss] = field(default_factory=list)
    """Attempts that cost a worker."""


class Queue(Generic[Item]):
    """The items that wait, and in which order they start.

    Those that need the most memory start first, which shortens the end of the stage. Those that
    cost a worker are tried once more after all others, with nothing beside them.

    Parameters
    ----------
    tasks : sequence of Task
        Each fits into the budget by itself.
    budget_bytes : int
        Memory for all items that run at the same time.
    in_order : bool
        Whether items start in their order instead, and a suspect before the next.
    """

    def __init__(
        self, tasks: Sequence[Task[Item]], budget_bytes: int, *, in_order: bool = False
    ) -> None:
        self._waiting = sorted(tasks, key=lambda task: 0 if in_order else -task.needed_bytes)
        self._suspects: list[Task[Item]] = []
        self._budget_bytes = budget_bytes
        self._in_order = in_order

    def pop(self, running: Sequence[Task[Item]]) -> Task[Item] | None:
        """Remove and return the next item that may run beside those running; None to wait."""
        if self._suspects and (self._in_order or not self._waiting):
            return None if running else self._suspects.pop(0)
        free = self._budget_bytes - sum(task.needed_bytes for task in running)
        for position, task in enumerate(self._waiting[:1] if self._in_order else self._waiting):
            if task.needed_bytes <= free:
                return self._waiting.pop(position)
        return None

    def put_back(self, task: Task[Item]) -> None:
        """Keep an item that was not done: a suspect if it cost a worker, else the next to start."""
        if task.losses:
            self._suspects.append(task)
        else:
            self._waiting.insert(0, task)

    def drop_behind(self, index: int) -> None:
        """Forget the items behind one that ends the stage."""
        self._waiting = [task for task in self._waiting if task.index < index]
        self._suspects = [task for task in self._suspects if task.index < index]


def list_tasks(
    items: Sequence[Item],
    *,
    name: Callable[[Item], str],
    memory_bytes: Callable[[Item], int] | None,
    timeout_s: float | Callable[[Item], float] | None,
) -> list[Task[Item]]:
    """Return what is known of each item; the parameters are those of `run_tasks`."""
    return [
        Task(
            index=index,
            item=item,
            name=name(item),
            needed_bytes=memory_bytes(item) if memory_bytes else 0,
            timeout_s=timeout_s(item) if callable(timeout_s) else timeout_s,
        )
        for index, item in enumerate(items)
    ]


def too_large(task: Task[Item], budget_bytes: int) -> ResourceError:
    """Return the refusal of an item that does not fit into memory by itself."""
    return ResourceError(
        f"{task.name}: needs about {size_text(task.needed_bytes)} of memory, and this process may "
        f"use {size_text(budget_bytes)}",
        rule="E-RES-64",
        hint="close other programs, or work on a machine with more memory",
    )


def gave_up(task: Task[Item], budget_bytes: int) -> ResourceError:
    """Return the verdict on an item that cost a worker twice."""
    first, second = task.losses
    estimate = f"it needs about {size_text(task.needed_bytes)} and " if task.needed_bytes else ""
    killed = any("SIGKILL" in loss.ending for loss in task.losses)
    return ResourceError(
        f"{task.name}: its worker process {first.ending} after {first.ran_s:.1f} s and, with "
        f"nothing beside it, {second.ending} after {second.ran_s:.1f} s; {estimate}this process "
        f"may use {size_text(budget_bytes)} of memory",
        rule="E-RES-66",
        hint="most often memory ran out: close other programs, then run it again"
        if killed
        else "check the files of that case; --workers 0 works on it without a worker process",
    )
