"""Folders that one command holds at a time, by locks of the kernel: the killed leave none."""

import errno
import json
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from autoseg.core.errors import LockedError
from autoseg.io import files

LOCK_POLL_S: Final = 0.5
"""How often a lock that is waited for is tried, seconds."""
LOCKLESS: Final = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What a file system without locks answers, such as Lustre mounted without ``flock``."""
_LOG: Final = logging.getLogger(__name__)


@contextmanager
def hold(
    folder: Path,
    command: str,
    *,
    wait: bool = False,
    instead: str = "",
    on_wait: Callable[[str], None] = lambda said: None,
) -> Iterator[None]:
    """Hold a folder for one command; the kernel releases it when the process ends.

    On a file system without locks nothing is held, which is said.

    Parameters
    ----------
    folder : Path
        Folder to hold; it is created. What killed runs, or workers that were ended while they
        wrote, left in it is removed.
    command : str
        What holds it, for the message that others get.
    wait : bool
        Whether to wait until another process lets go of it.
    instead : str
        What else the user may do, for the hint of the error.
    on_wait : callable
        Told once, in words, that another process is waited for.

    Raises
    ------
    LockedError
        If another process holds the folder, and it is not waited for.
    """
    files.ensure_writable(folder)
    with _open_lock(folder / ".lock") as file:
        if not _try_lock(file):
            file.seek(0)
            holder = file.read().decode(errors="replace").strip() or "another process"
            said = f"{folder}: is in use by {holder}"
            if not wait:
                hint = " or ".join(filter(None, ("wait until it ends", instead)))
                raise LockedError(said, rule="E-RUN-73", hint=hint)
            on_wait(said)
            while not _try_lock(file):
                time.sleep(LOCK_POLL_S)
        with suppress(OSError):  # the kernel holds the lock, whatever the disk has room to say
            _name_holder(file, command)
        files.sweep(folder)
        try:
            yield
        finally:
            files.sweep(folder)


def _open_lock(path: Path) -> IO[bytes]:
    try:
        return path.open("a+b", buffering=0)  # nothing is left to be written when it is closed
    except OSError as error:
        files.refuse(path, error)


def _name_holder(file: IO[bytes], command: str) -> None:
    """Say in a lock's file who holds it, for the message that others get."""
    file.truncate(0)
    facts = {"command": command, "host": socket.gethostname(), "pid": os.getpid()}
    file.write(json.dumps({**facts, "since": time.strftime("%Y-%m-%d %H:%M:%S")}).encode())


def _try_lock(file: IO[bytes]) -> bool:
    descriptor = file.fileno()
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in LOCKLESS:
            files.refuse(Path(file.name), error)
        _LOG.warning(
            "note: the file system has no locks (%s); run one command at a time on a folder",
            error.strerror,
        )
    return True
