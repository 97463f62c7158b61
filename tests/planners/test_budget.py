import math

import pytest

from autoseg.core.errors import PlanError, UsageError
from planners.budget import (
    PLAIN,
    RESENC_L,
    RESENC_M,
    RESENC_XL,
    PlannerBudget,
    budget_of_preset,
    reference_for,
)


@pytest.mark.parametrize(
    ("network", "gpu_memory_gib", "reference"),
    [
        pytest.param("plain", 8.0, PLAIN, id="plain"),
        pytest.param("plain", 80.0, PLAIN, id="plain-scaled-up"),
        pytest.param("resenc", 4.0, RESENC_M, id="smaller-than-all-is-scaled-down"),
        pytest.param("resenc", 23.9, RESENC_M, id="just-below-L"),
        pytest.param("resenc", 24.0, RESENC_L, id="exactly-L"),
        pytest.param("resenc", 40.0, RESENC_XL, id="exactly-XL"),
        pytest.param("resenc", 139.0, RESENC_XL, id="larger-than-all"),
    ],
)
def test_the_reference_is_the_largest_that_the_memory_holds(network, gpu_memory_gib, reference):
    assert reference_for(network, gpu_memory_gib) is reference


@pytest.mark.parametrize("gpu_memory_gib", [0.0, -8.0, math.nan, math.inf])
def test_a_budget_without_memory_is_refused(gpu_memory_gib):
    with pytest.raises(UsageError, match=rf"gpu_memory_gib is {gpu_memory_gib}; .* positive"):
        PlannerBudget(gpu_memory_gib=gpu_memory_gib)


def test_an_unknown_network_is_refused_with_the_known_ones():
    with pytest.raises(PlanError, match=r"network 'vit' is unknown; known are auto, plain, resenc"):
        reference_for("vit", 8.0)


def test_allowed_elements_grow_in_proportion_to_the_memory():
    assert PLAIN.elements(3, 12.0) == 5.6e8 * 12 / 8
    assert RESENC_L.elements(2, 12.0) == 3.8e8 * 12 / 24


@pytest.mark.parametrize(
    ("name", "reference", "gpu_memory_gib"),
    [("M", RESENC_M, 8.0), ("L", RESENC_L, 24.0), ("XL", RESENC_XL, 40.0)],
)
def test_a_preset_is_the_budget_of_its_reference(name, reference, gpu_memory_gib):
    budget = budget_of_preset(name)

    assert budget == PlannerBudget(gpu_memory_gib=gpu_memory_gib, network="resenc")
    assert reference_for(budget.network, budget.memory_gib) is reference


def test_an_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(PlanError, match=r"preset 'S' is unknown; known are M, L, XL"):
        budget_of_preset("S")
