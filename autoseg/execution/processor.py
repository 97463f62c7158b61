"""Which processor this is, and how much of it others take."""

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TOLERATED_CORES: Final = 0.3
"""Cores that other processes may take without slowing this one down enough to matter."""
_CPU_INFO: Final = Path("/proc/cpuinfo")
_STATISTICS: Final = Path("/proc/stat")


@dataclass(slots=True, kw_only=True)
class Watch:
    """What was seen of other processes; complete when the block ends."""

    is_disturbed: bool = False
    """Whether they took processor time that this process could have used."""


def processor_name() -> str:
    """Return the name of the processor as its maker writes it, or that of its kind."""
    with suppress(OSError):  # the file is Linux's
        for line in _CPU_INFO.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@contextmanager
def watch_others(threads: int) -> Iterator[Watch]:
    """Watch whether other processes take processor time from this one during the block.

    Parameters
    ----------
    threads : int
        Threads that the block computes with; cores beyond them others may have.

    Yields
    ------
    Watch
        On systems that do not tell, nobody is ever disturbed.
    """
    watch = Watch()
    began, own, all_ = time.perf_counter(), time.process_time(), _busy_s()
    yield watch
    took, own, all_ = time.perf_counter() - began, time.process_time() - own, _busy_s() - all_
    spare = max(0, (os.cpu_count() or 1) - threads)
    watch.is_disturbed = all_ - own > (spare + TOLERATED_CORES) * took


def _busy_s() -> float:
    """Return the time that all processors together have worked or were taken away, seconds."""
    try:
        fields = _STATISTICS.read_text().split("\n", 1)[0].split()
        user, nice, system, _, _, *interrupts = map(int, fields[1:9])
    except (OSError, ValueError):
        return 0.0
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")
