"""The memory of training steps, remembered: no step is traced twice, and torch seldom loaded."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from autoseg.core.dataset import DatasetDescription
from autoseg.core.errors import AutosegError
from autoseg.core.geometry import STRICT
from autoseg.core.plan import Configuration
from autoseg.core.version import __version__
from autoseg.io import documents
from autoseg.io.store import content_key

if TYPE_CHECKING:
    from autoseg.training.step_tracer import StepTracer

TRACE_VERSION: Final = 1
"""Raised when a training step of this version takes other memory than before."""
MOST_REMEMBERED: Final = 2000
"""Steps that are remembered; the oldest are forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedStep:
    """One prediction."""

    __pydantic_config__: ClassVar = STRICT

    key: str
    """Digest of what it depends on: network, patch, batch, channels, labels, and versions."""
    step_bytes: int
    """Peak of the step, bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedSteps:
    """What was predicted before."""

    __pydantic_config__: ClassVar = STRICT

    schema_version: int = 1
    """Version of this document."""
    steps: tuple[TracedStep, ...] = ()
    """Predictions, the oldest first."""


class RememberedTracer:
    """Predicts the peak bytes of a step on a GPU, from a file where it was predicted before.

    Parameters
    ----------
    description : DatasetDescription
        Channels and labels.
    file : Path
        Document of `TracedSteps`; a missing or damaged one counts as empty.
    """

    def __init__(self, description: DatasetDescription, file: Path) -> None:
        self._description, self._file = description, file
        try:
            steps = documents.read(file, TracedSteps).steps
        except AutosegError:
            steps = ()
        self._known = {step.key: step.step_bytes for step in steps}
        self._remembered = len(self._known)
        self._tracer: StepTracer | None = None

    def __call__(self, configuration: Configuration) -> int:
        """Return the peak of one step of a configuration."""
        key = self._key(configuration)
        if key not in self._known:
            self._known[key] = self._trace(configuration)
        return self._known[key]

    def keep(self) -> None:
        """Write what was predicted anew."""
        if len(self._known) > self._remembered:
            latest = list(self._known.items())[-MOST_REMEMBERED:]
            steps = tuple(TracedStep(key=key, step_bytes=size) for key, size in latest)
            documents.write(self._file, TracedSteps(steps=steps), durable=False)

    def _trace(self, configuration: Configuration) -> int:
        if self._tracer is None:
            from autoseg.training.step_tracer import StepTracer

            description = self._description
            self._tracer = StepTracer(channels=len(description.channels), labels=description.labels)
        return self._tracer(configuration)

    def _key(self, configuration: Configuration) -> str:
        return content_key(
            TRACE_VERSION,
            __version__,
            version("torch"),
            len(self._description.channels),
            documents.encode(self._description.labels).decode(),
            documents.encode(configuration.arch).decode(),
            documents.encode(configuration.style).decode(),
            documents.encode(configuration.topology).decode(),
            configuration.patch_size,
            configuration.batch_size,
            configuration.batch_dice,
            configuration.previous_stage is not None,
        )
