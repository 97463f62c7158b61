"""That predictions of a step's memory are remembered, and only as long as they hold."""

from dataclasses import replace

import pytest

from autoseg.core.dataset import DatasetDescription
from autoseg.core.labels import Labels
from autoseg.io import documents
from autoseg.pipeline.traced_steps import RememberedTracer, TracedStep, TracedSteps
from autoseg.training.step_tracer import StepTracer

DESCRIPTION = DatasetDescription(
    name="Task99_Test",
    channels=("CT",),
    labels=Labels(names=("background", "organ", "tumor")),
    file_ending=".nii.gz",
)


@pytest.fixture
def configuration(configuration_of):
    return configuration_of((3.0, 1.0, 1.0), (8, 48, 32))


def remembered(file):
    """Put a wrong number in place of every remembered one, to see whether it is read."""
    steps = documents.read(file, TracedSteps).steps
    wrong = tuple(TracedStep(key=step.key, step_bytes=7) for step in steps)
    documents.write(file, TracedSteps(steps=wrong))


def test_a_step_is_predicted_once_and_then_read(configuration, tmp_path):
    file = tmp_path / "traced_steps.json"
    tracer = RememberedTracer(DESCRIPTION, file)

    first = tracer(configuration)
    tracer.keep()

    assert first == StepTracer(channels=1, labels=DESCRIPTION.labels)(configuration)
    assert RememberedTracer(DESCRIPTION, file)(configuration) == first
    remembered(file)
    # Spacing and name play no part in the memory.
    other = replace(configuration, spacing=(5.0, 2.0, 2.0), name="3d_lowres")
    assert RememberedTracer(DESCRIPTION, file)(other) == 7


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 5},
        {"patch_size": (8, 32, 48)},
        {"batch_dice": True},
        {"previous_stage": "3d_lowres"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_step_is_predicted_anew(configuration, tmp_path, change):
    file = tmp_path / "traced_steps.json"
    tracer = RememberedTracer(DESCRIPTION, file)
    tracer(configuration)
    tracer.keep()
    remembered(file)

    assert RememberedTracer(DESCRIPTION, file)(replace(configuration, **change)) > 7


@pytest.mark.parametrize(
    "description",
    [
        replace(DESCRIPTION, channels=("CT", "PET")),
        replace(DESCRIPTION, labels=Labels(names=("background", "organ"))),
    ],
    ids=["channels", "labels"],
)
def test_another_dataset_is_predicted_anew(configuration, tmp_path, description):
    file = tmp_path / "traced_steps.json"
    tracer = RememberedTracer(DESCRIPTION, file)
    tracer(configuration)
    tracer.keep()
    remembered(file)

    assert RememberedTracer(description, file)(configuration) > 7


def test_a_damaged_file_counts_as_empty(configuration, tmp_path):
    file = tmp_path / "traced_steps.json"
    file.write_text("{")

    tracer = RememberedTracer(DESCRIPTION, file)
    predicted = tracer(configuration)
    tracer.keep()

    assert documents.read(file, TracedSteps).steps[0].step_bytes == predicted
