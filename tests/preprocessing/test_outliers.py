"""When a number stands out among others."""

import pytest

from preprocessing.outliers import most_rare, outliers


@pytest.mark.parametrize(
    ("values", "found"),
    [
        pytest.param([1, 1, 1, 1, 1, 2], (5,), id="exactly-the-ratio"),
        pytest.param([1, 1, 1, 1, 1, 0.5], (5,), id="half-of-it"),
        pytest.param([1, 1, 1, 1, 1, 1.99], (), id="below-the-ratio"),
        pytest.param([1, 1, 1, 1, 9], (), id="five-make-no-norm"),
        pytest.param([1, 1, 5], (), id="three-even-less"),
        pytest.param([1, 1, 1, 1, 1, 5, 5], (), id="two-of-seven-are-a-group"),
        pytest.param([*[1] * 18, 5, 6], (18, 19), id="two-of-twenty-are-not"),
        # Median 8 (log2 3), deviations in log2: 3 2 1 0 1 2 8, their median 2: 8 < 8 * 1.48 * 2.
        pytest.param([1, 2, 4, 8, 16, 32, 2048], (), id="such-a-spread-covers-it"),
        pytest.param([], (), id="none"),
    ],
)
def test_a_number_stands_out_beyond_ratio_and_spread(values, found):
    assert outliers(values, ratio=2) == found


def test_the_spread_counts_eight_robust_standard_deviations():
    # In log2 the deviations are 0, 0, 1, 1, 1, 1 and x: median 1, so x must reach 8 * 1.4826.
    base = [1.0, 1.0, 2.0, 0.5, 2.0, 0.5]
    assert outliers([*base, 2**11.8], ratio=2) == ()
    assert outliers([*base, 2**11.9], ratio=2) == (6,)


def test_one_case_may_always_stand_out_and_a_tenth_of_many():
    assert [most_rare(cases) for cases in (1, 9, 10, 19, 20, 205)] == [1, 1, 1, 1, 2, 20]
