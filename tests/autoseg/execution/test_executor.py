"""Whatever becomes of a worker, every item gets its outcome and no process is left behind."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from autoseg.core.errors import GeometryError, ResourceError
from autoseg.execution import executor
from autoseg.execution.executor import run_tasks
from autoseg.execution.workers import open_workers

pytestmark = pytest.mark.timeout(60)

GIB = 2**30


def _comparable(outcomes):
    return [(o.item, o.value, o.error and (type(o.error), o.error.text)) for o in outcomes]


def _case(item):
    return f"case {item[0]!r}"


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_give_the_same_outcomes_in_the_same_order_as_none(tasks, workers):
    numbers = [4.0, 9.0, -1.0, 16.0, 25.0, -2.0, 36.0]
    inline = list(run_tasks(tasks.root, numbers, workers=0))
    assert _comparable(inline[:3]) == [
        (4.0, 2.0, None),
        (9.0, 3.0, None),
        (-1.0, None, (GeometryError, "E-GEO-17 -1.0 has no root; 0 or more")),
    ]
    pooled = list(run_tasks(tasks.root, numbers, workers=workers))
    assert _comparable(pooled) == _comparable(inline)
    assert [o.error.hint for o in pooled if o.error] == ["square it"] * 2
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("workers", [0, 1, 2, 4])
def test_any_number_of_workers_writes_the_same_files(tasks, tmp_path, workers):
    list(run_tasks(tasks.write, [(tmp_path, number) for number in range(9)], workers=workers))
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    squares = [0, 0, 1, 5, 14, 30, 55, 91, 140]  # 0, 0, 1, 1 + 4, 1 + 4 + 9, ...
    assert found == {f"{number}.txt": str(total) for number, total in enumerate(squares)}


def test_workers_are_other_processes_that_leave_ctrl_c_to_this_one(tasks):
    found = [o.value for o in run_tasks(tasks.process, range(4), workers=2)]
    assert all(ignores for _, ignores in found)
    assert os.getpid() not in {process for process, _ in found}
    assert len({process for process, _ in found}) <= 2


def test_progress_hears_of_an_item_before_an_earlier_one_that_takes_longer(tasks, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    heard = []

    def hear(outcome):
        heard.append(outcome.item[0])
        (tmp_path / "go on").touch()

    items = [(first, tmp_path / "go on"), (second, second)]
    outcomes = run_tasks(tasks.wait_for_the_other, items, workers=2, when_done=hear)
    assert [o.item[0] for o in outcomes] == [first, second]
    assert heard == [second, first]


def test_no_more_is_begun_than_may_be_ahead_of_the_item_whose_turn_it_is(tasks, tmp_path):
    names = ["0", "1", "2", "3", "4", "5"]
    for name in ("1", "2", "3", "4", "5"):
        (tmp_path / f"{name}.go").touch()
    heard = []

    def hear(outcome):
        heard.append(outcome.item[0].name)
        if len(heard) == 2:  # the first one still waits, and two wait for it
            (tmp_path / "0.go").touch()

    outcomes = run_tasks(
        tasks.wait_for_the_other,
        [(tmp_path / name, tmp_path / f"{name}.go") for name in names],
        workers=2,
        most_ahead=3,
        memory_bytes=lambda item: 1 + int(item[0].name),  # the last ones need the most
        budget_bytes=100,
        when_done=hear,
    )
    assert next(outcomes).item[0].name == "0"
    assert heard == ["1", "2", "0"]
    assert not (tmp_path / "4").exists()
    assert [outcome.item[0].name for outcome in outcomes] == names[1:]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bug_is_raised_in_its_turn_and_names_the_item(tasks, workers):
    outcomes = run_tasks(tasks.divide, [2, 0, 4], workers=workers, name=lambda n: f"case {n}")
    assert next(outcomes).value == 0.5
    with pytest.raises(ZeroDivisionError, match="division") as caught:
        next(outcomes)
    assert caught.value.__notes__ == ["while working on case 0"]
    if workers:
        assert "return 1 / number" in str(caught.value.__cause__)  # the worker's own traceback
    assert multiprocessing.active_children() == []


def test_a_bug_that_cannot_be_sent_is_told_in_words(tasks):
    with pytest.raises(RuntimeError, match=r"^case b: UnreadableError: somewhere in b\n"):
        list(run_tasks(tasks.raise_unreadable, "b", workers=1, name=lambda item: f"case {item}"))


def test_a_value_that_cannot_be_sent_is_a_bug(tasks):
    with pytest.raises((AttributeError, TypeError), match=r"(?i)pickle") as caught:
        list(run_tasks(tasks.return_function, ["b"], workers=1, name=lambda item: f"case {item}"))
    assert caught.value.__notes__ == ["while working on case b"]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_function_that_leaves_the_program_is_a_bug(tasks, workers):
    with pytest.raises(
        RuntimeError, match=r"^leave: the function asked for the end of the program"
    ):
        list(run_tasks(tasks.fail, ["leave"], workers=workers))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_lack_of_memory_is_an_outcome_that_names_the_item(tasks, workers):
    outcomes = list(run_tasks(tasks.fail, ["memory", "fine"], workers=workers, name=lambda n: n))
    assert isinstance(outcomes[0].error, ResourceError)
    assert outcomes[0].error.text.startswith("E-RES-64 memory: memory ran out")
    assert outcomes[1].value == "fine"


def test_work_that_is_abandoned_leaves_no_worker(tasks, tmp_path):
    outcomes = run_tasks(tasks.act, [("first", tmp_path), ("hang", tmp_path)], workers=2)
    assert next(outcomes).value == "first done"
    outcomes.close()
    assert multiprocessing.active_children() == []


def test_nothing_to_do_gives_no_outcome(tasks):
    assert list(run_tasks(tasks.root, [], workers=0)) == []
    assert list(run_tasks(tasks.root, [], workers=2)) == []
    with open_workers(1) as workers:
        assert list(run_tasks(tasks.root, [], workers=workers)) == []


def test_a_dying_worker_costs_its_item_only_and_that_is_tried_once_more(tasks, tmp_path):
    items = [(what, tmp_path) for what in ("a", "die", "b", "die once", "c", "d")]
    outcomes = list(run_tasks(tasks.act, items, workers=2, name=_case))
    assert [o.value for o in outcomes] == [
        "a done",
        None,
        "b done",
        "die once done",
        "c done",
        "d done",
    ]
    error = outcomes[1].error
    assert isinstance(error, ResourceError)
    assert re.fullmatch(
        r"E-RES-66 case 'die': its worker process was ended by SIGKILL after \d+\.\d s and, with "
        r"nothing beside it, was ended by SIGKILL after \d+\.\d s; this process may use "
        r"[\d.]+ [GM]iB of memory",
        error.text,
    )
    assert error.exit_code == 6
    assert "memory ran out" in error.hint
    visits = {path.name: path.read_text().count("visit") for path in tmp_path.iterdir()}
    assert visits == {"a": 1, "b": 1, "c": 1, "d": 1, "die": 2, "die once": 2}


def test_a_suspect_is_tried_again_after_all_others_with_nothing_beside_it(tasks, tmp_path):
    log = tmp_path / "log"
    items = [(name, log) for name in ("die once", "a", "b", "c")]
    list(run_tasks(tasks.log_both_ends, items, workers=2))
    lines = log.read_text().splitlines()
    assert lines[-2:] == ["die once starts", "die once stops"]
    assert lines.count("die once starts") == 2


@pytest.mark.parametrize(
    ("how", "ending"),
    [
        pytest.param("segmentation fault", "was ended by SIGSEGV", id="segmentation-fault"),
        pytest.param("exit0", "ended with exit code 0", id="leaves-without-a-word"),
        pytest.param("exit7", "ended with exit code 7", id="exit-code"),
        pytest.param("stop", "was stopped because it stalled for 0.5 s", id="stopped-process"),
    ],
)
def test_the_verdict_on_a_poisonous_item_says_how_it_ended(tasks, how, ending):
    outcomes = list(
        run_tasks(
            tasks.fail,
            ["before", how, "behind"],
            workers=2,
            name=lambda item: f"case {item}",
            timeout_s=lambda item: 0.5 if item == "stop" else 60.0,
            memory_bytes=lambda _: 3 * GIB // 2,
            budget_bytes=4 * GIB,
        )
    )
    assert [o.value for o in outcomes] == ["before", None, "behind"]
    text = outcomes[1].error.text
    assert text.startswith(f"E-RES-66 case {how}: its worker process {ending} after ")
    assert text.count(ending) == 2
    assert text.endswith("it needs about 1.5 GiB and this process may use 4 GiB of memory")
    assert "--workers 0" in outcomes[1].error.hint


def test_an_item_that_stalls_runs_out_of_its_own_time_and_the_others_finish(tasks, tmp_path):
    items = [(what, tmp_path) for what in ("hang", "a", "b")]
    outcomes = list(
        run_tasks(
            tasks.act, items, workers=2, timeout_s=lambda item: 2.0 if item[0] == "hang" else 60.0
        )
    )
    assert [o.value for o in outcomes] == [None, "a done", "b done"]
    assert str(outcomes[0].error).count("was stopped because it stalled for 2 s") == 2
    assert (tmp_path / "hang").read_text().count("visit") == 2


def test_the_time_that_a_worker_takes_to_load_is_not_the_items(tasks, tmp_path, monkeypatch):
    (tmp_path / "loads_slowly.py").write_text("import time\ntime.sleep(1)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with open_workers(1, preload=("loads_slowly",)) as workers:
        (outcome,) = run_tasks(tasks.root, [4.0], workers=workers, timeout_s=0.5)
    assert outcome.value == 2.0


def test_workers_killed_in_the_middle_of_200_quick_items_cost_no_item(tasks):
    done = []

    def kill_some(outcome):
        done.append(outcome.item)
        if len(done) in (50, 100, 101, 150):
            multiprocessing.active_children()[0].kill()

    numbers = [float(number) for number in range(200)]
    with open_workers(2) as workers:
        outcomes = list(run_tasks(tasks.root, numbers, workers=workers, when_done=kill_some))
    assert [o.value for o in outcomes] == [number**0.5 for number in numbers]
    assert sorted(done) == numbers


def test_199_of_200_finish_beside_a_poisonous_item(tasks):
    items = ["fine"] * 200
    items[70] = "exit9"
    outcomes = list(run_tasks(tasks.fail, items, workers=2))
    assert [index for index, o in enumerate(outcomes) if o.value != "fine"] == [70]
    assert "ended with exit code 9" in str(outcomes[70].error)


def test_a_worker_that_ends_before_it_says_what_it_holds_loses_no_other_item(tasks, capfd):
    padding = "x" * 200_000  # more than a pipe holds
    items = [tasks.EndsOnArrival(), padding, padding, padding]
    outcomes = list(run_tasks(tasks.describe, items, workers=1, name=lambda _: "case 'a'"))
    assert [o.value for o in outcomes] == [None, "str", "str", "str"]
    start = "E-RES-66 case 'a': its worker process ended with exit code 3 after"
    assert outcomes[0].error.text.startswith(start)
    assert multiprocessing.active_children() == []
    capfd.readouterr()


def test_items_that_do_not_fit_together_never_overlap(tasks, tmp_path):
    log = tmp_path / "log"
    names = ("a", "b", "c")
    items = [(name, log) for name in names]
    outcomes = run_tasks(
        tasks.log_both_ends, items, workers=2, memory_bytes=lambda _: 60, budget_bytes=100
    )
    assert [o.error for o in outcomes] == [None] * 3
    expected = [f"{name} {what}" for name in names for what in ("starts", "stops")]
    assert log.read_text().splitlines() == expected


def test_items_that_fit_together_run_together(tasks, tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"  # each is done only when the other has begun
    outcomes = run_tasks(
        tasks.wait_for_the_other,
        [(a, b), (b, a)],
        workers=2,
        memory_bytes=lambda _: 50,
        budget_bytes=100,
        timeout_s=20,
    )
    assert [o.error for o in outcomes] == [None, None]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_item_that_does_not_fit_is_refused_before_any_work(tasks, tmp_path, workers):
    heard = []
    outcomes = run_tasks(
        tasks.act,
        [(what, tmp_path) for what in ("a", "large", "b")],
        workers=workers,
        name=_case,
        memory_bytes=lambda item: 5 * GIB // 2 if item[0] == "large" else 2 * GIB,
        budget_bytes=2 * GIB,
        when_done=lambda outcome: heard.append((outcome.item[0], len(list(tmp_path.iterdir())))),
    )
    found = list(outcomes)
    assert heard[0] == ("large", 0)
    assert [o.value for o in found] == ["a done", None, "b done"]
    assert found[1].error.text == (
        "E-RES-64 case 'large': needs about 2.5 GiB of memory, and this process may use 2 GiB"
    )
    assert found[1].error.exit_code == 6


def test_the_memory_of_this_machine_is_the_budget_if_none_is_given(tasks):
    (outcome,) = run_tasks(tasks.root, [4.0], workers=0, memory_bytes=lambda _: 2**60)
    assert re.search(r"needs about 1\.07e\+09 GiB .* may use [\d.]+ [GM]iB", str(outcome.error))


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell")
def test_the_memory_that_an_item_took_is_measured(tasks):
    sizes = [300 * 2**20, 100]
    large, small = run_tasks(tasks.fill, sizes, workers=1)
    assert sizes[0] < large.peak_bytes < 2 * sizes[0]
    assert small.peak_bytes is None  # the worker held more before


_UNGUARDED = """
import tasks_for_workers
from autoseg.execution.executor import run_tasks
list(run_tasks(tasks_for_workers.root, [1.0] * 200, workers=1))
"""


def test_workers_that_cannot_start_are_not_tried_for_ever(python):
    found = python(_UNGUARDED).communicate(timeout=40)[1]
    refusal = "worker processes: 3 in a row ended while they started (ended with exit code 1)"
    assert refusal in found.splitlines()[-1]


def test_workers_that_end_while_they_start_cost_no_attempt(tasks, tmp_path, monkeypatch):
    module = """
        import os, pathlib, signal
        starts = pathlib.Path(__file__).with_name("starts")
        with starts.open("a") as file:
            file.write("x")
        if starts.stat().st_size <= 2:
            os.kill(os.getpid(), signal.SIGKILL)
    """
    (tmp_path / "loads_at_last.py").write_text(textwrap.dedent(module))
    monkeypatch.syspath_prepend(tmp_path)
    with open_workers(1, preload=("loads_at_last",)) as workers:
        (outcome,) = run_tasks(tasks.root, [4.0], workers=workers)
    assert outcome.value == 2.0
    assert (tmp_path / "starts").read_text() == "xxx"


def test_workers_that_stall_while_they_start_are_not_waited_for(tasks, tmp_path, monkeypatch):
    (tmp_path / "never_loads.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(executor, "LONGEST_START_S", 0.3)
    with (
        open_workers(1, preload=("never_loads",)) as workers,
        pytest.raises(ResourceError, match="3 in a row ended while they started"),
    ):
        list(run_tasks(tasks.root, [1.0, 4.0], workers=workers))
    assert multiprocessing.active_children() == []


_INTERRUPTED = """
import multiprocessing, signal, sys
import tasks_for_workers
from autoseg.execution.executor import run_tasks

def interrupt(number, frame):
    raise KeyboardInterrupt

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupt)  # as the program does
    try:
        list(run_tasks(tasks_for_workers.announce_and_sleep, [sys.argv[1]] * 3, workers=2))
    except KeyboardInterrupt:
        print("stopped", multiprocessing.active_children())
"""


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_ctrl_c_ends_the_workers_at_once(python, tmp_path, name):
    parent = python(_INTERRUPTED, tmp_path)
    while len(list(tmp_path.glob("[0-9]*"))) < 2:
        assert parent.poll() is None
        time.sleep(0.02)
    parent.send_signal(getattr(signal, name))
    printed, errors = parent.communicate(timeout=20)
    assert (printed, errors, parent.returncode) == ("stopped []\n", "", 0)
    for path in tmp_path.glob("[0-9]*"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name), 0)


@pytest.fixture
def python(tmp_path):
    """Start a program text as a process that finds the functions for workers."""
    started = []

    def start(text, *arguments):
        script = tmp_path / "program.py"
        script.write_text(text)
        paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
        process = subprocess.Popen(
            [sys.executable, script, *arguments],
            env={**os.environ, "PYTHONPATH": paths},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
