from dataclasses import replace

import pytest

from autoseg.core.fingerprint import Symmetry
from autoseg.core.labels import Labels, Region
from planners import mirroring
from planners.budget import PlannerBudget
from planners.mirroring import choose_mirroring, sided_axes
from planners.planner import plan_dataset

STRAIGHT = (0, 1, 2)


@pytest.fixture
def chosen(fingerprint_of, description_of):
    """Choose the mirrored axes for labels of these names."""

    def build(*names, symmetries=(), regions=(), file_ending=".nii.gz", order=STRAIGHT, **options):
        fingerprint = fingerprint_of([((1.0, 1.5, 2.0)[: len(order)], (9, 8, 7)[: len(order)])])
        description = replace(
            description_of(2),
            labels=Labels(names=("background", *names), regions=regions),
            file_ending=file_ending,
        )
        return choose_mirroring(
            replace(fingerprint, symmetries=symmetries), description, order=order, **options
        )

    return build


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("kidney_left", "x"),
        ("LeftKidney", "x"),
        ("leftKidney", "x"),
        ("LKidney", "x"),
        ("lung upper lobe R", "x"),
        ("Lung-lt", "x"),
        ("ctx.lh.insula", "x"),
        ("rt2", "x"),
        ("right", "x"),
        ("RIGHT", "x"),
        ("hippocampus_ant", "y"),
        ("Anterior", "y"),
        ("inferior vena cava", "z"),
        ("left superior temporal gyrus", "xz"),
        # "post" is read as posterior, whatever else it may mean.
        ("post-op cavity", "y"),
        ("liver", ""),
        ("L1", ""),
        ("vertebrae_L1", ""),
        ("vertebrae_S1", ""),
        ("hepatitis a", ""),
        ("lesion i", ""),
        ("leftover", ""),
        ("upright", ""),
        ("supraspinatus", ""),
        ("poster", ""),
        ("LV", ""),
        ("gro\N{LATIN SMALL LETTER SHARP S}", ""),
        ("f\N{LATIN SMALL LETTER U WITH DIAERESIS}r", ""),
        ("fu\N{COMBINING DIAERESIS}r", ""),
        ("cranial", ""),
        ("ventral", ""),
    ],
)
def test_a_name_carries_a_side_as_a_whole_token(name, axes):
    assert "".join(sided_axes(["tumor", name])) == axes


@pytest.mark.parametrize(
    ("names", "found"),
    [
        pytest.param(("hippocampus_a", "Hippocampus P"), {"y": 2}, id="a-and-p"),
        pytest.param(("hippocampus_a", "amygdala_p"), {}, id="of-different-things"),
        pytest.param(("S1", "I1"), {"z": 2}, id="s-and-i-of-one-number"),
        pytest.param(("S1", "I2"), {}, id="s-and-i-of-different-numbers"),
        pytest.param(("rib L1", "rib R1", "rib L2"), {"x": 2}, id="l-and-r-next-to-a-digit"),
        pytest.param(("4L", "5R"), {}, id="lymph-node-levels"),
        pytest.param(("T12", "L1", "L2", "S1"), {}, id="vertebrae"),
    ],
)
def test_an_ambiguous_letter_is_a_side_only_beside_its_opposite(names, found):
    assert {axis: len(sided) for axis, sided in sided_axes(names).items()} == found


def test_left_and_right_is_the_last_array_axis(chosen):
    mirror = chosen("kidney_left", "kidney_right", "spleen")

    assert mirror.axes == (0, 1)
    assert mirror.decision.value == "anterior-posterior and superior-inferior"
    assert mirror.decision.rule == (
        "mirroring left-right is off: the labels 'kidney_left' and 'kidney_right' carry a side"
    )


@pytest.mark.parametrize(
    ("name", "axes"),
    [("right", (1, 2)), ("anterior", (0, 1)), ("superior", (0, 2))],
)
def test_sides_are_found_where_the_plan_puts_their_axis(chosen, name, axes):
    # Plan axes are x, z, y.
    assert chosen(name, order=(2, 0, 1)).axes == axes


def test_one_label_with_a_side_is_enough(chosen):
    mirror = chosen("liver", "hippocampus_ant")

    assert mirror.axes == (0, 2)
    assert "the label 'hippocampus_ant' carries a side" in mirror.decision.rule


def test_names_of_regions_count(chosen):
    regions = (Region(name="right lung", labels=(1, 2), written=1),)

    assert chosen("upper", "lower", regions=regions).axes == (0, 1)


def test_of_many_names_some_are_listed(chosen):
    mirror = chosen(*(f"rib {n} {side}" for n in range(1, 13) for side in ("left", "right")))

    assert "'rib 2 right' and 20 more carry a side" in mirror.decision.rule


def test_a_measured_symmetry_switches_its_axis_off_with_its_numbers(chosen):
    symmetry = Symmetry(axis=1, first=1, second=3, cases=12, median_dice=0.8125)

    mirror = chosen("one", "two", "three", symmetries=(symmetry,))

    assert mirror.axes == (0, 2)
    assert mirror.decision.rule == (
        "mirroring anterior-posterior is off: a pair of labels mirrors each other"
    )
    assert mirror.decision.numbers == (
        ("'one' mirrored anterior-posterior onto 'three'", "Dice 0.81, median of 12 cases"),
    )


def test_names_and_symmetries_of_several_axes_are_all_told(chosen):
    symmetries = (
        Symmetry(axis=2, first=1, second=2, cases=10, median_dice=0.75),
        Symmetry(axis=2, first=2, second=3, cases=10, median_dice=0.6),
    )

    mirror = chosen("lung left", "lung right", "apex superior", symmetries=symmetries)

    assert mirror.axes == (1,)
    assert mirror.decision.rule == (
        "mirroring left-right is off: the labels 'lung left' and 'lung right' carry a side and "
        "2 pairs of labels mirror each other; mirroring superior-inferior is off: the label "
        "'apex superior' carries a side"
    )
    assert [value[:9] for _, value in mirror.decision.numbers] == ["Dice 0.75", "Dice 0.60"]


def test_an_axis_can_be_taken_out_of_the_name_rule(chosen, monkeypatch):
    monkeypatch.setattr(mirroring, "SIDED_AXES", ("x", "z"))

    assert chosen("anterior", "posterior").axes == (0, 1, 2)
    assert chosen("left", "right").axes == (0, 1)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"orientation": "stored"}, id="stored-axes"),
        pytest.param({"file_ending": ".png"}, id="no-anatomy"),
        pytest.param({"file_ending": ".png", "order": (0, 1)}, id="photograph"),
    ],
)
def test_images_without_anatomical_axes_are_mirrored_along_all(chosen, options):
    symmetry = Symmetry(axis=1, first=1, second=2, cases=12, median_dice=0.9)

    mirror = chosen("left", "anterior", symmetries=(symmetry,), **options)

    assert mirror.axes == options.get("order", STRAIGHT)
    assert "not those of a patient" in mirror.decision.rule


@pytest.mark.parametrize(
    ("mirroring", "axes", "value"),
    [("all", (0, 1, 2), "all 3 spatial axes"), ("none", (), "no axis")],
)
def test_what_is_asked_for_holds_whatever_the_labels_say(chosen, mirroring, axes, value):
    mirror = chosen("left", mirroring=mirroring)

    assert (mirror.axes, mirror.decision.value) == (axes, value)
    assert mirror.decision.rule == "it was given with --mirroring"
    assert mirror.decision.is_override


def test_labels_that_carry_no_side_are_mirrored_along_all_axes(chosen):
    mirror = chosen("liver", "tumor")

    assert (mirror.axes, mirror.decision.value) == ((0, 1, 2), "all 3 spatial axes")
    assert "no label's name carries a side" in mirror.decision.rule


@pytest.mark.parametrize(("mirroring", "axes"), [("auto", (0, 2)), ("all", (0, 1, 2))])
def test_the_plan_holds_the_axes_in_its_own_order(fingerprint_of, description_of, mirroring, axes):
    # The coarsest axis, y, comes first: plan axes are y, z, x.
    fingerprint = fingerprint_of([((0.5, 4.0, 0.75), (200, 24, 300))] * 30)
    labels = Labels(names=("background", "pancreas", "stomach superior"))
    description = replace(description_of(3), labels=labels)

    plan = plan_dataset(fingerprint, description, budget=PlannerBudget(mirroring=mirroring))

    assert plan.axis_order == (1, 0, 2)
    assert plan.mirror_axes == axes
    assert plan.patch_mirror_axes(plan.configuration("2d")) == tuple(a - 1 for a in axes if a)
