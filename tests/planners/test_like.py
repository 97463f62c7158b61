from dataclasses import replace

import pytest

from autoseg.core.errors import PlanError
from autoseg.core.fingerprint import Symmetry
from autoseg.core.labels import Labels
from autoseg.core.model import ModelDescription
from autoseg.core.training_config import preset
from planners.budget import PlannerBudget
from planners.like import plan_like
from planners.planner import plan_dataset

SPACING, SHAPE = (0.5, 4.0, 0.75), (200, 24, 300)


@pytest.fixture
def model(fingerprint_of, description_of):
    """A model of two channels; its plan's axes are y, z, x."""
    description = replace(description_of(4, "CT", "PET"), name="Task10_Trunk")
    fingerprint = fingerprint_of([(SPACING, SHAPE)] * 30, channels=2)
    plan = plan_dataset(fingerprint, description, budget=PlannerBudget(gpu_memory_gib=9.0))
    return ModelDescription(
        autoseg_version="0",
        dataset=description,
        plan=replace(plan, name="large", autoseg_version="0"),
        configuration_name="3d_fullres",
        training=preset("fast"),
        decisions=(),
    )


@pytest.fixture
def finer(fingerprint_of):
    """Cases of half the size, at other spacings and intensities."""
    fingerprint = fingerprint_of(
        [((1.0, 2.0, 0.75), (50, 30, 140)), ((1.0, 2.0, 0.75), (52, 30, 142))], channels=2
    )
    other = replace(fingerprint.channels[0], mean=7.0)
    return replace(fingerprint, channels=(other, other))


def decision(plan, subject):
    return next(each for each in plan.decisions if each.subject == subject)


def test_the_plan_is_the_models_but_for_names_and_median_shapes(model, finer, description_of):
    plan = plan_like(model, finer, description_of(2, "CT", "PET"), name="tuned")

    assert (plan.name, plan.dataset) == ("tuned", "Task99_Test")
    assert plan.autoseg_version != "0"
    shapes = [each.median_shape for each in model.plan.configurations]
    same = replace(
        plan,
        name="large",
        dataset="Task99_Test",
        autoseg_version="0",
        decisions=model.plan.decisions,
        configurations=tuple(
            replace(each, median_shape=shape)
            for each, shape in zip(plan.configurations, shapes, strict=True)
        ),
    )
    assert same == replace(model.plan, dataset="Task99_Test")


def test_the_median_shape_is_that_of_the_new_cases_on_the_models_grid(model, finer, description_of):
    plan = plan_like(model, finer, description_of(2, "CT", "PET"))

    # z 50 and 52 at 1 mm are 100 and 104 at 0.5 mm; y 30 at 2 mm is 15 at 4 mm; plan order y, z, x.
    assert plan.axis_order == (1, 0, 2)
    assert plan.configuration("3d_fullres").spacing == (4.0, 0.5, 0.75)
    assert plan.configuration("3d_fullres").median_shape == (15.0, 102.0, 141.0)
    assert plan.configuration("2d").median_shape == (102.0, 141.0)
    assert decision(plan, "2d.median_shape").value == "102 x 141 voxels"


def test_every_value_says_which_model_it_comes_from(model, finer, description_of):
    plan = plan_like(model, finer, description_of(2, "CT", "PET"))

    subjects = [each.subject for each in plan.decisions]
    assert len(set(subjects)) == len(subjects)
    own = {"median_shape"} | {f"{each.name}.median_shape" for each in plan.configurations}
    assert {each.subject for each in model.plan.decisions} - own == set(subjects) - own
    patch = decision(plan, "3d_fullres.patch_size")
    assert patch.value == decision(model.plan, "3d_fullres.patch_size").value
    assert patch.rule == "it is taken from model 'Task10_Trunk', plan 'large', for fine-tuning"
    assert patch.numbers == ()


@pytest.mark.parametrize(
    ("kept", "names", "axes"),
    [
        pytest.param((0, 1, 2), ("one", "two"), (0, 1, 2), id="all"),
        pytest.param((0, 1, 2), ("left", "right"), (0, 1), id="new-labels-have-sides"),
        pytest.param((0, 2), ("one", "two"), (0, 2), id="old-labels-had-sides"),
        pytest.param((0, 2), ("left", "right"), (0,), id="both"),
    ],
)
def test_mirroring_is_on_where_model_and_labels_allow_it(
    model, finer, description_of, kept, names, axes
):
    model = replace(model, plan=replace(model.plan, mirror_axes=kept))
    description = replace(
        description_of(2, "CT", "PET"), labels=Labels(names=("background", *names))
    )

    plan = plan_like(model, finer, description)

    assert plan.mirror_axes == axes
    rule = decision(plan, "mirror_axes").rule
    assert ("mirroring left-right is off" in rule) is (names[0] == "left")


def test_a_symmetry_of_the_new_labels_switches_mirroring_off(model, finer, description_of):
    symmetry = Symmetry(axis=0, first=1, second=2, cases=10, median_dice=0.75)

    plan = plan_like(model, replace(finer, symmetries=(symmetry,)), description_of(3, "CT", "PET"))

    # Array axis 0 is plan axis 1.
    assert plan.mirror_axes == (0, 2)
    assert len(decision(plan, "mirror_axes").numbers) == 1


def test_channels_of_other_names_are_noted_and_taken_in_order(model, finer, description_of):
    plan = plan_like(model, finer, description_of(2, "MRI", "PET"))

    assert plan.normalization == model.plan.normalization
    assert plan.normalization[0].scheme == "ct"
    note = decision(plan, "channels")
    assert note.value == "MRI, PET"
    assert "the model's are called CT, PET" in note.rule


def test_a_plan_like_a_plan_like_another_names_the_last_model_only(model, finer, description_of):
    first = plan_like(model, finer, description_of(2, "MRI", "PET"), name="tuned")
    tuned = replace(model, dataset=description_of(2, "MRI", "PET"), plan=first)

    second = plan_like(tuned, finer, description_of(3, "MRI", "PET"))

    subjects = [each.subject for each in second.decisions]
    assert len(set(subjects)) == len(subjects)
    assert "channels" not in subjects
    assert decision(second, "network").rule.count("taken from") == 1
    assert "model 'Task99_Test', plan 'tuned'" in decision(second, "network").rule


def test_where_the_model_reads_stored_axes_its_median_shapes_stay(model, finer, description_of):
    model = replace(model, plan=replace(model.plan, orientation="stored"))

    plan = plan_like(model, finer, description_of(2, "CT", "PET"))

    assert plan.configurations == model.plan.configurations
    assert "other axes" in decision(plan, "2d.median_shape").rule


def test_another_number_of_channels_is_refused(model, fingerprint_of, description_of):
    fingerprint = fingerprint_of([(SPACING, SHAPE)])

    message = r"'Task99_Test': its images have 1 channels; .*'Task10_Trunk' have 2"
    with pytest.raises(PlanError, match=message) as refusal:
        plan_like(model, fingerprint, description_of(2, "CT"))

    assert refusal.value.rule == "E-MODEL-60"


def test_another_number_of_axes_is_refused(model, fingerprint_of, description_of):
    fingerprint = fingerprint_of([((1.0, 2.0), (50, 30))], channels=2)

    with pytest.raises(PlanError, match=r"have 2 axes; .* 'Task10_Trunk' have 3") as refusal:
        plan_like(model, fingerprint, description_of(2, "CT", "PET"))

    assert refusal.value.rule == "E-MODEL-60"


def test_cases_that_cannot_be_planned_with_are_refused(model, finer, description_of):
    with pytest.raises(PlanError, match=r"the fingerprint has 0 cases"):
        plan_like(model, replace(finer, cases=()), description_of(2, "CT", "PET"))
