"""What this process may use: control groups count, not the hardware."""

import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from autoseg.execution import machine
from autoseg.execution.machine import Machine, free_disk_bytes, inspect_machine, worker_count

GIB = 2**30


@pytest.fixture
def group(tmp_path, monkeypatch):
    """Return a writer of control group files; the process may run on 8 cores."""
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)

    def write(**files):
        for name, content in files.items():
            (tmp_path / name.replace("_", ".", 1)).write_text(content)

    return write


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        pytest.param("max 100000\n", 8, id="unlimited"),
        pytest.param("300000 100000\n", 3, id="three"),
        pytest.param("250000 100000\n", 2, id="two-and-a-half"),
        pytest.param("50000 100000\n", 1, id="half-a-core"),
        pytest.param("3200000 100000\n", 8, id="more-than-affinity"),
        pytest.param("", 8, id="empty"),
        pytest.param("garbage here\n", 8, id="garbage"),
    ],
)
def test_cores_are_the_affinity_within_the_quota(group, quota, cores):
    group(cpu_max=quota)
    assert inspect_machine().cores == cores


def test_without_affinity_the_processors_count(group, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert inspect_machine().cores == 1


def test_memory_is_what_the_group_leaves(group):
    group(memory_max=f"{64 * 2**20}\n", memory_current=f"{24 * 2**20}\n")
    assert inspect_machine().memory_bytes == 40 * 2**20


def test_file_cache_of_the_group_counts_as_free(group):
    group(
        memory_max=f"{64 * 2**20}",
        memory_current=f"{60 * 2**20}",
        memory_stat=f"anon 123\nfile {31 * 2**20}\ninactive_file {30 * 2**20}\nactive_file 7\n",
    )
    assert inspect_machine().memory_bytes == (64 - 60 + 30) * 2**20


def test_a_group_above_its_limit_leaves_nothing(group):
    group(memory_max="1000", memory_current="2000")
    assert inspect_machine().memory_bytes == 0


def test_an_unlimited_group_leaves_what_the_system_has(group):
    group(memory_max="max\n", memory_current="2000")
    assert inspect_machine().memory_bytes > 64 * 2**20


def test_a_limit_above_the_system_s_memory_does_not_count(group):
    group(memory_max=f"{2**60}", memory_current="0")
    assert 64 * 2**20 < inspect_machine().memory_bytes < 2**50


@pytest.mark.parametrize(
    ("asked", "task_gib", "tasks", "expected"),
    [
        pytest.param(None, 1, 100, 8, id="one-per-core"),
        pytest.param(None, 5, 100, 3, id="memory-short"),  # 0.8 * 20 GiB / 5 GiB = 3.2
        pytest.param(None, 4, 100, 4, id="memory-exact"),
        pytest.param(None, 1, 3, 3, id="few-tasks"),
        pytest.param(None, 1, 1, 0, id="one-task-needs-no-pool"),
        pytest.param(None, 1, 0, 0, id="no-task"),
        pytest.param(None, 17, 100, 0, id="too-large-for-a-pool"),  # 0.8 * 20 = 16
        pytest.param(None, 0, 100, 8, id="no-estimate"),
        pytest.param(0, 1, 100, 0, id="asked-for-none"),
        pytest.param(12, 100, 100, 12, id="asked-for-more"),
        pytest.param(12, 1, 5, 5, id="asked-for-more-than-tasks"),
        pytest.param(2, 1, 1, 1, id="asked-with-one-task"),
    ],
)
def test_worker_count(asked, task_gib, tasks, expected):
    machine = Machine(cores=8, memory_bytes=20 * GIB)
    found = worker_count(asked, task_bytes=task_gib * GIB, tasks=tasks, machine=machine)
    assert found == expected


def test_worker_count_measures_the_machine_if_none_is_given(group):
    group(cpu_max="200000 100000")
    assert worker_count(None, task_bytes=1, tasks=10) == 2


@pytest.mark.parametrize("place", ["", "gone", "gone/deeper", "file/below"])
def test_disk_is_measured_at_the_nearest_folder_that_exists(tmp_path, monkeypatch, place):
    (tmp_path / "file").write_bytes(b"")
    usage = namedtuple("usage", "total used free")
    asked = []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: asked.append(path) or usage(9, 2, 7))
    assert free_disk_bytes(tmp_path / place) == 7
    assert asked == [tmp_path / "file" if place == "file/below" else tmp_path]


def test_disk_of_a_relative_folder_is_that_of_the_current_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert free_disk_bytes(Path("gone") / "deeper") > 0
