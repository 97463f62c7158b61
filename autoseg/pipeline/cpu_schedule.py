"""What this machine's CPU can train of a plan, and what to train in the time that there is."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import ceil, floor, log10
from typing import Final

from autoseg.core.dataset import DatasetDescription
from autoseg.core.model import ModelDescription
from autoseg.core.plan import Configuration, Plan
from autoseg.core.training_config import PRESETS, TrainingConfig, minutes_of, preset
from autoseg.core.version import __version__
from autoseg.execution.progress import Progress
from autoseg.io.workspace import Workspace

LEAST_STEPS: Final = 700
"""Steps from which on ``fast`` makes a useful model: on fold 0 of Task04_Hippocampus it reached a
mean Dice of 0.864 after 727 steps and of 0.867 after 1423 (``benchmarks/fast_preset.py``)."""
NARROWER: Final = (0.75, 0.5, 0.25)
"""Widths to try where ``fast`` is too slow, as shares of its own."""
LEAST_CHANNELS: Final = 8
"""Channels of the first stage of the narrowest network that is proposed."""
WHOLE_SCHEDULES: Final = ("full", "standard")
"""Presets that are better than ``fast`` where there is time for all of their epochs, the longest
first."""
STEP_TIMES_FILE: Final = "step_times.json"
"""File in the workspace that keeps measured step times."""

Seconds = Callable[[TrainingConfig], float]
"""Tells the seconds of one step of a training, with all that belongs to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A preset with its own schedule, on this CPU."""

    preset: str
    """Name of the preset."""
    step_s: float
    """Time of one step, seconds."""
    steps: int
    """Steps of the whole schedule."""
    channels: int
    """Channels of the first stage."""

    @property
    def fold_hours(self) -> float:
        """Time of the whole schedule, hours per fold."""
        return self.steps * self.step_s / 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What to train of a configuration in the time that one fold may take."""

    command: str
    """What to type for the first fold; where the time is not enough, with a time that is."""
    preset: str
    """Preset to train with."""
    channels: int
    """Channels of the first stage."""
    steps: int
    """Steps that it makes in the time, rounded down."""
    is_enough: bool
    """Whether a useful model can be expected of so many steps."""
    needed_hours: float
    """Time that enough steps take, hours per fold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationSchedule:
    """What the CPU can train of one configuration."""

    configuration: str
    """Name of the configuration."""
    recipes: tuple[Recipe, ...]
    """What each preset takes."""
    proposal: Proposal | None
    """What to train; None where no time was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuSchedule:
    """What the CPU can train of a plan."""

    machine: str
    """The CPU, its threads, torch, and the precision."""
    is_disturbed: bool
    """Whether other processes slowed the measurements down."""
    folds: int
    """Folds of the dataset."""
    max_hours: float | None
    """Time that one fold may take, hours."""
    configurations: tuple[ConfigurationSchedule, ...]
    """One for each configuration that is no second stage of a cascade."""
    left_out: tuple[str, ...]
    """Second stages: each can only follow all folds of its first."""


def cpu_schedule(
    plan: Plan,
    dataset: DatasetDescription,
    workspace: Workspace,
    *,
    max_hours: float | None = None,
    folds: int = 5,
    progress: Progress,
) -> CpuSchedule:
    """Measure what this machine's CPU can train of a plan, and propose what fits into a time.

    Parameters
    ----------
    plan : Plan
        The plan.
    dataset : DatasetDescription
        What it was made for.
    workspace : Workspace
        Keeps the times of steps, so that none is measured twice.
    max_hours : float, optional
        Time that the training of one fold may take, hours.
    folds : int
        Folds of the dataset.
    progress : Progress
        Told before a step is measured, which takes some seconds.

    Returns
    -------
    CpuSchedule
        `schedule_lines` puts it into words.

    Raises
    ------
    UsageError
        If the hours are not positive and finite.
    """
    from autoseg.training.step_time import StepTime, StepTimer

    if max_hours is not None:
        minutes_of(max_hours)  # refuses what is no time
    timer = StepTimer(workspace.path / STEP_TIMES_FILE, progress)
    seen: list[StepTime] = []

    def seconds(name: str, config: TrainingConfig) -> float:
        description = ModelDescription(
            autoseg_version=__version__,
            dataset=dataset,
            plan=plan,
            configuration_name=name,
            training=config,
            decisions=(),
        )
        seen.append(timer.time(description))
        return seen[-1].seconds

    configurations = tuple(
        schedule_configuration(
            configuration, partial(seconds, configuration.name), max_hours=max_hours, plan=plan.name
        )
        for configuration in plan.configurations
        if configuration.previous_stage is None
    )
    return CpuSchedule(
        machine=seen[0].machine,
        is_disturbed=any(time.is_disturbed for time in seen),
        folds=folds,
        max_hours=max_hours,
        configurations=configurations,
        left_out=tuple(c.name for c in plan.configurations if c.previous_stage is not None),
    )


def schedule_configuration(
    configuration: Configuration,
    seconds: Seconds,
    *,
    max_hours: float | None = None,
    plan: str = "default",
) -> ConfigurationSchedule:
    """Say what the presets take of a configuration, and propose what fits into a time.

    Parameters
    ----------
    configuration : Configuration
        What would be trained.
    seconds : callable
        Tells the time of a step of any training.
    max_hours : float, optional
        Time that one fold may take, hours, more than 0.
    plan : str
        Name of the plan.

    Notes
    -----
    The longest of `WHOLE_SCHEDULES` that the time holds is proposed; else ``fast`` until the time
    is up, at its own width or at the widest of some narrower ones that makes `LEAST_STEPS`.
    """
    recipes = tuple(_recipe(config, configuration, seconds) for config in PRESETS.values())
    proposal = None
    if max_hours is not None:
        whole = {r.preset: r for r in recipes if r.fold_hours <= max_hours}
        longest = next((whole[name] for name in WHOLE_SCHEDULES if name in whole), None)
        proposal = (
            _propose_fast(configuration, seconds, max_hours, plan)
            if longest is None
            else _propose_whole(configuration, longest, max_hours, plan)
        )
    return ConfigurationSchedule(
        configuration=configuration.name, recipes=recipes, proposal=proposal
    )


def _recipe(config: TrainingConfig, configuration: Configuration, seconds: Seconds) -> Recipe:
    return Recipe(
        preset=config.preset,
        step_s=seconds(config),
        steps=(config.epochs or 0) * config.steps_per_epoch,
        channels=config.topology(configuration).features[0],
    )


def _propose_whole(
    configuration: Configuration, recipe: Recipe, max_hours: float, plan: str
) -> Proposal:
    """Propose a preset whose whole schedule fits; the time ends it should it be slower."""
    length = f"--epochs {PRESETS[recipe.preset].epochs}"
    return Proposal(
        command=_command(configuration, plan, recipe.preset, length, max_hours),
        preset=recipe.preset,
        channels=recipe.channels,
        steps=recipe.steps,
        is_enough=True,
        needed_hours=recipe.fold_hours,
    )


def _propose_fast(
    configuration: Configuration, seconds: Seconds, max_hours: float, plan: str
) -> Proposal:
    """Propose ``fast`` at the widest width that makes enough steps, else at the narrowest."""
    own = preset("fast")
    for config in (own, *narrower(own, configuration)):
        step_s = seconds(config)
        steps = floor(max_hours * 3600 / step_s)
        if steps >= LEAST_STEPS:
            break
    is_enough, needed_hours = steps >= LEAST_STEPS, LEAST_STEPS * step_s / 3600
    width = f"--width-fraction {config.width_fraction:g}" if config != own else ""
    hours = max_hours if is_enough else _rounded_up(needed_hours)
    return Proposal(
        command=_command(configuration, plan, "fast", width, hours),
        preset="fast",
        channels=config.topology(configuration).features[0],
        steps=steps,
        is_enough=is_enough,
        needed_hours=needed_hours,
    )


def narrower(config: TrainingConfig, configuration: Configuration) -> tuple[TrainingConfig, ...]:
    """Return the same training at ever narrower widths, in multiples of 4 channels.

    Parameters
    ----------
    config : TrainingConfig
        The training at its own width.
    configuration : Configuration
        What it trains.

    Returns
    -------
    tuple of TrainingConfig
        At most one for each of `NARROWER`; none has fewer than `LEAST_CHANNELS`.
    """
    channels = config.topology(configuration).features[0]
    widths = [max(LEAST_CHANNELS, 4 * round(channels * share / 4)) for share in NARROWER]
    return tuple(
        replace(config, width_fraction=round(width / configuration.topology.features[0], 3))
        for width in dict.fromkeys(widths)
        if width < channels
    )


def _command(
    configuration: Configuration, plan: str, preset_name: str, option: str, hours: float
) -> str:
    parts = (
        f"autoseg train {configuration.name} 0",
        "" if plan == "default" else f"--plan {plan}",
        f"--preset {preset_name}",
        option,
        f"--max-hours {hours:g}",
    )
    return " ".join(part for part in parts if part)


def _rounded_up(hours: float) -> float:
    """Return hours rounded up to two digits."""
    unit = 10.0 ** (floor(log10(hours)) - 1)
    return float(f"{ceil(hours / unit - 1e-9) * unit:.2g}")
