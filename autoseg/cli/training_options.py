"""Options that choose how to train, and the config value that they become."""

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

import click

from autoseg.core.errors import UsageError
from autoseg.core.training_config import PRESETS, TrainingConfig, minutes_of, preset

TRAINING_OPTIONS = (
    "preset_name",
    "epochs",
    "steps_per_epoch",
    "max_minutes",
    "max_hours",
    "width_fraction",
    "seed",
)
"""Names of the options below, as click knows them."""
_OPTIONS = (
    click.option(
        "--preset",
        "preset_name",
        type=click.Choice(list(PRESETS)),
        default="full",
        show_default=True,
        help="full: nnU-Net's recipe. standard: a quarter of it. fast: for a CPU.",
    ),
    click.option("--epochs", type=int, default=None, help="Epochs per fold."),
    click.option("--steps-per-epoch", type=int, default=None, help="Updates per epoch."),
    click.option(
        "--max-minutes",
        type=float,
        default=None,
        help="Train each fold for this long, validation excluded; the schedule fits itself.",
    ),
    click.option(
        "--max-hours", type=float, default=None, help="The same in hours; one of both is enough."
    ),
    click.option(
        "--width-fraction",
        type=float,
        default=None,
        help="Channels of every stage, as a share of the plan's.  [default: the preset's]",
    ),
    click.option("--seed", type=int, default=0, show_default=True, help="Start of randomness."),
)


def training_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of training; the function gets them as one ``config``."""

    @wraps(function)
    def with_config(
        *,
        preset_name: str,
        epochs: int | None,
        steps_per_epoch: int | None,
        max_minutes: float | None,
        max_hours: float | None,
        width_fraction: float | None,
        seed: int,
        **others: Any,
    ) -> Any:
        config = training_config(
            preset_name,
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            max_minutes=_minutes(max_minutes, max_hours),
            width_fraction=width_fraction,
            seed=seed,
        )
        return function(config=config, **others)

    decorated: Callable[..., Any] = with_config
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def training_config(
    preset_name: str,
    *,
    epochs: int | None,
    steps_per_epoch: int | None,
    max_minutes: float | None,
    width_fraction: float | None,
    seed: int,
) -> TrainingConfig:
    """Return a preset with the user's changes; a time budget alone lifts the limit on epochs."""
    config = preset(preset_name)
    if epochs is None and max_minutes is None:
        epochs = config.epochs
    return replace(
        config,
        epochs=epochs,
        max_minutes=max_minutes,
        steps_per_epoch=config.steps_per_epoch if steps_per_epoch is None else steps_per_epoch,
        width_fraction=config.width_fraction if width_fraction is None else width_fraction,
        seed=seed,
    )


def _minutes(max_minutes: float | None, max_hours: float | None) -> float | None:
    """Return the time that one of two options gives, minutes."""
    if max_minutes is not None and max_hours is not None:
        raise UsageError(
            f"--max-minutes {max_minutes:g} and --max-hours {max_hours:g} both limit the time",
            hint="leave one of them out",
        )
    return max_minutes if max_hours is None else minutes_of(max_hours)
