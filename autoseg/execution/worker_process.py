"""What a worker process runs: its preparation, and one attempt at an item.

Workers ignore Ctrl-C (the parent stops them), compute with one thread and end with their parent.
"""

import ctypes
import importlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Final, Generic, TypeVar

from autoseg.core.errors import AutosegError
from autoseg.execution.machine import memory_errors

Item = TypeVar("Item")
Value = TypeVar("Value")

THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMEXPR_MAX_THREADS",
    "BLOSC_NTHREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)
"""Where libraries read their number of threads, most of them once, when they are loaded."""
MEMORY_VARIABLES: Final = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**34),
    "MALLOC_TOP_PAD_": str(2**24),
}
"""What glibc reads when a process starts: freed memory is kept for the next array, instead of being
given back and zeroed again. Measured on 6 volumes of CT: half the time in the kernel, 6 % of all,
with the same peak."""
WORKER_VARIABLES: Final = dict.fromkeys(THREAD_VARIABLES, "1") | MEMORY_VARIABLES
"""The environment of workers, where it differs from this process's."""

LEAST_RISE_BYTES: Final = 2**20
"""How much more than ever before a process must hold for a peak: pages come and go."""
_STATUS: Final = Path("/proc/self/status")
_PR_SET_PDEATHSIG: Final = 1
"""Linux: the signal that the kernel sends to a process whose parent ends, see prctl(2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[Value]):
    """What an attempt at an item gave: a value, or an error that is meant for the user."""

    value: Value | None = None
    """What the function returned."""
    error: AutosegError | None = None
    """Why there is no value."""
    peak_bytes: int | None = None
    """Most memory that the process held meanwhile; None if it once held more, or if unknown."""


def prepare_worker(parent: int, kernel_ends_it: bool) -> None:
    """Leave Ctrl-C to the parent, and end with it.

    Parameters
    ----------
    parent : int
        The parent's process number.
    kernel_ends_it : bool
        Whether the kernel can be asked to end this process with its parent (Linux); otherwise a
        thread waits for the end of a pipe that the parent holds open while it lives.
    """
    for name in ("SIGINT", "SIGUSR1", "SIGHUP"):  # of a whole group; the parent ends its workers
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if not kernel_ends_it:
        threading.Thread(target=_end_with_parent, daemon=True).start()
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the kernel was asked
        os._exit(1)


def load_modules(names: tuple[str, ...]) -> None:
    """Import modules, so that no item waits for them."""
    for name in names:
        importlib.import_module(name)


def attempt(function: Callable[[Item], Value], item: Item, name: str) -> Answer[Value]:
    """Apply a function to an item.

    Returns
    -------
    Answer
        Of an `AutosegError` and a lack of memory too; any other exception is a bug and passes.
    """
    before = _peak_bytes()
    try:
        with memory_errors(name):
            value = function(item)
    except AutosegError as error:
        return Answer(error=error, peak_bytes=_risen_peak(before))
    except SystemExit as error:  # would end the parent without a word
        raise RuntimeError(f"{name}: the function asked for the end of the program") from error
    return Answer(value=value, peak_bytes=_risen_peak(before))


def attempt_in_worker(function: Callable[[Item], Value], item: Item, name: str) -> bytes:
    """As `attempt`, in a form that can be sent; `read_answer` reads it.

    An exception that cannot be sent is replaced by one that can.
    """
    try:
        return bytes(ForkingPickler.dumps(attempt(function, item, name)))
    except Exception as error:
        if _travels(error):
            raise
        text = f"{name}: {type(error).__name__}: {error}"
    raise RuntimeError(text)


def read_answer(sent: bytes) -> Answer[Value]:
    """Return the answer that a worker of this process sent."""
    answer: Answer[Value] = ForkingPickler.loads(sent)
    return answer


def _travels(error: Exception) -> bool:
    try:
        ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:  # whatever its constructor or its content may raise
        return False
    return True


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _risen_peak(before: int) -> int | None:
    # Letting the kernel forget the peak would tell it for each item, and hide it from everyone else
    # who measures this process.
    peak = _peak_bytes()
    return peak if peak > before + LEAST_RISE_BYTES else None


def _peak_bytes() -> int:
    """Return the most memory that this process has held; 0 where the system does not tell.

    What `getrusage` tells of a spawned process starts at the memory of its parent.
    """
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0
