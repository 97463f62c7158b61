import math
from dataclasses import replace

import pytest

from autoseg.core.errors import PlanError
from planners.budget import PlannerBudget
from planners.overrides import Overrides
from planners.planner import plan_dataset


@pytest.fixture
def sagittal(fingerprint_of):
    # Large volumes, their slices along the last axis.
    return fingerprint_of([((0.5, 0.75, 4.0), (500, 400, 90))] * 30)


def planned(fingerprint, description, **given):
    budget = PlannerBudget(network="plain", overrides=Overrides(**given))
    return plan_dataset(fingerprint, description, budget=budget)


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
    assert overridden == {"target_spacing", "2d.spacing", "3d_fullres.spacing", "network"}


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
    with pytest.raises(PlanError, match=message):
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
