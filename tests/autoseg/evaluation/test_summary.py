"""Means, counts and layouts of a summary, from overlaps small enough to add up by hand."""

import csv
import io

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from autoseg.core.errors import DatasetError
from autoseg.core.labels import Labels, Region
from autoseg.evaluation.layout import COLUMNS, as_csv, as_table
from autoseg.evaluation.overlap import overlap_per_label, voxel_volume_mm3
from autoseg.evaluation.scoring import CaseScores, score_case
from autoseg.evaluation.summary import Summary, summarize

LABELS = Labels(names=("background", "liver", "tumor", "cyst"))
SPACING = (2.5, 0.5, 0.25)  # 0.3125 mm^3 a voxel


def _score(case, reference, prediction, spacing=SPACING):
    overlaps = overlap_per_label(np.array([[reference]]), np.array([[prediction]]), LABELS)
    return CaseScores(case=case, overlaps=overlaps, voxel_mm3=voxel_volume_mm3(spacing))


@pytest.fixture
def scores():
    """Three cases, liver Dice 1, 2/3, 1/2; tumor 0 missed, 0 spurious, unscored; never a cyst."""
    return (
        _score("c", [1, 1, 0, 0], [1, 1, 0, 2]),
        _score("a", [1, 1, 0, 2], [1, 0, 0, 0]),
        _score("b", [1, 1, 0, 0], [0, 1, 1, 0]),
    )


def test_label_means_leave_out_cases_where_both_are_empty(scores):
    liver, tumor, cyst = summarize(scores, LABELS, "Task01").labels
    # Dice: c 2*2/(2+2), a 2*1/(2+1), b 2*1/(2+2); IoU: c 2/2, a 1/2, b 1/3.
    assert liver.mean_dice == pytest.approx((1 + 2 / 3 + 1 / 2) / 3)
    assert liver.mean_iou == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert (tumor.mean_dice, tumor.mean_iou) == (0.0, 0.0)
    assert (cyst.mean_dice, cyst.mean_iou) == (None, None)


def test_label_counts_say_what_the_means_are_made_of(scores):
    counts = [
        (label.label, label.cases_counted, label.both_empty, label.missed, label.spurious)
        for label in summarize(scores, LABELS, "Task01").labels
    ]
    assert counts == [("liver", 3, 0, 0, 0), ("tumor", 2, 1, 1, 1), ("cyst", 0, 3, 0, 0)]


def test_mean_dice_is_over_the_labels_that_have_one(scores):
    summary = summarize(scores, LABELS, "Task01")
    assert summary.mean_dice == pytest.approx((13 / 18 + 0) / 2)


def test_the_order_of_cases_does_not_matter(scores):
    summary = summarize(scores, LABELS, "Task01")
    assert summary == summarize(scores[::-1], LABELS, "Task01")
    assert [scored.case for scored in summary.cases] == ["a", "b", "c"]


def test_no_cases_make_no_means():
    summary = summarize([], LABELS, "Task01")
    assert summary.mean_dice is None
    assert [label.cases_counted for label in summary.labels] == [0, 0, 0]


def test_a_case_counts_once(scores):
    with pytest.raises(DatasetError, match="case 'b' was scored more than once"):
        summarize([*scores, scores[2]], LABELS, "Task01")


def test_cases_are_scored_on_the_labels_of_the_dataset(scores):
    with pytest.raises(
        DatasetError, match=r"case 'a'.*'cyst', \(3,\).*has \(\('liver', \(1,\)\),\)"
    ):
        summarize(scores, Labels(names=("background", "liver")), "Task01")


def test_regions_are_summed_up_by_name_with_their_values_in_files():
    labels = Labels(
        names=("background", "liver", "tumor"),
        values=(0, 4, 7),
        regions=(
            Region(name="organ", labels=(1, 2), written=1),
            Region(name="tumor", labels=(2,), written=2),
        ),
        ignore=9,
    )
    ignored = 3
    # Organ: 2*2/(3+2) and unscored; tumor: 2*1/(2+1) and unscored.
    pairs = {"a": ([2, 2, 1, 0, ignored], [2, 1, 0, 0, 2]), "b": ([0, ignored], [0, 1])}
    scores = [
        CaseScores(
            case=name,
            overlaps=overlap_per_label(*map(np.array, pair), labels),
            voxel_mm3=0.5,
        )
        for name, pair in pairs.items()
    ]
    summary = summarize(scores, labels, "Task01")
    assert [(row.label, row.values) for row in summary.labels] == [
        ("organ", (4, 7)),
        ("tumor", (7,)),
    ]
    assert [row.mean_dice for row in summary.labels] == [4 / 5, 2 / 3]
    assert [(row.cases_counted, row.both_empty) for row in summary.labels] == [(1, 1), (1, 1)]
    assert summary.mean_dice == pytest.approx((4 / 5 + 2 / 3) / 2)
    with pytest.raises(DatasetError, match=r"scored on labels.*'organ', \(4, 7\).*'liver', \(1,\)"):
        summarize(scores, LABELS, "Task01")


def test_table_has_a_row_per_label_and_a_mean(scores):
    # Mean IoU: ((1 + 1/2 + 1/3) / 3 + 0) / 2 = 11/36.
    assert as_table(summarize(scores, LABELS, "Task01")).splitlines() == [
        "label    Dice     IoU  cases  both empty  missed  spurious",
        "liver  0.7222  0.6111      3           0       0         0",
        "tumor  0.0000  0.0000      2           1       1         1",
        "cyst        -       -      0           3       0         0",
        "mean   0.3611  0.3056",
    ]


def test_table_appends_the_worst_cases_first(scores):
    table = as_table(summarize(scores, LABELS, "Task01"), worst=4)
    assert table.split("\n\n")[1].splitlines() == [
        "case  label    Dice     IoU  reference mL  prediction mL",
        "a     tumor  0.0000  0.0000          0.00           0.00",
        "c     tumor  0.0000  0.0000          0.00           0.00",
        "b     liver  0.5000  0.3333          0.00           0.00",
        "a     liver  0.6667  0.5000          0.00           0.00",
    ]


def test_table_puts_unscored_cases_last(scores):
    lines = as_table(summarize(scores, LABELS, "Task01"), worst=99).splitlines()
    assert lines[-1].split() == ["c", "cyst", "-", "-", "0.00", "0.00"]
    assert len(lines) == 5 + 2 + 3 * 3


def test_table_of_2d_images_has_no_volumes():
    flat = _score("slice", [1, 1], [1, 0], spacing=(0.5, 0.25))
    line = as_table(summarize([flat], LABELS, "Task01"), worst=1).splitlines()[-1]
    assert line.split() == ["slice", "liver", "0.6667", "0.5000"]


def test_csv_holds_every_case_and_label_in_full(scores):
    rows = list(csv.DictReader(io.StringIO(as_csv(summarize(scores, LABELS, "Task01")))))
    assert len(rows) == 3 * 3
    # Case a: 2 voxels of liver in the reference, 1 in the prediction, 0.3125 mm^3 each.
    assert tuple(rows[0]) == COLUMNS
    assert {name: value for name, value in rows[0].items() if value} == {
        "case": "a",
        "label": "liver",
        "dice": repr(2 / 3),
        "iou": "0.5",
        "precision": "1.0",
        "recall": "0.5",
        "volume_error": "-0.5",
        "reference_ml": repr(2 * 0.3125 / 1000),
        "prediction_ml": repr(0.3125 / 1000),
    }
    assert (rows[2]["label"], rows[2]["dice"], rows[2]["iou"]) == ("cyst", "", "")


@pytest.fixture
def distant():
    """Two cases with all scores: liver 1 and 3 voxels of 0.5 mm off; one lesion of two found."""
    reference = np.zeros((12, 40), np.uint8)
    reference[2:10, 2:20] = 1
    reference[4, 30] = reference[4, 34] = 2
    scores = []
    for case, off in (("a", 1), ("b", 3)):
        prediction = np.zeros_like(reference)
        prediction[2:10, 2 : 20 + off] = 1
        prediction[4, 30] = 2
        scores.append(score_case(case, reference, prediction, LABELS, (2.0, 0.5)))
    return scores


def test_distances_and_lesions_are_averaged_over_the_cases_that_have_them(distant):
    liver, tumor, cyst = summarize(distant, LABELS, "Task01").labels
    assert liver.mean_hd95_mm == pytest.approx((0.5 + 1.5) / 2)
    assert liver.mean_nsd == pytest.approx(np.mean([each.surfaces[0].nsd for each in distant]))
    assert 0 < liver.mean_assd_mm < 0.5
    assert (liver.mean_precision, liver.mean_recall) == (np.mean([18 / 19, 18 / 21]), 1)
    assert liver.mean_volume_error == pytest.approx((1 / 18 + 3 / 18) / 2)
    assert (liver.distances_counted, tumor.distances_counted, cyst.distances_counted) == (2, 2, 0)
    assert tumor.mean_lesion_f1 == pytest.approx(2 / 3)
    assert (cyst.mean_hd95_mm, cyst.mean_nsd, cyst.mean_lesion_f1) == (None, None, None)


def test_table_and_csv_show_distances_and_lesions(distant):
    summary = summarize(distant, LABELS, "Task01")
    head, liver, *_ = as_table(summary).splitlines()
    titles = ["label", "Dice", "IoU", "HD95", "mm", "ASSD", "mm", "NSD", "lesion", "F1"]
    assert head.split()[:10] == titles
    assert liver.split()[3] == "1.00"
    rows = list(csv.DictReader(io.StringIO(as_csv(summary))))
    assert (rows[0]["hd95_mm"], rows[0]["tolerance_mm"]) == ("0.5", "1.25")
    assert [rows[1][f"lesion{each}"] for each in ("s", "s_detected", "s_spurious")] == list("210")


def test_csv_quotes_names_that_hold_separators():
    text = as_csv(summarize([_score('x,"1"', [1], [1])], LABELS, "Task01"))
    assert next(csv.DictReader(io.StringIO(text)))["case"] == 'x,"1"'
    assert "\r" not in text


def test_summary_comes_back_from_strict_json_as_it_was(scores):
    summary = summarize(scores, LABELS, "Task01")
    adapter = TypeAdapter(Summary)
    assert adapter.validate_json(adapter.dump_json(summary)) == summary


def test_summary_refuses_unknown_keys_in_nested_records(scores):
    adapter = TypeAdapter(Summary)
    text = adapter.dump_json(summarize(scores, LABELS, "Task01")).decode()
    with pytest.raises(ValidationError, match="true_positives"):
        adapter.validate_json(text.replace('"true_positive"', '"true_positives"', 1))
