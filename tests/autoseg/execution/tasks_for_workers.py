"""Functions that the tests of the executor run in spawned workers."""

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
