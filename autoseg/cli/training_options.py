"""Options that choose how to train, and the config value that they become."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import click

from autoseg.core.training_config import PRESETS, TrainingConfig, preset

Function = TypeVar("Function", bound=Callable[..., Any])


def training_options(function: Function) -> Function:
    """Add ``--preset``, ``--epochs``, ``--steps-per-epoch``, ``--max-minutes`` and ``--seed``."""
    for option in (
        click.option("--seed", type=int, default=0, show_default=True, help="Start of randomness."),
        click.option(
            "--max-minutes",
            type=float,
            default=None,
            help="Train each fold for this long, validation excluded; the schedule fits itself.",
        ),
        click.option("--steps-per-epoch", type=int, default=None, help="Updates per epoch."),
        click.option("--epochs", type=int, default=None, help="Epochs per fold."),
        click.option(
            "--preset",
            "preset_name",
            type=click.Choice(list(PRESETS)),
            default="full",
            show_default=True,
            help="full: nnU-Net's recipe. standard: a quarter of it. fast: for a CPU.",
        ),
    ):
        function = option(function)
    return function


def training_config(
    preset_name: str,
    *,
    epochs: int | None,
    steps_per_epoch: int | None,
    max_minutes: float | None,
    seed: int,
) -> TrainingConfig:
    """Return a preset with the user's changes; a time budget alone lifts the limit on epochs."""
    config = replace(preset(preset_name), seed=seed, max_minutes=max_minutes)
    if epochs is not None or max_minutes is not None:
        config = replace(config, epochs=epochs)
    if steps_per_epoch is not None:
        config = replace(config, steps_per_epoch=steps_per_epoch)
    return config
