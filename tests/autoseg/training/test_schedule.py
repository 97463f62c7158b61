from math import cos, pi

import pytest

from autoseg.core.errors import UsageError
from autoseg.training.schedule import cosine, one_cycle, polynomial, scheduled


@pytest.mark.parametrize(
    ("epoch", "expected"), [(0, 0.01), (1, 0.009991), (500, 0.00535887), (999, 1.995e-5)]
)
def test_polynomial_is_nnunets_at_its_epochs(epoch, expected):
    # Measured with nnU-Net's scheduler over 1000 epochs; rounded as printed there.
    assert polynomial(epoch / 1000, 0.01) == pytest.approx(expected, rel=2e-4)


def test_cosine_starts_at_the_peak_and_ends_at_zero():
    # cos(0) = 1, cos(pi / 2) = 0, cos(pi) = -1
    assert [cosine(f, 0.4) for f in (0.0, 0.5, 1.0)] == pytest.approx([0.4, 0.2, 0.0])


def test_cosine_rises_linearly_then_falls_over_the_rest():
    # warmup 0.2: halfway up at 0.1, peak at 0.2, half of the wave at 0.2 + 0.8 / 2
    values = [cosine(f, 0.4, warmup=0.2) for f in (0.0, 0.1, 0.2, 0.6, 1.0)]
    assert values == pytest.approx([0.0, 0.2, 0.4, 0.2, 0.0])


@pytest.mark.parametrize("function", [polynomial, cosine])
def test_every_schedule_falls_monotonically(function):
    values = [function(step / 50, 1.0) for step in range(51)]
    assert values[0] == 1.0
    assert values[-1] == pytest.approx(0.0)
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("function", [polynomial, cosine])
@pytest.mark.parametrize("fraction", [-0.01, 1.01, float("nan")])
def test_fraction_outside_of_the_training_is_refused(function, fraction):
    with pytest.raises(UsageError, match=f"fraction {fraction} must be from 0 to 1"):
        function(fraction, 0.01)


def test_warmup_over_the_whole_training_is_refused():
    with pytest.raises(UsageError, match=r"warmup 1\.0 must be from 0 to below 1"):
        cosine(0.0, 0.01, warmup=1.0)


def test_polynomial_rises_linearly_then_falls_over_the_rest():
    # warmup 0.2: halfway up at 0.1, peak at 0.2; at 0.6 half of the fall is done
    values = [polynomial(f, 0.4, warmup=0.2) for f in (0.0, 0.1, 0.2, 0.6, 1.0)]
    assert values == pytest.approx([0.0, 0.2, 0.4, 0.4 * 0.5**0.9, 0.0])


def test_one_cycle_rises_to_its_peak_and_falls_to_zero():
    # From 1/25 at 0 over the middle of both at 0.15 to 1 at 0.3; half at 0.65, 0 at 1
    values = [one_cycle(f, 0.5) for f in (0.0, 0.15, 0.3, 0.65, 1.0)]
    assert values == pytest.approx([0.02, 0.5 * (1 / 25 + 0.5 * 24 / 25), 0.5, 0.25, 0.0])
    falling = [one_cycle(0.3 + 0.7 * k / 20, 1.0) for k in range(21)]
    assert falling == sorted(falling, reverse=True)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("polynomial", 0.5**0.9), ("cosine", 0.5), ("one_cycle", 0.5 * (1 + cos(pi * 2 / 7)))],
)
def test_a_schedule_is_found_by_its_name(schedule, expected):
    assert scheduled(schedule, 0.5, 1.0) == pytest.approx(expected)
