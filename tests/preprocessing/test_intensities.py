"""The statistics of the pool, against slow oracles that look at every voxel."""

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoseg.core.fingerprint import RANKS
from preprocessing.intensities import pool_channels, sketch_channel

FLOATS = st.floats(min_value=-1000, max_value=1000, width=32)
CASES = st.lists(st.lists(FLOATS, min_size=1, max_size=40), min_size=1, max_size=6)


def sketched(case):
    return sketch_channel(np.array(case, np.float32))


def pooled(*cases):
    """Return the statistics of one channel of cases, each given by its foreground."""
    sketches = [sketched(case) for case in cases]
    (statistics,) = pool_channels([[m for m, _ in sketches]], lambda: [[q] for _, q in sketches])
    return statistics


def kept(case):
    return np.frombuffer(sketched(case)[1], "<f4")


def percentiles(statistics):
    return {
        0.005: statistics.percentile_00_5,
        0.5: statistics.median,
        0.995: statistics.percentile_99_5,
    }


def shares(value, cases):
    """Share of voxels below a value and of those up to it, every case weighing the same."""
    below = np.mean([np.count_nonzero(np.asarray(case) < value) / len(case) for case in cases])
    up_to = np.mean([np.count_nonzero(np.asarray(case) <= value) / len(case) for case in cases])
    return float(below), float(up_to)


def rank_errors(cases):
    """How far each percentile's share lies outside the shares that its value stands for."""
    for share, value in percentiles(pooled(*cases)).items():
        below, up_to = shares(value, cases)
        yield max(below - share, share - up_to, 0.0)


def moments(*cases):
    """Exact mean and variance of the equally weighted pool, in rational numbers."""
    exact = [[Fraction(float(value)) for value in np.float32(case)] for case in cases]
    mean = sum(sum(case) / len(case) for case in exact) / len(exact)
    spread = sum(sum((v - mean) ** 2 for v in case) / len(case) for case in exact) / len(exact)
    return float(mean), float(spread)


def ct(rng, voxels):
    return np.rint(rng.normal(40, 25, voxels))


RNG = np.random.default_rng(7)
POOLS = [
    pytest.param([RNG.gamma(0.3, 500, 200_000)], id="one-case"),
    pytest.param([RNG.lognormal(3, 2, n) for n in (70_001, 12_345, 999)], id="skewed"),
    pytest.param([ct(RNG, n) for n in (50_000, 3_001, 77)], id="whole-numbers"),
    pytest.param([[-7.5] * 5_000] * 3, id="constant"),
    pytest.param([[-3.0] * 9, [8.0] * 7_000], id="two-constants"),
    pytest.param([RNG.normal(0, 9, n) for n in (1, 2, 3, 1, 2, 3, 3)], id="tiny"),
    pytest.param([[5.0], ct(RNG, 400_000), [1.0, 2.0, 3.0]], id="tiny-and-large"),
    pytest.param([RNG.normal(m, 1, 997) for m in range(-300, 300, 3)], id="two-hundred"),
    pytest.param([RNG.normal(10_000, 0.01, 30_000)] * 2, id="narrow"),
    pytest.param([[0.0] * 994 + [1e30] * 6, [-1e30] * 6 + [0.0] * 994], id="on-the-edge"),
]


@pytest.mark.parametrize("cases", POOLS)
def test_percentiles_are_off_by_at_most_a_tenth_of_a_percent_in_rank(cases):
    cases = [np.asarray(case, np.float32) for case in cases]
    assert max(rank_errors(cases)) <= 0.001


@given(CASES)
def test_percentiles_of_any_few_voxels_are_off_by_at_most_a_tenth_of_a_percent(cases):
    assert max(rank_errors([np.asarray(case, np.float32) for case in cases])) <= 0.001 + 1e-12


@pytest.mark.parametrize("voxels", [1, 3, 7, 999, 1000, 1001, 54_321])
def test_a_sketch_is_off_by_at_most_half_the_step_between_its_ranks(voxels):
    case = np.random.default_rng(voxels).gamma(1, 50, voxels).astype(np.float32)
    sketch = kept(case)
    for value in np.unique(sketch):
        error = np.subtract(shares(value, [sketch]), shares(value, [case]))
        assert np.abs(error).max() <= 0.5 / RANKS + 1e-12


def test_sketch_of_four_voxels():
    measured, _ = sketched([6, 1, 3, 2])
    assert (measured.mean, measured.variance) == (3, 3.5)  # (9 + 4 + 0 + 1) / 4
    assert (measured.minimum, measured.maximum) == (1, 6)
    assert kept([6, 1, 3, 2]).tolist() == [1] * 250 + [2] * 250 + [3] * 250 + [6] * 250


def test_case_without_foreground_has_no_sketch():
    assert sketched([]) is None


@pytest.mark.parametrize("cases", POOLS)
def test_quantiles_are_counted_as_if_they_all_lay_in_memory(cases):
    together = np.concatenate([kept(case) for case in cases]).astype(np.float64)
    expected = np.percentile(together, [0.5, 50, 99.5], method="hazen")
    found = list(percentiles(pooled(*cases)).values())
    assert found == pytest.approx(expected.tolist(), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("mean", "step"), [(1e4, 1.0), (-1e4, 1.0), (1e6, 0.0625), (0.0, 1e-3)], ids=str
)
def test_deviation_is_not_lost_beside_a_large_mean(mean, step):
    rng = np.random.default_rng(3)
    cases = [mean + step * rng.normal(shift, 1, 500) for shift in (-0.5, 0, 2)]
    exact, spread = moments(*cases)
    statistics = pooled(*cases)
    assert statistics.mean == pytest.approx(exact, rel=1e-14, abs=1e-15)
    assert statistics.std**2 == pytest.approx(spread, rel=1e-12)


def test_sums_over_several_slabs_are_exact_where_float32_sums_are_not():
    values = np.full(2_500_003, 16_777.25, np.float32)
    values[:2] = (-16_777.25, 16_777.25 * 3)  # their mean is that of the others
    measured, _ = sketched(values)
    assert measured.mean == 16_777.25
    assert measured.variance == pytest.approx(2 * 33_554.5**2 / 2_500_003, rel=1e-14)


def test_a_negative_zero_is_a_zero():
    assert kept([-0.0, 0.0]).tobytes() == bytes(4 * RANKS)
    assert pooled([-0.0], [0.0]) == pooled([0.0], [-0.0])


def test_every_case_weighs_the_same_however_many_voxels_it_has():
    statistics = pooled([0.0] * 9_000, [8.0])
    assert (statistics.mean, statistics.median, statistics.std) == (4, 4, 4)
    assert (statistics.minimum, statistics.maximum) == (0, 8)
    assert (statistics.percentile_00_5, statistics.percentile_99_5) == (0, 8)


def test_channels_are_kept_apart():
    first, second = sketched([1.0, 3.0]), sketched([10.0, 50.0])
    statistics = pool_channels([[first[0]], [second[0]]], lambda: [[first[1], second[1]]])
    assert [(c.mean, c.median, c.std) for c in statistics] == [(2, 2, 1), (30, 30, 20)]


@given(CASES, st.randoms())
def test_order_of_the_cases_does_not_matter_to_the_last_bit(cases, random):
    shuffled = random.sample(cases, len(cases))
    assert pooled(*shuffled) == pooled(*cases)


def test_memory_does_not_grow_with_the_cases():
    sketches = [sketched(np.random.default_rng(seed).normal(0, 99, 5_000)) for seed in range(10)]

    def peak(times):
        tracemalloc.start()
        try:
            pool_channels(
                [[moments for moments, _ in sketches]],
                lambda: ([held] for _ in range(times) for _, held in sketches),
            )
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(1) > 2**19  # the counters are seen
    assert peak(100) == pytest.approx(peak(1), rel=0.05)
