"""What options of planning ask for."""

import pytest

from autoseg.core.errors import UsageError
from autoseg.pipeline.plan import budget_for
from planners.budget import PlannerBudget


@pytest.mark.parametrize(
    ("memory", "network", "expected"),
    [
        (None, "auto", PlannerBudget()),
        ("11.5", "plain", PlannerBudget(gpu_memory_gib=11.5, network="plain")),
        (None, "resenc", PlannerBudget(network="resenc")),
        (None, "resenc-m", PlannerBudget(gpu_memory_gib=8.0, network="resenc")),
        (None, "resenc-l", PlannerBudget(gpu_memory_gib=24.0, network="resenc")),
        (None, "resenc-xl", PlannerBudget(gpu_memory_gib=40.0, network="resenc")),
    ],
)
def test_memory_and_network_become_a_budget(memory, network, expected):
    assert budget_for(memory, network=network) == expected


def test_mirroring_is_part_of_the_budget():
    assert budget_for(None, mirroring="none").mirroring == "none"


def test_a_size_and_a_memory_contradict_each_other():
    with pytest.raises(UsageError, match="--network resenc-l and --gpu-memory-gib 11 both set"):
        budget_for("11", network="resenc-l")


def test_a_memory_that_is_no_number_is_refused():
    with pytest.raises(UsageError, match=r"--gpu-memory-gib 'much': must be a number of GiB"):
        budget_for("much")
