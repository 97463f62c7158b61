"""What the options of training ask for."""

import json

import click
import pytest
from click.testing import CliRunner

from autoseg.cli.main import main
from autoseg.cli.training_options import TRAINING_OPTIONS, training_options
from autoseg.core.training_config import TrainingConfig, preset


@click.command()
@training_options
def show(config: TrainingConfig) -> None:
    """Print what a command would train with."""
    shown = (config.epochs, config.max_minutes, config.steps_per_epoch, config.width_fraction)
    click.echo(json.dumps([config.preset, *shown, config.seed]))


def asked(*arguments: str) -> list[object]:
    result = CliRunner().invoke(show, arguments, catch_exceptions=False)
    values: list[object] = json.loads(result.stdout)
    return values


def test_the_list_of_names_is_that_of_the_options():
    assert tuple(parameter.name for parameter in show.params) == TRAINING_OPTIONS


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param((), ["full", 1000, None, 250, 1.0, 0], id="nothing"),
        pytest.param(("--preset", "fast"), ["fast", 60, None, 100, 0.5, 0], id="preset"),
        pytest.param(
            ("--preset", "fast", "--max-hours", "2"), ["fast", None, 120.0, 100, 0.5, 0], id="hours"
        ),
        pytest.param(
            ("--max-minutes", "12", "--seed", "3"), ["full", None, 12.0, 250, 1.0, 3], id="minutes"
        ),
        pytest.param(
            ("--preset", "standard", "--epochs", "250", "--max-hours", "0.25"),
            ["standard", 250, 15.0, 250, 1.0, 0],
            id="whichever-ends-first",
        ),
        pytest.param(
            ("--preset", "fast", "--width-fraction", "0.375", "--steps-per-epoch", "9"),
            ["fast", 60, None, 9, 0.375, 0],
            id="width",
        ),
    ],
)
def test_options_change_a_preset(arguments, expected):
    assert asked(*arguments) == expected


def test_hours_and_minutes_of_the_same_time_are_the_same_training():
    assert asked("--max-hours", "2") == asked("--max-minutes", "120")
    assert preset("full").max_minutes is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(
            ["--max-minutes", "90", "--max-hours", "1.5"],
            "--max-minutes 90 and --max-hours 1.5 both limit the time",
            id="both",
        ),
        pytest.param(["--max-hours", "0"], "--max-hours is 0; it must be more than 0", id="zero"),
        pytest.param(["--max-hours", "-2"], "--max-hours is -2; it must be", id="negative"),
        pytest.param(["--max-hours", "nan"], "--max-hours is nan; it must be", id="nan"),
        pytest.param(["--max-hours", "inf"], "--max-hours is inf; it must be", id="infinite"),
        pytest.param(["--max-minutes", "inf"], "max-minutes is inf; it must be", id="minutes"),
        pytest.param(["--width-fraction", "0"], "width-fraction is 0.0; it must", id="no-width"),
        pytest.param(
            ["--width-fraction", "1.5"],
            "width-fraction is 1.5; it must be at most 1, the plan's width",
            id="too-wide",
        ),
    ],
)
@pytest.mark.parametrize("verb", [["train", "2d", "0"], ["run", "-d", "none"]])
def test_what_cannot_be_is_a_usage_error(verb, arguments, words, capsys):
    assert main([*verb, *arguments]) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert words in error
    assert hint.startswith("hint: ")
