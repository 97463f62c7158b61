import threading
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise
from time import sleep

import numpy as np
import pytest
import torch

from autoseg.core.errors import DamagedError, UsageError
from autoseg.io import store
from autoseg.training import feeding
from autoseg.training.augmentation.policy import FULL, LIGHT, NONE
from autoseg.training.batches import BatchSource, augment_patches, read_patches
from autoseg.training.course import Course
from autoseg.training.feeding import Workers, default_workers, open_feed
from autoseg.training.sampling import open_cases

CPU = torch.device("cpu")
COURSE = Course(steps_per_epoch=3, validation_steps=2)
ADDRESSES = [(epoch, step) for epoch in range(2) for step in range(3)]


@pytest.fixture
def source_of(case_of, tmp_path):
    """Draw from three cases of different shapes, in a cascade if asked to."""
    rng = np.random.default_rng(3)
    shapes = {"a": (9, 17, 14), "b": (12, 10, 30), "c": (7, 20, 11)}
    for name, shape in shapes.items():
        segmentation = rng.integers(0, 3, shape)
        case_of(name, segmentation, image=np.stack([segmentation, rng.normal(size=shape)]))
        previous = np.roll(segmentation, 1, axis=2).astype(np.uint8)
        store.write_prediction(tmp_path / "previous", name, "key", previous)

    def build(*, previous_labels=0, **options):
        previous = tmp_path / "previous" if previous_labels else None
        defaults = {
            "cases": open_cases(tmp_path / "cases", list(shapes), previous=previous),
            "purpose": "training",
            "seed": 5,
            "fold": 0,
            "batch_size": 3,
            "patch_size": (6, 10, 8),
            "foreground_fraction": 0.33,
            "policy": FULL,
            "mirror_axes": (0, 1),
            "inside_only": (False, True),
            "previous_labels": previous_labels,
            "folder": tmp_path / "cases",
            "previous_folder": previous,
        }
        return BatchSource(**defaults | options)

    return build


def threads(count):
    return Workers(kind="threads", count=count)


def expected(source, addresses=ADDRESSES):
    return [digest(*augment_patches(source, read_patches(source, *each))) for each in addresses]


def digest(images, targets):
    return sha256(images.numpy().tobytes() + targets.numpy().tobytes()).hexdigest()


def digests(batches):
    return [digest(batch.images, batch.targets) for batch in batches]


def makers():
    return [t for t in threading.enumerate() if t.name.startswith("make-batches")]


SOURCES = [
    pytest.param({}, id="3d"),
    pytest.param({"policy": LIGHT}, id="light"),
    pytest.param({"patch_size": (10, 8)}, id="2d-patches-of-3d-images"),
    pytest.param({"previous_labels": 2}, id="cascade"),
    pytest.param({"previous_labels": 2, "patch_size": (8, 12)}, id="cascade-2d"),
]


@pytest.mark.parametrize("options", SOURCES)
def test_batches_come_in_order_and_are_the_same_with_any_number_of_threads(source_of, options):
    source = source_of(**options)
    for count in (0, 1, 3):
        with open_feed(
            source, CPU, course=Course(steps_per_epoch=3), workers=threads(count)
        ) as feed:
            assert digests(feed.batches(ADDRESSES)) == expected(source)


def test_training_and_validation_take_turns(source_of):
    training, validation = source_of(), source_of(purpose="validation", policy=NONE)
    with open_feed(training, CPU, course=COURSE, validation=validation) as feed:
        for epoch in range(2):
            addresses = [(epoch, step) for step in range(3)]
            assert digests(feed.batches(addresses)) == expected(training, addresses)
            addresses = [(epoch, step) for step in range(2)]
            assert digests(feed.validation_batches(addresses)) == expected(validation, addresses)


@pytest.fixture
def made(monkeypatch):
    """Note the addresses of batches that are made, in the order in which they are begun."""
    noted = []
    make = feeding.make_batch

    def noting(sources, device, address):
        noted.append((address.purpose[0], address.epoch, address.step))
        return make(sources, device, address)

    monkeypatch.setattr(feeding, "make_batch", noting)
    return noted


def wait_for(noted, count):
    while len(noted) < count:
        sleep(0.01)


def test_next_epoch_is_read_while_this_one_ends(source_of, made):
    training, validation = source_of(), source_of(purpose="validation")
    options = {"course": COURSE, "validation": validation, "workers": threads(1)}
    with open_feed(training, CPU, **options) as feed:
        list(feed.batches([(0, step) for step in range(3)]))
        wait_for(made, 3 + 1 + feeding.AHEAD)  # one by the thread, two waiting
        assert made[3:6] == [("v", 0, 0), ("v", 0, 1), ("t", 1, 0)]
        list(feed.validation_batches([(0, step) for step in range(2)]))
        list(feed.batches([(1, 0)]))
    assert [address for address in made if made.count(address) > 1] == []


def test_nothing_is_read_ahead_without_threads(source_of, made):
    with open_feed(source_of(), CPU, course=Course(steps_per_epoch=3), workers=threads(0)) as feed:
        list(feed.batches([(0, 0), (0, 1)]))
    assert made == [("t", 0, 0), ("t", 0, 1)]


def test_validation_off_the_course_leaves_the_training_where_it_was(source_of, made):
    training, validation = source_of(), source_of(purpose="validation")
    with open_feed(training, CPU, course=COURSE, validation=validation) as feed:
        list(feed.batches([(0, 0)]))
        addresses = [(77, step) for step in range(4)]  # an epoch and a step that it does not have
        assert digests(feed.validation_batches(addresses)) == expected(validation, addresses)
        list(feed.batches([(0, 1), (0, 2)]))
    assert made.count(("t", 0, 1)) == made.count(("t", 0, 2)) == 1


def test_validation_that_ends_early_and_late_are_the_same_batches(source_of):
    training, validation = source_of(), source_of(purpose="validation")
    with open_feed(training, CPU, course=COURSE, validation=validation) as feed:
        list(feed.batches(ADDRESSES[:3]))
        asked = [(0, step) for step in range(4)]  # two more than on the course
        assert digests(feed.validation_batches(asked)) == expected(validation, asked)
        assert digests(feed.batches([(1, 0)])) == expected(training, [(1, 0)])


def test_going_back_gives_the_same_batches_again(source_of):
    source = source_of()
    with open_feed(source, CPU, course=Course(steps_per_epoch=3), workers=threads(2)) as feed:
        for addresses in (ADDRESSES[2:5], ADDRESSES[1:4], ADDRESSES[::-1]):
            assert digests(feed.batches(addresses)) == expected(source, addresses)


def test_training_batch_off_the_course_is_refused(source_of):
    with (
        open_feed(source_of(), CPU, course=COURSE, validation=source_of()) as feed,
        pytest.raises(ValueError, match="training batch of epoch 1, step 3: is not part of"),
    ):
        list(feed.batches([(1, 3)]))


def test_time_that_the_training_waited_is_measured(source_of, monkeypatch):
    make = feeding.make_batch
    monkeypatch.setattr(feeding, "make_batch", lambda *given: sleep(0.05) or make(*given))
    with open_feed(source_of(), CPU, course=Course(steps_per_epoch=3), workers=threads(0)) as feed:
        assert all(batch.waited_s >= 0.05 for batch in feed.batches(ADDRESSES[:2]))


def test_error_while_reading_reaches_the_training_and_it_can_go_on(source_of, tmp_path):
    source = source_of(batch_size=1)
    file = tmp_path / "cases" / "b.segmentation.b2nd"
    data = file.read_bytes()
    file.write_bytes(data)  # of an inode of its own
    source = replace(source, cases=open_cases(tmp_path / "cases", ["b"]))
    with open_feed(source, CPU, course=Course(steps_per_epoch=3)) as feed:
        with file.open("r+b") as opened:  # in place: what is mapped already changes
            opened.write(data[:200] + bytes(255 ^ byte for byte in data[200:]))
        with pytest.raises(DamagedError, match="preprocessed case 'b': ") as raised:
            list(feed.batches(ADDRESSES))
        assert raised.value.cases == ("b",)
        with file.open("r+b") as opened:
            opened.write(data)
        assert digests(feed.batches([(0, 1)])) == expected(source, [(0, 1)])
    assert not makers()


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, ZeroDivisionError])
def test_feed_that_is_left_early_ends_its_threads(source_of, error):
    def leave():
        with open_feed(source_of(), CPU, course=COURSE, validation=source_of()) as feed:
            for _ in feed.batches(ADDRESSES):
                assert makers()
                if error is not None:
                    raise error
                break

    if error is None:
        leave()
    else:
        with pytest.raises(error):
            leave()
    assert not makers()


def test_loop_that_is_broken_off_goes_on_where_it_was(source_of, made):
    source = source_of()
    with open_feed(source, CPU, course=Course(steps_per_epoch=3), workers=threads(1)) as feed:
        for _ in feed.batches(ADDRESSES):
            break
        assert digests(feed.batches(ADDRESSES[1:2])) == expected(source, ADDRESSES[1:2])
    assert made.count(("t", 0, 1)) == 1


def test_threads_compute_alone_and_leave_torch_as_it_was(source_of, monkeypatch):
    torch.set_num_threads(2)
    found = []
    monkeypatch.setattr(
        feeding,
        "make_batch",
        lambda *_: found.append(torch.get_num_threads()) or (None, torch.ones(1)),
    )
    with open_feed(source_of(), CPU, course=Course(steps_per_epoch=3), workers=threads(2)) as feed:
        list(feed.batches(ADDRESSES))
        asked = threading.Thread(target=lambda: found.append(-torch.get_num_threads()))
        asked.start()
        asked.join()
    assert torch.get_num_threads() == 2
    assert set(found) == {1, -2}


def test_course_with_validation_needs_a_source_of_it(source_of):
    with (
        pytest.raises(ValueError, match="needs a source of validation batches"),
        open_feed(source_of(), CPU, course=COURSE),
    ):
        pass


def test_processes_are_refused_beside_an_accelerator(source_of):
    workers = Workers(kind="processes", count=2)
    with (
        pytest.raises(UsageError, match="2 worker processes beside meta: only the threads"),
        open_feed(
            source_of(), torch.device("meta"), course=Course(steps_per_epoch=1), workers=workers
        ),
    ):
        pass


def test_fewer_than_no_workers_are_refused():
    with pytest.raises(UsageError, match="workers: -1 are impossible; 0 or more"):
        Workers(kind="threads", count=-1)


@pytest.mark.parametrize(
    ("device", "cores", "count"),
    [("cpu", 2, 1), ("cpu", 64, 1), ("cuda", 1, 1), ("cuda", 4, 3), ("cuda", 64, 4)],
)
def test_default_is_threads(device, cores, count):
    assert default_workers(torch.device(device), cores) == threads(count)


@pytest.mark.gpu
def test_batches_on_a_gpu_are_those_of_the_cpu(source_of):
    source = source_of(policy=LIGHT)
    device = torch.device("cuda")
    with open_feed(source, device, course=Course(steps_per_epoch=3), workers=threads(2)) as feed:
        found = list(feed.batches(ADDRESSES))
    assert all(batch.images.device.type == "cuda" for batch in found)
    for batch, address in zip(found, ADDRESSES, strict=True):
        images, targets = augment_patches(source, read_patches(source, *address))
        torch.testing.assert_close(batch.images.cpu(), images, atol=1e-3, rtol=1e-3)
        assert (batch.targets.cpu() == targets).float().mean() > 0.99


def test_batches_differ(source_of):
    assert all(a != b for a, b in pairwise(expected(source_of())))
