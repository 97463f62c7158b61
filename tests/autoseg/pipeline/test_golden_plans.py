"""Plans of known datasets by autoseg's own rules, their steps traced."""

import json
from math import prod
from pathlib import Path

import pytest

from autoseg.core.dataset import DatasetDescription
from autoseg.core.fingerprint import CaseGrid, ChannelStatistics, Fingerprint
from autoseg.core.labels import Labels
from autoseg.training.step_tracer import StepTracer
from planners.budget import PlannerBudget
from planners.device_memory import usable_bytes
from planners.planner import plan_dataset

GOLDEN = Path(__file__).parents[2] / "golden"
DATASETS = sorted(path.stem for path in GOLDEN.glob("*.json"))
STATISTICS = ChannelStatistics(
    mean=95.0,
    median=99.0,
    std=41.0,
    minimum=-900.0,
    maximum=1500.0,
    percentile_00_5=-15.0,
    percentile_99_5=197.0,
)


def planned(golden, gib):
    labels = golden["labels"]
    shapes = [(s, n) for count, s, n in golden["cases"] for _ in range(count)]
    cases = tuple(
        CaseGrid(
            name=f"case_{index:04d}",
            shape=tuple(shape),
            shape_after_crop=tuple(shape),
            spacing=tuple(spacing),
            class_voxels=(10,) * labels,
        )
        for index, (spacing, shape) in enumerate(shapes)
    )
    channels = tuple(golden["channels"])
    description = DatasetDescription(
        name="Golden",
        channels=channels,
        labels=Labels(names=("background", *(f"organ {n}" for n in range(1, labels)))),
        file_ending=".nii.gz" if len(shapes[0][0]) == 3 else ".png",
    )
    statistics = (STATISTICS,) * len(channels)
    return plan_dataset(
        Fingerprint(dataset="Golden", cases=cases, channels=statistics),
        description,
        budget=PlannerBudget(gpu_memory_gib=gib),
        step_bytes=StepTracer(channels=len(description.channels), labels=description.labels),
    )


def sizes(plan):
    return {
        each.name: [
            each.network,
            list(each.patch_size),
            each.batch_size,
            list(each.topology.features),
        ]
        for each in plan.configurations
    }


def golden_sizes(golden):
    return {
        name: [each["network"][0], each["patch_size"], each["batch_size"], each["features"]]
        for name, each in golden.items()
        if name != "axis_order"
    }


@pytest.mark.parametrize("dataset", DATASETS)
def test_plans_without_a_memory_are_the_reviewed_ones(dataset):
    golden = json.loads((GOLDEN / f"{dataset}.json").read_text())

    plan = planned(golden, None)

    assert sizes(plan) == golden_sizes(golden["autoseg"]["no memory given"])
    assert all(each.step_bytes <= usable_bytes(8.0) for each in plan.configurations)


@pytest.mark.slow
@pytest.mark.parametrize("gib", [12.0, 24.0])
@pytest.mark.parametrize("dataset", DATASETS)
def test_plans_for_a_memory_are_the_reviewed_ones(dataset, gib):
    golden = json.loads((GOLDEN / f"{dataset}.json").read_text())

    plan = planned(golden, gib)

    assert sizes(plan) == golden_sizes(golden["autoseg"][f"{gib:g} GiB"])


@pytest.mark.parametrize("dataset", DATASETS)
def test_no_patch_is_smaller_than_that_of_nnunet(dataset):
    golden = json.loads((GOLDEN / f"{dataset}.json").read_text())
    theirs, ours = golden["nnunet"]["ExperimentPlanner"], golden["autoseg"]["no memory given"]

    smaller = {
        name
        for name in ours
        if name not in ("axis_order", "3d_lowres", "3d_cascade_fullres")
        and prod(ours[name]["patch_size"]) < prod(theirs[name]["patch_size"])
    }

    assert smaller == set()
