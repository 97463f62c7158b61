"""Workers serve one stage after another, compute with one thread, and end with their parent."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autoseg.execution.executor import run_tasks
from autoseg.execution.worker_process import THREAD_VARIABLES
from autoseg.execution.workers import ending, open_workers

pytestmark = pytest.mark.timeout(60)


def _processes(tasks, workers):
    return {o.value[0] for o in run_tasks(tasks.process, range(20), workers=workers)}


def test_stages_share_the_workers(tasks):
    with open_workers(2) as workers:
        started = {process.pid for process in multiprocessing.active_children()}
        assert len(started) == 2
        assert _processes(tasks, workers) <= started
        assert _processes(tasks, workers) <= started
        assert {process.pid for process in multiprocessing.active_children()} == started
    assert multiprocessing.active_children() == []


def test_no_workers_work_in_this_process(tasks, monkeypatch):
    with open_workers(0) as workers:
        (outcome,) = run_tasks(tasks.has_loaded, ["pytest"], workers=workers)
    assert outcome.value is True


def test_fewer_than_no_workers_are_impossible():
    with pytest.raises(ValueError, match="workers: -1 are impossible; 0 or more"):
        open_workers(-1)


def test_workers_load_modules_in_advance(tasks):
    with open_workers(1, preload=("wave", "email.mime.audio")) as workers:
        outcomes = run_tasks(
            tasks.has_loaded, ["wave", "email.mime.audio", "imaplib"], workers=workers
        )
        assert [o.value for o in outcomes] == [True, True, False]


def test_a_module_that_is_not_there_is_a_bug(tasks):
    with (
        open_workers(1, preload=("no_such_module",)) as workers,
        pytest.raises(ModuleNotFoundError, match="no_such_module"),
    ):
        list(run_tasks(tasks.root, [4.0], workers=workers))
    assert multiprocessing.active_children() == []


def test_two_stages_cannot_hold_the_same_workers(tasks):
    with open_workers(1) as workers:
        first = run_tasks(tasks.root, [4.0, 9.0], workers=workers)
        assert next(first).value == 2.0
        with pytest.raises(RuntimeError, match="in use: finish the stage that holds them"):
            next(run_tasks(tasks.root, [16.0], workers=workers))
        assert next(first).value == 3.0


def test_closed_workers_start_no_more(tasks):
    with open_workers(1) as workers:
        stage = run_tasks(tasks.root, [4.0, 9.0], workers=workers)
        assert next(stage).value == 2.0
    with pytest.raises(RuntimeError, match="these workers are closed"):
        next(stage)
    assert multiprocessing.active_children() == []


def test_an_abandoned_stage_leaves_workers_for_the_next(tasks, tmp_path):
    with open_workers(2) as workers:
        items = [("first", tmp_path), ("hang", tmp_path)]
        stage = run_tasks(tasks.act, items, workers=workers)
        assert next(stage).value == "first done"
        stage.close()
        assert [o.value for o in run_tasks(tasks.root, [4.0, 9.0], workers=workers)] == [2.0, 3.0]


def test_idle_workers_that_died_are_replaced_at_the_cost_of_no_attempt(tasks, tmp_path):
    with open_workers(2) as workers:
        before = _processes(tasks, workers)
        for process in multiprocessing.active_children():
            process.kill()
            process.join()
        items = [(what, tmp_path) for what in ("a", "b", "c")]
        outcomes = list(run_tasks(tasks.act, items, workers=workers))
        assert not before & _processes(tasks, workers)
    assert [o.value for o in outcomes] == ["a done", "b done", "c done"]
    assert [path.read_text().count("visit") for path in tmp_path.iterdir()] == [1, 1, 1]


def test_a_worker_computes_with_one_thread_and_leaves_the_parents_settings(tasks, monkeypatch):
    pytest.importorskip("threadpoolctl")
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    before = dict(os.environ)
    (outcome,) = run_tasks(tasks.thread_limits, [None], workers=1)
    assert outcome.value == {
        "found": ["openblas", "openmp"],
        "pools": {1},
        "numexpr": 1,
        "SimpleITK": 1,
        "blosc2 started": 0,
    }
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("exit_code", "words"),
    [
        pytest.param(-signal.SIGKILL, "was ended by SIGKILL", id="signal"),
        pytest.param(-250, "was ended by signal 250", id="signal-without-a-name"),
        pytest.param(3, "ended with exit code 3", id="exit-code"),
        pytest.param(0, "ended with exit code 0", id="exit-code-0"),
        pytest.param(None, "gave no answer", id="lives"),
    ],
)
def test_ends_in_words(exit_code, words):
    assert ending(exit_code) == words


_PARENT = """
import sys
import tasks_for_workers
from autoseg.execution import workers
from autoseg.execution.executor import run_tasks
if __name__ == "__main__":
    workers.KERNEL_ENDS_ORPHANS = sys.argv[2] == "kernel"
    list(run_tasks(tasks_for_workers.announce_and_sleep, [sys.argv[1]] * 2, workers=2))
"""


def _children(process):
    """Return the processes that a process started, by their entries under /proc."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = entry.read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it ended meanwhile
            continue
        if int(parent) == process and state != "Z":
            found.append(int(entry.parent.name))
    return found


def _lives(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("means", ["kernel", "pipe"])
def test_no_worker_outlives_a_killed_parent_by_three_seconds(tmp_path, means):
    script = tmp_path / "parent.py"
    script.write_text(_PARENT)
    pids, temporary = tmp_path / "pids", tmp_path / "temporary"
    pids.mkdir()
    temporary.mkdir()
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    parent = subprocess.Popen(
        [sys.executable, script, pids, means],
        env={**os.environ, "PYTHONPATH": paths, "TMPDIR": str(temporary)},
    )
    while len(list(pids.iterdir())) < 2:
        assert parent.poll() is None
        time.sleep(0.02)
    children = _children(parent.pid)
    assert {int(path.name) for path in pids.iterdir()} <= set(children)
    parent.kill()
    assert parent.wait() == -signal.SIGKILL
    deadline = time.monotonic() + 3.0
    while any(map(_lives, children)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [process for process in children if _lives(process)] == []
    assert list(temporary.iterdir()) == []
