import numpy as np
import pytest

from preprocessing.interpolation import (
    axis_bands,
    axis_matrix,
    linear_neighbors,
    nearest_indices,
)


def test_linear_matrix_of_doubling_two_voxels():
    # Output centers lie at -1/4, 1/4, 3/4 and 5/4 of the input.
    expected = [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]
    np.testing.assert_allclose(axis_matrix(2, 4, 1), expected, atol=1e-7)


@pytest.mark.parametrize(("n_in", "n_out"), [(1, 5), (5, 1), (40, 13), (13, 40), (97, 96)])
@pytest.mark.parametrize("anti_aliasing", [False, True])
def test_matrix_keeps_a_constant_and_cannot_be_changed(n_in, n_out, anti_aliasing):
    matrix = axis_matrix(n_in, n_out, 3, anti_aliasing=anti_aliasing)
    assert matrix.shape == (n_out, n_in)
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-5)
    with pytest.raises(ValueError, match="read-only"):
        matrix[0, 0] = 2


@pytest.mark.parametrize(
    ("n_in", "n_out", "indices"),
    [
        pytest.param(3, 6, [0, 0, 1, 1, 2, 2], id="doubled"),
        pytest.param(4, 2, [1, 3], id="halved-ties-to-the-higher"),
        pytest.param(5, 3, [0, 2, 4], id="5-to-3"),  # centers at 1/3, 2 and 11/3
        pytest.param(1, 3, [0, 0, 0], id="one-slice"),
    ],
)
def test_nearest_indices(n_in, n_out, indices):
    assert nearest_indices(n_in, n_out).tolist() == indices


@pytest.mark.parametrize(("n_in", "n_out"), [(1, 70), (70, 1), (384, 300), (100, 125), (40, 41)])
def test_bands_are_the_matrix_but_for_what_weighs_less_than_a_millionth(n_in, n_out):
    whole, matrix = np.zeros((n_out, n_in), np.float32), axis_matrix(n_in, n_out, 3)
    for band in axis_bands(n_in, n_out, 3):
        whole[band.new, band.old] = band.weights
    assert np.abs(whole - matrix).sum(axis=1).max() < 1e-6


def test_bands_are_narrow():
    # 32 new voxels span 41 old ones, and the response of a cubic spline fades within 13 more.
    assert max(band.weights.shape[1] for band in axis_bands(384, 300, 3)) <= 41 + 2 * 14


def test_linear_neighbors_of_eight_voxels_made_of_four():
    # Centers lie at -1/4, 1/4, 3/4, 5/4 ... 13/4; the first and the last are beyond the edge.
    found = linear_neighbors(4, 8)
    assert found.low.tolist() == [0, 0, 0, 1, 1, 2, 2, 3]
    assert found.high.tolist() == [1, 1, 1, 2, 2, 3, 3, 3]
    assert found.high_weight.tolist() == [0, 0.25, 0.75, 0.25, 0.75, 0.25, 0.75, 0]
    assert (found.low_weight + found.high_weight).tolist() == [1] * 8


@pytest.mark.parametrize(("n_in", "n_out"), [(9, 14), (14, 9), (301, 77), (1, 6)])
def test_linear_neighbors_are_the_linear_matrix(n_in, n_out):
    found, matrix = linear_neighbors(n_in, n_out), np.zeros((n_out, n_in))
    np.add.at(matrix, (range(n_out), found.low), found.low_weight)
    np.add.at(matrix, (range(n_out), found.high), found.high_weight)
    np.testing.assert_allclose(matrix, axis_matrix(n_in, n_out, 1), atol=1e-6)
