import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autoseg.execution import processor
from autoseg.execution.processor import processor_name, watch_others

linux = pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell")


@linux
def test_the_processors_name_is_the_systems():
    assert f": {processor_name()}\n" in Path("/proc/cpuinfo").read_text()


def test_a_system_that_names_no_model_names_its_kind(monkeypatch, tmp_path):
    monkeypatch.setattr(processor, "_CPU_INFO", tmp_path / "none")
    assert processor_name()


@linux
def test_others_on_every_core_disturb():
    code = (
        "import time; print(flush=True); end = time.monotonic() + 20\n"
        "while time.monotonic() < end: 0"
    )
    busy = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        for process in busy:
            assert process.stdout is not None
            process.stdout.readline()
        with watch_others(os.cpu_count() or 1) as watch:
            time.sleep(0.5)
        assert watch.is_disturbed
    finally:
        for process in busy:
            process.kill()
            process.communicate()


def test_others_on_spare_cores_do_not_disturb(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 4096)
    with watch_others(1) as watch:
        time.sleep(0.1)
    assert not watch.is_disturbed


def test_where_the_system_does_not_tell_nobody_is_disturbed(monkeypatch, tmp_path):
    monkeypatch.setattr(processor, "_STATISTICS", tmp_path / "none")
    with watch_others(1) as watch:
        time.sleep(0.01)
    assert not watch.is_disturbed
