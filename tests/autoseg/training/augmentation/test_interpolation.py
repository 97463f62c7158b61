import numpy as np
import pytest
import torch

from autoseg.training.augmentation.interpolation import along, framed, interpolated_along


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.bool])
def test_each_row_gives_its_own_voxels_along_an_axis(axis, dtype):
    rng = np.random.default_rng(axis)
    rows = torch.tensor(rng.integers(0, 9, (3, 4, 5, 6))).to(dtype)
    index = rng.integers(0, rows.shape[axis + 1], (3, 7))
    expected = [np.take(row, of, axis) for row, of in zip(rows.numpy(), index, strict=True)]
    np.testing.assert_array_equal(along(rows, axis, index).numpy(), expected)


def test_two_voxels_are_blended_by_the_share_of_the_second():
    rows = torch.tensor([[[0.0, 10.0], [4.0, 20.0]], [[1.0, 2.0], [3.0, 4.0]]])
    low, high = np.array([[0], [1]]), np.array([[1], [0]])
    blended = interpolated_along(rows, 0, low, high, np.array([[0.25], [0.5]]))
    # a quarter of the way from 0 to 4 and from 10 to 20; halfway from 3 to 1 and from 4 to 2
    assert blended.tolist() == [[[1.0, 12.5]], [[2.0, 3.0]]]


def test_a_frame_holds_every_source_between_zeros():
    sources = [torch.ones(2, 3, 4), torch.full((2, 1, 6), 2.0)]
    frame = framed(sources)
    assert frame.shape == (2, 2, 3 + 3, 6 + 3)
    assert frame[:, 0, 1:4, 1:5].eq(1).all()
    assert frame[:, 1, 1:2, 1:7].eq(2).all()
    assert frame.sum() == 24 + 24
