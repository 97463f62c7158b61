"""What the user chooses about training, and the presets it starts from."""

from dataclasses import dataclass, fields, replace
from math import isfinite, prod
from typing import ClassVar, Final, Literal

from autoseg.core.errors import UsageError
from autoseg.core.geometry import STRICT
from autoseg.core.plan import Configuration, Decision, Topology

Optimizer = Literal["sgd", "adamw"]
Schedule = Literal["polynomial", "cosine", "one_cycle"]
Augmentation = Literal["full", "strong", "light", "none"]
MirrorAxes = Literal["plan", "left_right", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """How a fold is trained."""

    __pydantic_config__: ClassVar = STRICT

    preset: str
    """Name of the preset that the other values started from."""
    epochs: int | None = 1000
    """Number of epochs; None trains until ``max_minutes``."""
    steps_per_epoch: int = 250
    """Optimizer updates per epoch."""
    validation_steps: int = 50
    """Batches of validation patches per epoch, for the pseudo-Dice."""
    max_minutes: float | None = None
    """Time for training, validation excluded; the learning rate reaches its end with it."""
    patience: int | None = None
    """Epochs without a better Dice on validation patches after which the learning rate falls to its
    end at once; None trains to the end."""
    optimizer: Optimizer = "sgd"
    """``sgd`` is Nesterov's."""
    learning_rate: float = 0.01
    """Peak learning rate."""
    momentum: float = 0.99
    """Momentum of ``sgd``."""
    weight_decay: float = 3e-5
    """Weight decay: added to the gradient by ``sgd``, decoupled in ``adamw``."""
    schedule: Schedule = "polynomial"
    """Course of the learning rate over the training."""
    warmup_fraction: float = 0.0
    """Share of the training in which the rate rises to its peak."""
    average_decay: float = 0.0
    """Weight of the past in the moving average of the weights, per step; 0 keeps no average."""
    batch_voxels: int | None = None
    """Voxels of patches per step that the batch is cut down to; None takes the plan's batch."""
    width_fraction: float = 1.0
    """Channels of every stage, as a share of the plan's."""
    augmentation: Augmentation = "full"
    """Which random changes training patches get."""
    transforms: tuple[str, ...] = ()
    """Transforms of one's own, by the names of their entry points ``autoseg.transforms``."""
    foreground_fraction: float = 0.33
    """Share of a batch's patches that are centered on foreground."""
    gradient_norm: float = 12.0
    """Gradients are scaled down to this norm."""
    mirrored: MirrorAxes = "plan"
    """Axes that patches are mirrored along, in training and prediction: all that the plan allows,
    of these only left-right (all of them where no axis has that name, as in pictures), or none."""
    mirror_prediction: bool = True
    """Whether prediction averages over mirrored images."""
    seed: int = 0
    """Start of all randomness."""

    def __post_init__(self) -> None:
        if self.epochs is None and self.max_minutes is None:
            raise UsageError(
                "training needs --epochs or --max-minutes; both are unset", hint="give one of them"
            )
        if self.seed < 0:
            raise UsageError(f"seed is {self.seed}; it must be 0 or more", hint="e.g. --seed 1")
        for name in _POSITIVE:
            value = getattr(self, name)
            if value is not None and not (value > 0 and isfinite(value)):
                raise UsageError(
                    f"{name.replace('_', '-')} is {value}; it must be more than 0 and finite",
                    hint="leave it out, or give another number",
                )
        for name in ("average_decay", "warmup_fraction"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(
                    f"{name.replace('_', '-')} is {getattr(self, name)}; it must be from 0 to "
                    "below 1",
                    hint="leave it out, or give another number",
                )
        if self.width_fraction > 1:
            raise UsageError(
                f"width-fraction is {self.width_fraction}; it must be at most 1, the plan's width",
                hint="for a wider network plan one: autoseg plan --width CHANNELS",
            )

    @property
    def title(self) -> str:
        """What the training is, in a line: preset, length, optimizer, schedule and what differs."""
        length = f"{self.epochs} epochs of {self.steps_per_epoch} steps" if self.epochs else ""
        limit = f"{self.max_minutes:g} minutes" if self.max_minutes else ""
        averaged = f"average {self.average_decay:g}" if self.average_decay else ""
        parts = (
            f"preset {self.preset}",
            " or ".join(filter(None, (length, limit))),
            f"{self.optimizer} {self.learning_rate:g} {self.schedule}",
            averaged,
            f"{self.augmentation} augmentation",
            f"mirrored {self.mirrored.replace('_', '-')}" if self.mirrored != "plan" else "",
            *self.transforms,
            f"patience {self.patience}" if self.patience else "",
            f"width {self.width_fraction:g}" if self.width_fraction != 1 else "",
            f"seed {self.seed}" if self.seed else "",
        )
        return ", ".join(filter(None, parts))

    def batch_size(self, configuration: Configuration) -> int:
        """Return the patches per step for a configuration."""
        if self.batch_voxels is None:
            return configuration.batch_size
        affordable = self.batch_voxels // prod(configuration.patch_size)
        return max(1, min(configuration.batch_size, affordable))

    def topology(self, configuration: Configuration) -> Topology:
        """Return the configuration's topology with this training's width, in multiples of 4."""
        if self.width_fraction == 1.0:
            return configuration.topology
        narrowed = tuple(
            max(4, 4 * round(features * self.width_fraction / 4))
            for features in configuration.topology.features
        )
        return replace(configuration.topology, features=narrowed)


_POSITIVE: Final = (
    "epochs",
    "steps_per_epoch",
    "max_minutes",
    "patience",
    "learning_rate",
    "batch_voxels",
    "width_fraction",
)
"""Fields that must be positive and finite where they are set."""

RECIPE: Final = TrainingConfig(preset="full")
"""nnU-Net's recipe, with which others are compared."""
PRESETS: Final[dict[str, TrainingConfig]] = {
    "full": replace(RECIPE, average_decay=0.999),
    "standard": replace(RECIPE, preset="standard", epochs=250, average_decay=0.999),
    "fast": TrainingConfig(
        preset="fast",
        epochs=60,
        steps_per_epoch=100,
        validation_steps=5,
        optimizer="adamw",
        learning_rate=3e-3,
        weight_decay=1e-2,
        schedule="cosine",
        warmup_fraction=0.02,
        average_decay=0.99,
        batch_voxels=200_000,
        width_fraction=0.5,
        augmentation="light",
        mirrored="left_right",
    ),
}
"""``full`` is nnU-Net's recipe; ``standard`` a quarter of it; ``fast`` is made for a CPU. All keep
an average of the weights beside them."""

OPTIMIZERS: Final[dict[Optimizer, tuple[float, float]]] = {
    "sgd": (0.01, 3e-5),
    "adamw": (3e-3, 1e-2),
}
"""Learning rate and weight decay of each optimizer where only the optimizer is chosen: those of
``full`` and of ``fast``."""


def minutes_of(max_hours: float) -> float:
    """Return the minutes of ``--max-hours``.

    Raises
    ------
    UsageError
        If the hours are not positive and finite.
    """
    if not (max_hours > 0 and isfinite(max_hours)):
        raise UsageError(
            f"--max-hours is {max_hours:g}; it must be more than 0 and finite",
            hint="e.g. --max-hours 2",
        )
    return 60 * max_hours


def preset(name: str) -> TrainingConfig:
    """Return the preset of a name, or raise `UsageError` that lists the names."""
    if name not in PRESETS:
        raise UsageError(f"preset {name!r} is unknown; known are {', '.join(PRESETS)}")
    return PRESETS[name]


def training_decisions(
    config: TrainingConfig, configuration: Configuration
) -> tuple[Decision, ...]:
    """Say what a training changes of nnU-Net's recipe, and of the plan's values, and why."""
    return tuple(
        Decision(
            subject=f"{configuration.name}.training.{field.name}",
            value=str(getattr(config, field.name)),
            rule=_REASONS.get(field.name, "it was asked for"),
            numbers=(("nnU-Net's recipe", str(getattr(RECIPE, field.name))),),
        )
        for field in fields(config)
        if field.name not in ("preset", "seed")
        and getattr(config, field.name) != getattr(RECIPE, field.name)
    )


_REASONS: Final = {
    "steps_per_epoch": "short epochs save and report often when an epoch is slow",
    "validation_steps": "a glance at the validation patches must not cost more than the training",
    "optimizer": "steps are scarce, and Adam's adapt to each weight from the first on",
    "learning_rate": "it is on the optimizer's own scale",
    "weight_decay": "it is decoupled from the gradient and on a scale of its own",
    "schedule": "the rate falls to zero within the time there is",
    "warmup_fraction": "the optimizer's averages are unreliable in the first steps",
    "average_decay": "the average of the weights wavers less than they do; the better is kept",
    "batch_voxels": "on a CPU more steps help more than larger batches",
    "width_fraction": "a narrower network makes more steps in the same time",
    "augmentation": "interpolating every patch costs a CPU more than it gains in so few steps",
    "mirrored": "upside down or front to back no body lies; so few steps are better spent",
}
"""Why a preset changes a value; lengths that are not here are the user's."""
