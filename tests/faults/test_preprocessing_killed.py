"""Workers or the whole command killed: every case is made in the end, and nothing is left behind.

A worker that dies costs nothing but a second attempt. A command that dies is run again.
"""

import contextlib
import importlib.util
import os
import random
import re
import shutil
import signal
import time
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location(
    "preprocessing_runs", Path(__file__).with_name("preprocessing_runs.py")
)
runs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(runs)

MANY = 200
ORPHANS_END_S = 3.0
"""Time in which all workers of a killed command end; design.md, promise 2."""

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A planned dataset of 200 tiny cases."""
    folder = tmp_path_factory.mktemp("many")
    work = runs.Work(runs.write_raw(folder / "Dataset200_Many", cases=MANY), folder / "workspace")
    found = work.run()
    assert found.returncode == 0, found.stderr
    return work


def planned(work, folder):
    """Return a copy of the workspace in which no case is preprocessed."""
    shutil.copytree(
        work.workspace, folder / "workspace", ignore=shutil.ignore_patterns("preprocessed")
    )
    return runs.Work(work.raw, folder / "workspace")


def made_cases(work):
    return {case for _, case in work.stamps()}


def kill(process):
    with contextlib.suppress(ProcessLookupError):  # it has just ended
        os.kill(process, signal.SIGKILL)


def test_all_of_200_cases_are_made_though_a_worker_is_killed(many, tmp_path):
    work = planned(many, tmp_path)
    process = work.start("preprocess", workers=2)
    while len(made_cases(work)) < 30:
        assert process.poll() is None
        time.sleep(0.02)
    kill(runs.workers_of(process.pid)[0])
    found = runs.finish(process)
    assert found.returncode == 0, found.stderr
    # The second attempt finds the case there if the worker had stored it and not said so yet.
    assert re.match("Dataset200_Many: (199|200) cases preprocessed", found.stdout)
    assert len(made_cases(work)) == MANY
    again = work.run("preprocess")
    assert again.stdout == "Dataset200_Many: 0 cases preprocessed, the others were there\n"
    assert work.parts() == []


def test_a_case_that_kills_each_of_its_workers_is_named_and_the_other_199_are_kept(many, tmp_path):
    work = planned(many, tmp_path)
    deadly = runs.case_name(77)
    faults = {"FAULT_DEADLY": work.raw.image(deadly).name}
    found = work.run("preprocess", workers=2, faults=faults)
    assert found.returncode == 4, found.stderr
    case, summary = runs.error_lines(found)
    assert re.match(
        rf"error: E-RES-66 case '{deadly}': its worker process was ended by SIGKILL after .* and, "
        "with nothing beside it, was ended by SIGKILL after ",
        case,
    )
    assert "1 of 200 cases could not be preprocessed; the others are done and kept" in summary
    before = work.stamps()
    assert len(before) == MANY - 1
    again = work.run("preprocess", workers=2)
    assert again.returncode == 0, again.stderr
    assert again.stdout == "Dataset200_Many: 1 cases preprocessed, the others were there\n"
    added = work.stamps().items() - before.items()
    assert [case for (_, case), _ in added] == [deadly]
    assert len(work.stamps()) == MANY
    assert work.parts() == []


def test_a_case_that_kills_its_workers_while_it_is_measured_is_measured_alone_later(tmp_path):
    raw = runs.write_raw(tmp_path / "Dataset007_Tiny", cases=4)
    work = runs.Work(raw, tmp_path / "workspace")
    faults = {"FAULT_DEADLY": raw.image(runs.case_name(2)).name}
    found = work.run(workers=2, faults=faults)
    assert found.returncode == 3, found.stderr
    assert "E-RES-66 case 'case_002'" in runs.error_lines(found)[0]
    kept = {path: path.stat().st_mtime_ns for path in (work.folder / "measured").iterdir()}
    assert {path.stem for path in kept} == {"case_000", "case_001", "case_003"}
    again = work.run()
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert len(work.stamps()) == 4


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A dataset of a few cases, what a quiet run makes of it, and by how many operations."""
    folder = tmp_path_factory.mktemp("tiny")
    work = runs.Work(runs.write_raw(folder / "Dataset007_Tiny", cases=8), folder / "workspace")
    found = work.run(workers=2, faults=runs.fault(work, "kill", "", folder / "counter"))
    assert found.returncode == 0, found.stderr
    return work.raw, work.results(), (folder / "counter").stat().st_size


def session(leader):
    """Return the processes that were started by a command and its children."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, number = status.read_text().rpartition(")")[2].split()[:4]
            if int(number) == leader and state != "Z":
                found.append(int(status.parent.name))
    return found


def wait_for(operation, process, counter):
    """Wait until a command has done some operations, or ends."""
    while process.poll() is None and (not counter.exists() or counter.stat().st_size < operation):
        time.sleep(0.002)


def check_killed(tiny, folder, seed):
    """Kill a command or a worker at a random moment, see it end, and run it until it is done."""
    raw, results, operations = tiny
    rng = random.Random(seed)
    work, counter = runs.Work(raw, folder / f"workspace_{seed}"), folder / f"counter_{seed}"
    process = work.start(workers=2, faults=runs.fault(work, "kill", "", counter))
    wait_for(rng.randint(1, operations - 10), process, counter)
    time.sleep(rng.uniform(0.0, 0.02))
    is_whole = seed % 3 != 0
    for victim in [process.pid] if is_whole else runs.workers_of(process.pid)[:1]:
        kill(victim)
    process.wait(timeout=120)  # the workers hold its output open as long as they live
    deadline = time.monotonic() + ORPHANS_END_S
    while session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert session(process.pid) == []
    found = runs.finish(process)
    # The death of a worker costs no case.
    assert found.returncode in ((0, -signal.SIGKILL) if is_whole else (0,)), found.stderr
    assert whole_files(work).items() <= results.items()
    again = work.run(workers=2)
    assert again.returncode == 0, again.stderr
    assert work.results() == results
    return found.returncode


def whole_files(work):
    """Return the digests of what a reader may take for done."""
    return {
        path: digest
        for path, digest in work.results().items()
        if not path.endswith((".autoseg-part", ".probe"))
    }


def check_killed_at(operation, tiny, folder, **narrowed):
    """Kill a command without workers at an operation, and run it again; return its exit code."""
    raw, results, _ = tiny
    work = runs.Work(raw, folder / f"workspace_{operation}")
    faults = {**runs.fault(work, "kill", str(operation), folder / "counter"), **narrowed}
    found = work.run(faults=faults)
    assert whole_files(work).items() <= results.items()
    again = work.run()
    assert again.returncode == 0, again.stderr
    assert work.results() == results
    return found.returncode


@pytest.mark.parametrize("end", ["current", "splits.json", "case_004.json", ".lock"])
def test_a_command_killed_before_a_file_is_put_in_its_place_leaves_nothing_behind(
    tiny, tmp_path, end
):
    assert check_killed_at(1, tiny, tmp_path, FAULT_END=end) == -signal.SIGKILL


def test_what_a_killed_command_left_is_removed_though_nobody_has_asked_how_it_ended(tiny, tmp_path):
    raw, results, _ = tiny
    work = runs.Work(raw, tmp_path / "workspace")
    faults = runs.fault(work, "kill", "3", tmp_path / "counter")
    process = work.start(faults={**faults, "FAULT_END": ".autoseg-part"})
    status = Path(f"/proc/{process.pid}/stat")
    while status.read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.05)
    assert [part.parent.name for part in work.parts()] == ["measured"]
    again = work.run()  # the number of the killed process is still taken
    assert again.returncode == 0, again.stderr
    assert work.results() == results
    assert runs.finish(process).returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_command_killed_at_every_operation_in_turn_carries_on(tiny, tmp_path):
    operation = 1
    while check_killed_at(operation, tiny, tmp_path) != 0:
        operation += 1
    assert operation > 100


@pytest.mark.parametrize(
    "seed", [1, 2, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (3, 4, 5))]
)
def test_a_command_killed_at_a_random_moment_carries_on_to_the_results_of_a_quiet_run(
    tiny, tmp_path, seed
):
    check_killed(tiny, tmp_path, seed)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_commands_killed_at_50_random_moments_carry_on(tiny, tmp_path):
    codes = [check_killed(tiny, tmp_path, seed) for seed in range(100, 150)]
    assert codes.count(-signal.SIGKILL) > 20  # most were killed in time
