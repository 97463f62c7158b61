"""Rows of epochs: which of them count, and what they tell of each structure."""

import json

import pytest

from autoseg.core.training_history import TrainingHistory, gather_history, limits


def losses(history):
    return [(row["epoch"], row["train_loss"]) for row in history.rows]


def rows(*pairs):
    return [{"epoch": epoch, "train_loss": loss} for epoch, loss in pairs]


def test_a_resumed_training_gives_up_the_course_that_it_repeats():
    # Killed after epoch 3 and resumed from a checkpoint of epoch 1: what epochs 2 and 3 gave is
    # no longer part of this training, whether or not epoch 3 has been repeated yet.
    killed = rows((0, 1.0), (1, 0.9), (2, 0.8), (3, 0.7))

    assert losses(gather_history([*killed, *rows((1, 0.95), (2, 0.85))])) == [
        (0, 1.0), (1, 0.95), (2, 0.85),
    ]  # fmt: skip


def test_a_row_holds_the_finite_numbers_of_its_epoch_and_nothing_else():
    event = json.loads('{"epoch": 0, "loss": NaN, "rate": 0.1, "event": "epoch", "is_good": true}')

    assert gather_history([event]).rows == ({"epoch": 0.0, "rate": 0.1},)


def test_a_row_without_an_epoch_is_left_out():
    assert gather_history([{"train_loss": 1.0}, {"epoch": "two"}]) == TrainingHistory()


def test_a_series_skips_the_epochs_that_lack_it_and_counts_finished_epochs():
    history = gather_history(
        [{"epoch": 0, "dice_liver": 0.1}, {"epoch": 1}, {"epoch": 2, "dice_liver": 0.5}]
    )

    series = history.series("dice_liver")
    assert (series.epochs, series.values) == ((1, 3), (0.1, 0.5))
    assert history.series("dice_spleen").values == ()


def test_structures_are_named_once_each_as_they_come_up():
    history = gather_history(
        [
            {"epoch": 0, "pseudo_dice": 0.1, "dice_tumor": 0.1, "average_dice_tumor": 0.2},
            {"epoch": 1, "dice_dice_": 0.1, "dice_tumor": 0.1},
        ]
    )

    assert history.structures == ("tumor", "dice_")


def test_structures_of_a_course_that_was_given_up_are_forgotten():
    history = gather_history(
        [{"epoch": 0}, {"epoch": 1, "dice_tumor": 0.1}, {"epoch": 1, "dice_liver": 0.1}]
    )

    assert history.structures == ("liver",)


def test_the_history_before_an_epoch_is_without_it():
    assert losses(gather_history(rows((0, 1.0), (1, 0.9), (2, 0.8))).before(2)) == [
        (0, 1.0), (1, 0.9),
    ]  # fmt: skip


def test_recent_dice_is_the_mean_of_five_epochs_that_have_one():
    dice = [0.9, 0.0, None, 0.2, 0.3, 0.4, 0.1]
    history = gather_history(
        {"epoch": epoch, **({} if value is None else {"dice_liver": value})}
        for epoch, value in enumerate(dice)
    )

    assert history.recent_dice("liver") == pytest.approx((0.0 + 0.2 + 0.3 + 0.4 + 0.1) / 5)


def test_averaged_weights_count_where_they_were_judged():
    history = gather_history(
        [{"epoch": 0, "dice_a": 0.1}, {"epoch": 1, "dice_a": 0.2, "average_dice_a": 0.7}]
    )

    assert history.has_average
    assert history.recent_dice("a") == pytest.approx((0.1 + 0.7) / 2)


@pytest.mark.parametrize(
    ("most", "names"),
    [
        pytest.param(5, ("a", "b", "c", "d", "e"), id="all-as-they-came"),
        pytest.param(3, ("d", "e", "b"), id="best-then-two-worst"),
        pytest.param(2, ("d", "b"), id="best-and-worst"),
    ],
)
def test_of_many_structures_the_best_and_the_worst_are_notable(most, names):
    dice = {"a": 0.5, "b": 0.1, "c": 0.6, "d": 0.9, "e": 0.2}
    row = {"epoch": 0, **{f"dice_{name}": value for name, value in dice.items()}}

    assert gather_history([row]).notable(most) == names


@pytest.mark.parametrize(
    ("values", "span"),
    [
        pytest.param([0.5], (0.5, 0.5), id="one"),
        pytest.param([2.0, -1.0, 0.0], (-1.0, 2.0), id="usual"),
        # Without the spike the values span 1 to 2: four times that spread above 1.
        pytest.param([1.0, 1.5, 1e9, 2.0], (1.0, 5.0), id="spike"),
        pytest.param([3.0, 3.0, 3.0, 9.0], (3.0, 9.0), id="level-but-for-one"),
    ],
)
def test_limits_leave_a_spike_out(values, span):
    assert limits(values) == span
