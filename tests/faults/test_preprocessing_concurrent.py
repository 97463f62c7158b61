"""Two commands on one dataset never mix, and the number of workers changes no byte."""

import importlib.util
import random
import shutil
import time
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location(
    "preprocessing_runs", Path(__file__).with_name("preprocessing_runs.py")
)
runs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(runs)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """A dataset, and a workspace in which it was preprocessed with nobody beside it."""
    folder = tmp_path_factory.mktemp("quiet")
    work = runs.Work(runs.write_raw(folder / "Dataset007_Tiny", cases=12), folder / "workspace")
    found = work.run()
    assert found.returncode == 0, found.stderr
    return work


def copy_without(work, folder, *parts):
    """Return a copy of a workspace from which some folders of the dataset were removed."""
    shutil.copytree(work.workspace, folder, ignore=shutil.ignore_patterns(*parts))
    return runs.Work(work.raw, folder)


def check_two(quiet, work, verb, seed):
    """Start a command twice, one a random while after the other; return both exit codes."""
    rng = random.Random(seed)
    first = work.start(verb, workers=rng.choice([0, 0, 2]))
    time.sleep(rng.uniform(0.0, 1.2))
    second = work.start(verb)
    codes = []
    for found in (runs.finish(first), runs.finish(second)):
        codes.append(found.returncode)
        if found.returncode == 7:
            (line,) = runs.error_lines(found)
            assert line.startswith(f"error: E-RUN-73 {work.folder}")
            assert "is in use by" in line
        else:
            assert found.returncode == 0, found.stderr
    assert 0 in codes
    assert work.results() == quiet.results()
    return codes


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("verb", ["preprocess", "plan_and_preprocess"])
def test_of_two_commands_on_one_dataset_one_works_and_the_other_says_so(
    quiet, tmp_path, verb, seed
):
    gone = ("preprocessed",) if verb == "preprocess" else ("preprocessed", "measured", "plans")
    check_two(quiet, copy_without(quiet, tmp_path / "workspace", *gone), verb, seed)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_commands_at_20_random_offsets(quiet, tmp_path):
    codes = []
    for seed in range(100, 120):
        verb = ("preprocess", "plan_and_preprocess")[seed % 2]
        work = copy_without(quiet, tmp_path / str(seed), "preprocessed")
        codes += check_two(quiet, work, verb, seed)
    assert codes.count(7) > 2  # they did meet
    assert codes.count(0) >= 20


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_any_number_of_workers_stores_the_same_bytes_as_none(quiet, tmp_path, workers):
    work = copy_without(quiet, tmp_path / "workspace", "preprocessed")
    found = work.run("preprocess", workers=workers)
    assert found.returncode == 0, found.stderr
    assert work.results() == quiet.results()


def test_the_threads_that_the_environment_allows_change_no_byte(quiet, tmp_path, monkeypatch):
    for name in ("BLOSC_NTHREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "4")
    work = copy_without(quiet, tmp_path / "workspace", "preprocessed")
    found = work.run("preprocess")
    assert found.returncode == 0, found.stderr
    assert work.results() == quiet.results()
