import numpy as np
import pytest

from autoseg.core.labels import Labels, Region
from preprocessing import foreground as module
from preprocessing.foreground import sample_foreground

LABELS = Labels(names=("background", "liver", "tumor", "vessel"))
IGNORING = Labels(names=LABELS.names, ignore=255)
IGNORED = 4


def striped(shape, counts):
    """A label map whose first ``counts[k]`` free voxels, in memory order, are of label k + 1."""
    flat = np.zeros(int(np.prod(shape)), np.uint8)
    start = 5
    for label, count in enumerate(counts, start=1):
        flat[start : start + count] = label
        start += count
    return flat.reshape(shape)


def sample_positions(segmentation, labels):
    """Sample, and turn the indices into positions (n, axes)."""
    indices, offsets = sample_foreground(segmentation, labels)
    return np.stack(np.unravel_index(indices, segmentation.shape), axis=1), offsets


def of_label(positions, offsets, label):
    return positions[offsets[label] : offsets[label + 1]]


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        pytest.param(0, 0, id="absent"),
        pytest.param(1, 1, id="one-voxel"),
        pytest.param(9_999, 9_999, id="all-of-few"),
        pytest.param(10_001, 10_000, id="at-most-10000"),
        pytest.param(1_000_001, 10_001, id="one-percent-rounded-up"),
    ],
)
def test_number_of_voxels_kept(found, kept):
    segmentation = striped((60, 130, 150), (found,))
    positions, offsets = sample_positions(segmentation, LABELS)
    assert positions.shape == (kept, 3)
    assert offsets == (0, 0, kept, kept, kept)


def test_offsets_tell_where_the_voxels_of_each_label_are():
    segmentation = striped((7, 31, 53), (4_000, 0, 350))
    positions, offsets = sample_positions(segmentation, LABELS)
    assert sample_foreground(segmentation, LABELS)[0].dtype == np.uint32
    assert offsets == (0, 0, 4_000, 4_000, 4_350)
    for label, count in ((1, 4_000), (2, 0), (3, 350)):
        voxels = of_label(positions, offsets, label)
        assert len(np.unique(voxels, axis=0)) == len(voxels) == count
        assert (segmentation[tuple(voxels.T)] == label).all()


def test_voxels_are_drawn_from_all_over_the_label():
    segmentation = striped((20, 40, 50), (39_000,))
    positions, offsets = sample_positions(segmentation, LABELS)
    # 10 000 of 39 000 voxels in 20 slices: 513 are expected in a full slice, give or take 20.
    per_slice = np.bincount(of_label(positions, offsets, 1)[:, 0], minlength=20)
    assert per_slice[1:-1].min() > 513 - 100
    assert per_slice[1:-1].max() < 513 + 100


def test_the_same_case_gives_the_same_sample():
    segmentation = striped((20, 40, 50), (20_000, 500, 7))
    first, second = (sample_positions(segmentation, LABELS) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    assert first[1] == second[1]


def test_turned_view_gives_what_its_copy_gives():
    view = striped((9, 14, 5), (300, 40, 2)).transpose(2, 0, 1)
    np.testing.assert_array_equal(
        sample_positions(view, LABELS)[0], sample_positions(view.copy(), LABELS)[0]
    )


def test_2d_positions_have_two_indices():
    segmentation = striped((11, 19), (30,))
    positions, offsets = sample_positions(segmentation, LABELS)
    assert positions.shape == (30, 2)
    assert (segmentation[tuple(of_label(positions, offsets, 1).T)] == 1).all()


def test_case_without_foreground_has_no_positions():
    positions, offsets = sample_positions(np.zeros((4, 5, 6), np.uint8), LABELS)
    assert positions.shape == (0, 3)
    assert offsets == (0, 0, 0, 0, 0)


def test_dataset_of_background_alone_has_no_positions():
    labels = Labels(names=("background",))
    positions, offsets = sample_positions(np.zeros((4, 5), np.uint8), labels)
    assert positions.shape == (0, 2)
    assert offsets == (0, 0)


def voxels_of(segmentation, labels):
    """Positions in memory order of all voxels of some labels."""
    return np.argwhere(np.isin(segmentation, labels))


def as_set(positions):
    return {tuple(position) for position in positions.tolist()}


def test_voxels_of_a_region_are_those_of_all_its_labels():
    regions = (
        Region(name="organ", labels=(1, 2), written=1),
        Region(name="inner", labels=(2, 3), written=2),
        Region(name="vessel", labels=(3,), written=3),
    )
    labels = Labels(names=LABELS.names, regions=regions, ignore=9)
    segmentation = striped((7, 31, 53), (400, 30, 7, 900))  # the last are ignored
    positions, offsets = sample_positions(segmentation, labels)
    assert offsets[1:] == tuple(np.cumsum([offsets[1], 430, 37, 7]))
    for group, region in enumerate(regions, start=1):
        found = as_set(of_label(positions, offsets, group))
        assert found == as_set(voxels_of(segmentation, region.labels))


def test_first_group_is_all_that_is_not_ignored():
    segmentation = np.full((7, 31, 53), IGNORED, np.uint8)
    segmentation[2, 5:9, 11:14] = 0
    segmentation[3, 6, 12] = 2
    positions, offsets = sample_positions(segmentation, IGNORING)
    assert offsets == (0, 13, 13, 14, 14)
    annotated = of_label(positions, offsets, 0)
    assert as_set(annotated) == as_set(voxels_of(segmentation, (0, 2)))
    assert len(annotated) == 13


@pytest.mark.parametrize(
    ("ignored", "kept"),
    [
        pytest.param(1_170_000 - 9_999, 9_999, id="all-of-few"),
        pytest.param(1_170_000 - 10_001, 10_000, id="at-most-10000"),
        pytest.param(1_170_000 - 1_000_001, 10_001, id="one-percent-rounded-up"),
    ],
)
def test_number_of_annotated_voxels_kept(ignored, kept):
    segmentation = np.zeros((60, 130, 150), np.uint8)
    segmentation.reshape(-1)[-ignored:] = IGNORED
    positions, offsets = sample_positions(segmentation, IGNORING)
    assert offsets == (0, kept, kept, kept, kept)
    assert len(np.unique(positions, axis=0)) == kept
    assert (segmentation[tuple(positions.T)] == 0).all()


def test_annotated_voxels_are_drawn_from_all_over_the_image(monkeypatch):
    monkeypatch.setattr(module, "SLAB_VOXELS", 777)
    segmentation = striped((20, 40, 50), (3_000, 500))
    segmentation[:, ::2] = IGNORED
    positions, offsets = sample_positions(segmentation, IGNORING)
    annotated = of_label(positions, offsets, 0)
    # 10 000 of 20 000 voxels in 20 slices: 500 are expected, give or take 16.
    per_slice = np.bincount(annotated[:, 0], minlength=20)
    assert np.abs(per_slice - 500).max() < 100
    assert len(np.unique(annotated, axis=0)) == 10_000
    assert (segmentation[tuple(annotated.T)] != IGNORED).all()


def test_slabs_do_not_change_the_sample(monkeypatch):
    segmentation = striped((20, 40, 50), (3_000, 500, 0, 9_000))
    whole = sample_positions(segmentation, IGNORING)
    monkeypatch.setattr(module, "SLAB_VOXELS", 777)
    slabs = sample_positions(segmentation, IGNORING)
    np.testing.assert_array_equal(slabs[0], whole[0])
    assert slabs[1] == whole[1]


def test_case_that_is_ignored_throughout_has_no_positions():
    positions, offsets = sample_positions(np.full((4, 5, 6), IGNORED, np.uint8), IGNORING)
    assert positions.shape == (0, 3)
    assert offsets == (0, 0, 0, 0, 0)


def test_indices_rise_within_each_group():
    segmentation = striped((20, 40, 50), (20_000, 500, 3_000))
    indices, offsets = sample_foreground(segmentation, LABELS)
    for label in (1, 2, 3):
        assert (np.diff(of_label(indices, offsets, label).astype(np.int64)) > 0).all()
