"""What is said of plans that were edited by hand."""

import json
from dataclasses import replace

import pytest

from autoseg.core.dataset import Case, Dataset, DatasetDescription
from autoseg.core.errors import AutosegError, RefusedCasesError
from autoseg.core.fingerprint import CaseGrid, ChannelStatistics, Fingerprint
from autoseg.core.labels import Labels
from autoseg.io import documents
from autoseg.io.workspace import DatasetFolder
from autoseg.pipeline.plan_check import check_plan
from planners.budget import PlannerBudget
from planners.planner import plan_dataset

CHANNEL = ChannelStatistics(
    mean=10.0,
    median=9.0,
    std=4.0,
    minimum=-50.0,
    maximum=80.0,
    percentile_00_5=-6.0,
    percentile_99_5=30.0,
)


@pytest.fixture
def folder(tmp_path):
    """Return a measured dataset of 40 volumes with thick slices."""
    description = DatasetDescription(
        name="Task99_Test",
        channels=("CT",),
        labels=Labels(names=("background", "organ")),
        file_ending=".nii.gz",
    )
    grids = tuple(
        CaseGrid(
            name=f"case_{n}",
            shape=(20 + n % 3, 200, 180),
            shape_after_crop=(20 + n % 3, 200, 180),
            spacing=(4.0, 1.0, 1.0),
            class_voxels=(900, 90),
        )
        for n in range(40)
    )
    cases = tuple(Case(name=f"case_{n}", images=(f"case_{n}.nii.gz",)) for n in range(40))
    made = DatasetFolder(path=tmp_path / "workspace" / "Task99_Test")
    documents.write(
        made.dataset_file,
        Dataset(description=description, folder=str(tmp_path / "raw"), cases=cases),
    )
    documents.write(
        made.fingerprint_file, Fingerprint(dataset="Task99_Test", cases=grids, channels=(CHANNEL,))
    )
    plan = plan_dataset(made.read_fingerprint(), description, budget=PlannerBudget())
    documents.write(made.plan_file("default"), plan)
    return made


def checked(folder, edit=lambda plan: None, step_bytes=2**30):
    """Check the plan after an edit of its JSON."""
    file = folder.plan_file("default")
    plan = json.loads(file.read_text())
    edit(plan)
    file.write_text(json.dumps(plan))
    return check_plan(file, folder, step_bytes=lambda configuration: step_bytes)


def fullres(plan):
    return next(each for each in plan["configurations"] if each["name"] == "3d_fullres")


def test_a_plan_as_it_was_made_can_be_trained(folder):
    result = checked(folder)

    assert result.plan == folder.read_plan("default")
    assert result.edited == ()


def test_an_edit_is_told_from_its_decision(folder):
    # 21 x 200 x 180 voxels are planned as 20 x 192 x 160 or the like; 16 x 64 x 64 divides too.
    before = folder.read_plan("default").configuration("3d_fullres")

    def edit(plan):
        fullres(plan)["patch_size"] = [16, 128, 128]
        fullres(plan)["batch_size"] = 5

    result = checked(folder, edit)

    was = " x ".join(map(str, before.patch_size))
    assert result.plan.configuration("3d_fullres") == replace(
        before, patch_size=(16, 128, 128), batch_size=5
    )
    assert result.edited == (
        f"3d_fullres.patch_size: 16 x 128 x 128 voxels; the decision was {was} voxels",
        f"3d_fullres.batch_size: 5 patches; the decision was {before.batch_size} patches",
    )


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        pytest.param(
            lambda plan: fullres(plan).update(batch_sice=3),
            r"the key 'batch_sice' \(meant 'batch_size'\?\) is not known",
            id="unknown",
        ),
        pytest.param(
            lambda plan: fullres(plan).update(batch_size=0), "batch_size 0 must be", id="batch"
        ),
        pytest.param(
            lambda plan: fullres(plan).update(batch_size="2"), "batch_size", id="text-for-a-number"
        ),
        pytest.param(
            lambda plan: fullres(plan).update(spacing=[4.0, 0.0, 1.0]),
            r"spacing \(4.0, 0.0, 1.0\) mm must be positive",
            id="spacing",
        ),
        pytest.param(
            lambda plan: fullres(plan).update(patch_size=[17, 128, 128]),
            r"patch_size \(17, 128, 128\) must be a multiple of",
            id="divisor",
        ),
        pytest.param(
            lambda plan: fullres(plan).update(patch_size=[128, 128]), "has 2 axes", id="axes"
        ),
        pytest.param(
            lambda plan: fullres(plan).update(image_order=7),
            "image_order 7 must be from 0 to 5",
            id="order",
        ),
        pytest.param(
            lambda plan: fullres(plan).update(previous_stage="3d_lowres"),
            "previous_stage '3d_lowres' is none of its configurations, 2d, 3d_fullres",
            id="previous-stage",
        ),
        pytest.param(
            lambda plan: fullres(plan)["topology"]["kernels"].__setitem__(1, [2, 3, 3]),
            "must be odd",
            id="kernel",
        ),
        pytest.param(
            lambda plan: plan.update(axis_order=[0, 1, 1]), "each of 2 or 3 axes once", id="order"
        ),
        pytest.param(
            lambda plan: plan.update(mirror_axes=[1, 3]), "must be axes of", id="mirror-axes"
        ),
        pytest.param(
            lambda plan: plan["configurations"].append(plan["configurations"][0]),
            "2d, 3d_fullres, 2d must be named once",
            id="twice",
        ),
        pytest.param(
            lambda plan: plan.update(configurations=[]), "at least one must be there", id="none"
        ),
    ],
)
def test_impossible_values_are_refused_with_the_reason(folder, edit, message):
    with pytest.raises(AutosegError, match=message):
        checked(folder, edit)


def test_what_does_not_go_with_the_dataset_is_listed_at_once(folder):
    def edit(plan):
        plan["dataset"] = "Other"
        plan["normalization"] *= 2
        # No image has more than 22 x 200 x 180 voxels, which pads to 24 x 224 x 192.
        fullres(plan)["patch_size"] = [32, 256, 192]

    with pytest.raises(RefusedCasesError, match="3 values cannot be trained with") as refusal:
        checked(folder, edit)

    first, second, third = refusal.value.problems
    assert "dataset 'Other' must be 'Task99_Test'" in str(first)
    assert "normalization has 2 entries; the dataset has 1 channels: CT" in str(second)
    assert "3d_fullres.patch_size 32 x 256 x 192 voxels is larger than every image" in str(third)


def test_a_step_that_the_memory_does_not_hold_is_refused_with_what_would(folder):
    # (6 + 1.5) GiB / 0.85 = 8.82 GiB.
    with pytest.raises(RefusedCasesError, match=r"takes 6 GiB, .* at least 8.82; it is 8"):
        checked(folder, step_bytes=6 * 2**30)
