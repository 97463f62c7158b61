"""What a process that was killed leaves."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from autoseg.io import files


@pytest.fixture
def dead_process() -> int:
    """Return the number of a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


@pytest.fixture
def leave_part() -> Callable[..., Path]:
    """Write half a file in a folder, as a process of a host does."""

    def leave(folder: Path, *, host: str, process: int) -> Path:
        digest = files.digest(host.encode())[:8]
        path = folder / f".0123456789abcdef.{digest}.{process}{files.TEMPORARY_SUFFIX}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
        return path

    return leave
