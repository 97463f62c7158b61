"""Predicts the steps of many configurations, tracing no network twice."""

from autoseg.core.labels import Labels
from autoseg.core.plan import Configuration
from autoseg.core.training_config import PRESETS
from autoseg.training.memory import TRACED, StepMemory, trace_step


class StepTracer:
    """Predicts the peak bytes of a step of any configuration of a dataset, on a CUDA device.

    Parameters
    ----------
    channels : int
        Channels of the images.
    labels : Labels
        What the network tells apart.

    Notes
    -----
    A batch of 2 takes one trace, every other two. What was traced is kept, and configurations of
    the same network and patch share it.
    """

    def __init__(self, *, channels: int, labels: Labels) -> None:
        self._channels, self._labels = channels, labels
        self._traced: dict[tuple[object, ...], list[int]] = {}

    def __call__(self, configuration: Configuration) -> int:
        """Return the peak of one step, any but the first; see `autoseg.training.memory`."""
        batch_size, first = configuration.batch_size, TRACED[0]
        if batch_size == first:
            return max(self._trace(configuration, first))
        moments = zip(*(self._trace(configuration, size) for size in TRACED), strict=True)
        return StepMemory(moments=tuple(set(moments))).peak_bytes(batch_size)

    def _trace(self, configuration: Configuration, batch_size: int) -> list[int]:
        key = (
            configuration.arch,
            configuration.style,
            configuration.topology,
            configuration.patch_size,
            configuration.batch_dice,
            configuration.previous_stage is not None,
            batch_size,
        )
        if key not in self._traced:
            self._traced[key] = trace_step(
                configuration,
                batch_size,
                channels=self._channels,
                labels=self._labels,
                training=PRESETS["full"],
                half_precision=True,
                device="cuda",
            )
        return self._traced[key]
