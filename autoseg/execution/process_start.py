"""What surrounds the start of a worker process: its environment, and no Ctrl-C."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Final

from autoseg.execution.worker_process import WORKER_VARIABLES

KERNEL_ENDS_ORPHANS: Final = sys.platform == "linux"
"""Whether the kernel can be asked to end workers with their parent; else they watch a pipe."""


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Start a process with Ctrl-C blocked: one that is still importing would print a traceback.

    The kernel may give it to another thread, for which Python answers in the main one; so that one
    only takes note of it until the process is started.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # with the first process's locks, it would unblock Ctrl-C
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    answer, noted = signal.getsignal(signal.SIGINT), list[int]()
    answers = callable(answer) and threading.current_thread() is threading.main_thread()
    if answers:
        signal.signal(signal.SIGINT, lambda number, frame: noted.append(number))
    try:
        yield
    finally:
        if answers:
            signal.signal(signal.SIGINT, answer)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if noted:
            signal.raise_signal(signal.SIGINT)


@contextmanager
def worker_environment() -> Iterator[None]:
    """Give the processes that are started in the block the environment of workers."""
    before = {name: os.environ.get(name) for name in WORKER_VARIABLES}
    os.environ.update(WORKER_VARIABLES)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
