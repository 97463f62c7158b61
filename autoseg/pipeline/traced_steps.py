"""The memory of training steps, remembered: no step is traced twice, and torch seldom loaded."""

from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from autoseg.core.dataset import DatasetDescription
from autoseg.core.errors import AutosegError
from autoseg.core.geometry import STRICT
from autoseg.core.labels import Labels
from autoseg.core.plan import Configuration
from autoseg.core.version import __version__
from autoseg.execution.executor import run_tasks
from autoseg.execution.workers import WorkerPool, open_workers
from autoseg.io import documents
from autoseg.io.store import content_key

if TYPE_CHECKING:
    from autoseg.training.step_tracer import StepTracer

TRACE_VERSION: Final = 2
"""Raised when a training step of this version takes other memory than before."""
TRACING_MODULES: Final = ("autoseg.training.step_tracer", "torch._dynamo")
"""What a worker loads to trace; the second one torch loads with its first optimizer."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceTask:
    """One step to trace."""

    configuration: Configuration
    """What is trained."""
    channels: int
    """Channels of the images."""
    labels: Labels
    """What the network tells apart."""


def open_tracing_worker(file: Path, *, is_wanted: bool) -> WorkerPool:
    """Start a worker that loads torch while cases are measured; use it in a ``with`` statement.

    Parameters
    ----------
    file : Path
        Where traced steps are remembered.
    is_wanted : bool
        Whether steps may be traced at all, and in another process.

    Returns
    -------
    WorkerPool
        Of no worker, so that what is left is traced in this process, where it is not wanted or
        steps were traced before.
    """
    wanted = is_wanted and not file.exists()
    return open_workers(int(wanted), preload=TRACING_MODULES if wanted else ())


class RememberedTracer:
    """Predicts the peak bytes of a step on a GPU, from a file where it was predicted before.

    Parameters
    ----------
    description : DatasetDescription
        Channels and labels.
    file : Path
        Document of `TracedSteps`; a missing or damaged one counts as empty.
    worker : int or WorkerPool
        Where steps are traced that were not before; 0 for this process.
    """

    def __init__(
        self, description: DatasetDescription, file: Path, *, worker: int | WorkerPool = 0
    ) -> None:
        self._description, self._file, self._worker = description, file, worker
        try:
            steps = documents.read(file, TracedSteps).steps
        except AutosegError:
            steps = ()
        self._known = {step.key: step.step_bytes for step in steps}
        self._remembered = len(self._known)

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
        task = TraceTask(
            configuration=configuration,
            channels=len(self._description.channels),
            labels=self._description.labels,
        )
        (outcome,) = run_tasks(_trace, [task], workers=self._worker, name=_name)
        if outcome.error is not None:
            raise outcome.error
        assert outcome.value is not None  # it is a number of bytes
        return outcome.value

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


def _name(task: TraceTask) -> str:
    return f"training step of {task.configuration.name}"


def _trace(task: TraceTask) -> int:
    return _tracer(task.channels, task.labels)(task.configuration)


@lru_cache(maxsize=1)
def _tracer(channels: int, labels: Labels) -> "StepTracer":
    """Return the tracer of a dataset, which remembers what its networks have in common."""
    from autoseg.training.step_tracer import StepTracer

    return StepTracer(channels=channels, labels=labels)
