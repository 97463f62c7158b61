from itertools import product

import numpy as np
import pytest

from autoseg.core.errors import DamagedError
from autoseg.core.labels import Labels, Region
from autoseg.training.sampling import draw_start, generator, is_forced, open_cases, read_patch

ADDRESS = {"fold": 1, "purpose": "training", "epoch": 2, "step": 3, "slot": 4}
IGNORING = Labels(names=("background", "organ", "tumor"), ignore=9)
IGNORED = 3


def noise(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def spotted(shape, spots):
    """A label map of single voxels."""
    segmentation = np.zeros(shape, np.uint8)
    for label, voxel in spots:
        segmentation[voxel] = label
    return segmentation


def starts_of(case, patch, *, forced, draws=4_000):
    rng = np.random.default_rng(3)
    return [draw_start(rng, case, patch, forced=forced) for _ in range(draws)]


def assert_uniform(counts):
    """Assert that no count is further from the mean than chance allows (6 deviations)."""
    mean = np.mean(counts)
    assert np.abs(np.array(counts) - mean).max() < 6 * mean**0.5


def test_same_address_gives_the_same_numbers():
    first, second = (generator(7, **ADDRESS).random(5) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_every_part_of_the_address_matters():
    changes = [{name: value + 1} for name, value in ADDRESS.items() if name != "purpose"]
    generators = [
        generator(7, **ADDRESS),
        generator(8, **ADDRESS),
        generator(7, **ADDRESS | {"purpose": "validation"}),
        *(generator(7, **ADDRESS | change) for change in changes),
        generator(7, **ADDRESS | {"epoch": 3, "step": 2}),
    ]
    assert len({rng.random() for rng in generators}) == len(generators) == 8


def test_the_last_third_of_a_batch_is_forced():
    # nnU-Net's numbers for batches of 2 to 12.
    counts = (1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4)
    for batch_size, count in enumerate(counts, start=2):
        forced = [is_forced(slot, batch_size, 0.33) for slot in range(batch_size)]
        assert forced == [False] * (batch_size - count) + [True] * count


def test_every_second_lone_patch_is_forced():
    assert [is_forced(0, 1, 0.33, step=step) for step in range(4)] == [False, True, False, True]
    assert not any(is_forced(0, 1, 0.0, step=step) for step in range(4))


@pytest.mark.parametrize(("fraction", "count"), [(0.0, 0), (0.5, 4), (1.0, 8)])
def test_share_of_forced_patches(fraction, count):
    assert sum(is_forced(slot, 8, fraction) for slot in range(8)) == count


def test_unforced_starts_are_uniform_within_the_image(case_of):
    case = case_of("a", spotted((6, 9, 12), [(1, (0, 0, 0))]))
    starts = starts_of(case, (4, 9, 8), forced=False)
    counts = {start: 0 for start in product(range(3), [0], range(5))}
    for start in starts:
        counts[start] += 1  # any other start is a KeyError
    assert_uniform(list(counts.values()))


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize(
    ("size", "patch", "allowed"),
    [
        pytest.param(4, 8, {-2}, id="even"),  # 2 voxels missing on either side
        pytest.param(5, 8, {-2, -1}, id="odd"),  # 3 voxels: 2 before and 1 behind, or turned
        pytest.param(8, 8, {0}, id="fits"),
    ],
)
def test_patch_larger_than_the_image_lies_around_it_evenly(case_of, size, patch, allowed, forced):
    spots = [(1, (0, k)) for k in range(size)]
    case = case_of("a", spotted((7, size), spots))
    starts = starts_of(case, (3, patch), forced=forced, draws=100)
    assert {start[1] for start in starts} == allowed


def test_forced_patch_is_centered_on_a_voxel_of_a_label(case_of):
    case = case_of("a", spotted((20, 30, 25), [(2, (9, 17, 11))]))
    assert set(starts_of(case, (4, 7, 10), forced=True, draws=20)) == {(7, 14, 6)}


def test_forced_patch_at_the_border_stays_inside_and_keeps_the_voxel(case_of):
    case = case_of("a", spotted((20, 30, 25), [(1, (1, 29, 24))]))
    assert set(starts_of(case, (4, 7, 10), forced=True, draws=20)) == {(0, 23, 15)}


def test_forced_labels_are_equally_likely_however_large(case_of):
    segmentation = np.zeros((40, 12), np.uint8)
    segmentation[4:18] = 1
    segmentation[30, 5] = 2
    case = case_of("a", segmentation)
    starts = starts_of(case, (4, 4), forced=True)
    small = sum(start == (28, 3) for start in starts)
    assert_uniform([small, len(starts) - small])


def test_forced_voxels_of_a_label_are_equally_likely(case_of):
    case = case_of("a", spotted((30,) * 2, [(2, (4 * k + 4, 20)) for k in range(6)]))
    rows = [start[0] for start in starts_of(case, (4, 4), forced=True)]
    assert sorted(set(rows)) == [4 * k + 2 for k in range(6)]
    assert_uniform([rows.count(row) for row in set(rows)])


def test_case_without_foreground_is_drawn_from_everywhere(case_of):
    case = case_of("a", np.zeros((6, 9), np.uint8))
    assert set(starts_of(case, (4, 8), forced=True, draws=200)) == set(product(range(3), range(2)))


def test_forced_regions_are_equally_likely(case_of):
    labels = Labels(
        names=("background", "organ", "tumor"),
        regions=(
            Region(name="whole", labels=(1, 2), written=1),
            Region(name="tumor", labels=(2,), written=2),
        ),
    )
    # "whole" has 100 voxels, one of which is the tumor's: that is drawn (1 + 1/100) / 2 of times.
    segmentation = np.zeros((40, 15), np.uint8)
    segmentation[4:14, 2:12] = 1
    segmentation[10, 8] = 2
    starts = starts_of(case_of("a", segmentation, labels=labels), (4, 6), forced=True)
    tumor = sum(start == (8, 5) for start in starts)
    assert abs(tumor - 4_000 * 0.505) < 6 * (4_000 * 0.25) ** 0.5


@pytest.mark.parametrize("forced", [False, True])
def test_patches_lie_around_annotated_voxels_where_others_are_ignored(case_of, forced):
    # A background voxel in the middle and one at the border are all that is annotated.
    segmentation = np.full((20, 30, 25), IGNORED, np.uint8)
    segmentation[9, 17, 11] = segmentation[1, 29, 24] = 0
    case = case_of("a", segmentation, labels=IGNORING)
    starts = starts_of(case, (4, 7, 10), forced=forced)
    first, second = (7, 14, 6), (0, 23, 15)
    assert set(starts) == {first, second}
    assert_uniform([starts.count(first), starts.count(second)])


def test_annotated_background_is_never_forced_where_there_is_foreground(case_of):
    segmentation = np.full((20, 30), IGNORED, np.uint8)
    segmentation[2:7] = 0
    segmentation[9, 17] = 2
    case = case_of("a", segmentation, labels=IGNORING)
    assert set(starts_of(case, (4, 7), forced=True, draws=200)) == {(7, 14)}
    rows = {start[0] for start in starts_of(case, (4, 7), forced=False, draws=2_000)}
    assert rows == {0, 1, 2, 3, 4, 7}  # 2 to 6 less 2, and the foreground's row less 2


def test_case_that_is_ignored_throughout_is_drawn_from_everywhere(case_of):
    case = case_of("a", np.full((6, 9), IGNORED), labels=IGNORING)
    for forced in (False, True):
        starts = starts_of(case, (4, 8), forced=forced, draws=200)
        assert set(starts) == set(product(range(3), range(2)))


@pytest.mark.parametrize(
    "start",
    [
        pytest.param((2, 3, 1), id="inside"),
        pytest.param((0, 0, 0), id="at-the-corner"),
        pytest.param((-2, 4, -1), id="before"),
        pytest.param((5, 7, 8), id="behind"),
        pytest.param((-3, -4, -5), id="before-on-every-axis"),
        pytest.param((-9, 2, 2), id="altogether-before"),
        pytest.param((2, 40, 2), id="altogether-behind"),
    ],
)
def test_patch_is_what_lies_there_and_zero_outside(case_of, start):
    shape, patch, reach = (9, 11, 10), (5, 6, 7), 50
    rng = np.random.default_rng(2)
    image = noise((2, *shape))
    segmentation = rng.integers(1, 3, shape)
    nonzero = rng.random(shape) < 0.6
    case = case_of("a", segmentation, image=image, nonzero=nonzero)
    read = read_patch(case, start, patch)
    box = tuple(slice(reach + a, reach + a + n) for a, n in zip(start, patch, strict=True))
    np.testing.assert_array_equal(read.image, [np.pad(one, reach)[box] for one in image])
    np.testing.assert_array_equal(read.segmentation, np.pad(segmentation, reach)[box])
    np.testing.assert_array_equal(read.nonzero, np.pad(nonzero, reach)[box])
    assert (read.image.dtype, read.segmentation.dtype, read.nonzero.dtype) == (
        np.float32,
        np.uint8,
        bool,
    )


def test_patch_that_holds_the_whole_image(case_of):
    segmentation = np.arange(12).reshape(3, 4)
    read = read_patch(case_of("a", segmentation), (-1, -2), (6, 7))
    np.testing.assert_array_equal(read.segmentation, np.pad(segmentation, ((1, 2), (2, 1))))


def test_patch_across_chunks_of_a_large_case(case_of):
    image = noise((1, 140, 9, 133))  # chunks reach 128 voxels, blocks 32
    case = case_of("a", np.zeros((140, 9, 133), np.uint8), image=image)
    read = read_patch(case, (120, 2, 20), (18, 5, 113))
    np.testing.assert_array_equal(read.image, image[:, 120:138, 2:7, 20:133])


def test_cases_are_opened_in_the_order_of_their_names(case_of, tmp_path):
    for name, size in (("a", 5), ("b", 6)):
        case_of(name, np.ones((4, size), np.uint8))
    opened = open_cases(tmp_path / "cases", ["b", "a"])
    assert [(case.record.name, case.arrays.image.shape) for case in opened] == [
        ("b", (1, 4, 6)),
        ("a", (1, 4, 5)),
    ]


def test_missing_case_is_named(case_of, tmp_path):
    case_of("a", np.ones((4, 5), np.uint8))
    with pytest.raises(DamagedError, match=r"preprocessed case 'b': .*cannot be read"):
        open_cases(tmp_path / "cases", ["a", "b"])


def test_damaged_case_is_named(case_of, tmp_path):
    case_of("a", np.ones((4, 5), np.uint8))
    path = tmp_path / "cases" / "a.image.b2nd"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedError, match=r"case 'a': .*a\.image\.b2nd: its digest differs"):
        open_cases(tmp_path / "cases", ["a"])
