from dataclasses import replace

from autoseg.core.labels import Labels
from planners.budget import PlannerBudget
from planners.planner import plan_dataset


def test_an_ordinary_dataset_raises_no_doubts(fingerprint_of, description_of):
    fingerprint = fingerprint_of([((3.0, 1.0, 0.5), (20, 90, 80))] * 12)

    assert plan_dataset(fingerprint, description_of(3), budget=PlannerBudget()).notes == ()


def test_a_label_that_never_occurs_is_named_with_its_value(fingerprint_of, description_of):
    # Background, organ and tumor have voxels; the cyst has none.
    fingerprint = fingerprint_of([((3.0, 1.0, 0.5), (20, 90, 80))] * 12)
    cases = tuple(replace(case, class_voxels=(900, 90, 10, 0)) for case in fingerprint.cases)
    labels = Labels(names=("background", "organ", "tumor", "cyst"), values=(0, 2, 4, 9))
    description = replace(description_of(2), labels=labels)

    plan = plan_dataset(replace(fingerprint, cases=cases), description, budget=PlannerBudget())

    assert plan.notes == (
        "label 'cyst' (value 9) is in none of 12 cases: the network gets an output for it that it "
        "never learns to use",
    )


def test_a_constant_channel_is_named_with_its_value(fingerprint_of, description_of):
    fingerprint = fingerprint_of([((3.0, 1.0, 0.5), (20, 90, 80))] * 12, channels=2)
    flat = replace(fingerprint.channels[1], mean=7.5, std=0.0, minimum=7.5, maximum=7.5)
    fingerprint = replace(fingerprint, channels=(fingerprint.channels[0], flat))

    plan = plan_dataset(fingerprint, description_of(3, "CT", "PET"), budget=PlannerBudget())

    assert plan.notes == ("channel 'PET' is 7.5 in all foreground: it tells no label from another",)
