import numpy as np
import pytest

from autoseg.core.errors import VoxelError
from autoseg.core.fingerprint import ChannelStatistics
from autoseg.core.plan import Normalization
from preprocessing.normalization import normalize

EVERYWHERE = np.ones((2, 2), bool)


def scheme(name, *, inside=False, low=-2.0, high=20.0, mean=4.0, std=2.0):
    return Normalization(
        scheme=name,
        inside_nonzero_only=inside,
        statistics=ChannelStatistics(
            mean=mean,
            median=3.0,
            std=std,
            minimum=-9.0,
            maximum=99.0,
            percentile_00_5=low,
            percentile_99_5=high,
        ),
    )


def normalized(values, name, mask=EVERYWHERE, **options):
    image = np.array([values], np.float32)
    return normalize(image, mask, [scheme(name, **options)])[0][0]


def test_zscore_has_mean_0_and_population_deviation_1():
    # Mean 4, deviations -3, -1, 1, 3: variance 20 / 4 = 5.
    expected = np.array([[-3, -1], [1, 3]]) / 5**0.5
    np.testing.assert_allclose(normalized([[1, 3], [5, 7]], "zscore"), expected, rtol=1e-6)


def test_zscore_inside_the_mask_leaves_the_outside_as_it_is():
    mask = np.array([[True, False], [True, False]])
    # Inside: 2 and 6, mean 4, deviation 2.
    result = normalized([[2, 0], [6, 50]], "zscore", mask, inside=True)
    np.testing.assert_allclose(result, [[-1, 0], [1, 50]], rtol=1e-6)


def test_zscore_ignores_the_mask_where_it_is_not_asked_to_heed_it():
    mask = np.array([[True, False], [True, False]])
    np.testing.assert_allclose(
        normalized([[1, 3], [5, 7]], "zscore", mask), normalized([[1, 3], [5, 7]], "zscore")
    )


def test_zscore_is_accurate_far_from_zero():
    # In float32 the mean of so many large values would be off by more than their deviation.
    image = np.full((1, 200, 300, 10), 100_000, np.float32)
    image[:, ::2] += 1
    result, _ = normalize(image, np.ones(image.shape[1:], bool), [scheme("zscore")])
    np.testing.assert_allclose(result[0, :2, 0, 0], [1, -1], rtol=0.02)


def test_ct_clips_to_the_percentiles_of_the_dataset():
    # -100 becomes (-2 - 4) / 2, 4 becomes 0, 10 becomes 3, 1000 becomes (20 - 4) / 2.
    np.testing.assert_allclose(normalized([[-100, 4], [10, 1000]], "ct"), [[-3, 0], [3, 8]])


def test_rescale_uses_the_range_of_the_image():
    result = normalized([[-2, 0], [3, 8]], "rescale_to_0_1")
    np.testing.assert_allclose(result, [[0, 0.2], [0.5, 1]], rtol=1e-6)


def test_rgb_divides_by_255():
    result = normalized([[0, 51], [102, 255]], "rgb_to_0_1")
    np.testing.assert_allclose(result, [[0, 0.2], [0.4, 1]], rtol=1e-6)


@pytest.mark.parametrize("value", [-1, 256])
def test_rgb_refuses_values_that_are_no_bytes(value):
    with pytest.raises(VoxelError, match=rf"image: channel 0 .* {value}.* are 0 to 255") as refusal:
        normalized([[0, 3], [5, value]], "rgb_to_0_1")
    assert refusal.value.rule == "E-VAL-41"


def test_none_changes_nothing():
    np.testing.assert_array_equal(normalized([[-3, 0], [7, 1e6]], "none"), [[-3, 0], [7, 1e6]])


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("name", ["zscore", "ct", "rescale_to_0_1", "rgb_to_0_1", "none"])
def test_constant_image_stays_finite(name, inside):
    constant = normalized([[7, 7], [7, 7]], name, inside=inside, std=0.0, mean=7.0)
    assert np.isfinite(constant).all()
    assert constant.dtype == np.float32


def test_each_channel_has_its_scheme_and_the_image_is_left_unchanged():
    image = np.array([[[0, 51]], [[0, 4]], [[-5, 9]]], np.float32)
    before = image.copy()
    schemes = [scheme("rgb_to_0_1"), scheme("ct"), scheme("none")]
    result, _ = normalize(image, np.ones((1, 2), bool), schemes)
    np.testing.assert_allclose(result, [[[0, 0.2]], [[-2, 0]], [[-5, 9]]], rtol=1e-6)
    np.testing.assert_array_equal(image, before)


def test_scalings_tell_what_was_done_to_each_channel():
    image = np.array([[[1, 3], [5, 7]]] * 3, np.float32)
    schemes = [scheme("zscore"), scheme("ct", std=2.5), scheme("rescale_to_0_1")]
    _, (zscore, ct, rescale) = normalize(image, EVERYWHERE, schemes)
    assert (zscore.shift, zscore.divisor, zscore.low) == (4.0, 5**0.5, None)
    assert (ct.low, ct.high, ct.shift, ct.divisor) == (-2.0, 20.0, 4.0, 2.5)
    assert (rescale.shift, rescale.divisor) == (1.0, 6.0)


def test_turned_view_gives_a_contiguous_copy_of_the_same_numbers():
    view = np.random.default_rng(2).normal(size=(1, 5, 7, 3)).astype(np.float32)
    turned = view.transpose(0, 3, 1, 2)
    inside = turned[0] > -1
    for name, heeds in (("zscore", True), ("ct", False)):
        asked = [scheme(name, inside=heeds)]
        result, _ = normalize(turned, inside, asked)
        assert result.flags.c_contiguous
        np.testing.assert_allclose(
            result, normalize(turned.copy(), inside.copy(), asked)[0], rtol=1e-6
        )
