"""What lies in a model folder: one description for the run, one record per trained fold."""

from dataclasses import dataclass
from typing import ClassVar, Final

from autoseg.core.dataset import DatasetDescription
from autoseg.core.folds import Fold
from autoseg.core.geometry import STRICT
from autoseg.core.initial import Initial, InitialFold
from autoseg.core.plan import Configuration, ConfigurationName, Decision, Plan, Topology
from autoseg.core.training_config import TrainingConfig

MODEL_FILE: Final = "model.json"
"""File of the `ModelDescription`, in the model folder."""
RECORD_FILE: Final = "fold.json"
"""File of a `FoldRecord`, in the fold's folder."""
WEIGHTS_FILE: Final = "weights.safetensors"
"""File of a fold's weights, in the fold's folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviousStage:
    """The model of a cascade's first stage, which lies among the models of the same plan."""

    __pydantic_config__: ClassVar = STRICT

    configuration: ConfigurationName
    """Its configuration."""
    run: str
    """Name of its run."""
    weights_digests: tuple[str, ...]
    """SHA-256 of the weights of each of its folds, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """Everything that prediction needs besides weights, and how the model was made."""

    __pydantic_config__: ClassVar = STRICT

    schema_version: int = 1
    """Version of this document."""
    autoseg_version: str
    """Version that trained the model."""
    dataset: DatasetDescription
    """Channels, labels and file ending."""
    plan: Plan
    """What was decided for the dataset."""
    configuration_name: str
    """Which of the plan's configurations was trained."""
    training: TrainingConfig
    """How it was trained."""
    decisions: tuple[Decision, ...]
    """What the training changed of the plan's values, and why."""
    previous: PreviousStage | None = None
    """Which model's predictions are a further input, in a cascade."""
    initial: Initial | None = None
    """Which model's weights it started from, if any."""

    @property
    def previous_labels(self) -> int:
        """Foreground labels that the previous stage predicts; 0 where there is none."""
        return len(self.dataset.labels.foreground) if self.configuration.previous_stage else 0

    @property
    def channels_in(self) -> int:
        """Channels of the network's input: the image's, and one per label of a previous stage."""
        return len(self.dataset.channels) + self.previous_labels

    @property
    def configuration(self) -> Configuration:
        """The configuration that was trained."""
        return self.plan.configuration(self.configuration_name)

    @property
    def mirror_axes(self) -> tuple[int, ...]:
        """Axes of the patch that training and prediction mirror along."""
        allowed = self.plan.patch_mirror_axes(self.configuration)
        if self.training.mirrored == "none":
            return ()
        if self.training.mirrored == "plan" or not self.plan.names_sides:
            return allowed
        left_right = self.plan.patch_left_right(self.configuration)
        return tuple(axis for axis in allowed if axis == left_right)

    @property
    def topology(self) -> Topology:
        """The geometry of the network, with the training's width."""
        return self.training.topology(self.configuration)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldRecord:
    """A fold whose training is finished."""

    __pydantic_config__: ClassVar = STRICT

    schema_version: int = 1
    """Version of this document."""
    fold: Fold
    """Cases that trained and that validate."""
    weights_digest: str
    """SHA-256 of ``weights.safetensors``."""
    steps: int
    """Optimizer updates that were made."""
    minutes: float
    """Time spent in training."""
    device: str
    """Where it was trained, and in which precision."""
    label: str = ""
    """How it was trained, in a line."""
    weights: str = ""
    """Which weights these are: the last ones or their average, and why."""
    ended_early: bool = False
    """Whether it ended before its time, by a STOP file or by patience."""
    initial: InitialFold | None = None
    """Which weights it started from, if a model's."""
