"""What is said of plans that were edited by hand."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from autoseg.core.dataset import Case, Dataset, DatasetDescription
from autoseg.core.errors import AutosegError, PlanError, RefusedCasesError
from autoseg.core.fingerprint import CaseGrid, ChannelStatistics, Fingerprint
from autoseg.core.labels import Labels
from autoseg.core.network_presets import PRESETS
from autoseg.io import documents
from autoseg.io.workspace import DatasetFolder
from autoseg.pipeline.plan_check import check_plan
from planners.budget import PlannerBudget
from planners.like import plan_like
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


def flat(plan):
    return next(each for each in plan["configurations"] if each["name"] == "2d")


def refused(folder, edit):
    """Return the only problem of an edited plan, and its refusal."""
    with pytest.raises(RefusedCasesError, match="1 value cannot be trained with") as refusal:
        checked(folder, edit)
    (problem,) = refusal.value.problems
    return str(problem), refusal.value


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        pytest.param(
            lambda plan: plan.update(orientation="stored"),
            "orientation: stored; the decision was canonical",
            id="orientation",
        ),
        pytest.param(
            lambda plan: plan.update(mirror_axes=[0, 2]),
            "mirror_axes: left-right and superior-inferior; the decision was all 3 spatial axes",
            id="mirror-axes",
        ),
        pytest.param(
            lambda plan: plan.update(mirror_axes=[]),
            "mirror_axes: no axis; the decision was all 3 spatial axes",
            id="no-mirroring",
        ),
        pytest.param(
            lambda plan: plan.update(gpu_memory_gib=9.5),
            "gpu_memory_gib: 9.5 GiB; the decision was 8 GiB",
            id="memory",
        ),
        pytest.param(
            lambda plan: plan["normalization"][0].update(scheme="rescale_to_0_1"),
            "normalization.0: rescale_to_0_1; the decision was ct",
            id="scheme",
        ),
        pytest.param(
            lambda plan: plan["normalization"][0]["statistics"].update(percentile_99_5=31.0),
            "normalization.0, to: 31; the decision was 30",
            id="clipping",
        ),
        pytest.param(
            lambda plan: fullres(plan).update(spacing=[4.0, 1.0, 0.75]),
            "3d_fullres.spacing: 4 x 1 x 0.75 mm; the decision was 4 x 1 x 1 mm",
            id="spacing",
        ),
        pytest.param(
            lambda plan: fullres(plan).update(median_shape=[21.0, 200.0, 179.0]),
            "3d_fullres.spacing, median image: 21 x 200 x 179 voxels; the decision was 21 x 200 x "
            "180 voxels",
            id="median-shape",
        ),
        pytest.param(
            lambda plan: fullres(plan).update(batch_dice=True),
            "3d_fullres.batch_dice: over the batch; the decision was per patch",
            id="batch-dice",
        ),
        pytest.param(
            lambda plan: fullres(plan).update(image_order=1),
            "3d_fullres.resampling: images, segmentations and logits by splines of order 1, 1 and "
            "1; the decision was images by cubic splines, segmentations and logits linearly",
            id="resampling",
        ),
        pytest.param(
            lambda plan: fullres(plan).update(anti_aliasing=False),
            "3d_fullres.anti_aliasing: False; the rules make it True",
            id="anti-aliasing",
        ),
        pytest.param(
            lambda plan: fullres(plan)["topology"]["kernels"].__setitem__(-1, [1, 3, 3]),
            "3d_fullres.topology.kernels: ",
            id="kernels",
        ),
        pytest.param(
            lambda plan: plan["configurations"].pop(0),
            "2d: not made; the decision was made",
            id="removed",
        ),
    ],
)
def test_every_edit_is_told_from_its_decision(folder, edit, line):
    (edited,) = checked(folder, edit).edited

    assert edited.startswith(line)


def test_an_edited_order_of_axes_is_told(folder):
    def edit(plan):
        plan["axis_order"] = [0, 2, 1]
        fullres(plan)["patch_size"] = [16, 128, 128]
        flat(plan)["patch_size"] = [128, 128]

    first, *patches = checked(folder, edit).edited

    assert first == "axis_order: (0, 2, 1); the decision was (0, 1, 2)"
    assert len(patches) == 2


def test_an_edited_network_is_told(folder):
    def edit(plan):
        fullres(plan)["network"] = "resenc"
        fullres(plan)["arch"] = documents.to_json(PRESETS["resenc"])

    assert checked(folder, edit).edited == ("3d_fullres.network: resenc; the decision was plain",)


def test_an_edited_topology_is_told_with_its_channels_and_divisor(folder):
    before = folder.read_plan("default").configuration("3d_fullres").topology
    stages, divisor = len(before.strides), before.divisor

    def edit(plan):
        for values in fullres(plan)["topology"].values():
            values.pop()
        fullres(plan)["topology"]["features"][0] = 16

    lines = checked(folder, edit).edited
    features = [16, *before.features[1:-1]]
    fewer = [n // by for n, by in zip(divisor, before.strides[-1], strict=True)]
    assert lines[0] == f"3d_fullres.topology: {stages - 1} stages; the decision was {stages} stages"
    assert lines[1].startswith(
        f"3d_fullres.topology, patch is a multiple of: {' x '.join(map(str, fewer))} voxels; "
    )
    assert lines[2].startswith("3d_fullres.width: 16 channels in the first stage; the decision")
    assert lines[3].startswith(
        f"3d_fullres.width, by stage: {', '.join(map(str, features))}; the decision was 32, 64, "
    )
    assert len(lines) == 4


@pytest.mark.parametrize("mirroring", ["auto", "all", "none"])
@pytest.mark.parametrize("rules", ["autoseg", "nnunet"])
@pytest.mark.parametrize("side", ["organ", "left organ"])
def test_no_plan_as_it_was_made_is_edited(folder, mirroring, rules, side):
    dataset = folder.read_dataset()
    labels = Labels(names=("background", side))
    description = replace(dataset.description, labels=labels)
    documents.write(folder.dataset_file, replace(dataset, description=description))
    cases = tuple(
        replace(case, shape=(30, 700, 660), shape_after_crop=(28, 640 + index, 600))
        for index, case in enumerate(folder.read_fingerprint().cases)
    )
    fingerprint = replace(folder.read_fingerprint(), cases=cases)
    documents.write(folder.fingerprint_file, fingerprint)
    budget = PlannerBudget(gpu_memory_gib=6.0, mirroring=mirroring, rules=rules)
    plan = plan_dataset(fingerprint, description, budget=budget)
    documents.write(folder.plan_file("default"), plan)

    assert "3d_cascade_fullres" in plan.names
    assert checked(folder).edited == ()
    assert checked(folder, lambda plan: plan["configurations"][-1].update(batch_size=9)).edited == (
        "3d_cascade_fullres.batch_size: 9 patches; the decision was 2 patches",
    )


def test_a_plan_for_fine_tuning_is_not_edited(folder):
    plan = folder.read_plan("default")
    dataset = folder.read_dataset().description
    model = SimpleNamespace(plan=replace(plan, mirror_axes=(0, 2)), dataset=dataset)
    taken = plan_like(model, folder.read_fingerprint(), dataset)
    documents.write(folder.plan_file("default"), taken)

    assert checked(folder).edited == ()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        pytest.param(
            lambda plan: plan.update(name="other"),
            "name 'other' must be that of the file, 'default'",
            id="name",
        ),
        pytest.param(
            lambda plan: fullres(plan).update(network="unet"),
            "3d_fullres.network 'unet' is unknown; known are plain, resenc",
            id="unknown-network",
        ),
        pytest.param(
            lambda plan: fullres(plan).update(network="resenc"),
            "3d_fullres.arch is that of 'plain'; network is 'resenc', and both must go together",
            id="other-network",
        ),
        pytest.param(
            lambda plan: fullres(plan)["arch"].update(stem=True),
            "3d_fullres.arch is that of no network; network is 'plain', and both must go together",
            id="no-network",
        ),
        pytest.param(
            lambda plan: plan.update(gpu_memory_gib=1024.0),
            "gpu_memory_gib 1024 must be at most 512, which no device exceeds",
            id="memory",
        ),
        pytest.param(
            # 21 * 4 / 0.01 by 200 / 0.01 by 180 / 1 voxels.
            lambda plan: fullres(plan).update(spacing=[0.01, 0.01, 1.0]),
            "3d_fullres.spacing 0.01 x 0.01 x 1 mm makes the median image 8400 x 20000 x 180 "
            "voxels; it must have at most 2147483648 voxels",
            id="fine",
        ),
        pytest.param(
            lambda plan: flat(plan).update(spacing=[0.001, 0.001]),
            "2d.spacing 0.001 x 0.001 mm makes the median image 200000 x 180000 voxels; it must "
            "have at most 2147483648 voxels",
            id="fine-slices",
        ),
        pytest.param(
            lambda plan: fullres(plan).update(spacing=[4.0, 1e-320, 1e300]),
            "3d_fullres.spacing 4 x 1e-320 x 1",
            id="endless",
        ),
        pytest.param(
            # 21 * 4 / 12 by 200 / 40 by 180 / 45 voxels.
            lambda plan: fullres(plan).update(spacing=[12.0, 40.0, 45.0]),
            "3d_fullres.spacing 12 x 40 x 45 mm makes the median image 7 x 5 x 4 voxels; it must "
            "have at least 8 voxels on one axis",
            id="coarse",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_with_the_numbers(folder, edit, message):
    problem, refusal = refused(folder, edit)

    assert problem.startswith(message)
    assert refusal.hint.endswith("autoseg plan -d Task99_Test --plan default --overwrite")


def test_the_hint_names_the_checked_plan(folder):
    file = folder.plan_file("mine.v2")
    plan = replace(folder.read_plan("default"), name="mine.v2", dataset="Other")
    documents.write(file, plan)

    with pytest.raises(RefusedCasesError) as refusal:
        check_plan(file, folder, step_bytes=lambda configuration: 2**30)

    assert refusal.value.hint.endswith("autoseg plan -d Task99_Test --plan mine.v2 --overwrite")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda found: found.update(cases=[]), "has 0 cases", id="no-case"),
        pytest.param(
            lambda found: found["cases"][7].update(spacing=[4.0, 0.0, 1.0]),
            r"case 'case_7': .* spacing \(4.0, 0.0, 1.0\) mm; voxels and spacings must be positive",
            id="spacing",
        ),
    ],
)
def test_a_fingerprint_that_cannot_be_planned_with_is_refused_first(folder, change, message):
    found = json.loads(folder.fingerprint_file.read_text())
    change(found)
    folder.fingerprint_file.write_text(json.dumps(found))

    with pytest.raises(PlanError, match=message):
        checked(folder)


def test_a_step_that_the_memory_does_not_hold_is_refused_with_what_would(folder):
    # (6 + 1.5) GiB / 0.85 = 8.82 GiB.
    with pytest.raises(RefusedCasesError, match=r"takes 6 GiB, .* at least 8.82; it is 8"):
        checked(folder, step_bytes=6 * 2**30)
