from dataclasses import replace

import pytest

from autoseg.core.dataset import DatasetDescription
from autoseg.core.fingerprint import CaseGrid, ChannelStatistics, Fingerprint
from autoseg.core.labels import Labels
from autoseg.core.plan import Decision
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
    title, line, rules, memory, network, axes = page.splitlines()[:6]

    assert title == "Plan 'default' for Task03_Liver"
    assert line == "=" * len(title)
    assert rules.split(maxsplit=1) == ["rules", "autoseg's own"]
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

    groups = [line for line in why[3:] if line and not line.startswith((" ", "*"))]
    assert groups == [
        "All configurations", "2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres"
    ]  # fmt: skip


@pytest.fixture
def decided(plan):
    """The plan with four decisions instead of its own, two of them the user's."""
    decisions = (
        Decision(
            subject="gpu_memory_gib",
            value="24 GiB",
            rule="it was given",
            changed_by="--gpu-memory-gib",
            is_override=True,
        ),
        Decision(subject="style", value="instance norm", rule="it works"),
        Decision(
            subject="3d_fullres.patch_size",
            value="64 x 192 x 160 voxels",
            rule="it was given",
            numbers=(("the rules' own", "192 x 192 x 192 voxels"),),
            changed_by="leaving --patch-size out",
            is_override=True,
        ),
        Decision(
            subject="3d_fullres.batch_size",
            value="2 patches",
            rule="it fits",
            changed_by="a word " * 20 + "or --gpu-memory-gib",
        ),
    )
    return replace(plan, decisions=decisions)


def test_what_would_change_a_decision_follows_its_numbers(decided):
    why = explain_plan(decided).split("\nWhy\n---\n")[1]

    assert why.splitlines()[:3] == [
        "All configurations",
        "* gpu memory: 24 GiB \N{EM DASH} because it was given.",
        "    would change: --gpu-memory-gib.",
    ]
    assert why.splitlines()[6:10] == [
        "* patch size: 64 x 192 x 160 voxels \N{EM DASH} because it was given "
        "(the rules' own: 192 x 192 x 192",
        "    voxels).",
        "    would change: leaving --patch-size out.",
        "  batch size: 2 patches \N{EM DASH} because it fits.",
    ]
    assert joined(why).endswith("a word or --gpu-memory-gib.")
    assert max(len(line) for line in why.splitlines()) <= 92


def test_names_of_decisions_leave_units_to_the_values(plan):
    predicted = Decision(subject="2d.step_bytes", value="2.9 GiB", rule="it was traced")
    page = explain_plan(replace(plan, decisions=(predicted,)))

    assert page.endswith("\n2d\n  step memory: 2.9 GiB \N{EM DASH} because it was traced.\n")


def test_a_decision_that_nothing_changes_has_no_such_line(decided):
    why = explain_plan(decided).split("\nWhy\n---\n")[1]

    style = why.splitlines().index("  style: instance norm \N{EM DASH} because it works.")
    assert why.splitlines()[style + 1] == ""


def test_what_the_user_set_is_listed_near_the_top_with_its_configuration(decided):
    heading = explain_plan(decided).split("\nConfiguration ")[0].splitlines()

    assert heading[-4:] == [
        "",
        "Set by you, marked * below:",
        "  gpu memory: 24 GiB",
        "  3d_fullres patch size: 64 x 192 x 160 voxels",
    ]


def test_a_plan_that_nobody_overruled_lists_and_marks_nothing(decided):
    plain = tuple(replace(decision, is_override=False) for decision in decided.decisions)
    page = explain_plan(replace(decided, decisions=plain))

    assert "Set by you" not in page
    assert "*" not in page


def test_a_plan_by_nnunets_rules_says_so(plan):
    assert "rules          nnU-Net's" in explain_plan(replace(plan, rules="nnunet")).splitlines()


def test_a_configuration_tells_its_predicted_memory_and_whether_images_are_smoothed(plan):
    first, *others = plan.configurations
    told = replace(first, step_bytes=5 * 2**29, anti_aliasing=True)  # 2.5 GiB
    page = explain_plan(replace(plan, configurations=(told, *others)))

    section = page.split("Configuration ")[1]
    assert "memory         2.5 GiB on the device at the peak of a training step" in section
    assert "anti-aliasing  along axes that resampling shrinks to under half" in section


def test_a_configuration_whose_memory_nobody_predicted_does_not_tell_any(plan):
    first, *_ = plan.configurations
    bare = replace(first, step_bytes=None, anti_aliasing=False)
    page = explain_plan(replace(plan, configurations=(bare,)))

    assert "training step" not in page.split("\nWhy\n")[0]
    assert "anti-aliasing  none" in page.splitlines()


def test_lines_are_short_enough_for_a_terminal_and_end_in_ink(page):
    assert max(len(line) for line in page.splitlines()) <= 92
    assert not [line for line in page.splitlines() if line != line.rstrip()]
    assert page.endswith(".\n")


def test_a_plan_without_decisions_or_mirroring_is_explained_too(plan):
    page = explain_plan(replace(plan, decisions=(), mirror_axes=()))

    assert "mirrored axes  none" in page
    assert "because" not in page


def test_notes_stand_near_the_top(plan):
    noted = replace(plan, notes=("label 'cyst' is in none of 131 cases",))

    lines = explain_plan(noted).splitlines()

    place = lines.index("Note:")
    assert lines[place + 1] == "  label 'cyst' is in none of 131 cases"
    assert place < lines.index("Configuration 2d")
    assert "Note:" not in explain_plan(plan)
