"""The cores, memory and disk that this process may use, whatever the machine has."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from autoseg.core.errors import ResourceError

USED_FRACTION: Final = 0.8
"""Share of the free memory that work may plan with; the rest is for what estimates miss."""

_CGROUP: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What this process may use."""

    cores: int
    """Processor cores, at least 1."""
    memory_bytes: int
    """Memory that is free for use."""

    @property
    def budget_bytes(self) -> int:
        """Memory that work may plan with."""
        return int(self.memory_bytes * USED_FRACTION)


@contextmanager
def memory_errors(where: str) -> Iterator[None]:
    """Turn what a lack of memory raises in the block into a `ResourceError` that names ``where``.

    Python, numpy and torch each have an error of their own; torch's are told by name and text, so
    that this module need not load it.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_memory_error(error):
            raise
        raise ResourceError(
            f"{where}: memory ran out ({' '.join(str(error).split())[:200]})",
            rule="E-RES-64",
            hint="close other programs, use fewer --workers, or another --device",
        ) from error


def is_memory_error(error: BaseException) -> bool:
    """Tell whether an exception says that host or device memory ran out."""
    kinds = (MemoryError.__name__, "OutOfMemoryError", "_ArrayMemoryError")
    said = str(error)
    return type(error).__name__ in kinds or any(words in said for words in _SAID)


_SAID: Final = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "STATUS_ALLOC_FAILED",
)
"""What torch's plain RuntimeError says where memory is short: of the CPU, of CUDA's libraries, of
MPS."""


def inspect_machine() -> Machine:
    """Measure what this process may use: affinity and cgroup limits count, not the hardware."""
    return Machine(cores=_cores(), memory_bytes=_memory_bytes())


def size_text(size_bytes: float) -> str:
    """Write a size as a person does.

    Examples
    --------
    >>> size_text(52_428_800), size_text(1_610_612_736)
    ('50 MiB', '1.5 GiB')
    """
    if size_bytes < 2**30:
        return f"{size_bytes / 2**20:.0f} MiB"
    return f"{size_bytes / 2**30:.3g} GiB"


def free_disk_bytes(folder: Path) -> int:
    """Return the free bytes of the file system that holds a folder, which need not exist yet."""
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    return shutil.disk_usage(existing).free


def worker_count(
    asked: int | None, *, task_bytes: int, tasks: int, machine: Machine | None = None
) -> int:
    """Return how many worker processes to run.

    Parameters
    ----------
    asked : int or None
        The user's choice; 0 works in this process; None lets the machine decide.
    task_bytes : int
        Memory that one task needs at its peak.
    tasks : int
        Number of tasks; no more workers than that.
    machine : Machine, optional
        What may be used; measured if left out.

    Returns
    -------
    int
        0 or more. The automatic choice is one worker per core, fewer where memory is short.
    """
    if asked is not None:
        return min(asked, tasks)
    machine = machine or inspect_machine()
    affordable = machine.budget_bytes // max(task_bytes, 1)
    return max(0, min(machine.cores, tasks, affordable)) if tasks > 1 else 0


def _cores() -> int:
    try:
        owned = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        owned = os.cpu_count() or 1
    quota = _read(_CGROUP / "cpu.max").split()
    if len(quota) == 2 and quota[0].isdigit():
        owned = min(owned, max(1, int(quota[0]) // int(quota[1])))
    return owned


def _memory_bytes() -> int:
    available = 4 * 2**30  # where the system does not tell: a small laptop
    for line in _read(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            available = int(line.split()[1]) * 1024
    limit, used = _read(_CGROUP / "memory.max").strip(), _read(_CGROUP / "memory.current").strip()
    if limit.isdigit() and used.isdigit():
        available = min(available, max(0, int(limit) - int(used) + _reclaimable_bytes()))
    return available


def _reclaimable_bytes() -> int:
    """Page cache of files read before: it counts as used but makes room when memory is asked."""
    for line in _read(_CGROUP / "memory.stat").splitlines():
        if line.startswith("inactive_file "):
            return int(line.split()[1])
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
