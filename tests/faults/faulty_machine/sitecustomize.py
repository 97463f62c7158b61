"""Faults of the machine that a test asks for; Python loads this file where it is on PYTHONPATH.

It acts on a command and on its workers alike, and only on files below one folder:

FAULT_FOLDER
    The folder.
FAULT_END
    If it is given, only files below the folder are meant whose paths end so.
FAULT_COUNTER
    A file elsewhere that counts operations, those of all processes in one series: every file or
    folder that is created, written to, synced, renamed or removed.
FAULT_KIND
    ``full``: the operation finds the disk full, a write after half of its bytes. ``kill``: the
    process is killed by SIGKILL before the operation, or after half of the bytes.
FAULT_AT
    Number of that operation, from 1; ``7+`` means all from the 7th on. Left out, they are counted.
FAULT_DEADLY
    End of the path of a file anywhere: a worker that opens it is killed by SIGKILL.
"""

import errno
import fcntl
import io
import multiprocessing
import os
import signal
import sys
from pathlib import Path

FOLDER = os.environ.get("FAULT_FOLDER", "")
END = os.environ.get("FAULT_END", "")
COUNTER = os.environ.get("FAULT_COUNTER", "")
KIND = os.environ.get("FAULT_KIND", "")
AT = os.environ.get("FAULT_AT", "")
DEADLY = os.environ.get("FAULT_DEADLY", "")


def is_meant(path):
    """Tell whether a path, or an open file, is one of those that the fault may befall."""
    path = str(Path(os.fsdecode(path)).absolute())
    return bool(FOLDER) and path.startswith(FOLDER + os.sep) and path.endswith(END)


def is_next():
    """Count an operation and tell whether it is the one that fails."""
    counter = os.open(COUNTER, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        fcntl.flock(counter, fcntl.LOCK_EX)
        os.write(counter, b".")
        number = os.fstat(counter).st_size
    finally:
        os.close(counter)
    first = int(AT.rstrip("+") or 0)
    return 0 < first <= number if AT.endswith("+") else number == first


def fail():
    """Let the machine fail."""
    if KIND == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def before(event, arguments):
    """Look at what Python is about to do (an audit hook)."""
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        path, _, flags = arguments
        in_worker = multiprocessing.parent_process() is not None
        if DEADLY and in_worker and os.fsdecode(path).endswith(DEADLY):
            os.kill(os.getpid(), signal.SIGKILL)
        changes = flags & os.O_CREAT and not Path(os.fsdecode(path)).exists()
    elif event in ("os.mkdir", "os.remove"):
        path, is_made = arguments[0], event == "os.mkdir"
        changes = Path(os.fsdecode(path)).exists() != is_made
        changes = changes and (is_made or KIND != "full")  # a full disk can remove
    elif event in ("os.rename", "os.link"):
        path, changes = arguments[1], True
    else:
        return
    if changes and is_meant(path) and is_next():
        fail()


class FaultyFile(io.FileIO):
    """A file on the machine."""

    def write(self, data):
        """Write it, or half of it."""
        if is_next():
            super().write(bytes(data)[: len(data) // 2])
            fail()
        return super().write(data)


def faulty_open(file, mode="r", buffering=-1, *others, **named):
    """Open a file to be read, or a faulty one to be written in bytes."""
    if "b" not in mode or not set("wa+x") & set(mode) or not is_meant(file):
        return plain_open(file, mode, buffering, *others, **named)
    raw = FaultyFile(file, mode.replace("b", ""))
    if buffering == 0:
        return raw
    return io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)


def faulty_fsync(file):
    """Sync a file to the disk."""
    number = file if isinstance(file, int) else file.fileno()
    if is_meant(Path(f"/proc/self/fd/{number}").readlink()) and is_next():
        fail()
    plain_fsync(number)


plain_open, plain_fsync = io.open, os.fsync
if FOLDER:
    io.open, os.fsync = faulty_open, faulty_fsync  # pathlib and autoseg.io.files look them up here
if FOLDER or DEADLY:
    sys.addaudithook(before)
