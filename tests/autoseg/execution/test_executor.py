"""Whatever becomes of a worker, every item gets its outcome and no process is left behind."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autoseg.core.errors import GeometryError, ResourceError
from autoseg.execution.executor import run_tasks

pytestmark = pytest.mark.timeout(60)


def _comparable(outcomes):
    return [(o.item, o.value, o.error and (type(o.error), o.error.text)) for o in outcomes]


def test_workers_give_the_same_outcomes_in_the_same_order_as_none(tasks):
    numbers = [4.0, 9.0, -1.0, 16.0, 25.0, -2.0, 36.0]
    inline = list(run_tasks(tasks.root, numbers, workers=0))
    assert _comparable(inline[:3]) == [
        (4.0, 2.0, None),
        (9.0, 3.0, None),
        (-1.0, None, (GeometryError, "E-GEO-17 -1.0 has no root; 0 or more")),
    ]
    pooled = list(run_tasks(tasks.root, numbers, workers=2))
    assert _comparable(pooled) == _comparable(inline)
    assert [o.error.hint for o in pooled if o.error] == ["square it"] * 2
    assert multiprocessing.active_children() == []


def test_workers_are_other_processes_that_leave_ctrl_c_to_this_one(tasks):
    found = [o.value for o in run_tasks(tasks.process, range(4), workers=2)]
    assert all(ignores for _, ignores in found)
    assert os.getpid() not in {process for process, _ in found}
    assert len({process for process, _ in found}) <= 2


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bug_is_raised(tasks, workers):
    outcomes = run_tasks(tasks.divide, [2, 0, 4], workers=workers)
    assert next(outcomes).value == 0.5
    with pytest.raises(ZeroDivisionError, match="division"):
        next(outcomes)
    assert multiprocessing.active_children() == []


def test_work_that_is_abandoned_leaves_no_worker(tasks, tmp_path):
    outcomes = run_tasks(tasks.act, [("first", tmp_path), ("hang", tmp_path)], workers=2)
    assert next(outcomes).value == "first done"
    outcomes.close()
    assert multiprocessing.active_children() == []


def test_nothing_to_do_gives_no_outcome(tasks):
    assert list(run_tasks(tasks.root, [], workers=0)) == []
    assert list(run_tasks(tasks.root, [], workers=2)) == []


def test_a_dying_worker_costs_its_item_only_and_that_is_tried_once_more(tasks, tmp_path):
    items = [(what, tmp_path) for what in ("a", "die", "b", "die once", "c", "d")]
    outcomes = list(run_tasks(tasks.act, items, workers=2, name=lambda item: f"case {item[0]!r}"))
    # What was lost comes last, after its second attempt.
    assert [o.item[0] for o in outcomes] == ["a", "b", "c", "d", "die", "die once"]
    *fine, dead, second = outcomes
    assert [o.value for o in fine] == ["a done", "b done", "c done", "d done"]
    assert second.value == "die once done"
    assert isinstance(dead.error, ResourceError)
    assert dead.error.text.startswith("E-RES-66 case 'die': its worker process died or stalled")
    assert dead.error.exit_code == 6
    visits = {path.name: path.read_text().count("visit") for path in tmp_path.iterdir()}
    assert visits == {"a": 1, "b": 1, "c": 1, "d": 1, "die": 2, "die once": 2}


def test_an_item_that_stalls_runs_out_of_time_and_the_others_finish(tasks, tmp_path):
    items = [(what, tmp_path) for what in ("hang", "a", "b")]
    outcomes = list(run_tasks(tasks.act, items, workers=2, timeout_s=0.5))
    assert [(o.item[0], o.value) for o in outcomes] == [
        ("a", "a done"),
        ("b", "b done"),
        ("hang", None),
    ]
    assert "stalled twice" in str(outcomes[-1].error)
    assert (tmp_path / "hang").read_text().count("visit") == 2


def test_a_pool_whose_workers_all_end_before_they_say_what_they_hold_loses_no_other_item(
    tasks, capfd
):
    padding = "x" * 40_000  # more than a pipe holds: some items never reach a worker
    items = [tasks.EndsOnArrival(), padding, padding, padding]
    outcomes = list(run_tasks(tasks.describe, items, workers=1, name=lambda _: "case 'a'"))
    assert [o.value for o in outcomes] == [None, "str", "str", "str"]
    assert outcomes[0].error.text.startswith("E-RES-66 case 'a': its worker process died")
    assert multiprocessing.active_children() == []
    capfd.readouterr()


_PARENT = """
import sys
from autoseg.execution.executor import run_tasks
import tasks_for_workers
if __name__ == "__main__":
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
def test_no_worker_outlives_a_killed_parent_by_three_seconds(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(_PARENT)
    (tmp_path / "pids").mkdir()
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    parent = subprocess.Popen(
        [sys.executable, script, tmp_path / "pids"], env={**os.environ, "PYTHONPATH": paths}
    )
    while len(list((tmp_path / "pids").iterdir())) < 2:
        assert parent.poll() is None
        time.sleep(0.02)
    children = _children(parent.pid)
    assert {int(path.name) for path in (tmp_path / "pids").iterdir()} <= set(children)
    parent.kill()
    assert parent.wait() == -signal.SIGKILL
    deadline = time.monotonic() + 3.0
    while any(map(_lives, children)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [process for process in children if _lives(process)] == []
