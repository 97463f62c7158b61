from dataclasses import replace

import click
import pytest
from click.testing import CliRunner

from autoseg.cli.training_options import training_options
from autoseg.core.dataset import DatasetDescription
from autoseg.core.errors import UsageError
from autoseg.core.labels import Labels
from autoseg.core.training_config import TrainingConfig, preset
from autoseg.execution.progress import Silence
from autoseg.io import documents
from autoseg.io.workspace import Workspace
from autoseg.pipeline.cpu_schedule import (
    LEAST_STEPS,
    Proposal,
    cpu_schedule,
    narrower,
    schedule_configuration,
)
from autoseg.training.step_time import StepTimes

STEP_S = {32: 8.0, 16: 2.25, 12: 1.5, 8: 1.125}
"""Seconds of a step by channels of the first stage; exact in binary."""
DATASET = DatasetDescription(
    name="Task99_Test",
    channels=("CT",),
    labels=Labels(names=("background", "organ")),
    file_ending=".nii.gz",
)


@pytest.fixture
def usual(configuration_of):
    """The width of a usual plan: 32 channels, of which ``fast`` takes 16."""
    return configuration_of((2.0, 1.0, 1.0), (8, 12, 8), features=(32, 64))


def propose(configuration, max_hours, **options) -> Proposal:
    def seconds(config: TrainingConfig) -> float:
        return STEP_S[config.topology(configuration).features[0]]

    found = schedule_configuration(configuration, seconds, max_hours=max_hours, **options).proposal
    assert found is not None
    return found


def test_each_preset_takes_its_steps_times_their_time(usual):
    schedule = schedule_configuration(usual, lambda config: 7.2 if config.epochs == 60 else 36.0)
    assert schedule.proposal is None
    recipes = [(r.preset, r.steps, r.channels, r.step_s, r.fold_hours) for r in schedule.recipes]
    assert recipes == [
        ("full", 250_000, 32, 36.0, 2500.0),  # 1000 epochs of 250 steps, 100 steps per hour
        ("standard", 62_500, 32, 36.0, 625.0),
        ("fast", 6000, 16, 7.2, 12.0),
    ]


def test_fast_at_its_own_width_trains_until_the_time_is_up(usual):
    found = propose(usual, 2.0)
    assert found.command == "autoseg train 3d_fullres 0 --preset fast --max-hours 2"
    assert (found.steps, found.channels, found.is_enough) == (3200, 16, True)  # 7200 s / 2.25 s
    assert found.needed_hours == 700 * 2.25 / 3600


def test_just_enough_steps_are_enough_and_one_fewer_are_not(usual):
    enough = LEAST_STEPS * 2.25 / 3600  # 0.4375 h
    assert (propose(usual, enough).steps, propose(usual, enough).channels) == (700, 16)
    assert propose(usual, enough - 1e-6).channels == 12


@pytest.mark.parametrize(
    ("max_hours", "fraction", "channels", "steps"),
    [
        pytest.param(0.4, "0.375", 12, 960, id="three-quarters-of-16"),  # 1440 s / 1.5 s
        pytest.param(0.25, "0.25", 8, 800, id="half-of-16"),  # 900 s / 1.125 s
    ],
)
def test_a_narrower_network_makes_the_steps_that_fast_lacks(
    usual, max_hours, fraction, channels, steps
):
    found = propose(usual, max_hours)
    assert found.command == (
        f"autoseg train 3d_fullres 0 --preset fast --width-fraction {fraction} "
        f"--max-hours {max_hours}"
    )
    assert (found.channels, found.steps, found.is_enough) == (channels, steps, True)


def test_too_little_time_for_the_narrowest_is_said_with_the_time_it_needs(usual):
    found = propose(usual, 0.125)  # 450 s / 1.125 s
    assert (found.steps, found.channels, found.is_enough) == (400, 8, False)
    assert found.needed_hours == 0.21875  # 700 * 1.125 s
    assert found.command.endswith("--preset fast --width-fraction 0.25 --max-hours 0.22")


@pytest.mark.parametrize(
    ("max_hours", "name", "epochs", "steps"),
    [
        # 62500 * 8 s = 138.9 h; four times as many take 555.6 h
        pytest.param(139, "standard", 250, 62_500, id="standard"),
        pytest.param(555, "standard", 250, 62_500, id="not-yet-full"),
        pytest.param(556, "full", 1000, 250_000, id="full"),
    ],
)
def test_the_longest_schedule_that_fits_is_proposed(usual, max_hours, name, epochs, steps):
    found = propose(usual, max_hours)
    assert found.command == (
        f"autoseg train 3d_fullres 0 --preset {name} --epochs {epochs} --max-hours {max_hours}"
    )
    assert (found.steps, found.channels, found.is_enough) == (steps, 32, True)


def test_the_name_of_the_plan_is_part_of_the_command(usual):
    found = propose(usual, 2.0, plan="eleven")
    assert found.command.startswith("autoseg train 3d_fullres 0 --plan eleven --preset fast ")


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        # fast has half the channels, in multiples of 4; then 3/4, 1/2 and 1/4 of these, 8 at least
        pytest.param((64, 128), ((24, 48), (16, 32), (8, 16)), id="wide"),
        pytest.param((32, 64), ((12, 24), (8, 16)), id="usual"),
        pytest.param((30, 60), ((12, 24), (8, 16)), id="no-multiple-of-4"),
        pytest.param((24, 48), ((8, 16),), id="narrow"),
        pytest.param((16, 32), (), id="fast-has-8"),
        pytest.param((8, 16), (), id="fast-has-4"),
    ],
)
def test_narrower_widths_start_from_the_plans(configuration_of, features, expected):
    configuration = configuration_of((2.0, 1.0, 1.0), (8, 12, 8), features=features)
    found = narrower(preset("fast"), configuration)
    assert tuple(config.topology(configuration).features for config in found) == expected
    assert {replace(config, width_fraction=0.5) for config in found} <= {preset("fast")}


@pytest.mark.parametrize("max_hours", [0.125, 0.25, 0.4, 2.0, 139.0, 556.0])
def test_every_command_trains_what_it_promises(usual, max_hours):
    found = propose(usual, max_hours)
    seen = []

    @click.command()
    @training_options
    def train(config: TrainingConfig) -> None:
        seen.append(config)

    words = found.command.split()
    assert words[:4] == ["autoseg", "train", "3d_fullres", "0"]
    CliRunner().invoke(train, words[4:], catch_exceptions=False)
    config = seen[0]
    assert config.preset == found.preset
    assert config.topology(usual).features[0] == found.channels
    assert config.max_minutes >= 60 * (max_hours if found.is_enough else found.needed_hours)


@pytest.fixture
def plan(plan_of, configuration_of):
    """Volumes, slices and a cascade, with networks that make a step in milliseconds."""
    volumes = configuration_of((2.0, 1.0, 1.0), (8, 12, 8), features=(16, 32))
    return plan_of(
        configuration_of((1.0, 1.0), (16, 24), features=(16, 32)),
        replace(volumes, name="3d_lowres"),
        replace(volumes, name="3d_cascade_fullres", previous_stage="3d_lowres"),
    )


def calm(cache):
    """Call all measurements undisturbed, whatever else this machine did meanwhile."""
    times = documents.read(cache, StepTimes).times
    documents.write(
        cache, StepTimes(times=tuple(replace(time, is_disturbed=False) for time in times))
    )


class Notes(Silence):
    """A listener that keeps what a person should read."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_a_plan_is_measured_once_without_second_stages(plan, tmp_path):
    workspace, notes = Workspace(path=tmp_path), Notes()
    found = cpu_schedule(plan, DATASET, workspace, max_hours=1000.0, folds=3, progress=notes)
    assert [c.configuration for c in found.configurations] == ["2d", "3d_lowres"]
    assert found.left_out == ("3d_cascade_fullres",)
    assert (found.folds, found.max_hours) == (3, 1000.0)
    for configuration in found.configurations:
        full, standard, fast = configuration.recipes
        assert full.step_s == standard.step_s
        assert min(full.step_s, fast.step_s) > 0
        assert configuration.proposal is not None
    # full and standard share their step
    assert [note.partition(": ")[2] for note in notes.notes] == [
        "2d, 16 channels, batch 2, augmentation full",
        "2d, 8 channels, batch 2, augmentation light",
        "3d_lowres, 16 channels, batch 2, augmentation full",
        "3d_lowres, 8 channels, batch 2, augmentation light",
    ]
    calm(tmp_path / "step_times.json")
    again = cpu_schedule(plan, DATASET, workspace, max_hours=1000.0, folds=3, progress=notes)
    assert again == replace(found, is_disturbed=False)
    assert len(notes.notes) == 4
    assert documents.to_json(found)["left_out"] == ["3d_cascade_fullres"]


def test_without_a_time_nothing_is_proposed(plan, tmp_path):
    found = cpu_schedule(plan, DATASET, Workspace(path=tmp_path), progress=Silence())
    assert found.max_hours is None
    assert all(configuration.proposal is None for configuration in found.configurations)


@pytest.mark.parametrize("hours", [0.0, -1.5, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused_before_anything_is_measured(plan, tmp_path, hours):
    with pytest.raises(UsageError, match=rf"--max-hours is {hours:g}; it must be more than 0 and"):
        cpu_schedule(plan, DATASET, Workspace(path=tmp_path), max_hours=hours, progress=Silence())
    assert list(tmp_path.iterdir()) == []
