"""Keeping freed memory: seen in a process of its own, which afterwards holds what it freed."""

import os
import subprocess
import sys

import pytest

from autoseg.execution import allocator

PROGRAM = """
import sys
from pathlib import Path
from autoseg.execution.allocator import keep_freed_memory

def resident_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4 // 1024

if sys.argv[1] == "keep":
    assert keep_freed_memory()
before = resident_mib()
block = b"x" * (200 * 2**20)
del block
print(resident_mib() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.skipif(os.confstr_names.get("CS_GNU_LIBC_VERSION") is None, reason="no glibc")
@pytest.mark.parametrize(("asked", "least", "most"), [("keep", 190, 210), ("leave", 0, 10)])
def test_freed_memory_stays_with_the_process_that_asked_for_it(asked, least, most):
    command = [sys.executable, "-c", PROGRAM, asked]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert least <= int(done.stdout) <= most


@pytest.mark.parametrize("version", [None, "", "musl 1.2", ValueError("unknown name")])
def test_other_c_libraries_are_left_alone(monkeypatch, version):
    def confstr(name):
        if isinstance(version, Exception):
            raise version
        return version

    monkeypatch.setattr(allocator.os, "confstr", confstr)
    monkeypatch.setattr(allocator.ctypes, "CDLL", None)  # whoever calls it fails
    assert allocator.keep_freed_memory() is False


def test_systems_without_confstr_are_left_alone(monkeypatch):
    monkeypatch.delattr(allocator.os, "confstr", raising=False)
    assert allocator.keep_freed_memory() is False
