import numpy as np
import pytest

from autoseg.io.encoding import decode, encode
from preprocessing.precision import Channel, choose_encoding, smallest_step


def channel(raw, *, shift=0.0, divisor=1.0):
    raw = np.asarray(raw, np.float32)
    normalized = (raw - np.float32(shift)) / np.float32(divisor)
    return Channel(
        raw=raw, divisor=divisor, low=float(normalized.min()), high=float(normalized.max())
    )


def whole_numbers(low, high, shape=(7, 30, 41)):
    """Every whole number of a range, and as many again as the shape takes."""
    drawn = np.random.default_rng(4).integers(low, high + 1, shape)
    drawn.reshape(-1)[: high - low + 1] = np.arange(low, high + 1)
    return drawn.astype(np.float32)


@pytest.mark.parametrize(
    ("raw", "step"),
    [
        pytest.param(whole_numbers(-1000, 3000), 1.0, id="whole-numbers"),
        pytest.param(16 * whole_numbers(0, 99), 16.0, id="multiples"),
        pytest.param([[0.25, 8.0], [-3.0, 8.125]], 0.125, id="floats"),
        pytest.param([[7.0, 7.0]], np.inf, id="constant"),
        pytest.param([[1e8, 1e8 + 8, -1e8]], 8.0, id="the-last-place-of-float32"),
    ],
)
def test_smallest_step(raw, step):
    assert smallest_step(np.asarray(raw, np.float32)) == step


def test_a_rare_small_step_is_found():
    raw = whole_numbers(0, 50, (60, 70, 80))
    raw[31, 33, 37] = 17.5
    assert smallest_step(raw) == 0.5


@pytest.mark.parametrize(
    ("raw", "divisor", "dtype"),
    [
        # HU from -1000 to 1000 over 200: steps of 0.005, up to magnitude 5. There float16 is off by
        # at most 2^(3 - 11) / 2 = 0.00195, half a step is 0.0025.
        pytest.param(whole_numbers(-1000, 1000), 200.0, "float16", id="ct"),
        # Magnitudes from 8 on are off by 0.0039.
        pytest.param(whole_numbers(-1000, 1700), 200.0, "int16", id="wide-ct"),
        pytest.param(whole_numbers(0, 20_000, (8, 60, 70)), 900.0, "int16", id="mr"),
        pytest.param(whole_numbers(0, 255), 255.0, "float16", id="bytes"),
        pytest.param(
            np.random.default_rng(0).normal(size=(5, 60, 70)), 1.0, "float32", id="floats"
        ),
        # 70 000 distinct numbers are more than 16 bits tell apart.
        pytest.param(np.arange(70_000).reshape(7, 100, 100), 1.0, "float32", id="70000-levels"),
        pytest.param(np.full((3, 4, 5), 3.7), 1.0, "float16", id="constant"),
        pytest.param(np.full((3, 4, 5), 1e5), 1.0, "int16", id="beyond-float16"),
    ],
)
def test_smallest_type_that_keeps_every_step_apart(raw, divisor, dtype):
    given = channel(raw, divisor=divisor)
    encoding, decision = choose_encoding([given])
    assert encoding.dtype == decision.value == dtype
    image = (given.raw / np.float32(divisor))[None]
    stored = decode(encode(image, encoding), encoding)
    assert np.isfinite(stored).all()
    step = smallest_step(given.raw) / divisor
    assert np.abs(stored.astype(np.float64) - image).max() <= step / 2
    # Distinct raw intensities stay distinct.
    assert np.unique(stored).size == np.unique(image).size


def test_one_type_serves_all_channels():
    fine = channel(whole_numbers(0, 20_000, (8, 60, 70)), divisor=900.0)
    coarse = channel(whole_numbers(0, 9, (8, 60, 70)), divisor=3.0)
    encoding, _ = choose_encoding([coarse, fine])
    assert encoding.dtype == "int16"
    assert len(encoding.scales) == 2
    assert choose_encoding([coarse])[0].dtype == "float16"


def test_int16_holds_the_ends_of_the_range_and_zero():
    raw = whole_numbers(-500, 30_000, (8, 60, 70))
    given = channel(raw, divisor=77.0)
    encoding, _ = choose_encoding([given])
    ends = np.array([[[given.low, 0.0, given.high]]], np.float32)
    stored = decode(encode(ends, encoding), encoding)
    np.testing.assert_allclose(stored, ends, atol=0.5 / 77)
    assert stored[0, 0, 1] == 0


def test_decision_names_the_numbers_that_it_looked_at():
    _, decision = choose_encoding([channel(whole_numbers(-1000, 1000), divisor=200.0)])
    assert dict(decision.numbers) == {
        "smallest step": "0.005",
        "largest magnitude": "5",
        "largest error": "0.002",
    }
