"""Options that choose how to train, and the config value that they become."""

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, Final, get_args

import click

from autoseg.core.errors import UsageError
from autoseg.core.training_config import (
    OPTIMIZERS,
    PRESETS,
    Augmentation,
    MirrorAxes,
    Optimizer,
    Schedule,
    TrainingConfig,
    minutes_of,
    preset,
)

_FIELDS: Final[dict[str, tuple[Any, str]]] = {
    "epochs": (int, "Epochs per fold."),
    "steps_per_epoch": (int, "Updates per epoch."),
    "patience": (int, "End early after so many epochs without a better Dice."),
    "optimizer": (click.Choice(get_args(Optimizer)), "Which optimizer; brings a rate of its own."),
    "learning_rate": (float, "Largest learning rate."),
    "schedule": (click.Choice(get_args(Schedule)), "Course of the learning rate."),
    "warmup_fraction": (float, "Share of the training in which the rate rises, 0 to below 1."),
    "average_decay": (float, "Decay per step of the average of the weights; 0 keeps none."),
    "augmentation": (click.Choice(get_args(Augmentation)), "Random changes of patches."),
    "mirrored": (click.Choice(get_args(MirrorAxes)), "Axes that patches are mirrored along."),
    "batch_voxels": (int, "Voxels of patches per step that the batch is cut down to."),
    "width_fraction": (float, "Channels of every stage, as a share of the plan's."),
}
"""Fields of `TrainingConfig` that an option of the same name sets, with type and help."""

TRAINING_OPTIONS = (
    "preset_name",
    "max_minutes",
    "max_hours",
    *_FIELDS,
    "transforms",
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
    click.option(
        "--max-minutes",
        type=float,
        default=None,
        help="Train each fold for this long, validation excluded; the schedule fits itself.",
    ),
    click.option(
        "--max-hours", type=float, default=None, help="The same in hours; one of both is enough."
    ),
    *(
        click.option(
            f"--{name.replace('_', '-')}",
            type=kind,
            default=None,
            help=f"{text}  [default: the preset's]",
        )
        for name, (kind, text) in _FIELDS.items()
    ),
    click.option(
        "--transform",
        "transforms",
        multiple=True,
        metavar="NAME",
        help="A batchgenerators transform of your own, by its entry point autoseg.transforms; "
        "several times for several.",
    ),
    click.option("--seed", type=int, default=0, show_default=True, help="Start of randomness."),
)


def training_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of training; the function gets them as one ``config``."""

    @wraps(function)
    def with_config(**given: Any) -> Any:
        chosen = {name: given.pop(name) for name in TRAINING_OPTIONS}
        minutes = _minutes(chosen.pop("max_minutes"), chosen.pop("max_hours"))
        config = training_config(chosen.pop("preset_name"), max_minutes=minutes, **chosen)
        return function(config=config, **given)

    decorated: Callable[..., Any] = with_config
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def training_config(
    preset_name: str, *, max_minutes: float | None = None, **chosen: Any
) -> TrainingConfig:
    """Return a preset with the user's changes.

    Parameters
    ----------
    preset_name : str
        The preset.
    max_minutes : float, optional
        Time budget; alone, it lifts the limit on epochs.
    **chosen
        Values of further fields; None keeps the preset's. An optimizer brings its own learning rate
        and weight decay, unless a rate is chosen too.
    """
    config = preset(preset_name)
    changes = {name: value for name, value in chosen.items() if value is not None}
    if max_minutes is not None and "epochs" not in changes:
        changes["epochs"] = None
    optimizer = changes.get("optimizer", config.optimizer)
    if optimizer != config.optimizer:
        rate, decay = OPTIMIZERS[optimizer]
        changes = {"learning_rate": rate, "weight_decay": decay} | changes
    return replace(config, max_minutes=max_minutes, **changes)


def _minutes(max_minutes: float | None, max_hours: float | None) -> float | None:
    """Return the time that one of two options gives, minutes."""
    if max_minutes is not None and max_hours is not None:
        raise UsageError(
            f"--max-minutes {max_minutes:g} and --max-hours {max_hours:g} both limit the time",
            hint="leave one of them out",
        )
    return max_minutes if max_hours is None else minutes_of(max_hours)
