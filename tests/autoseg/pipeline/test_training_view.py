"""The state of a training in text: right figures, and never wider than the terminal."""

import pytest

from autoseg.core.training_history import gather_history
from autoseg.pipeline.training_view import TrainingView, duration, sparkline

ROWS = [
    {"epoch": 0, "train_loss": 1.0, "validation_loss": 0.75, "dice_tumor": 0.0, "dice_liver": 0.2,
     "pseudo_dice": 0.1},
    {"epoch": 1, "train_loss": 0.5, "validation_loss": 0.625, "dice_liver": 0.8, "dice_tumor": 0.4,
     "pseudo_dice": 0.6},
    {"epoch": 2, "train_loss": 0.0, "validation_loss": 0.5, "dice_liver": 1.0, "pseudo_dice": 1.0},
]  # fmt: skip
AVERAGED = {"average_pseudo_dice": 0.65, "average_validation_loss": 0.4, "average_dice_liver": 0.9}


def view(rows=ROWS, **changes):
    known = {
        "name": "fold 3",
        "epoch": 2,
        "epochs": 40,
        "fraction": 0.075,
        "remaining_s": 3725.0,
        "values": {"step_s": 0.25, "wait_fraction": 0.004, "learning_rate": 0.0023},
        "history": gather_history(rows),
    }
    return TrainingView(**{**known, **changes})


def test_a_log_gets_one_line_with_the_figures_of_the_last_epoch():
    # The tumor is in no patch of the last epoch: (0.0 + 0.4) / 2 is its mean.
    assert view().line == (
        "fold 3 epoch 3/40  loss 0.000  validation 0.500  Dice 1.000  lowest tumor 0.200  "
        "wait 0%  ETA 1:02:05"
    )


def test_before_the_first_epoch_and_without_a_number_of_epochs_the_line_says_what_is_known():
    assert view([], epoch=0, epochs=None, values={}).line == "fold 3 epoch 1  ETA 1:02:05"


def test_a_terminal_gets_bar_courses_pace_and_the_last_warning():
    shown = view(event="warning: epoch 2: tumor is no longer found").lines(80)

    # A bar of 40: 3 of 40 are done. Losses span 0 to 1 and 0.5 to 0.75, Dice 0 to 1.
    assert shown == (
        "fold 3  epoch 3/40  " + "\u2501" * 3 + "\u2500" * 37 + "  8%  1:02:05 left",
        "loss        0.000            \u2588\u2585\u2581",
        "validation  0.500            \u2588\u2585\u2581",
        "mean Dice   1.000            \u2582\u2585\u2588",
        "tumor       0.400            \u2581\u2584",
        "liver       1.000            \u2582\u2587\u2588",
        "step 0.25 s   data wait 0.4%   learning rate 0.0023",
        "warning: epoch 2: tumor is no longer found",
    )


def test_averaged_weights_stand_in_brackets():
    made = view([*ROWS[:2], {**ROWS[2], **AVERAGED}])

    assert "validation 0.500 (0.400)  Dice 1.000 (0.650)" in made.line
    assert made.lines(80)[3].startswith("mean Dice   1.000 (0.650)")
    assert made.lines(80)[-1].endswith("(...): averaged weights")


@pytest.mark.parametrize("width", [1, 7, 12, 20, 31, 47, 60, 79, 200])
def test_no_line_is_wider_than_the_terminal(width):
    rows = [
        {"epoch": e, **{f"dice_a structure with a long name {k}": 0.5 for k in range(30)}}
        for e in range(300)
    ]
    for made in (view(), view([]), view(rows, event="w" * 300)):
        assert all(len(line) <= width for line in made.lines(width))


def test_a_narrow_terminal_keeps_the_time_and_the_figures():
    shown = view().lines(30)

    assert shown[0] == "8%  1:02:05 left  fold 3  epo\N{HORIZONTAL ELLIPSIS}"
    assert shown[1] == "loss        0.000"


def test_of_many_structures_the_best_and_the_worst_seven_have_a_line():
    row = {"epoch": 0, **{f"dice_part{k}": k / 20 for k in range(20)}, "pseudo_dice": 0.475}
    shown = view([row]).lines(80)

    named = [line.split()[0] for line in shown if line.startswith("part")]
    assert named == ["part19", *(f"part{k}" for k in reversed(range(7)))]
    assert "(the best and the worst 7 of 20 structures)" in shown


def test_a_name_cannot_command_the_terminal():
    shown = view([{"epoch": 0, "dice_\x1b[2J": 0.5}]).lines(80)

    assert not any("\x1b" in line for line in shown)
    assert any(line.startswith("?[2J") for line in shown)


@pytest.mark.parametrize(
    ("values", "width", "expected"),
    [
        pytest.param(tuple(range(8)), 8,
                     "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588", id="levels"),
        # Pairs from the end: 0 alone, then the means 0.5 x 7, 3.5, 7 and 7.
        pytest.param((0, 0, 7, 3, 4, 7, 7, 7, 7, 0, 0), 6,
                     "\u2581\u2585\u2585\u2588\u2588\u2581", id="averaged"),
        pytest.param((-9, 99, 0, 7, 0, 7), 6, "\u2581\u2588\u2581\u2588\u2581\u2588",
                     id="outside"),
        pytest.param((1, 2), 5, "", id="no-room"),
    ],
)  # fmt: skip
def test_sparklines_average_neighbors_and_keep_within_their_span(values, width, expected):
    assert sparkline(values, width, span=(0, 7)) == expected


def test_a_level_course_is_drawn_low():
    assert sparkline((2.0, 2.0), 10, span=(2.0, 2.0)) == "\u2581\u2581"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"), (59.9, "0:59"), (3599, "59:59"), (3600, "1:00:00"),
        (47 * 3600, "47:00:00"), (49 * 3600, "2 d 1 h"), (float("inf"), "11574 d 1 h"),
    ],
)  # fmt: skip
def test_durations_read_as_clocks(seconds, text):
    assert duration(seconds) == text
