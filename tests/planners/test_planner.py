import math
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoseg.core.errors import PlanError
from autoseg.core.labels import Labels, Region
from planners.budget import PlannerBudget
from planners.planner import plan_dataset

BUDGET = PlannerBudget()


@pytest.fixture
def hippocampus(fingerprint_of):
    # 200 cases around 36 x 50 x 35 voxels of 1 mm.
    grids = [
        ((1.0, 1.0, 1.0), (36 + wobble, 50 - wobble, 35 + wobble))
        for wobble in (-4, -1, 0, 2, 3)
        for _ in range(40)
    ]
    return fingerprint_of(grids)


def test_hippocampus_gets_its_whole_image_in_batches_of_seven(hippocampus, description_of):
    plan = plan_dataset(hippocampus, description_of(3), budget=BUDGET)

    # 5 % of 200 x 36 x 50 x 35 voxels is 7.03 patches of 40 x 56 x 40.
    fullres = plan.configuration("3d_fullres")
    assert (fullres.patch_size, fullres.batch_size) == ((40, 56, 40), 7)
    assert [each.name for each in plan.configurations] == ["2d", "3d_fullres"]


@pytest.mark.parametrize(
    ("gpu_memory_gib", "network"), [(8.0, "plain"), (8.5, "resenc"), (40.0, "resenc")]
)
def test_the_network_that_is_chosen_takes_no_more_of_a_small_dataset(
    fingerprint_of, description_of, gpu_memory_gib, network
):
    fingerprint = fingerprint_of([((1.0, 1.0, 1.0), (36, 50, 35))] * 260)

    budget = PlannerBudget(gpu_memory_gib=gpu_memory_gib)
    plan = plan_dataset(fingerprint, description_of(3), budget=budget)

    # 5 % of 260 x 36 x 50 x 35 voxels is 9.1 patches; nnU-Net's presets take 58 to 183.
    fullres = plan.configuration("3d_fullres")
    assert (fullres.network, fullres.batch_size) == (network, 9)
    assert next(d.value for d in plan.decisions if d.subject == "network") == network


def test_regions_and_the_ignore_label_are_counted_as_the_dataset_file_lists_them(
    hippocampus, description_of
):
    # Background, 2 regions, the ignore label; the label "rest" is in no region of its own.
    labels = Labels(
        names=("background", "one", "two", "rest"),
        regions=(
            Region(name="whole", labels=(1, 2, 3), written=1),
            Region(name="two", labels=(2,), written=2),
        ),
        ignore=7,
    )
    description = replace(description_of(2), labels=labels)

    plan = plan_dataset(hippocampus, description, budget=BUDGET)

    network = next(d for d in plan.decisions if d.subject == "network")
    assert dict(network.numbers)["entries of the labels"] == "4"


def test_values_of_the_plan_come_from_their_sources(hippocampus, description_of):
    budget = PlannerBudget(gpu_memory_gib=10.0, network="resenc")

    plan = plan_dataset(hippocampus, description_of(3, "CT"), budget=budget, name="large")

    assert (plan.name, plan.dataset, plan.gpu_memory_gib) == ("large", "Task99_Test", 10.0)
    assert (plan.orientation, plan.mirror_axes) == ("canonical", (0, 1, 2))
    assert plan.normalization[0].scheme == "ct"
    assert plan.configuration("2d").network == "resenc"
    assert plan.configuration("2d").arch.stem


def test_thick_slices_are_planned_at_the_spacing_of_the_thin_ones(fingerprint_of, description_of):
    # Heart: slices of 10 mm, in some cases of 5 mm.
    grids = [((10.0, 1.56, 1.56), (10, 256, 216))] * 160
    grids += [((5.0, 1.56, 1.56), (20, 256, 216))] * 40

    budget = PlannerBudget(network="plain")
    plan = plan_dataset(fingerprint_of(grids), description_of(4), budget=budget)

    fullres = plan.configuration("3d_fullres")
    assert fullres.spacing == (5.0, 1.56, 1.56)
    assert fullres.median_shape == (20.0, 256.0, 216.0)
    assert (fullres.patch_size, fullres.batch_size) == ((20, 256, 224), 4)


def test_per_axis_values_are_in_plan_order(fingerprint_of, description_of):
    fingerprint = fingerprint_of([((0.5, 0.75, 4.0), (300, 200, 24))] * 30)

    plan = plan_dataset(fingerprint, description_of(2), budget=BUDGET)

    assert plan.axis_order == (2, 0, 1)
    assert plan.configuration("3d_fullres").spacing == (4.0, 0.5, 0.75)
    assert plan.configuration("3d_fullres").median_shape == (24.0, 300.0, 200.0)
    assert plan.configuration("2d").spacing == (0.5, 0.75)
    assert plan.configuration("2d").median_shape == (300.0, 200.0)


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    fine=st.lists(st.sampled_from([0.25, 0.5, 0.75, 1.0]), min_size=2, max_size=2),
    coarse=st.sampled_from([1.25, 2.0, 4.0, 8.0]),
    # A fine axis of a single voxel would count as the coarsest: see axis_order.
    shape=st.tuples(st.integers(1, 400), st.integers(16, 400), st.integers(16, 400)),
    place=st.sampled_from([1, 2]),
)
def test_where_the_coarsest_axis_lies_changes_the_axis_order_only(
    fingerprint_of, description_of, fine, coarse, shape, place
):
    def planned(place):
        spacing, voxels = list(fine), list(shape[1:])
        spacing.insert(place, coarse)
        voxels.insert(place, shape[0])
        fingerprint = fingerprint_of([(tuple(spacing), tuple(voxels))] * 20)
        return plan_dataset(fingerprint, description_of(2), budget=BUDGET)

    first, moved = planned(0), planned(place)

    assert moved.axis_order[0] == place
    assert replace(moved, axis_order=first.axis_order, decisions=()) == replace(first, decisions=())
    differing = [a.subject for a, b in zip(first.decisions, moved.decisions, strict=True) if a != b]
    assert differing == ["axis_order"]


@pytest.mark.parametrize(
    ("spacing", "shape"),
    [
        pytest.param((0.5, 0.75), (900, 700), id="image"),
        pytest.param((0.5, 0.75), (1, 700), id="one-row"),
        pytest.param((8.0, 0.5, 0.75), (1, 300, 200), id="one-slice"),
        pytest.param((0.5, 3.0, 1.0), (1, 200, 90), id="one-slice-of-fine-voxels"),
        pytest.param((1.0, 1.0, 1.0), (2, 600, 500), id="two-slices"),
    ],
)
def test_thin_images_are_planned(fingerprint_of, description_of, spacing, shape):
    plan = plan_dataset(fingerprint_of([(spacing, shape)] * 9), description_of(2), budget=BUDGET)

    assert plan.configuration("2d").batch_size >= 2
    assert all(min(each.patch_size) >= 1 for each in plan.configurations)


def test_the_share_of_a_2d_batch_counts_the_pixels_of_all_images(fingerprint_of, description_of):
    fingerprint = fingerprint_of([((0.5, 0.75), (96, 64))] * 70)

    flat = plan_dataset(fingerprint, description_of(2), budget=BUDGET).configuration("2d")

    assert flat.patch_size == (96, 64)
    assert flat.batch_size == round(0.05 * 70)


def test_every_value_has_a_decision(fingerprint_of, description_of):
    fingerprint = fingerprint_of([((1.0, 0.75, 0.5), (400, 420, 440))] * 30, channels=2)

    plan = plan_dataset(fingerprint, description_of(3, "CT", "PET"), budget=BUDGET)

    subjects = [decision.subject for decision in plan.decisions]
    assert len(set(subjects)) == len(subjects)
    shared = {
        "rules", "gpu_memory_gib", "network", "style", "orientation", "axis_order", "mirror_axes",
        "target_spacing", "median_shape", "resampling", "normalization.0", "normalization.1",
    }  # fmt: skip
    names = ["2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres"]
    fields = ["spacing", "patch_size", "topology", "width", "batch_size", "batch_dice"]
    each = {f"{name}.{field}" for name in names for field in fields}
    assert set(subjects) == shared | each | set(names)


def test_images_that_no_network_can_halve_are_refused(fingerprint_of, description_of):
    tiny = fingerprint_of([((1.0, 1.0, 1.0), (7, 6, 5))] * 20)

    message = r"the median image, 7 x 6 x 5 voxels, is too small: no axis has enough voxels"
    with pytest.raises(PlanError, match=message):
        plan_dataset(tiny, description_of(2), budget=BUDGET)


def test_rods_are_planned_in_3d_only(fingerprint_of, description_of):
    # In plane there is nothing to halve.
    rods = fingerprint_of([((1.0, 1.0, 1.0), (100, 7, 7))] * 20)

    plan = plan_dataset(rods, description_of(2), budget=BUDGET)

    assert plan.names == ("3d_fullres",)
    why = {decision.subject: decision.rule for decision in plan.decisions}
    assert why["2d"] == "no axis in plane has enough voxels for a network to halve it"


def test_a_plan_needs_a_case(hippocampus, description_of):
    empty = replace(hippocampus, cases=())

    with pytest.raises(PlanError, match=r"'Task99_Test': the fingerprint has 0 cases") as refusal:
        plan_dataset(empty, description_of(3), budget=BUDGET)

    assert refusal.value.rule == "E-SET-47"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_statistics_must_be_finite(hippocampus, description_of, value):
    broken = replace(hippocampus.channels[0], std=value)

    with pytest.raises(PlanError, match=rf"channel 'PET': the foreground's std is {value}"):
        plan_dataset(
            replace(hippocampus, channels=(hippocampus.channels[0], broken)),
            description_of(3, "CT", "PET"),
            budget=BUDGET,
        )


def test_channels_must_match_the_description(hippocampus, description_of):
    with pytest.raises(PlanError, match=r"statistics of 1 channels; .* names 2: CT, PET"):
        plan_dataset(hippocampus, description_of(3, "CT", "PET"), budget=BUDGET)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spacing": (1.0, math.nan, 2.0)}, r"'case_0003'.*\(1.0, nan, 2.0\) mm; .* positive"),
        ({"spacing": (1.0, 0.0, 2.0)}, r"'case_0003'.*\(1.0, 0.0, 2.0\) mm; .* positive"),
        ({"shape_after_crop": (9, 0, 7)}, r"'case_0003'.*\(9, 0, 7\).* positive"),
        ({"spacing": (1.0, 2.0)}, r"'case_0003'.*\(1.0, 2.0\) mm; .* the first has 3"),
    ],
)
def test_a_case_that_cannot_be_planned_with_is_named(hippocampus, description_of, change, message):
    cases = list(hippocampus.cases)
    cases[3] = replace(cases[3], **change)

    with pytest.raises(PlanError, match=message):
        plan_dataset(replace(hippocampus, cases=tuple(cases)), description_of(3), budget=BUDGET)


def test_a_budget_that_holds_nothing_is_refused_by_configuration(hippocampus, description_of):
    tiny = PlannerBudget(gpu_memory_gib=1e-8)

    with pytest.raises(PlanError, match=r"configuration '2d': a budget of 1e-08 GiB is too small"):
        plan_dataset(hippocampus, description_of(3), budget=tiny)


def test_planning_loads_neither_torch_nor_the_pipeline():
    code = (
        "import sys, planners.planner; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'autoseg.pipeline')))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
