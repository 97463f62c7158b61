import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch

from autoseg.core.errors import DamagedError, ResourceError, TrainingError
from autoseg.io import store
from autoseg.training import multiprocess_feed
from autoseg.training.augmentation.policy import FULL
from autoseg.training.batches import BatchSource, augment_patches, read_patches, read_samples
from autoseg.training.course import Course
from autoseg.training.feeding import Workers, open_feed
from autoseg.training.multiprocess_feed import Loader
from autoseg.training.own_transforms import load_transforms
from autoseg.training.sampling import open_cases

pytestmark = pytest.mark.timeout(120)

CPU = torch.device("cpu")
COURSE = Course(steps_per_epoch=4, validation_steps=2)
STEPS = [(0, step) for step in range(4)]
OWN = """
import os, random, signal
import numpy as np

class Noisy:
    def __call__(self, data, seg):
        return {"data": data + np.float32(np.random.normal() + random.random()), "seg": seg}

def deadly(data, seg):
    os.kill(os.getpid(), signal.SIGKILL)

def wrong(data, seg):
    return {"data": data * np.float32(np.nan), "seg": seg}
"""


@pytest.fixture
def source_of(case_of, tmp_path, monkeypatch):
    """Draw from the cases a and b, in a cascade, and install the transforms `OWN`."""
    rng = np.random.default_rng(3)
    for name, shape in {"a": (9, 17, 14), "b": (12, 10, 30)}.items():
        segmentation = rng.integers(0, 3, shape)
        case_of(name, segmentation, image=np.stack([segmentation, rng.normal(size=shape)]))
        previous = np.roll(segmentation, 1, axis=2).astype(np.uint8)
        store.write_prediction(tmp_path / "previous", name, "key", previous)
    installed = tmp_path / "installed"
    (installed / "own-1.dist-info").mkdir(parents=True)
    (installed / "own_in_processes.py").write_text(OWN)
    (installed / "own-1.dist-info" / "METADATA").write_text("Name: own\nVersion: 1\n")
    (installed / "own-1.dist-info" / "entry_points.txt").write_text(
        "[autoseg.transforms]\nnoisy = own_in_processes:Noisy\n"
        "deadly = own_in_processes:deadly\nwrong = own_in_processes:wrong\n"
    )
    monkeypatch.syspath_prepend(str(installed))

    def build(*own, **options):
        defaults = {
            "cases": open_cases(tmp_path / "cases", "ab", previous=tmp_path / "previous"),
            "purpose": "training",
            "seed": 5,
            "fold": 0,
            "batch_size": 2,
            "patch_size": (6, 10, 8),
            "foreground_fraction": 0.33,
            "policy": FULL,
            "mirror_axes": (0, 1),
            "inside_only": (False, True),
            "previous_labels": 2,
            "transforms": load_transforms(own, largest_label=2),
            "folder": tmp_path / "cases",
            "previous_folder": tmp_path / "previous",
        }
        return BatchSource(**defaults | options)

    return build


def open_processes(source, count, validation=None):
    return open_feed(
        source,
        CPU,
        course=COURSE,
        validation=validation or replace(source, purpose="validation"),
        workers=Workers(kind="processes", count=count),
    )


def expected(source, addresses):
    return [digest(*augment_patches(source, read_patches(source, *each))) for each in addresses]


def digest(images, targets):
    return sha256(images.numpy().tobytes() + targets.numpy().tobytes()).hexdigest()


def digests(batches):
    return [digest(batch.images, batch.targets) for batch in batches]


def process_ids():
    return [process.pid for process in multiprocessing.active_children()]


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with suppress(OSError):  # one that has ended stays in the table until somebody asks how
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return sys.platform != "linux"


@pytest.mark.parametrize("count", [1, 3])
def test_batches_are_the_same_with_any_number_of_processes(source_of, count):
    training = source_of("noisy")
    validation = source_of(purpose="validation", patch_size=(8, 12))  # 2D patches of 3D images
    with open_processes(training, count, validation) as feed:
        assert len(process_ids()) == 0
        for epoch in range(2):
            addresses = [(epoch, step) for step in range(4)]
            assert digests(feed.batches(addresses)) == expected(training, addresses)
            assert len(process_ids()) == count
            addresses = [(epoch, step) for step in range(2)]
            assert digests(feed.validation_batches(addresses)) == expected(validation, addresses)
        running = process_ids()
    assert len(running) == count
    assert not any(is_alive(pid) for pid in running)


def test_process_that_is_killed_is_started_again_at_its_step(source_of, caplog):
    source = source_of()
    addresses = [(0, step) for step in range(20)]  # more than are ready when it is killed
    workers = Workers(kind="processes", count=2)
    with open_feed(source, CPU, course=Course(steps_per_epoch=20), workers=workers) as feed:
        running = feed.batches(addresses)
        found = [next(running), next(running)]
        before = process_ids()
        os.kill(before[0], signal.SIGKILL)
        found += running
        assert set(process_ids()).isdisjoint(before)
        assert len(process_ids()) == 2
    assert digests(found) == expected(source, addresses)
    (record,) = caplog.records
    assert (record.levelno, record.name) == (logging.WARNING, multiprocess_feed.__name__)
    assert "a worker process was ended by SIGKILL at the " in record.getMessage()
    assert not any(is_alive(pid) for pid in before)


def test_process_that_dies_twice_at_a_step_ends_the_training(source_of):
    source = source_of("deadly", batch_size=8)
    with (
        open_processes(source, 1) as feed,
        pytest.raises(
            ResourceError,
            match=r"a worker process was ended by SIGKILL at the training batch of epoch 0, step 2 "
            r"\(cases a, b\), for the second time",
        ) as raised,
    ):
        list(feed.batches(STEPS[2:]))
    assert raised.value.cases == ("a", "b")
    assert raised.value.rule == "E-RES-66"
    assert process_ids() == []


def test_process_that_stalls_is_given_up(source_of, monkeypatch):
    with open_processes(source_of(), 1) as feed:
        running = feed.batches([(epoch, step) for epoch in range(9) for step in range(4)])
        next(running)
        (pid,) = process_ids()
        os.kill(pid, signal.SIGSTOP)
        monkeypatch.setattr(multiprocess_feed, "LONGEST_BATCH_S", 0.1)  # no process starts so fast
        with pytest.raises(ResourceError, match=r"gave no answer at the .* for the second time"):
            list(running)
    assert not is_alive(pid)


def test_error_in_a_process_arrives_in_its_turn_with_its_case(source_of, tmp_path):
    source = source_of()
    file = tmp_path / "cases" / "b.image.b2nd"
    file.unlink()  # this process keeps what it opened
    names = [{sample.case for sample in read_samples(source, 0, step)} for step in range(4)]
    bad = next(step for step, cases in enumerate(names) if "b" in cases)
    with open_processes(source, 1) as feed:
        running = feed.batches(STEPS)
        assert digests(next(running) for _ in range(bad)) == expected(source, STEPS[:bad])
        with pytest.raises(DamagedError, match=r"case 'b': .*b\.image\.b2nd: cannot be") as raised:
            next(running)
    assert raised.value.cases == ("b",)
    assert process_ids() == []


def test_loop_that_is_interrupted_ends_its_processes(source_of):
    def interrupted():
        with open_processes(source_of(), 1) as feed:
            for _ in feed.batches(STEPS):
                running.extend(process_ids())
                raise KeyboardInterrupt

    running = []
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(running) == 1
    assert not any(is_alive(pid) for pid in running)


def loader_of(source, count):
    return Loader({"training": source, "validation": source}, COURSE, count)


def test_batches_are_dealt_out_by_number(source_of):
    loader = loader_of(source_of(), 3)
    loader.first = 5
    loader.set_thread_id(1)
    assert [next(loader)["place"] for _ in range(3)] == [6, 9, 12]
    assert list(loader.working_on) == [-1, 12, -1]


def test_own_transform_that_fails_in_a_process_is_named(source_of):
    error = next(loader_of(source_of("wrong"), 1))["error"]
    with pytest.raises(
        TrainingError, match=r"transform 'wrong' on a patch of case '[ab]': 'data' "
    ):
        raise error


def test_bug_in_a_process_arrives_with_its_traceback(source_of):
    error = next(loader_of(source_of(mirror_axes=None), 1))["error"]
    with pytest.raises(RuntimeError, match="training batch of epoch 0, step 0: TypeError: "):
        raise error
    assert "in draw_augmentation" in error.__notes__[0]


PARENT = """
import multiprocessing, pickle, sys, time
import torch
from pathlib import Path
from autoseg.training.augmentation.policy import NONE
from autoseg.training.batches import BatchSource
from autoseg.training.course import Course
from autoseg.training.feeding import Workers, open_feed
from autoseg.training.multiprocess_feed import Loader
from autoseg.training.sampling import open_cases

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    source = BatchSource(
        cases=open_cases(folder, "ab"), purpose="training", seed=1, fold=0, batch_size=1,
        patch_size=(6, 8, 8), foreground_fraction=0.5, policy=NONE, mirror_axes=(),
        inside_only=(False, False), folder=folder,
    )
    workers = Workers(kind="processes", count=2)
    course = Course(steps_per_epoch=5)
    with open_feed(source, torch.device("cpu"), course=course, workers=workers) as feed:
        list(feed.batches([(0, 0), (0, 1)]))  # one of each process
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        time.sleep(60)
"""


def test_processes_end_with_a_parent_that_is_killed(source_of, tmp_path):
    source_of()
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    command = [sys.executable, str(script), str(tmp_path / "cases")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path.cwd()) as parent:
        running = [int(pid) for pid in parent.stdout.readline().split()]
        assert all(is_alive(pid) for pid in running)
        parent.kill()
    assert len(running) == 2
    deadline = time.monotonic() + 3
    while any(is_alive(pid) for pid in running) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(is_alive(pid) for pid in running)
