"""Options that choose how to train, and the config value that they become."""

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

import click

from autoseg.core.training_config import PRESETS, TrainingConfig, preset

TRAINING_OPTIONS = ("preset_name", "epochs", "steps_per_epoch", "max_minutes", "seed")
"""Names of the options below, as click knows them."""


def training_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of training; the function gets them as one ``config``."""

    @click.option(
        "--preset",
        "preset_name",
        type=click.Choice(list(PRESETS)),
        default="full",
        show_default=True,
        help="full: nnU-Net's recipe. standard: a quarter of it. fast: for a CPU.",
    )
    @click.option("--epochs", type=int, default=None, help="Epochs per fold.")
    @click.option("--steps-per-epoch", type=int, default=None, help="Updates per epoch.")
    @click.option(
        "--max-minutes",
        type=float,
        default=None,
        help="Train each fold for this long, validation excluded; the schedule fits itself.",
    )
    @click.option("--seed", type=int, default=0, show_default=True, help="Start of randomness.")
    @wraps(function)
    def with_config(
        *,
        preset_name: str,
        epochs: int | None,
        steps_per_epoch: int | None,
        max_minutes: float | None,
        seed: int,
        **others: Any,
    ) -> Any:
        config = training_config(
            preset_name,
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            max_minutes=max_minutes,
            seed=seed,
        )
        return function(config=config, **others)

    return with_config


def training_config(
    preset_name: str,
    *,
    epochs: int | None,
    steps_per_epoch: int | None,
    max_minutes: float | None,
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
        seed=seed,
    )
