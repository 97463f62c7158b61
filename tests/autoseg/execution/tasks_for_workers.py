"""Functions that the tests of the executor run in spawned workers."""

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

from autoseg.core.errors import GeometryError


def root(number):
    """Return a square root with the worker's process, or refuse a negative number."""
    if number < 0:
        raise GeometryError(f"{number} has no root; 0 or more", rule="E-GEO-17", hint="square it")
    return number**0.5


def process(_item):
    """Return this process and whether it ignores Ctrl-C, after a Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)
    return os.getpid(), signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def divide(number):
    """Contain a bug."""
    return 1 / number


def write(item):
    """Write a file of (folder, number), which is the sum of the squares below the number."""
    folder, number = item
    (Path(folder) / f"{number}.txt").write_text(str(sum(k * k for k in range(number))))


def act(item):
    """Log a visit of (what, folder), then do what it says."""
    what, folder = item
    log = Path(folder) / what
    with log.open("a") as file:
        file.write("visit\n")
    visits = log.read_text().count("visit")
    if what.startswith("die") and not (what == "die once" and visits > 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "hang":
        time.sleep(60)
    return f"{what} done"


def fail(how):
    """End this process, or stop it, in the way that is asked for."""
    if how == "segmentation fault":
        ctypes.string_at(0)
    elif how == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif how.startswith("exit"):
        os._exit(int(how.removeprefix("exit")))
    elif how == "leave":
        sys.exit(3)
    elif how == "memory":
        bytearray(2**62)
    return how


def log_both_ends(item):
    """Write to the log of (name, log) that work on the name starts and stops; "die once" does."""
    name, log = item
    _append(log, f"{name} starts")
    if name == "die once" and Path(log).read_text().count("die once starts") == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.1)
    _append(log, f"{name} stops")


def _append(log, line):
    with Path(log).open("a") as file:
        file.write(line + "\n")


def wait_for_the_other(item):
    """Touch one's own file of (own, other) and wait until the other's is there."""
    own, other = map(Path, item)
    own.touch()
    while not other.exists():
        time.sleep(0.01)


class UnreadableError(Exception):
    """An exception that cannot be made again from its text."""

    def __init__(self, *, place):
        super().__init__(f"somewhere in {place}")


def raise_unreadable(item):
    """Raise what cannot be sent."""
    raise UnreadableError(place=item)


def return_function(_item):
    """Return what cannot be sent."""
    return lambda: None


class EndsOnArrival:
    """An item that ends the worker that unpacks it, before the worker could say what it holds."""

    def __reduce__(self):
        """Unpack by leaving the process."""
        return sys.exit, (3,)


def describe(item):
    """Return the kind of an item."""
    return type(item).__name__


def announce_and_sleep(folder):
    """Leave the process's number in a folder and outlast the test."""
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(120)


def has_loaded(module):
    """Return whether a module is loaded."""
    return module in sys.modules


def fill(size_bytes):
    """Write to memory of a size and let it go."""
    return len(b"x" * size_bytes)


def thread_limits(_item):
    """Return the threads of each library that computes with several."""
    import blosc2
    import numexpr
    import numpy as np
    import SimpleITK as Sitk
    import sklearn.cluster  # noqa: F401 - loads OpenMP
    import threadpoolctl

    tasks = Path("/proc/self/task")
    before = len(list(tasks.iterdir()))
    blosc2.asarray(np.random.default_rng(0).random(4_000_000))[:]
    return {
        "found": sorted({pool["internal_api"] for pool in threadpoolctl.threadpool_info()}),
        "pools": {pool["num_threads"] for pool in threadpoolctl.threadpool_info()},
        "numexpr": numexpr.get_num_threads(),
        "SimpleITK": Sitk.ProcessObject.GetGlobalDefaultNumberOfThreads(),
        "blosc2 started": len(list(tasks.iterdir())) - before,
    }
