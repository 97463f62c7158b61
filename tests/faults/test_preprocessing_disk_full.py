"""A disk that is full at any operation costs nothing but the time until there is room again."""

import importlib.util
import re
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location(
    "preprocessing_runs", Path(__file__).with_name("preprocessing_runs.py")
)
runs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(runs)

CASES = 2


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return runs.write_raw(tmp_path_factory.mktemp("raw") / "Dataset007_Tiny", cases=CASES)


@pytest.fixture(scope="module")
def quiet(raw, tmp_path_factory):
    """What a run writes that meets no fault, and after how many operations."""
    folder = tmp_path_factory.mktemp("quiet")
    work = runs.Work(raw, folder / "workspace")
    found = work.run(faults=runs.fault(work, "full", "", folder / "counter"))
    assert found.returncode == 0, found.stderr
    return work.results(), (folder / "counter").stat().st_size


def check_full_at(operation, raw, folder, quiet, *, workers=0):
    """Run on a disk that is full at an operation, look at what is left, and run again."""
    results, _ = quiet
    work = runs.Work(raw, folder / f"full_at_{operation}")
    found = work.run(
        workers=workers, faults=runs.fault(work, "full", operation, folder / "counter")
    )
    if found.returncode != 0:  # else only the name of a lock's holder was lost
        assert found.returncode == 6, found.stderr
        (line,) = runs.error_lines(found)
        place = re.escape(str(work.workspace))
        assert re.match(rf"error: E-RES-63 {place}/.*: the disk is full \(No space left", line)
    # Whatever is there is whole: no reader can take anything torn for done.
    assert work.results().items() <= results.items()
    assert found.returncode == 6 or work.results() == results
    again = work.run(workers=workers)
    assert again.returncode == 0, again.stderr
    assert work.results() == results
    return found


def test_the_operations_that_may_find_the_disk_full_are_those_of_all_files(quiet):
    results, operations = quiet
    # Each file is created and written to at least; 8 folders; documents are synced and read back.
    assert operations > 2 * len(results)


@pytest.mark.parametrize("part", [0.12, 0.45, 0.8])
def test_a_disk_that_is_full_once_is_said_and_the_same_command_carries_on(
    raw, quiet, tmp_path, part
):
    check_full_at(str(1 + int(part * quiet[1])), raw, tmp_path, quiet)


def test_a_disk_that_stays_full_stops_a_command_with_workers_too(raw, quiet, tmp_path):
    found = check_full_at(f"{1 + int(0.8 * quiet[1])}+", raw, tmp_path, quiet, workers=2)
    assert found.returncode == 6


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("lasting", ["", "+"], ids=["once", "from-then-on"])
def test_a_disk_that_is_full_at_every_operation_in_turn(raw, quiet, tmp_path, lasting):
    for operation in range(1, quiet[1] + 1):
        found = check_full_at(f"{operation}{lasting}", raw, tmp_path, quiet)
        assert found.returncode == 6 or not lasting
