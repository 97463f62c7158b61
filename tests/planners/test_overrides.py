import math
from dataclasses import replace

import pytest

from autoseg.core.errors import PlanError, UsageError
from planners.budget import PlannerBudget
from planners.overrides import Overrides
from planners.planner import plan_dataset


@pytest.fixture
def sagittal(fingerprint_of):
    # Large volumes, their slices along the last axis.
    return fingerprint_of([((0.5, 0.75, 4.0), (500, 400, 90))] * 30)


def planned(fingerprint, description, **given):
    budget = PlannerBudget(network="plain", overrides=Overrides(**given))
    return plan_dataset(fingerprint, description, budget=budget, step_bytes=lambda _: 2**30)


def decisions(plan):
    return {decision.subject: decision for decision in plan.decisions}


def test_nothing_is_overridden_by_default(sagittal, description_of):
    plan = plan_dataset(sagittal, description_of(2), budget=PlannerBudget())

    assert [decision for decision in plan.decisions if decision.is_override] == []


def test_a_spacing_is_given_in_plan_order_and_keeps_that_order(sagittal, description_of):
    plan = planned(sagittal, description_of(2), spacing=(0.4, 1.0, 1.5))

    # Finer across slices than in plane, which stays the first axis all the same.
    assert plan.axis_order == (2, 0, 1)
    fullres = plan.configuration("3d_fullres")
    assert fullres.spacing == (0.4, 1.0, 1.5)
    assert fullres.median_shape == (90 * 4.0 / 0.4, 500 * 0.5 / 1.0, 400 * 0.75 / 1.5)
    assert plan.configuration("2d").spacing == (1.0, 1.5)
    overridden = {d.subject for d in plan.decisions if d.is_override}
    assert overridden == {
        "network", "target_spacing", "2d.spacing", "3d_fullres.spacing",
        "3d_cascade_fullres.spacing",
    }  # fmt: skip
    assert "coarsest measured spacing" in decisions(plan)["axis_order"].rule


def test_a_patch_concerns_configurations_of_as_many_axes(sagittal, description_of):
    plain = planned(sagittal, description_of(2))
    plan = planned(sagittal, description_of(2), patch_size=(32, 192, 128))

    assert plan.configuration("3d_fullres").patch_size == (32, 192, 128)
    assert plan.configuration("2d") == plain.configuration("2d")
    patch = decisions(plan)["3d_fullres.patch_size"]
    assert (patch.is_override, patch.rule) == (True, "it was given with --patch-size")
    assert patch.changed_by == "leaving --patch-size out"


def test_batch_and_width_concern_every_configuration(sagittal, description_of):
    plan = planned(sagittal, description_of(2), batch_size=5, width=20)

    assert {each.batch_size for each in plan.configurations} == {5}
    assert {each.topology.features[0] for each in plan.configurations} == {20}
    assert decisions(plan)["2d.batch_size"].is_override
    assert decisions(plan)["2d.width"].is_override


def test_only_named_configurations_are_planned(sagittal, description_of):
    plan = planned(sagittal, description_of(2), configurations=("3d_lowres",))

    assert plan.names == ("3d_lowres",)
    subjects = {decision.subject.partition(".")[0] for decision in plan.decisions}
    assert not subjects & {"2d", "3d_fullres", "3d_cascade_fullres"}
    assert decisions(plan)["configurations"].is_override


def test_a_configuration_that_is_not_made_is_refused_with_the_reason(
    fingerprint_of, description_of
):
    small = fingerprint_of([((1.0, 1.0, 1.0), (36, 50, 35))] * 30)

    message = r"names 3d_lowres, which this dataset does not get: the patch covers at least 25 %"
    with pytest.raises(PlanError, match=message):
        planned(small, description_of(2), configurations=("2d", "3d_lowres"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param(
            {"spacing": (1.0, 0.0, 1.0)}, r"--spacing 1 x 0 x 1 mm: each edge must be", id="zero"
        ),
        pytest.param({"spacing": (math.nan, 1.0)}, r"--spacing nan x 1 mm", id="nan"),
        pytest.param({"patch_size": (64, 0, 32)}, r"--patch-size 64 x 0 x 32: each", id="patch"),
        pytest.param({"batch_size": 0}, r"--batch-size 0: a step must take at least 1", id="batch"),
        pytest.param({"width": 4}, r"--width 4: .* 8 to 512 channels", id="narrow"),
        pytest.param(
            {"configurations": ("2d", "3d_cascade_fullres")},
            r"names 3d_cascade_fullres without 3d_lowres",
            id="cascade-alone",
        ),
    ],
)
def test_impossible_values_are_refused(given, message):
    with pytest.raises(UsageError, match=message):
        Overrides(**given)


def test_a_spacing_of_other_axes_is_refused_with_what_the_data_have(sagittal, description_of):
    message = r"--spacing 1 x 2 mm has 2 axes; the images have 3"
    with pytest.raises(PlanError, match=message) as refusal:
        planned(sagittal, description_of(2), spacing=(1.0, 2.0))

    assert refusal.value.hint.endswith("4,0.5,0.75")


def test_a_patch_of_axes_that_no_configuration_has_is_refused(fingerprint_of, description_of):
    images = fingerprint_of([((0.5, 0.75), (900, 700))] * 30)

    message = r"--patch-size 64 x 64 x 64 has 3 axes; no planned configuration has"
    with pytest.raises(PlanError, match=message):
        planned(images, description_of(2), patch_size=(64, 64, 64))


def test_by_the_rules_of_nnunet_axes_are_planned_as_they_lie_in_the_file(
    fingerprint_of, description_of
):
    # In the files the slices come last: canonical axes 1, 2, 0.
    fingerprint = fingerprint_of([((4.0, 0.5, 0.75), (90, 500, 400))] * 30)
    turned = tuple(replace(case, stored_axes=(1, 2, 0)) for case in fingerprint.cases)

    budget = PlannerBudget(rules="nnunet")
    plan = plan_dataset(replace(fingerprint, cases=turned), description_of(2), budget=budget)

    assert (plan.rules, plan.orientation, plan.axis_order) == ("nnunet", "stored", (2, 0, 1))
    assert plan.configuration("3d_fullres").spacing == (4.0, 0.5, 0.75)
    assert plan.mirror_axes == (0, 1, 2)
    assert not any(each.anti_aliasing for each in plan.configurations)
    assert decisions(plan)["rules"].is_override


def liver_of(fingerprint_of):
    return fingerprint_of([((1.0, 0.77, 0.77), (430, 440, 440))] * 131)


def bytes_of_voxels(configuration):
    """Stand in for the tracer: 500 bytes per voxel at 32 channels."""
    n, width = configuration.batch_size, configuration.topology.features[0]
    return int(n * math.prod(configuration.patch_size) * 500 * width / 32)


def test_a_configuration_that_is_left_out_is_not_asked_about(fingerprint_of, description_of):
    asked = set()

    def step_bytes(configuration):
        asked.add(configuration.name)
        return 2**40 if configuration.name != "2d" else 2**20

    # Volumes fit no memory at all, whatever the network.
    for network in ("auto", "plain"):
        budget = PlannerBudget(
            network=network, gpu_memory_gib=12.0, overrides=Overrides(configurations=("2d",))
        )
        plan = plan_dataset(
            liver_of(fingerprint_of), description_of(3), budget=budget, step_bytes=step_bytes
        )
        assert plan.names == ("2d",)
    assert asked == {"2d"}


def test_the_network_is_plain_where_only_that_fits_what_is_given(fingerprint_of, description_of):
    def step_bytes(configuration):
        return bytes_of_voxels(configuration) * (9 if configuration.network == "resenc" else 1)

    budget = PlannerBudget(gpu_memory_gib=24.0, overrides=Overrides(patch_size=(192, 192, 160)))
    plan = plan_dataset(
        liver_of(fingerprint_of), description_of(3), budget=budget, step_bytes=step_bytes
    )

    assert plan.configuration("3d_fullres").network == "plain"
    assert plan.configuration("3d_fullres").patch_size == (192, 192, 160)


def test_a_patch_for_the_fine_grid_is_no_hindrance_to_the_coarse_one(
    fingerprint_of, description_of
):
    # On the coarse grid the median image is 112 x 224 x 224 or so: 256 would be larger than it.
    lung = fingerprint_of([((1.25, 0.79, 0.79), (252, 512, 512))] * 63)

    plan = planned(lung, description_of(2), patch_size=(64, 64, 256))

    assert plan.configuration("3d_fullres").patch_size == (64, 64, 256)
    lowres = plan.configuration("3d_lowres")
    assert lowres.patch_size != (64, 64, 256)
    assert not decisions(plan)["3d_lowres.patch_size"].is_override


@pytest.mark.parametrize("spacing", [(1e-300, 1.0, 1.0), (1e300,) * 3, (1e-6,) * 3, (900.0,) * 3])
@pytest.mark.parametrize("rules", ["autoseg", "nnunet"])
def test_a_spacing_that_leaves_no_image_or_one_beyond_all_machines_is_refused(
    fingerprint_of, description_of, spacing, rules
):
    budget = PlannerBudget(rules=rules, overrides=Overrides(spacing=spacing))

    with pytest.raises(PlanError, match=r"the median image would have .* allowed are 64 to 2.15e"):
        plan_dataset(liver_of(fingerprint_of), description_of(3), budget=budget)


@pytest.mark.parametrize(
    "given", [{"batch_size": 100_000}, {"width": 512}, {"patch_size": (256, 256, 256)}]
)
def test_by_the_rules_of_nnunet_overrides_count_against_its_memory(
    fingerprint_of, description_of, given
):
    budget = PlannerBudget(rules="nnunet", overrides=Overrides(**given))

    with pytest.raises(
        PlanError, match=r"counts as \d.* GiB by nnU-Net's rules; the budget is 8 GiB"
    ):
        plan_dataset(liver_of(fingerprint_of), description_of(3), budget=budget)


def test_three_axes_for_volumes_of_one_slice_are_refused(fingerprint_of, description_of):
    slices = fingerprint_of([((8.0, 0.5, 0.75), (1, 300, 200))] * 30)

    with pytest.raises(PlanError, match=r"--patch-size 1 x 64 x 64 has 3 axes; .* allowed are 2"):
        planned(slices, description_of(2), patch_size=(1, 64, 64))


def test_a_coarse_grid_is_planned_with_the_patch_that_the_memory_leaves(
    fingerprint_of, description_of
):
    # 4000 bytes per voxel whatever the width: of 5.3 GiB two patches have 711 000 voxels each.
    def step_bytes(configuration):
        return configuration.batch_size * math.prod(configuration.patch_size) * 4000

    plan = plan_dataset(
        liver_of(fingerprint_of),
        description_of(3),
        budget=PlannerBudget(),
        step_bytes=step_bytes,
    )

    fullres, lowres = plan.configuration("3d_fullres"), plan.configuration("3d_lowres")
    assert math.prod(fullres.patch_size) <= 711_000
    assert (
        "is predicted not to fit whatever the channels"
        in decisions(plan)["3d_fullres.patch_size"].rule
    )
    assert math.prod(lowres.patch_size) / math.prod(lowres.median_shape) > 0.249
