import numpy as np
import pytest
import torch

from autoseg.core.labels import Labels, Region
from autoseg.inference import labelling
from autoseg.inference.labelling import grid_axes, label_slabs, labels_of

FIVE = Labels(names=("background", "a", "b", "c", "d"))
NESTED = Labels(
    names=("background", "edema", "necrosis", "enhancing"),
    regions=(
        Region(name="whole", labels=(1, 2, 3), written=1),
        Region(name="core", labels=(2, 3), written=2),
        Region(name="enhancing", labels=(3,), written=3),
    ),
)


def labelled(naive, logits, shape, labels, *, bounds=(), **options):
    axes = grid_axes(logits.shape[1:], shape, **({"order": 1, "separate": None} | options))
    return torch.cat(list(label_slabs(naive.slabs_of(logits, bounds), axes, labels))).numpy()


GRIDS = [
    pytest.param((7, 9, 12), (11, 14, 31), id="finer"),
    pytest.param((13, 19, 22), (6, 11, 9), id="coarser"),
    pytest.param((13, 9, 22), (6, 20, 22), id="each-axis-its-own-way"),
    pytest.param((9, 12), (14, 31), id="2d"),
    pytest.param((1, 9, 12), (1, 14, 31), id="one-plane"),
    pytest.param((3, 1, 9), (7, 4, 21), id="one-row"),
    pytest.param((7, 9, 12), (7, 9, 12), id="same"),
]


@pytest.mark.parametrize(("shape", "wanted"), GRIDS)
@pytest.mark.parametrize("labels", [FIVE, NESTED], ids=["labels", "regions"])
def test_labels_are_those_of_interpolated_logits(shape, wanted, labels, naive):
    logits = naive.smooth_logits(labels.channels, shape)
    expected = naive.expected_labels(labels, naive.interpolated(logits, wanted))
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(labelled(naive, logits, wanted, labels), expected)


@pytest.mark.parametrize("bounds", [(1,), (5,), (2, 3, 9), tuple(range(1, 13))])
@pytest.mark.parametrize("planes", [5, 13, 31])
def test_slabs_are_joined_without_a_seam(bounds, planes, naive):
    logits, wanted = naive.smooth_logits(5, (13, 8, 11)), (planes, 15, 6)
    expected = naive.expected_labels(FIVE, naive.interpolated(logits, wanted))
    np.testing.assert_array_equal(labelled(naive, logits, wanted, FIVE, bounds=bounds), expected)


@pytest.mark.parametrize("separate", [0, 1, 2])
def test_the_nearest_plane_is_taken_along_an_axis_apart(separate, naive):
    logits, wanted = naive.smooth_logits(5, (6, 8, 11)), (13, 5, 19)
    expected = naive.expected_labels(FIVE, naive.interpolated(logits, wanted, nearest=(separate,)))
    found = labelled(naive, logits, wanted, FIVE, separate=separate, bounds=(2, 5))
    np.testing.assert_array_equal(found, expected)


def test_order_0_takes_the_nearest_voxel(naive):
    logits, wanted = naive.smooth_logits(5, (6, 8, 11)), (13, 5, 19)
    expected = naive.expected_labels(FIVE, naive.interpolated(logits, wanted, nearest=(0, 1, 2)))
    np.testing.assert_array_equal(labelled(naive, logits, wanted, FIVE, order=0), expected)


def test_a_label_that_is_first_nowhere_may_be_first_in_between(naive):
    # A third of the way from one voxel to the other a is at 4/3, c at 2.
    logits = np.array([[-9, -9], [4, -4], [-4, 4], [2, 2], [-9, -9]], np.float32)[:, None]
    assert labelled(naive, logits, (1, 6), FIVE).tolist() == [[1, 1, 3, 3, 2, 2]]


def test_ties_go_to_the_smaller_label(naive):
    logits = np.zeros((5, 2, 3), np.float32)
    logits[1:3, 1] = logits[4, 1] = 1
    assert labelled(naive, logits, (2, 3), FIVE).tolist() == [[0, 0, 0], [1, 1, 1]]


def test_small_parts_change_nothing(monkeypatch, naive):
    logits, wanted = naive.smooth_logits(5, (7, 9, 12)), (11, 14, 31)
    expected = labelled(naive, logits, wanted, FIVE)
    monkeypatch.setattr(labelling, "BLOCK_VOXELS", 3 * 14 * 31)
    monkeypatch.setattr(labelling, "POINTS", 7)
    np.testing.assert_array_equal(labelled(naive, logits, wanted, FIVE), expected)


def test_cropped_views_of_a_larger_array_are_read_as_their_copies(naive):
    logits = naive.smooth_logits(5, (7, 13, 16))
    part = logits[:, :, 2:11, 3:15]
    np.testing.assert_array_equal(
        labelled(naive, part, (7, 20, 19), FIVE), labelled(naive, part.copy(), (7, 20, 19), FIVE)
    )


@pytest.mark.parametrize(("count", "kind"), [(254, torch.uint8), (255, torch.int32)])
def test_many_labels_take_a_wider_type(count, kind, naive):
    labels = Labels(names=tuple(f"label {n}" for n in range(count)))
    logits = naive.smooth_logits(count, (2, 3, 4))
    axes = grid_axes((2, 3, 4), (3, 5, 7), order=1, separate=None)
    (found,) = label_slabs([torch.from_numpy(logits)], axes, labels)
    assert found.dtype == kind
    expected = naive.expected_labels(labels, naive.interpolated(logits, (3, 5, 7)))
    np.testing.assert_array_equal(found.numpy(), expected)


def written_by(labels, logits):
    """Give each channel on its own, as they come from a pass over the classes."""
    channels = (torch.tensor(each) for each in logits)
    return labels_of(channels, labels, torch.zeros(len(logits[0]), dtype=torch.int32)).tolist()


def test_the_largest_logit_wins_and_ties_go_to_the_smaller_label():
    logits = [[5.0, 1, 0, -9], [4, 1, 3, -8], [3, 0, 3, -7], [3, 0, 0, -9], [-1, 1, 1, -9]]
    assert written_by(FIVE, logits) == [0, 0, 1, 2]


def test_regions_are_written_in_order_where_their_logit_is_positive():
    logits = [[-1.0, 0.1, 0.1, -9.0], [-1.0, -0.1, 3.0, 0.1], [-1.0, 0.0, 0.1, -1]]
    assert written_by(NESTED, logits) == [0, 1, 3, 2]
