import numpy as np
import pytest
import torch
from batchgenerators.augmentations.color_augmentations import augment_contrast, augment_gamma

from autoseg.training.augmentation.intensity import Brightness, Contrast, Gamma, Noise, Shift
from autoseg.training.augmentation.policy import FULL, STRONG


def picture(shape=(2, 5, 12, 9), *, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def apply(transform, image):
    """Change a copy of one (C, *spatial) image."""
    copied = torch.tensor(image, dtype=torch.float32)[None]
    return transform.apply(copied, [transform])[0].numpy()


EVERY = (
    Noise(std=0.1, seed=3),
    Brightness(factors=(0.8, 1.2)),
    Shift(offsets=(0.4, None)),
    Contrast(factors=(0.8, 1.2), clamped=True),
    Contrast(factors=(None, 1.2), clamped=False),
    Gamma(exponents=(0.8, 1.4), inverted=False),
    Gamma(exponents=(0.8, 1.4), inverted=True),
)


@pytest.mark.parametrize("transform", EVERY, ids=lambda t: type(t).__name__)
def test_constant_image_stays_finite(transform):
    assert np.isfinite(apply(transform, np.full((2, 5, 12, 9), 3.0))).all()


@pytest.mark.parametrize("transform", EVERY, ids=lambda t: type(t).__name__)
def test_equal_changes_do_to_two_samples_what_they_do_to_one(transform):
    image = torch.tensor(picture())
    both = transform.apply(torch.stack([image, image]), [transform, transform])
    assert both.shape == (2, *image.shape)
    for one in both.numpy():
        np.testing.assert_allclose(one, apply(transform, image.numpy()), atol=1e-6)


def test_noise_has_the_drawn_spread_and_differs_between_channels():
    field = apply(Noise(std=0.2, seed=11), np.zeros((2, 30, 40, 20)))
    # standard error of the spread of 24000 values: 0.2 / sqrt(48000) = 0.0009
    assert field.std(axis=(1, 2, 3)) == pytest.approx([0.2, 0.2], abs=0.004)
    assert np.abs(np.corrcoef(field[0].ravel(), field[1].ravel())[0, 1]) < 4 / np.sqrt(24000)


def test_noise_is_the_seeds_alone():
    zeros = np.zeros((1, 6, 8))
    np.testing.assert_array_equal(
        apply(Noise(std=0.1, seed=2**63 - 1), zeros), apply(Noise(std=0.1, seed=2**63 - 1), zeros)
    )
    assert not np.array_equal(
        apply(Noise(std=0.1, seed=7), zeros), apply(Noise(std=0.1, seed=8), zeros)
    )


def test_brightness_multiplies_each_channel():
    image = np.array([[[1.0, -2.0]], [[4.0, 0.0]]])
    expected = [[[0.5, -1.0]], [[5.0, 0.0]]]
    np.testing.assert_allclose(apply(Brightness(factors=(0.5, 1.25)), image), expected)


def test_contrast_stretches_around_the_mean_within_the_old_range():
    # mean 4, offsets -4 -1 0 5; halved: 2, 3.5, 4, 6.5; times 1.2: -0.8 -> 0, 2.8, 4, 10 -> 9
    image = np.array([[[0.0, 3.0, 4.0, 9.0]], [[0.0, 3.0, 4.0, 9.0]]])
    expected = [[[2.0, 3.5, 4.0, 6.5]], [[0.0, 2.8, 4.0, 9.0]]]
    np.testing.assert_allclose(
        apply(Contrast(factors=(0.5, 1.2), clamped=True), image), expected, rtol=1e-6
    )


@pytest.mark.parametrize("clamped", [True, False])
def test_contrast_agrees_with_batchgenerators(clamped):
    image = picture()
    expected = augment_contrast(image.copy(), (1.2, 1.2), preserve_range=clamped)
    np.testing.assert_allclose(
        apply(Contrast(factors=(1.2, 1.2), clamped=clamped), image), expected, atol=1e-6
    )


def test_gamma_bends_the_range_and_restores_mean_and_spread():
    # 0 1 2 over range 2: squares of 0 .5 1 are 0 .25 1; mean 1 and spread sqrt(2/3) restored
    bent = np.array([0.0, 0.25, 1.0])
    expected = (bent - bent.mean()) / bent.std() * np.sqrt(2 / 3) + 1
    image = np.array([[[0.0, 1.0, 2.0]]])
    result = apply(Gamma(exponents=(2.0,), inverted=False), image)
    np.testing.assert_allclose(result[0, 0], expected, rtol=1e-5)


def test_inverted_gamma_is_gamma_of_the_negative():
    image = picture()
    expected = -apply(Gamma(exponents=(0.8, 1.4), inverted=False), -image)
    result = apply(Gamma(exponents=(0.8, 1.4), inverted=True), image)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("inverted", [False, True])
def test_gamma_agrees_with_batchgenerators(inverted):
    image = picture()
    expected = augment_gamma(
        image.copy(), (1.5, 1.5), inverted, per_channel=True, retain_stats=True
    )
    result = apply(Gamma(exponents=(1.5, 1.5), inverted=inverted), image)
    np.testing.assert_allclose(result, expected, atol=1e-5)


@pytest.mark.parametrize("offset", [-1000.0, 0.0, 1000.0])
def test_gamma_keeps_mean_and_spread(offset):
    image = picture() + np.float32(offset)
    result = apply(Gamma(exponents=(0.7, 1.5), inverted=False), image)
    assert result.mean((1, 2, 3)) == pytest.approx(image.mean((1, 2, 3)), abs=1e-3)
    assert result.std((1, 2, 3)) == pytest.approx(image.std((1, 2, 3)), rel=1e-3)


def test_shift_adds_to_the_channels_that_were_drawn():
    image = picture((3, 4, 5))
    expected = image + np.array([0.5, 0.0, -0.25], dtype=np.float32)[:, None, None]
    np.testing.assert_array_equal(apply(Shift(offsets=(0.5, None, -0.25)), image), expected)


def test_gamma_keeps_the_spread_of_many_voxels():
    # 2**21 squares are added up: the sum must not lose what the last ones add.
    image = torch.randn(1, 1, 128, 128, 128, generator=torch.Generator().manual_seed(1))
    std = image.double().std(correction=0).item()
    bent = Gamma.apply(image, [Gamma(exponents=(1.4,), inverted=False)])
    assert bent.double().std(correction=0).item() == pytest.approx(std, rel=2e-6)


def draws(draw, *, policy=FULL, channels=2, patch_size=(8, 40, 30), count=2000):
    rng = np.random.default_rng(5)
    return [draw(rng, policy, patch_size, channels) for _ in range(count)]


@pytest.mark.parametrize(
    ("draw", "field", "low", "high"),
    [
        pytest.param(Noise.draw_first, "std", 0.0, 0.1, id="noise"),
        pytest.param(Brightness.draw, "factors", 0.75, 1.25, id="brightness"),
        pytest.param(Contrast.draw, "factors", 0.75, 1.25, id="contrast"),
        pytest.param(Gamma.draw_inverted, "exponents", 0.7, 1.5, id="inverted-gamma"),
        pytest.param(Gamma.draw, "exponents", 0.7, 1.5, id="gamma"),
    ],
)
def test_draws_fill_their_range(draw, field, low, high):
    values = np.array([getattr(one, field) for one in draws(draw) if one])
    margin = 0.05 * (high - low)
    assert low <= values.min() < low + margin
    assert high - margin < values.max() <= high


def test_split_ranges_lie_below_one_half_of_the_time():
    values = np.array([one.exponents for one in draws(Gamma.draw) if one]).ravel()
    assert abs((values < 1).mean() - 0.5) < 4 * 0.5 / np.sqrt(values.size)


def test_noise_comes_first_or_later_as_the_policy_says():
    assert not any(draws(Noise.draw_later))
    assert not any(draws(Noise.draw_first, policy=STRONG))
    # 4 sigma of 2000 draws with 0.1: 4 * sqrt(2000 * 0.09) = 54
    assert abs(sum(map(bool, draws(Noise.draw_later, policy=STRONG))) - 200) < 54


def test_strong_contrast_is_clamped_and_touches_a_channel_half_of_the_time():
    found = [one for one in draws(Contrast.draw, policy=STRONG, count=4000) if one]
    flags = np.array([one.clamped for one in found])
    assert abs(flags.mean() - 0.5) < 4 * 0.5 / np.sqrt(flags.size)
    factors = [factor for one in found for factor in one.factors]
    chosen = [factor for factor in factors if factor is not None]
    assert abs(len(chosen) / len(factors) - 0.5) < 4 * 0.5 / np.sqrt(len(factors))
    assert 0.5 <= min(chosen) < 0.53
    assert 1.9 < max(chosen) <= 2.0


def test_shifts_have_mean_zero_and_their_spread():
    found = [one for one in draws(Shift.draw, policy=STRONG, count=20000) if one]
    values = np.array([value for one in found for value in one.offsets if value is not None])
    # about 20000 * 0.1 * 2 * 0.5 = 2000 values; standard errors 0.011 and 0.008
    assert abs(values.mean()) < 0.045
    assert values.std() == pytest.approx(0.5, abs=0.035)
