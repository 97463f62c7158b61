"""Plans of known datasets, by nnU-Net itself and by autoseg; ``benchmarks/golden_plans.py``."""

import json
from pathlib import Path

import pytest

from planners.budget import PlannerBudget
from planners.planner import plan_dataset

GOLDEN = Path(__file__).parents[1] / "golden"
DATASETS = sorted(path.stem for path in GOLDEN.glob("*.json"))
PLANNERS = {
    "ExperimentPlanner": PlannerBudget(rules="nnunet"),
    "nnUNetPlannerResEncM": PlannerBudget(rules="nnunet", network="resenc", gpu_memory_gib=8.0),
    "nnUNetPlannerResEncL": PlannerBudget(rules="nnunet", network="resenc", gpu_memory_gib=24.0),
    "nnUNetPlannerResEncXL": PlannerBudget(rules="nnunet", network="resenc", gpu_memory_gib=40.0),
}
FIELDS = ("spacing", "median_shape", "patch_size", "batch_size", "batch_dice", "anti_aliasing")
TOPOLOGY = ("strides", "kernels", "features")


def listed(value):
    """Return nested tuples as the lists that JSON has."""
    return json.loads(json.dumps(value))


def values(configuration):
    """Return the values of a configuration that a golden plan has as well."""
    fields = {name: getattr(configuration, name) for name in FIELDS}
    topology = {name: getattr(configuration.topology, name) for name in TOPOLOGY}
    orders = (configuration.image_order, configuration.segmentation_order)
    others = {
        "previous_stage": configuration.previous_stage,
        "network": (configuration.network, "instance", "leaky_relu"),
        "orders": (*orders, configuration.logits_order, 0),
    }
    return listed({**fields, **topology, **others})


def planned(golden, fingerprint_of, description_of, **options):
    grids = [
        (tuple(spacing), tuple(shape))
        for count, spacing, shape in golden["cases"]
        for _ in range(count)
    ]
    fingerprint = fingerprint_of(grids, channels=len(golden["channels"]))
    description = description_of(golden["labels"], *golden["channels"])
    return plan_dataset(fingerprint, description, **options)


def assert_equal(plan, golden):
    axes = golden.pop("axis_order")
    assert list(plan.axis_order) == axes
    assert sorted(plan.names) == sorted(golden)
    for configuration in plan.configurations:
        expected = {name: golden[configuration.name][name] for name in values(configuration)}
        assert values(configuration) == expected


@pytest.mark.parametrize("planner", PLANNERS)
@pytest.mark.parametrize("dataset", DATASETS)
def test_the_rules_of_nnunet_give_the_plan_that_it_made(
    dataset, planner, fingerprint_of, description_of
):
    golden = json.loads((GOLDEN / f"{dataset}.json").read_text())

    plan = planned(golden, fingerprint_of, description_of, budget=PLANNERS[planner])

    assert_equal(plan, golden["nnunet"][planner])


def test_there_are_golden_plans():
    assert len(DATASETS) == 8
