import numpy as np
import pytest

from preprocessing import interpolation
from preprocessing.interpolation import axis_bands, linear_neighbors, nearest_indices


def dense(n_in, n_out, order, **options):
    """The matrix that bands are of, and how often each of its rows is made."""
    matrix, made = np.zeros((n_out, n_in)), np.zeros(n_out)
    for band in axis_bands(n_in, n_out, order, **options):
        matrix[band.new, band.old] = band.weights
        made[band.new] += 1
    assert (made == 1).all()
    return matrix


def test_linear_matrix_of_doubling_two_voxels():
    # Output centers lie at -1/4, 1/4, 3/4 and 5/4 of the input.
    expected = [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]
    np.testing.assert_allclose(dense(2, 4, 1), expected, atol=1e-7)


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize(
    ("n_in", "n_out"), [(1, 70), (70, 1), (384, 300), (100, 125), (40, 41), (97, 97), (600, 130)]
)
def test_bands_are_the_matrix_but_for_what_weighs_less_than_a_millionth(
    n_in, n_out, order, axis_matrix
):
    left_out = np.abs(dense(n_in, n_out, order) - axis_matrix(n_in, n_out, order))
    assert left_out.sum(axis=1).max() < 2e-6


@pytest.mark.parametrize(("n_in", "n_out"), [(300, 70), (64, 9)])
def test_bands_of_a_smoothed_axis_are_the_spline_of_the_gaussian(n_in, n_out, axis_matrix):
    expected = axis_matrix(n_in, n_out, 3, sigma=(n_in / n_out - 1) / 2)
    found = dense(n_in, n_out, 3, anti_aliasing=True)
    assert np.abs(found - expected).sum(axis=1).max() < 5e-6


@pytest.mark.parametrize(("n_in", "n_out"), [(1, 5), (5, 1), (40, 13), (13, 40), (97, 96)])
@pytest.mark.parametrize("anti_aliasing", [False, True])
def test_matrix_keeps_a_constant(n_in, n_out, anti_aliasing):
    matrix = dense(n_in, n_out, 3, anti_aliasing=anti_aliasing)
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-5)


def test_bands_are_narrow():
    # 32 new voxels span 41 old ones, and the response of a cubic spline fades within 13 more.
    assert max(band.weights.shape[1] for band in axis_bands(384, 300, 3)) <= 41 + 2 * 14


def test_number_of_unit_vectors_at_a_time_changes_nothing(monkeypatch):
    once = axis_bands(301, 222, 3)
    axis_bands.cache_clear()
    monkeypatch.setattr(interpolation, "UNIT_VECTORS", 37)
    for band, again in zip(once, axis_bands(301, 222, 3), strict=True):
        assert (band.new, band.old) == (again.new, again.old)
        np.testing.assert_array_equal(
            band.weights[np.abs(band.weights) > 1e-6], again.weights[np.abs(band.weights) > 1e-6]
        )
    axis_bands.cache_clear()


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


def test_linear_neighbors_of_eight_voxels_made_of_four():
    # Centers lie at -1/4, 1/4, 3/4, 5/4 ... 13/4; the first and the last are beyond the edge.
    found = linear_neighbors(4, 8)
    assert found.low.tolist() == [0, 0, 0, 1, 1, 2, 2, 3]
    assert found.high.tolist() == [1, 1, 1, 2, 2, 3, 3, 3]
    assert found.high_weight.tolist() == [0, 0.25, 0.75, 0.25, 0.75, 0.25, 0.75, 0]
    assert (found.low_weight + found.high_weight).tolist() == [1] * 8


@pytest.mark.parametrize(("n_in", "n_out"), [(9, 14), (14, 9), (301, 77), (1, 6)])
def test_linear_neighbors_are_the_linear_matrix(n_in, n_out, axis_matrix):
    found, matrix = linear_neighbors(n_in, n_out), np.zeros((n_out, n_in))
    np.add.at(matrix, (range(n_out), found.low), found.low_weight)
    np.add.at(matrix, (range(n_out), found.high), found.high_weight)
    np.testing.assert_allclose(matrix, axis_matrix(n_in, n_out, 1), atol=1e-12)
