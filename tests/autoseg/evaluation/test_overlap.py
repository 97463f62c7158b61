"""Overlap counts against numbers derived by hand and against sets of voxel positions."""

from dataclasses import asdict, replace
from itertools import product

import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from autoseg.core.errors import GeometryError, VoxelError
from autoseg.core.labels import Labels, Region
from autoseg.evaluation import overlap as module
from autoseg.evaluation.overlap import overlap_per_label, volume_ml, voxel_volume_mm3

LABELS = Labels(names=("background", "liver", "tumor"))
REGIONS = Labels(
    names=LABELS.names,
    values=(0, 2, 4),
    regions=(
        Region(name="organ", labels=(1, 2), written=1),
        Region(name="tumor", labels=(2,), written=2),
    ),
    ignore=9,
)

# (z, y, x) = (1, 2, 4). Liver is in 4 voxels here and in 3 there, 2 of them shared; tumor is in
# 1 here and 2 there, 1 shared.
REFERENCE = np.array([[[1, 1, 1, 0], [0, 1, 2, 0]]], dtype=np.uint8)
PREDICTION = np.array([[[1, 1, 0, 0], [1, 0, 2, 2]]], dtype=np.uint8)


def test_counts_are_those_of_a_drawing():
    liver, tumor = overlap_per_label(REFERENCE, PREDICTION, LABELS)
    assert (liver.true_positive, liver.false_positive, liver.false_negative) == (2, 1, 2)
    assert (tumor.true_positive, tumor.false_positive, tumor.false_negative) == (1, 1, 0)


def test_scores_are_ratios_of_the_counts():
    liver, tumor = overlap_per_label(REFERENCE, PREDICTION, LABELS)
    assert liver.dice == 2 * 2 / (4 + 3)
    assert liver.iou == 2 / (4 + 3 - 2)
    assert tumor.dice == 2 * 1 / (1 + 2)
    assert tumor.iou == 1 / 2


def test_swapping_reference_and_prediction_swaps_the_errors_only():
    there = overlap_per_label(REFERENCE, PREDICTION, LABELS)[0]
    back = overlap_per_label(PREDICTION, REFERENCE, LABELS)[0]
    assert (back.false_positive, back.false_negative) == (there.false_negative, 1)
    assert (back.dice, back.iou) == (there.dice, there.iou)


def test_foreground_labels_come_in_order_with_name_and_value_in_files():
    for labels, values in ((LABELS, (1, 2)), (replace(LABELS, values=(0, 5, 300)), (5, 300))):
        scores = overlap_per_label(REFERENCE, PREDICTION, labels)
        expected = [("liver", values[:1]), ("tumor", values[1:])]
        assert [(score.label, score.values) for score in scores] == expected


def test_a_label_that_neither_has_is_unscored():
    nothing = np.zeros((2, 1, 3), dtype=np.uint8)
    score = overlap_per_label(nothing, nothing, LABELS)[0]
    assert score.dice is None
    assert score.iou is None
    assert (score.both_empty, score.is_missed, score.is_spurious) == (True, False, False)


def test_a_label_that_only_the_reference_has_is_missed():
    score = overlap_per_label(REFERENCE, np.zeros_like(REFERENCE), LABELS)[0]
    assert (score.dice, score.iou, score.false_negative) == (0.0, 0.0, 4)
    assert (score.both_empty, score.is_missed, score.is_spurious) == (False, True, False)


def test_a_label_that_only_the_prediction_has_is_spurious():
    score = overlap_per_label(np.zeros_like(PREDICTION), PREDICTION, LABELS)[0]
    assert (score.dice, score.iou, score.false_positive) == (0.0, 0.0, 3)
    assert (score.both_empty, score.is_missed, score.is_spurious) == (False, False, True)


def test_labels_that_never_touch_score_zero_but_are_neither_missed_nor_spurious():
    reference = np.array([[1, 0, 0]], dtype=np.uint8)
    score = overlap_per_label(reference, reference[:, ::-1], LABELS)[0]
    assert (score.dice, score.is_missed, score.is_spurious) == (0.0, False, False)


def test_many_labels_in_mixed_types_do_not_wrap_around():
    # The pair (255, 299) is number 255 * 300 + 299 = 76799, which uint16 would wrap.
    labels = Labels(names=tuple(f"label {value}" for value in range(300)))
    reference = np.array([[255, 255, 7]], dtype=np.uint8)
    prediction = np.array([[299, 255, 7]], dtype=np.uint16)
    scores = {score.values[0]: score for score in overlap_per_label(reference, prediction, labels)}
    assert scores[255].dice == 2 * 1 / (2 + 1)
    assert scores[7].dice == 1.0
    assert scores[299].is_spurious
    assert sum(score.true_positive for score in scores.values()) == 2


def test_slabs_add_up(monkeypatch):
    whole = overlap_per_label(REFERENCE.T, PREDICTION.T, LABELS)
    monkeypatch.setattr(module, "SLAB_VOXELS", 1)
    assert overlap_per_label(REFERENCE.T, PREDICTION.T, LABELS) == whole


def test_a_region_is_the_union_of_its_labels_and_ignored_voxels_count_nowhere():
    # 3 is ignored: the last voxel, where the prediction is right, and the one before it, where
    # it is wrong. Organ (liver or tumor): 4 here, 3 there, 2 shared. Tumor: 1, 1, 0 shared.
    reference = np.array([[[1, 1, 1, 0], [0, 2, 3, 3]]], dtype=np.uint8)
    prediction = np.array([[[2, 1, 0, 0], [1, 0, 0, 2]]], dtype=np.uint8)
    organ, tumor = overlap_per_label(reference, prediction, REGIONS)
    assert (organ.label, organ.values) == ("organ", (2, 4))
    assert (organ.true_positive, organ.false_positive, organ.false_negative) == (2, 1, 2)
    assert (organ.dice, organ.iou) == (4 / 7, 2 / 5)
    assert (tumor.label, tumor.values) == ("tumor", (4,))
    assert (tumor.true_positive, tumor.false_positive, tumor.false_negative) == (0, 1, 1)


def test_what_is_predicted_where_the_reference_is_ignored_never_matters():
    reference = np.array([[[1, 3, 3], [3, 3, 2]]], dtype=np.uint8)
    scores = {
        overlap_per_label(reference, np.array([[[1, a, b], [c, a, 0]]], np.uint8), REGIONS)
        for a, b, c in product(range(3), repeat=3)
    }
    assert len(scores) == 1


def test_a_case_that_is_ignored_throughout_is_unscored():
    reference = np.full((2, 1, 3), 3, dtype=np.uint8)
    for score in overlap_per_label(reference, np.ones_like(reference), REGIONS):
        assert score.both_empty
        assert score.dice is None


def test_a_prediction_may_not_hold_the_ignore_label():
    reference = np.array([[3, 3, 1]], dtype=np.uint8)
    match = r"prediction: 2 voxels hold the ignore label \(9 in files\); only a reference may"
    with pytest.raises(VoxelError, match=match) as caught:
        overlap_per_label(reference, reference, REGIONS)
    assert caught.value.rule == "E-VAL-35"


def _by_sets(reference, prediction, labels, ignored=None):
    """Return TP, FP, FN, Dice, IoU from sets of voxel positions."""
    counted = {place for place in np.ndindex(reference.shape) if reference[place] != ignored}
    here = {place for place in counted if reference[place] in labels}
    there = {place for place in counted if prediction[place] in labels}
    dice = 2 * len(here & there) / (len(here) + len(there)) if here | there else None
    iou = len(here & there) / len(here | there) if here | there else None
    return len(here & there), len(there - here), len(here - there), dice, iou


@st.composite
def _pairs(draw, largest=2):
    """Return a reference with values up to the largest, and a prediction with values up to 2."""
    shape = draw(arrays.array_shapes(min_dims=2, max_dims=3, max_side=5))
    kinds = st.sampled_from([np.uint8, np.uint16, np.int16, np.int64])
    return tuple(
        draw(arrays.arrays(draw(kinds), shape, elements=st.integers(0, most)))
        for most in (largest, 2)
    )


@settings(max_examples=60, deadline=None)
@given(_pairs())
def test_scores_equal_those_of_sets_of_voxels(pair):
    for score in overlap_per_label(*pair, LABELS):
        counts = (score.true_positive, score.false_positive, score.false_negative)
        assert (*counts, score.dice, score.iou) == _by_sets(*pair, score.values)


@settings(max_examples=60, deadline=None)
@given(_pairs(largest=3))
def test_scores_of_regions_equal_those_of_sets_of_voxels(pair):
    scores = overlap_per_label(*pair, REGIONS)
    for score, region in zip(scores, REGIONS.regions, strict=True):
        counts = (score.true_positive, score.false_positive, score.false_negative)
        assert (*counts, score.dice, score.iou) == _by_sets(*pair, region.labels, ignored=3)


def test_shapes_must_agree():
    with pytest.raises(GeometryError, match=r"shape \(2, 4, 1\) differs .* \(1, 2, 4\)"):
        overlap_per_label(REFERENCE, PREDICTION.reshape(2, 4, 1), LABELS)


@pytest.mark.parametrize(
    ("value", "dtype"), [pytest.param(3, np.uint8, id="high"), pytest.param(-1, np.int8, id="low")]
)
def test_a_value_that_is_no_label_is_refused(value, dtype):
    prediction = np.array([[0, value, value]], dtype=dtype)
    with pytest.raises(VoxelError, match=rf"prediction: value {value} in 2 voxels.* 0 to 2"):
        overlap_per_label(np.zeros((1, 3), np.uint8), prediction, LABELS)


@pytest.mark.parametrize(
    ("value", "dtype"), [pytest.param(4, np.uint8, id="high"), pytest.param(-1, np.int8, id="low")]
)
def test_a_reference_value_beyond_the_ignore_label_is_refused(value, dtype):
    reference = np.array([[3, value, 0]], dtype=dtype)
    with pytest.raises(VoxelError, match=rf"reference: value {value} in 1 voxels.* 0 to 3"):
        overlap_per_label(reference, np.zeros((1, 3), np.uint8), REGIONS)


@pytest.mark.parametrize("dtype", [np.float32, np.bool_])
def test_label_maps_hold_integers(dtype):
    with pytest.raises(VoxelError, match=rf"reference: type {np.dtype(dtype)}.*integers"):
        overlap_per_label(REFERENCE.astype(dtype), PREDICTION, LABELS)


def test_volume_follows_an_anisotropic_spacing():
    # 2.5 x 0.5 x 0.25 mm = 0.3125 mm^3; 640 voxels are 200 mm^3 = 0.2 mL.
    assert voxel_volume_mm3((2.5, 0.5, 0.25)) == 0.3125
    assert volume_ml(640, 0.3125) == 0.2


def test_a_pixel_has_no_volume():
    assert voxel_volume_mm3((0.5, 0.25)) is None
    assert volume_ml(640, None) is None


@pytest.mark.parametrize("edge", [0.0, -1.0, float("nan")])
def test_a_spacing_that_is_not_positive_has_no_volume(edge):
    with pytest.raises(GeometryError, match=rf"spacing \(2.0, {edge}, 1.0\) mm must be positive"):
        voxel_volume_mm3((2.0, edge, 1.0))


def test_records_are_plain_numbers():
    for score in overlap_per_label(REFERENCE, PREDICTION, LABELS):
        assert {type(value) for value in asdict(score).values()} <= {str, tuple, int, float}
        assert {type(value) for value in score.values} == {int}
