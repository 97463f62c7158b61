from dataclasses import replace

import pytest
import torch

from autoseg.core.errors import DocumentError
from autoseg.execution.progress import Silence
from autoseg.io import documents
from autoseg.training.step_time import StepTime, StepTimer, StepTimes


class Notes(Silence):
    """A listener that keeps what a person should read."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def description(setup_of):
    """A training of 2 patches of 768 voxels with 4 and 8 channels."""
    return setup_of().description


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "workspace" / "step_times.json"


def timed(description, cache, progress=None) -> StepTime:
    """Let a timer of its own tell the time of a step."""
    return StepTimer(cache, progress or Silence()).time(description)


def keep(cache, *times, **changes):
    documents.write(cache, StepTimes(times=tuple(replace(time, **changes) for time in times)))


def test_a_step_is_measured_once_and_then_read_to_the_last_bit(description, cache):
    notes = Notes()
    first = timed(description, cache, notes)
    assert first.update_s > 0
    assert first.augmentation_s > 0
    # 2 batches of validation patches after 3 steps, each a third of an update
    assert first.validation_s == pytest.approx(first.update_s * 2 / 3 / 3)
    assert first.seconds == first.update_s + first.augmentation_s + first.validation_s
    assert documents.read(cache, StepTimes).times == (first,)
    keep(cache, first, is_disturbed=False)  # whatever else this machine did meanwhile
    written = cache.read_bytes()
    assert timed(description, cache, notes) == replace(first, is_disturbed=False)
    assert cache.read_bytes() == written
    assert notes.notes == [
        "measuring a training step on this CPU: 3d_fullres, 4 channels, batch 2, augmentation light"
    ]


def test_a_timer_measures_nothing_twice_even_if_disturbed(description, cache):
    timer = StepTimer(cache, Silence())
    first = timer.time(description)
    keep(cache)
    assert timer.time(description) == first


def test_a_disturbed_measurement_is_made_again_and_the_faster_kept(description, cache):
    first = timed(description, cache)
    slow, fast = first.update_s * 1e6, first.update_s * 1e-6
    others = {"augmentation_s": 0.0, "validation_s": 0.0, "is_disturbed": True}
    keep(cache, first, **others, update_s=slow)
    again = timed(description, cache)
    assert (again.key, again.update_s < slow) == (first.key, True)
    assert documents.read(cache, StepTimes).times == (again,)
    keep(cache, first, **others, update_s=fast)
    third = timed(description, cache)
    assert third.is_disturbed is (third.update_s == fast)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"batch_voxels": 800}, id="batch"),
        pytest.param({"optimizer": "adamw"}, id="optimizer"),
        pytest.param({"augmentation": "none"}, id="augmentation"),
        pytest.param({"validation_steps": 1}, id="validation"),
    ],
)
def test_another_training_is_measured_itself_beside_the_first(description, cache, change):
    first = timed(description, cache)
    changed = replace(description, training=replace(description.training, **change))
    other = timed(changed, cache)
    assert other.key != first.key
    assert documents.read(cache, StepTimes).times == (first, other)


def test_another_patch_or_width_is_measured_itself(setup_of, cache):
    def key(**options):
        return timed(setup_of(**options).description, cache).key

    wide = {key(features=(16, 32)), key(features=(16, 32), patch_size=(8, 12, 12))}
    half = key(features=(8, 16))
    assert len({*wide, half}) == 3
    # The same network, whether the plan or the training made it so narrow.
    assert key(features=(16, 32), width_fraction=0.5) == half


def test_a_time_is_of_this_many_threads(description, cache):
    first = timed(description, cache)
    assert ", 1 threads, torch" in first.machine
    torch.set_num_threads(2)  # the fixture of the folder sets them back
    assert timed(description, cache).key != first.key


def test_length_and_seed_of_a_training_do_not_matter(description, cache):
    first = timed(description, cache)
    longer = replace(description.training, epochs=9, seed=4, learning_rate=0.5, preset="other")
    assert timed(replace(description, training=longer), cache).key == first.key


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b'{"times": [', id="torn"),
        pytest.param(b'{"schema_version": 2, "times": []}', id="of-a-later-version"),
    ],
)
def test_a_cache_that_cannot_be_read_is_made_anew(description, cache, content):
    cache.parent.mkdir()
    cache.write_bytes(content)
    made = timed(description, cache)
    assert documents.read(cache, StepTimes).times == (made,)


@pytest.mark.parametrize("values", [(-0.5, 1.0, 0.0), (0.0, 0.0, 0.0), (float("inf"), 0.0, 0.0)])
def test_a_time_that_cannot_be_is_refused(values):
    with pytest.raises(DocumentError, match=rf"step time: .* are \({values[0]}, .*at least 0"):
        StepTime(
            key="0f",
            machine="CPU",
            training="2d",
            update_s=values[0],
            augmentation_s=values[1],
            validation_s=values[2],
            is_disturbed=False,
        )
