"""What a plan refuses, and what follows from it."""

from dataclasses import replace

import pytest

from autoseg.core.errors import PlanError, UsageError
from autoseg.core.network_spec import Arch, Style
from autoseg.core.plan import Configuration, Plan, Topology

TOPOLOGY = Topology(
    strides=((1, 1, 1), (1, 2, 2), (2, 2, 2), (1, 1, 2)),
    kernels=((1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3)),
    features=(32, 64, 128, 256),
)
CONFIGURATION = Configuration(
    name="3d_fullres",
    spacing=(3.0, 0.75, 0.5),
    median_shape=(20.0, 190.5, 240.0),
    patch_size=(18, 160, 192),
    batch_size=2,
    batch_dice=False,
    network="plain",
    arch=Arch(),
    style=Style(),
    topology=TOPOLOGY,
)
FLAT = Configuration(
    name="2d",
    spacing=(0.75, 0.5),
    median_shape=(190.5, 240.0),
    patch_size=(192, 256),
    batch_size=12,
    batch_dice=True,
    network="plain",
    arch=Arch(),
    style=Style(),
    topology=Topology(strides=((1, 1), (2, 4)), kernels=((3, 3), (3, 3)), features=(32, 64)),
)


@pytest.fixture
def plan():
    return Plan(
        name="default",
        dataset="Task99_Test",
        autoseg_version="0.1.0",
        gpu_memory_gib=8.0,
        orientation="canonical",
        axis_order=(2, 0, 1),
        mirror_axes=(0, 2),
        normalization=(),
        configurations=(FLAT, CONFIGURATION),
        decisions=(),
    )


def test_divisor_is_the_product_of_the_strides_per_axis():
    assert TOPOLOGY.divisor == (1 * 1 * 2 * 1, 1 * 2 * 2 * 1, 1 * 2 * 2 * 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"features": (32, 64)}, "4 strides, 4 kernels and 2 features", id="count"),
        pytest.param(
            {"strides": (), "kernels": (), "features": ()}, "0 strides, 0 kernels", id="no-stage"
        ),
        pytest.param(
            {"strides": ((1, 1, 2), *TOPOLOGY.strides[1:])},
            r"first stride \(1, 1, 2\) must be 1 on every axis",
            id="first-stride",
        ),
        pytest.param(
            {"strides": (*TOPOLOGY.strides[:3], (1, 0, 2))},
            r"\(1, 0, 2\).* must all be at least 1",
            id="zero-stride",
        ),
        pytest.param(
            {"kernels": (*TOPOLOGY.kernels[:3], (3, -3, 3))},
            r"\(3, -3, 3\).* must all be at least 1",
            id="negative-kernel",
        ),
        pytest.param({"features": (32, 64, 128, 0)}, r"128, 0\) must all be", id="no-features"),
        pytest.param(
            {"strides": (*TOPOLOGY.strides[:3], (1, 2))},
            r"\(1, 2\)\) and kernels .* one entry per axis in every stage",
            id="axes",
        ),
    ],
)
def test_impossible_topologies_are_refused(change, message):
    with pytest.raises(PlanError, match=f"topology: .*{message}"):
        replace(TOPOLOGY, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            {"patch_size": (18, 160, 196)},
            r"patch_size \(18, 160, 196\) must be a multiple of \(2, 4, 8\)",
            id="indivisible",
        ),
        pytest.param({"spacing": (0.75, 0.5)}, r"spacing \(0.75, 0.5\) mm.* one entry", id="axes"),
        pytest.param({"median_shape": (20.0,)}, r"median_shape \(20.0,\).* one entry", id="median"),
        pytest.param(
            {"topology": FLAT.topology}, r"divisor \(2, 4\) must have one entry", id="topology"
        ),
        pytest.param({"batch_size": 0}, "batch_size 0 must be at least 1", id="batch"),
    ],
)
def test_contradictory_configurations_are_refused(change, message):
    with pytest.raises(PlanError, match=f"configuration '3d_fullres': .*{message}"):
        replace(CONFIGURATION, **change)


def test_patch_mirror_axes_lose_the_first_axis_in_2d(plan):
    # Plan order has axes 0, 1, 2; a 2D patch has the axes 1 and 2 of the plan as 0 and 1.
    assert plan.patch_mirror_axes(CONFIGURATION) == (0, 2)
    assert plan.patch_mirror_axes(FLAT) == (1,)


def test_configuration_is_found_by_name(plan):
    assert plan.configuration("3d_fullres") is plan.configurations[1]
    assert (plan.configuration("2d").ndim, plan.configuration("3d_fullres").ndim) == (2, 3)


def test_unknown_configuration_lists_the_names(plan):
    with pytest.raises(UsageError, match="'3d_lowres' is not in plan 'default'; it has 2d, 3d_f"):
        plan.configuration("3d_lowres")
