from dataclasses import replace

import pytest

from autoseg.core.dataset import DatasetDescription
from autoseg.core.fingerprint import CaseGrid, ChannelStatistics, Fingerprint
from autoseg.core.labels import Labels
from autoseg.reporting.explanation import explain_plan
from planners.budget import PlannerBudget
from planners.planner import plan_dataset


@pytest.fixture(scope="module")
def plan():
    """A plan with all four configurations, coarsest axis last."""
    statistics = ChannelStatistics(
        mean=95.0,
        median=99.0,
        std=41.0,
        minimum=-900.0,
        maximum=1500.0,
        percentile_00_5=-15.0,
        percentile_99_5=197.0,
    )
    cases = tuple(
        CaseGrid(
            name=f"case_{index}",
            shape=(440, 450, 430),
            shape_after_crop=(440, 440, 430),
            spacing=(0.77, 0.77, 1.0),
            class_voxels=(900, 90, 10),
        )
        for index in range(131)
    )
    return plan_dataset(
        Fingerprint(dataset="Task03_Liver", cases=cases, channels=(statistics,)),
        DatasetDescription(
            name="Task03_Liver",
            channels=("CT",),
            labels=Labels(names=("background", "liver", "cancer")),
            file_ending=".nii.gz",
        ),
        budget=PlannerBudget(gpu_memory_gib=24.0, network="resenc"),
    )


@pytest.fixture(scope="module")
def page(plan):
    return explain_plan(plan)


def joined(page):
    return " ".join(page.split())


def test_the_page_opens_with_dataset_budget_and_network(page):
    title, line, memory, network, axes = page.splitlines()[:5]

    assert title == "Plan 'default' for Task03_Liver"
    assert line == "=" * len(title)
    assert memory.split(maxsplit=2)[2] == "24 GiB"
    assert network.split() == ["network", "resenc"]
    assert axes.endswith("canonical, array axes in the order (2, 0, 1)")


def test_each_configuration_has_its_section_in_the_order_of_the_plan(page):
    titles = [line for line in page.splitlines() if line.startswith("Configuration ")]

    names = ("2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres")
    assert titles == [f"Configuration {name}" for name in names]


def test_a_patch_is_given_in_voxels_and_in_mm(page):
    # 192 x 0.77 mm = 147.84 mm.
    assert "192 x 192 x 192 voxels, 192 x 147.8 x 147.8 mm" in page


def test_the_table_of_stages_shows_stride_kernel_size_and_blocks(page):
    section = page[page.index("Configuration 3d_fullres") :]
    rows = [line for line in section.splitlines() if line[:1].isdigit()][:6]

    second = "2 2 x 2 x 2 3 x 3 x 3 96 x 96 x 96 64 3 residual blocks 1 convolution"
    bottleneck = "6 2 x 2 x 2 3 x 3 x 3 6 x 6 x 6 320 6 residual blocks"
    assert joined(rows[1]) == second
    assert joined(rows[5]) == bottleneck
    assert rows[1].index("96 x") == rows[5].index("6 x 6 x 6")


def test_the_cascade_names_its_second_input(page):
    cascade = page[page.index("Configuration 3d_cascade_fullres") :]

    assert "image and the prediction of 3d_lowres" in cascade.splitlines()[2]


def test_each_decision_reads_as_value_because_rule_and_numbers(plan, page):
    text = joined(page)

    for decision in plan.decisions:
        numbers = "; ".join(f"{name}: {value}" for name, value in decision.numbers)
        sentence = f"{decision.value} \N{EM DASH} because {decision.rule}"
        assert sentence + (f" ({numbers})." if numbers else ".") in text


def test_decisions_are_grouped_by_what_they_concern(page):
    why = page[page.index("\nWhy\n") :].splitlines()

    groups = [line for line in why[3:] if line and not line.startswith(" ")]
    assert groups == [
        "All configurations", "2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres"
    ]  # fmt: skip


def test_lines_are_short_enough_for_a_terminal_and_end_in_ink(page):
    assert max(len(line) for line in page.splitlines()) <= 92
    assert not [line for line in page.splitlines() if line != line.rstrip()]
    assert page.endswith(".\n")


def test_a_plan_without_decisions_or_mirroring_is_explained_too(plan):
    page = explain_plan(replace(plan, decisions=(), mirror_axes=()))

    assert "mirrored axes  none" in page
    assert "because" not in page
