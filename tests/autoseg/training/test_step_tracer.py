"""That tracing many configurations gives what tracing each alone does, with fewer traces."""

from dataclasses import replace

import pytest

from autoseg.core.labels import Labels
from autoseg.training import step_tracer
from autoseg.training.memory import step_bytes, trace_step
from autoseg.training.step_tracer import StepTracer

LABELS = Labels(names=("background", "organ", "tumor"))


@pytest.fixture
def counted(monkeypatch):
    """Count the traces, which are made all the same."""
    batches = []

    def trace(configuration, batch_size, **options):
        batches.append(batch_size)
        return trace_step(configuration, batch_size, **options)

    monkeypatch.setattr(step_tracer, "trace_step", trace)
    return batches


@pytest.mark.parametrize("batch_size", [2, 3, 7])
def test_a_step_takes_what_it_takes_when_traced_alone(configuration_of, batch_size):
    configuration = configuration_of((3.0, 1.0, 1.0), (8, 48, 32), batch_size=batch_size)

    predicted = StepTracer(channels=2, labels=LABELS)(configuration)

    # Storages are rounded to blocks of 512 bytes, which is not quite linear in the batch.
    alone = step_bytes(configuration, channels=2, labels=LABELS)
    assert predicted == pytest.approx(alone, rel=2e-3)


def test_no_network_is_traced_twice(configuration_of, counted):
    configuration = configuration_of((3.0, 1.0, 1.0), (8, 48, 32))
    tracer = StepTracer(channels=1, labels=LABELS)

    tracer(configuration)
    assert counted == [2]
    tracer(replace(configuration, batch_size=9))
    tracer(replace(configuration, batch_size=5, name="3d_lowres", median_shape=(9.0, 50.0, 40.0)))
    assert counted == [2, 3]
    tracer(replace(configuration, name="3d_cascade_fullres", previous_stage="3d_lowres"))
    tracer(configuration_of((3.0, 1.0, 1.0), (8, 48, 32), features=(4, 12)))
    assert counted == [2, 3, 2, 2]
