"""Checkpoints are written beside the training, whatever it does meanwhile."""

import threading

import pytest
import torch

from autoseg.training import checkpoint, saving
from autoseg.training.saving import Saver
from autoseg.training.state import make_state


@pytest.fixture
def setup(setup_of):
    return setup_of()


def fresh_state(setup):
    return make_state(setup.fresh_network(), setup.description.training, setup.device)


def test_training_goes_on_while_a_checkpoint_is_written(setup, monkeypatch):
    state, may_write = fresh_state(setup), threading.Event()
    write = checkpoint.write

    def late(folder, snapshot):
        assert may_write.wait(10)
        write(folder, snapshot)

    monkeypatch.setattr(checkpoint, "write", late)
    before = state.network.heads[0].weight.detach().clone()
    with Saver(setup.folder, setup.origin, setup.device) as saver:
        saver.save(state)
        with torch.no_grad():
            state.network.heads[0].weight.fill_(7.0)  # the training changes what is being written
        assert checkpoint.steps(setup.folder) == []
        may_write.set()
    again = fresh_state(setup)
    checkpoint.restore_latest(setup.folder, again)
    assert torch.equal(again.network.heads[0].weight, before)


def test_saved_when_due_and_not_before(setup, monkeypatch):
    state, now = fresh_state(setup), [100.0]
    monkeypatch.setattr(saving, "monotonic", lambda: now[0])
    with Saver(setup.folder, setup.origin, setup.device, every_s=60.0) as saver:
        for step, time in ((1, 159.0), (2, 160.0), (3, 219.0), (4, 220.5)):
            state.step, now[0] = step, time
            if saver.is_due:
                saver.save(state)
    assert checkpoint.steps(setup.folder) == [4, 2]


def test_an_error_of_the_writing_arrives_with_the_next_checkpoint(setup, monkeypatch):
    def full(folder, snapshot):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write", full)
    with Saver(setup.folder, setup.origin, setup.device) as saver:
        saver.save(fresh_state(setup))
        with pytest.raises(OSError, match="No space left"):
            saver.save(fresh_state(setup))


def test_an_error_of_the_last_writing_is_raised_at_the_end(setup, monkeypatch):
    def full(folder, snapshot):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write", full)
    saver = Saver(setup.folder, setup.origin, setup.device)
    with pytest.raises(OSError, match="No space left"), saver:
        saver.save(fresh_state(setup))


def test_what_the_training_raises_is_not_hidden_by_the_writing(setup, monkeypatch):
    def full(folder, snapshot):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write", full)

    def train():
        with Saver(setup.folder, setup.origin, setup.device) as saver:
            saver.save(fresh_state(setup))
            raise KeyError("the training's")

    with pytest.raises(KeyError, match="the training's"):
        train()
