"""The listener of a training: journal, view, figure and warnings from one stream of reports."""

from xml.etree import ElementTree

import pytest
import torch

from autoseg.core.dataset import DatasetDescription
from autoseg.core.errors import UsageError
from autoseg.core.folds import Fold
from autoseg.core.labels import Labels
from autoseg.core.model import ModelDescription
from autoseg.core.training_config import TrainingConfig
from autoseg.execution.progress import Silence
from autoseg.io.journal import Journal
from autoseg.networks.device import Device
from autoseg.pipeline import training_progress
from autoseg.pipeline.training_progress import make_listener, read_history
from autoseg.training.report import Report
from autoseg.training.setup import FoldSetup


class Listening(Silence):
    """Keeps what is said, in order."""

    def __init__(self):
        self.said = []

    def note(self, text):
        self.said.append(text)

    def show(self, view):
        self.said.append(view)


@pytest.fixture
def setup(tmp_path, plan_of, configuration_of):
    """A fold to train; its cases play no part here."""
    description = ModelDescription(
        autoseg_version="0",
        dataset=DatasetDescription(
            name="Task04_Parts",
            channels=("MR",),
            labels=Labels(names=("background", "tumor")),
            file_ending=".nii.gz",
        ),
        plan=plan_of(configuration_of((3.0, 1.5, 1.25), (8, 16, 24))),
        configuration_name="3d_fullres",
        training=TrainingConfig(preset="fast", epochs=40),
        decisions=(),
    )
    return FoldSetup(
        folder=tmp_path / "fold_2",
        number=2,
        fold=Fold(training=("a",), validation=("b",)),
        description=description,
        cases=(),
        validation_cases=(),
        device=Device(torch_device=torch.device("cpu"), autocast=None),
        cases_folder=tmp_path / "cases",
    )


@pytest.fixture
def listening():
    return Listening()


@pytest.fixture
def journal(setup):
    return Journal(path=setup.folder / "run.jsonl")


@pytest.fixture
def listener(setup, journal, listening):
    return make_listener(setup, journal, listening, workers=2)


def step(epoch, **values):
    return Report(
        epoch=epoch,
        epochs=40,
        fraction=(epoch + 0.5) / 40,
        values={"learning_rate": 0.01, "wait_fraction": 0.25, "step_s": 0.5, **values},
        remaining_s=60.0,
        epoch_is_complete=False,
    )


def whole(epoch, **values):
    return Report(
        epoch=epoch,
        epochs=40,
        fraction=(epoch + 1) / 40,
        values={"epoch": epoch, "step": 10 * (epoch + 1), "wait_fraction": 0.25, **values},
        remaining_s=50.0,
        epoch_is_complete=True,
    )


def events(journal, name):
    return [event for event in journal.events() if event["event"] == name]


def shown_epochs(setup):
    """Return what the figure says of its length."""
    root = ElementTree.fromstring((setup.folder / "progress.svg").read_bytes())
    return next(text.text for text in root.iter() if text.text and "epoch" in text.text[:9])


def test_an_epoch_is_journaled_with_its_finite_figures_and_shown(listener, journal, listening):
    listener(step(0))
    assert listening.said[0].line.startswith("fold 2 epoch 1/40  wait 25%")
    assert not listening.said[0].is_milestone

    listener(whole(0, train_loss=0.5, validation_loss=float("nan"), dice_tumor=0.75))

    (event,) = events(journal, "epoch")
    del event["time"]
    assert event == {
        "event": "epoch", "epoch": 0, "step": 10, "wait_fraction": 0.25, "train_loss": 0.5,
        "dice_tumor": 0.75,
    }  # fmt: skip
    assert listening.said[1].is_milestone
    assert listening.said[1].line == "fold 2 epoch 1/40  loss 0.500  wait 25%  ETA 0:50"


def test_the_first_epoch_of_a_sitting_says_where_its_time_went(
    listener, journal, listening, monkeypatch
):
    for epoch in range(3):
        listener(whole(epoch, step_s=0.5))

    notes = [said for said in listening.said if isinstance(said, str)]
    assert len(notes) == 1
    assert notes[0].startswith(
        "0.5 s per step on cpu in float32, channels last, 25.0 % of the time waiting for"
    )
    assert [event["text"] for event in events(journal, "bottleneck")] == notes


def test_a_symptom_is_noted_journaled_and_shown_once(listener, journal, listening):
    for epoch in range(20):
        listener(whole(epoch, dice_tumor=0.5 if epoch < 10 else 0.0))

    notes = [said for said in listening.said if isinstance(said, str) and "tumor" in said]
    # (0 + 1) / (10 + 2) = 0.083: three misses in a row would do, but five are the least.
    assert len(notes) == 1
    assert notes[0].startswith("warning: epoch 15: tumor is no longer found")
    (event,) = events(journal, "warning")
    assert notes[0] == f"warning: {event['text']}"
    views = [said for said in listening.said if not isinstance(said, str)]
    assert [view.event for view in views] == [""] * 14 + [notes[0]] * 6


def test_a_resumed_training_goes_on_with_the_history_and_repeats_no_warning(
    setup, listener, journal, listening
):
    for epoch in range(16):
        listener(whole(epoch, dice_tumor=0.5 if epoch < 10 else 0.0))

    resumed = make_listener(setup, journal, listening, workers=2)
    for epoch in range(15, 18):  # the checkpoint was older than the journal
        resumed(whole(epoch, dice_tumor=0.0))

    assert [row["epoch"] for row in read_history(setup.folder).rows] == list(range(18))
    assert len(listening.said[-1].history.rows) == 18
    assert len(events(journal, "warning")) == 1


def test_a_training_from_its_start_takes_nothing_over(setup, listener, journal, listening):
    for epoch in range(3):
        listener(whole(epoch))

    make_listener(setup, journal, listening, workers=2)(step(0))

    assert listening.said[-1].history.rows == ()


def test_the_figure_is_drawn_at_most_so_often_and_whole_in_the_end(setup, listener, monkeypatch):
    monkeypatch.setattr(training_progress, "FIGURE_EVERY_S", 1e9)
    for epoch in range(3):
        listener(step(epoch))
        listener(whole(epoch, train_loss=1.0))
    assert shown_epochs(setup) == "1 epoch, 10 steps"

    listener.close()
    assert shown_epochs(setup) == "3 epochs, 30 steps"


def test_a_figure_that_is_due_is_drawn_between_epochs_too(setup, listener, monkeypatch):
    monkeypatch.setattr(training_progress, "FIGURE_EVERY_S", 1e9)
    for epoch in range(2):
        listener(whole(epoch, train_loss=1.0))
    monkeypatch.setattr(training_progress, "FIGURE_EVERY_S", 0.0)
    listener(step(2))

    assert shown_epochs(setup) == "2 epochs, 20 steps"


def test_the_last_epoch_draws_the_figure_without_being_asked(setup, listener, monkeypatch):
    monkeypatch.setattr(training_progress, "FIGURE_EVERY_S", 1e9)
    for epoch in (0, 39):
        listener(whole(epoch, train_loss=1.0))

    assert shown_epochs(setup) == "40 epochs, 400 steps"


def test_a_figure_that_cannot_be_written_is_told_once_and_does_not_end_the_training(
    setup, listener, journal, listening, monkeypatch
):
    monkeypatch.setattr(training_progress, "FIGURE_EVERY_S", 0.0)
    (setup.folder / "progress.svg").mkdir(parents=True)
    for epoch in range(3):
        listener(whole(epoch, train_loss=1.0))

    (event,) = events(journal, "warning")
    assert "progress.svg" in event["text"]
    assert event["text"].endswith("the training goes on without the figure")


def test_an_event_reaches_the_person_the_journal_and_the_next_view(listener, journal, listening):
    listener.tell("rollback", "going back to step 30")
    listener(step(0))

    assert listening.said[0] == "rollback: going back to step 30"
    assert [event["text"] for event in events(journal, "rollback")] == ["going back to step 30"]
    assert listening.said[-1].lines(80)[-1] == "rollback: going back to step 30"


def test_tensorboard_is_refused_before_the_training_where_it_is_missing(setup, journal, listening):
    with pytest.raises(UsageError, match="TensorBoard was asked for, and it is not installed"):
        make_listener(setup, journal, listening, workers=2, tensorboard=True)


class Broken:
    """An event file on a full disk."""

    def record(self, values):
        raise OSError(28, "No space left on device")

    def close(self):
        """Have nothing to close."""


def test_an_event_file_that_fails_is_told_once_and_does_not_end_the_training(listener, journal):
    listener.board = Broken()
    for epoch in range(3):
        listener(whole(epoch, train_loss=1.0))
    listener.close()

    (event,) = events(journal, "warning")
    assert event["text"].startswith("TensorBoard: [Errno 28] No space left on device; the train")


def test_the_history_of_a_folder_without_a_journal_is_empty(tmp_path):
    assert read_history(tmp_path).rows == ()
