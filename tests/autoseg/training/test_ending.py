"""When a training ends; the loop's own tests show that it does."""

import os
import signal
import threading

import pytest

from autoseg.core.training_config import TrainingConfig
from autoseg.training.ending import (
    REQUESTS,
    STOP_FILE,
    CoolDown,
    begin_cool_down,
    fraction_done,
    is_patience_over,
    is_stop_wanted,
    smoothed_scores,
    stop_on_request,
)


def config(**options):
    return TrainingConfig(preset="test", **{"epochs": 4, "steps_per_epoch": 10, **options})


@pytest.mark.parametrize(
    ("epochs", "max_minutes", "step", "elapsed_s", "fraction"),
    [
        pytest.param(4, None, 0, 1e9, 0.0, id="steps-only-start"),
        pytest.param(4, None, 10, 0.0, 0.25, id="steps-only"),
        pytest.param(4, None, 41, 0.0, 1.0, id="never-above-1"),
        pytest.param(None, 2.0, 999, 30.0, 0.25, id="time-only"),
        pytest.param(None, 2.0, 0, 121.0, 1.0, id="time-is-over"),
        pytest.param(4, 2.0, 10, 60.0, 0.5, id="time-is-further"),
        pytest.param(4, 2.0, 30, 60.0, 0.75, id="steps-are-further"),
    ],
)
def test_fraction_done(epochs, max_minutes, step, elapsed_s, fraction):
    chosen = config(epochs=epochs, max_minutes=max_minutes)
    assert fraction_done(chosen, step, elapsed_s) == fraction


def test_a_cool_down_runs_through_the_rest_in_a_tenth_of_the_steps():
    # 0.25 was done at step 30; the other 0.75 take 3 steps.
    end = begin_cool_down(30, 0.25)
    assert end == CoolDown(step=30, fraction=0.25, steps=3)
    fractions = [fraction_done(config(epochs=12), step, 0.0, end) for step in (30, 31, 32, 33)]
    assert fractions == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_a_cool_down_has_at_least_a_step():
    assert begin_cool_down(0, 0.0).steps == begin_cool_down(9, 0.1).steps == 1
    assert begin_cool_down(11, 0.1).steps == 2


def test_a_cool_down_never_makes_a_training_longer():
    end = begin_cool_down(39, 39 / 40)  # a tenth of 39 steps would be 4 more
    assert end.steps == 4
    assert fraction_done(config(epochs=4), 40, 0.0, end) == 1.0


def test_a_time_budget_ends_a_cool_down_too():
    end = CoolDown(step=30, fraction=0.25, steps=10)
    chosen = config(epochs=None, max_minutes=1.0)
    assert fraction_done(chosen, 31, 60.0, end) == 1.0
    assert fraction_done(chosen, 32, 15.0, end) == pytest.approx(0.25 + 0.75 * 0.2)


def test_a_stop_file_is_seen(tmp_path):
    assert not is_stop_wanted(tmp_path)
    (tmp_path / STOP_FILE).touch()
    assert is_stop_wanted(tmp_path)


def rows(*scores):
    return [{"epoch": epoch, "pseudo_dice": score} for epoch, score in enumerate(scores)]


def test_scores_are_smoothed_and_the_better_of_both_weights_counts():
    history = [
        {"epoch": 0},
        {"epoch": 1, "pseudo_dice": 0.5, "average_pseudo_dice": 0.25},
        {"epoch": 2, "pseudo_dice": 0.25, "average_pseudo_dice": 1.0},
    ]
    assert smoothed_scores(history) == pytest.approx([0.5, 0.9 * 0.5 + 0.1 * 1.0])


def test_patience_counts_epochs_behind_the_best():
    falling = rows(0.5, 0.8, 0.6, 0.6, 0.1)
    # Smoothed: 0.5, 0.53, 0.537, 0.5433, 0.49897: one epoch without a better one.
    assert is_patience_over(config(patience=1), falling)
    assert not is_patience_over(config(patience=2), falling)
    assert not is_patience_over(config(patience=1), falling[:-1])
    assert not is_patience_over(config(), falling)


def test_patience_is_not_over_before_there_are_more_epochs():
    assert not is_patience_over(config(patience=3), rows(0.5, 0.4, 0.3))
    assert is_patience_over(config(patience=3), rows(0.5, 0.4, 0.3, 0.2))


@pytest.fixture
def heard():
    """Let no request be ignored, as the tests' own parent may want it, such as nohup."""
    before = {each: signal.signal(each, signal.default_int_handler) for each in REQUESTS}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.mark.parametrize("number", REQUESTS)
def test_every_request_asks_once_and_handlers_come_back(number, heard):
    before = {each: signal.getsignal(each) for each in REQUESTS}
    with stop_on_request() as asked:
        assert not asked()
        os.kill(os.getpid(), number)
        assert asked()
        os.kill(os.getpid(), signal.SIGTERM)  # a scheduler says it twice
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert {each: signal.getsignal(each) for each in REQUESTS} == before


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_request() as asked:
            os.kill(os.getpid(), signal.SIGHUP)  # as under nohup
            assert not asked()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_thread_without_signals_is_never_asked():
    answers = []

    def work():
        with stop_on_request() as asked:
            answers.append(asked())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert answers == [False]
