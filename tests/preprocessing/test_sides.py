"""Which cases have something on the wrong side."""

from dataclasses import replace

import numpy as np
import pytest

from autoseg.core.fingerprint import CaseMeasurement
from autoseg.core.labels import Labels
from preprocessing.sides import paired_labels, side_findings, trusted_orders

LABELS = Labels(names=("background", "liver", "spleen"))
KIDNEYS = Labels(names=("background", "kidney_right", "kidney_left"))


def measured(name, *centers, body=(0.0, 0.0, 0.0), orientation="LPS"):
    """Return the measurement of a case with labels at these places, mm (z, y, x)."""
    return CaseMeasurement(
        name=name,
        key="key",
        shape=(30, 40, 50),
        shape_after_crop=(30, 40, 50),
        spacing=(3.0, 0.75, 0.5),
        class_voxels=(50_000, *(0 if center is None else 100 for center in centers)),
        channels=(None,),
        orientation=orientation,
        label_centers=centers,
        body_center=body,
    )


def abdomens(count, *, seed=1):
    """Return cases with the liver on the right and the spleen on the left, 5 mm up or down."""
    rng = np.random.default_rng(seed)
    cases = []
    for n in range(count):
        liver, spleen = np.array([(0, 10, 60), (20, -30, -70)]) + rng.normal(0, 5, (2, 3))
        cases.append(measured(f"case_{n:02d}", tuple(liver), tuple(spleen)))
    return cases


def mirrored(case, axis=2):
    """Turn the labels of a case around along an axis, as a flip of the segmentation does."""
    turned = tuple(
        None if c is None else tuple(-v if a == axis else v for a, v in enumerate(c))
        for c in case.label_centers
    )
    return replace(case, label_centers=turned)


def test_nothing_is_found_where_all_cases_agree():
    assert side_findings(abdomens(30), LABELS) == ()
    assert side_findings([], LABELS) == ()


@pytest.mark.parametrize("count", [6, 7, 30])
def test_a_case_mirrored_left_to_right_is_found(count):
    cases = abdomens(count)
    cases[3] = mirrored(cases[3])
    (found,) = side_findings(cases, LABELS)
    apart = cases[3].label_centers[0][2] - cases[3].label_centers[1][2]
    assert (found.kind, found.case, found.labels) == ("side", "case_03", (2, 1))
    assert found.what == "'spleen' lies right of 'liver'"
    assert found.measured.startswith(f"{-apart:.3g} mm right of 'liver'; so are 2 more pairs")
    assert found.usual.startswith(f"left of it in {count - 1} of {count} cases, by ")
    assert "--exclude case_03" in found.fix


def test_five_cases_make_no_norm():
    cases = abdomens(5)
    assert side_findings([mirrored(cases[0]), *cases[1:]], LABELS) == ()


def test_a_single_label_is_judged_by_the_middle_of_the_body():
    labels = Labels(names=("background", "liver"))
    # The body lies 100 mm right of the middle of the image, the liver 160 mm right of that.
    cases = [measured(f"case_{n}", (0.0, 0.0, 160.0 + n), body=(0.0, 0.0, 100.0)) for n in range(8)]
    cases[2] = measured("case_2", (0.0, 0.0, 38.0), body=(0.0, 0.0, 100.0))
    (found,) = side_findings(cases, labels)
    assert (found.case, found.labels) == ("case_2", (1,))
    assert found.what == "'liver' lies left of the middle of the body"
    # The median of 60, 61, 63, ... 67 and -62.
    assert found.measured == "62 mm left of the middle of the body"
    assert found.usual == "right of it in 7 of 8 cases, by 63.5 mm at the median"


def test_a_case_turned_upside_down_is_found_by_two_labels_but_not_by_the_body():
    cases = [measured(f"case_{n}", (40.0 + n, 0.0, 0.0), (-40.0, 0.0, 1.0)) for n in range(9)]
    cases[4] = mirrored(cases[4], axis=0)
    (found,) = side_findings(cases, LABELS)
    assert (found.case, found.what) == ("case_4", "'spleen' lies above 'liver'")
    alone = [replace(case, label_centers=(case.label_centers[0], None)) for case in cases]
    assert side_findings(alone, LABELS) == ()


def test_labels_that_lie_now_here_now_there_are_not_judged():
    rng = np.random.default_rng(2)
    cases = [
        measured(f"case_{n}", tuple(rng.normal(0, 30, 3)), tuple(rng.normal(0, 30, 3)))
        for n in range(40)
    ]
    assert side_findings(cases, LABELS) == ()


def test_a_label_that_nearly_touches_the_plane_is_not_mirrored():
    cases = abdomens(20)
    cases[5] = measured("case_05", (0.0, 10.0, -20.0), (20.0, -30.0, -20.0))
    # Both lie left by 20 mm: less than half of the liver's usual 60 mm on the other side.
    assert side_findings(cases, LABELS) == ()


def test_many_cases_on_the_other_side_are_a_group():
    cases = abdomens(40)
    cases[:5] = map(mirrored, cases[:5])
    assert side_findings(cases, LABELS) == ()


def test_cases_without_a_label_do_not_count():
    cases = abdomens(12)
    cases[:6] = [replace(c, label_centers=(None, c.label_centers[1])) for c in cases[:6]]
    cases[7] = mirrored(cases[7])
    (found,) = side_findings(cases, LABELS)
    assert found.case == "case_07"
    assert "5 of 6 cases" in found.usual


def test_formats_that_know_no_sides_are_not_judged():
    cases = [replace(case, orientation="") for case in abdomens(12)]
    cases[7] = mirrored(cases[7])
    assert side_findings(cases, LABELS) == ()


def kidneys(name, apart):
    return measured(name, (0.0, 0.0, apart / 2), (0.0, 0.0, -apart / 2))


def test_names_tell_the_sides_of_a_single_case():
    (found,) = side_findings([kidneys("a", 110.0), kidneys("b", -112.0)], KIDNEYS)
    assert (found.case, found.labels) == ("b", (2, 1))
    assert found.what == "'kidney_left' lies right of 'kidney_right'"
    assert found.measured == "112 mm right of 'kidney_right'"
    assert found.usual.endswith("in 1 of 2 cases that have both")


def test_two_voxels_too_far_are_no_contradiction():
    assert side_findings([kidneys("a", -1.0)], KIDNEYS) == ()
    assert len(side_findings([kidneys("a", -1.25)], KIDNEYS)) == 1


def test_of_several_mirrored_pairs_the_one_named_left_and_right_is_told():
    # Liver and spleen lie 130 mm apart, the kidneys 110 mm: the former come first but for names.
    labels = Labels(names=("background", "liver", "spleen", "kidney_left", "kidney_right"))
    cases = [
        measured(f"case_{n}", *((0.0, 0.0, x + n) for x in (60.0, -70.0, -55.0, 55.0)))
        for n in range(7)
    ]
    cases[2] = mirrored(cases[2])
    (found,) = side_findings(cases, labels)
    assert found.what == "'kidney_right' lies left of 'kidney_left'"
    assert found.labels == (4, 3)
    # Four labels and the body are ten pairs, each of them the other way round.
    assert found.measured == "110 mm left of 'kidney_left'; so are 9 more pairs"


def test_names_that_most_cases_contradict_are_one_finding():
    cases = [kidneys(f"case_{n}", -100.0 - n) for n in range(7)] + [kidneys("odd", 100.0)]
    of_dataset, of_case = side_findings(cases, KIDNEYS)
    assert of_dataset.case == ""
    assert of_dataset.what == (
        "names against sides: 'kidney_left' lies right of 'kidney_right' in most cases"
    )
    assert of_dataset.measured == "so in 7 of 8 cases that have both"
    assert of_case.case == "odd"


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        pytest.param(("lung left", "lung right"), ((1, 2),), id="words"),
        pytest.param(("R_Lung", "L_Lung"), ((2, 1),), id="letters"),
        pytest.param(("lungRight", "lungLeft"), ((2, 1),), id="camel-case"),
        pytest.param(("left lung", "right kidney"), (), id="other-organs"),
        pytest.param(("lung left", "lung"), (), id="one-side-only"),
        pytest.param(("leftover", "rightover"), (), id="parts-of-words"),
    ],
)
def test_pairs_are_names_that_differ_in_the_side_only(names, pairs):
    assert paired_labels(Labels(names=("background", *names))) == pairs


def test_an_order_is_trusted_from_four_standard_deviations_on():
    # Along x the label lies at 8, 9 ... 12 of the body: median 10, deviations 2 1 0 0 1 2.
    for spread, trusted in ((1.0, True), (2.0, False)):
        x = 10 + spread * np.array([-2.0, -1, 0, 0, 1, 2])
        centers = np.zeros((6, 2, 3))
        centers[:, 1, 2] = x
        assert [o.axis for o in trusted_orders(centers)] == [2] * trusted
