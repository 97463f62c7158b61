"""Which labels are found to be mirror images of each other."""

from itertools import combinations

import numpy as np
import pytest

from autoseg.core.fingerprint import CaseMeasurement, SymmetricPair, Symmetry
from autoseg.core.labels import Labels
from preprocessing.symmetry import locate_labels, summarize_symmetries, symmetric_pairs

SHAPE = (12, 14, 31)
LABELS = Labels(names=("background", "one", "two", "three"))


def painted(*boxes, shape=SHAPE):
    """Return a label map of (label, (start, stop) per axis) boxes."""
    label_map = np.zeros(shape, np.uint8)
    for label, *edges in boxes:
        label_map[tuple(slice(*edge) for edge in edges)] = label
    return label_map


def found(label_map, labels=LABELS):
    pairs = symmetric_pairs(label_map, locate_labels(label_map, labels))
    return {(p.axis, p.first, p.second): p.dice for p in pairs}


def slow_pairs(label_map, count):
    """Reflect voxel by voxel, about the plane midway between the centroids."""
    pairs = {}
    places = {k: np.argwhere(label_map == k) for k in range(1, count) if (label_map == k).any()}
    for axis in range(label_map.ndim):
        for first, second in combinations(places, 2):
            center = [places[k][:, axis].mean() for k in (first, second)]
            hits = 0
            for voxel in places[first].tolist():
                voxel[axis] = round(sum(center)) - voxel[axis]
                inside = 0 <= voxel[axis] < label_map.shape[axis]
                hits += inside and label_map[tuple(voxel)] == second
            dice = 2 * hits / (len(places[first]) + len(places[second]))
            if dice > 0.5:
                pairs[axis, first, second] = dice
    return pairs


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_two_mirrored_shapes_agree_fully_along_their_axis_only(axis):
    # An L of two boxes, which no shift takes to its mirror image.
    one = painted((1, (2, 4), (3, 6), (2, 5)), (1, (4, 5), (3, 4), (5, 9)))
    label_map = one + 2 * np.flip(one, axis)
    assert not (one & np.flip(one, axis)).any()
    assert found(label_map) == {(axis, 1, 2): 1.0}


def test_a_shift_across_the_axis_costs_what_no_longer_overlaps():
    # Both 4 x 6 x 5 voxels; 4 of 6 rows agree.
    label_map = painted((1, (2, 6), (3, 9), (2, 7)), (2, (2, 6), (5, 11), (20, 25)))
    assert found(label_map) == {(2, 1, 2): pytest.approx(4 / 6)}


def test_the_plane_lies_midway_to_half_a_voxel():
    # Columns 2 to 5 about 3.5 and 20 to 22 about 21: index i becomes 24 - i, columns 19 to 22.
    label_map = painted((1, (2, 6), (3, 9), (2, 6)), (2, (2, 6), (3, 9), (20, 23)))
    assert found(label_map) == {(2, 1, 2): pytest.approx(2 * 3 / (4 + 3))}


@pytest.mark.parametrize(
    ("width", "dice"),
    [
        pytest.param(9, None, id="three-times-as-large-is-exactly-one-half"),
        pytest.param(8, 2 * 3 / (3 + 8), id="less"),
    ],
)
def test_labels_of_different_size_agree_at_most_as_far_as_the_smaller_goes(width, dice):
    label_map = painted((1, (1, 3), (1, 4), (2, 5)), (2, (1, 3), (1, 4), (20, 20 + width)))
    assert found(label_map).get((2, 1, 2)) == (None if dice is None else pytest.approx(dice))


def test_half_the_shift_of_exactly_one_half_is_not_listed():
    label_map = painted((1, (2, 6), (3, 7), (2, 7)), (2, (2, 6), (5, 9), (20, 25)))
    assert found(label_map) == {}


def test_every_pair_of_a_row_is_listed():
    label_map = painted(*((k, (2, 6), (3, 9), (8 * k, 8 * k + 5)) for k in (1, 2, 3)), shape=SHAPE)
    assert set(found(label_map)) == {(2, 1, 2), (2, 1, 3), (2, 2, 3)}


def test_ignored_voxels_and_the_background_mirror_nothing():
    labels = Labels(names=("background", "one"), ignore=9)
    label_map = painted((1, (2, 6), (3, 9), (2, 7)), (labels.ignored, (2, 6), (3, 9), (20, 25)))
    assert found(label_map, labels) == {}


@pytest.mark.parametrize(
    "label_map",
    [
        pytest.param(painted(), id="nothing"),
        pytest.param(painted((3, (2, 6), (3, 9), (2, 7))), id="one-label"),
    ],
)
def test_without_two_labels_there_is_no_pair(label_map):
    assert found(label_map) == {}


def test_a_reflection_may_reach_past_the_image():
    # The tail of label 1 would lie beyond the last column.
    label_map = painted(
        (1, (2, 6), (3, 9), (10, 14)), (1, (2, 3), (3, 4), (0, 10)), (2, (2, 6), (3, 9), (27, 31))
    )
    assert found(label_map) == slow_pairs(label_map, 3)
    assert set(found(label_map)) == {(2, 1, 2)}


def test_labels_beyond_255_are_told_apart():
    labels = Labels(names=("background", *(f"organ {n}" for n in range(1, 300))))
    label_map = painted((1, (2, 6), (3, 9), (2, 7))).astype(np.uint16)
    label_map[2:6, 3:9, 20:25] = 257
    assert found(label_map, labels) == {(2, 1, 257): 1.0}


@pytest.mark.parametrize("shape", [(14, 22, 31), (61, 90)], ids=["3d", "2d"])
@pytest.mark.parametrize("seed", range(4))
def test_the_pairs_are_those_of_the_slow_search(seed, shape):
    # Every voxel takes the label of the nearest seed; labels have up to some thousand voxels.
    rng = np.random.default_rng(seed)
    seeds = rng.uniform(0, 1, (9, len(shape))) * shape
    grid = np.stack(np.indices(shape), axis=-1)[..., None, :]
    nearest = np.linalg.norm(grid - seeds, axis=-1).argmin(-1)
    labels = Labels(names=tuple(f"organ {n}" for n in range(9)))
    assert (counts := np.bincount(nearest.ravel())).max() > 1000 or len(shape) == 2
    assert counts.min() > 0
    expected = slow_pairs(nearest, 9)
    assert len(expected) > 1
    assert found(nearest.astype(np.uint8), labels) == pytest.approx(expected)


def case(name, dice, *, axis=2, voxels=(900, 40, 50)):
    """Return a case of two labels that mirror each other to this degree, if any."""
    pairs = () if dice is None else (SymmetricPair(axis=axis, first=1, second=2, dice=dice),)
    return CaseMeasurement(
        name=name,
        key="key",
        shape=SHAPE,
        shape_after_crop=SHAPE,
        spacing=(2.0, 1.0, 0.5),
        class_voxels=voxels,
        channels=(),
        symmetric_pairs=pairs,
    )


def summarized(dices, **options):
    return summarize_symmetries([case(str(n), dice, **options) for n, dice in enumerate(dices)])


def test_the_median_counts_cases_without_the_symmetry_as_zero():
    # 0, 0, 0, 0.6, 0.6, 0.6, 0.7, 0.7, 0.8, 0.9
    (symmetry,) = summarized([0.9, None, 0.6, 0.7, None, 0.6, 0.8, 0.7, None, 0.6])
    assert symmetry == Symmetry(axis=2, first=1, second=2, cases=10, median_dice=0.6)


@pytest.mark.parametrize(
    "dices",
    [
        pytest.param([0.9] * 9, id="nine-cases"),
        pytest.param([0.9] * 5 + [None] * 5, id="half-of-the-cases"),
        pytest.param([None] * 20, id="no-case"),
    ],
)
def test_too_few_cases_make_no_symmetry(dices):
    assert summarized(dices) == ()


def test_a_case_that_lacks_a_label_does_not_count():
    cases = [case(str(n), 0.75) for n in range(10)]
    lacking = [case(f"lacking {n}", None, voxels=(900, 0, 50)) for n in range(30)]
    (symmetry,) = summarize_symmetries([*cases, *lacking])
    assert (symmetry.cases, symmetry.median_dice) == (10, 0.75)


def test_axes_are_kept_apart():
    cases = [case(f"{axis} {n}", 0.75, axis=axis) for axis in (0, 2) for n in range(6)]
    # Of 12 cases 6 are symmetric along each axis: the median lies between 0 and 0.75.
    assert summarize_symmetries(cases) == ()
