"""What options of planning ask for."""

import pytest

from autoseg.core.errors import UsageError
from autoseg.pipeline.budget import BudgetRequest, budget_for
from planners.budget import PlannerBudget
from planners.overrides import Overrides


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
    assert budget_for(BudgetRequest(gpu_memory=memory, network=network)) == expected


def test_mirroring_rules_and_overrides_are_part_of_the_budget():
    overrides = Overrides(batch_size=3)
    request = BudgetRequest(mirroring="none", rules="nnunet", overrides=overrides)

    expected = PlannerBudget(mirroring="none", rules="nnunet", overrides=overrides)
    assert budget_for(request) == expected


def test_a_size_and_a_memory_contradict_each_other():
    with pytest.raises(UsageError, match="--network resenc-l and --gpu-memory-gib 11 both set"):
        budget_for(BudgetRequest(gpu_memory="11", network="resenc-l"))


def test_a_memory_that_is_no_number_is_refused():
    with pytest.raises(UsageError, match=r"--gpu-memory-gib 'much': must be a number of GiB"):
        budget_for(BudgetRequest(gpu_memory="much"))


@pytest.mark.parametrize("memory", ["0", "-4", "nan", "1024"])
def test_a_memory_that_no_device_has_is_refused(memory):
    message = r"gpu_memory_gib is .*; it must be a positive number of at most 512"
    with pytest.raises(UsageError, match=message) as refusal:
        budget_for(BudgetRequest(gpu_memory=memory))

    assert "GiB (2^30 bytes), for example 8" in refusal.value.hint
