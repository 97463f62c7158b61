import numpy as np
import pytest
import torch
from batchgenerators.augmentations.color_augmentations import augment_contrast, augment_gamma
from scipy import ndimage

from autoseg.training.augmentation.intensity import (
    DRAWS,
    Blur,
    Brightness,
    Contrast,
    Gamma,
    LowResolution,
    Noise,
)
from autoseg.training.augmentation.policy import FULL


def picture(shape=(2, 5, 12, 9), *, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def apply(transform, image):
    return transform.apply(torch.tensor(image, dtype=torch.float32)).numpy()


EVERY = (
    Noise(std=0.1, seed=3),
    Blur(sigmas=((0.5, 1.0, 0.7), None)),
    Brightness(factors=(0.8, 1.2)),
    Contrast(factors=(0.8, 1.2)),
    LowResolution(factors=(None, 0.6), in_plane=False),
    Gamma(exponents=(0.8, 1.4), inverted=False),
    Gamma(exponents=(0.8, 1.4), inverted=True),
)


@pytest.mark.parametrize("transform", EVERY, ids=lambda t: type(t).__name__)
def test_result_is_a_new_image_of_the_same_kind(transform):
    image = torch.tensor(picture())
    before = image.clone()
    result = transform.apply(image)
    assert torch.equal(image, before)
    assert result.shape == image.shape
    assert result.dtype == torch.float32
    assert not torch.equal(result, image)


@pytest.mark.parametrize("transform", EVERY, ids=lambda t: type(t).__name__)
def test_constant_image_stays_finite(transform):
    assert np.isfinite(apply(transform, np.full((2, 5, 12, 9), 3.0))).all()


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


@pytest.mark.parametrize(
    ("shape", "sigmas"),
    [((1, 14, 9), (0.5, 1.0)), ((1, 8, 14, 9), (0.9, 0.5, 0.7))],
    ids=["2d", "3d"],
)
def test_blur_agrees_with_scipy_along_each_axis(shape, sigmas):
    image = picture(shape)
    expected = image[0].astype(np.float64)
    for axis, sigma in enumerate(sigmas):
        # scipy calls reflection without the border voxel "mirror"
        expected = ndimage.gaussian_filter1d(expected, sigma, axis, mode="mirror", truncate=3.0)
    np.testing.assert_allclose(apply(Blur(sigmas=(sigmas,)), image)[0], expected, atol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_blur_repeats_the_border_of_an_axis_too_short_to_mirror(size):
    # sigma 1 is cut at 3 voxels: an axis of 3 voxels or fewer cannot be mirrored
    image = picture((1, size, 10))
    expected = ndimage.gaussian_filter1d(image[0], 1.0, 0, mode="nearest", truncate=3.0)
    expected = ndimage.gaussian_filter1d(expected, 0.5, 1, mode="mirror", truncate=3.0)
    np.testing.assert_allclose(apply(Blur(sigmas=((1.0, 0.5),)), image)[0], expected, atol=1e-6)


def test_blur_leaves_channels_that_were_not_drawn():
    image = picture((3, 6, 8))
    blurred = apply(Blur(sigmas=(None, (1.0, 1.0), None)), image)
    np.testing.assert_array_equal(blurred[[0, 2]], image[[0, 2]])
    assert not np.array_equal(blurred[1], image[1])


def test_brightness_multiplies_each_channel():
    image = np.array([[[1.0, -2.0]], [[4.0, 0.0]]])
    expected = [[[0.5, -1.0]], [[5.0, 0.0]]]
    np.testing.assert_allclose(apply(Brightness(factors=(0.5, 1.25)), image), expected)


def test_contrast_stretches_around_the_mean_within_the_old_range():
    # mean 4, offsets -4 -1 0 5; halved: 2, 3.5, 4, 6.5; times 1.2: -0.8 -> 0, 2.8, 4, 10 -> 9
    image = np.array([[[0.0, 3.0, 4.0, 9.0]], [[0.0, 3.0, 4.0, 9.0]]])
    expected = [[[2.0, 3.5, 4.0, 6.5]], [[0.0, 2.8, 4.0, 9.0]]]
    np.testing.assert_allclose(apply(Contrast(factors=(0.5, 1.2)), image), expected, rtol=1e-6)


def test_contrast_agrees_with_batchgenerators():
    image = picture()
    expected = augment_contrast(image.copy(), (1.2, 1.2))
    np.testing.assert_allclose(apply(Contrast(factors=(1.2, 1.2)), image), expected, atol=1e-6)


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


def test_low_resolution_picks_every_other_voxel_and_interpolates():
    # 8 voxels -> 4 whose centers lie on the later of each pair (1 3 5 7); back on the fine grid
    # the coarse centers are 0.5 2.5 4.5 6.5: weights 1/4 and 3/4 in between, repeated outside
    ramp = np.broadcast_to(np.arange(8.0), (1, 4, 8)).copy()
    expected = [1, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7]
    result = apply(LowResolution(factors=(0.5,), in_plane=False), ramp)
    np.testing.assert_allclose(result[0], np.broadcast_to(expected, (4, 8)), rtol=1e-6)


def test_low_resolution_in_plane_keeps_the_first_axis():
    slices = np.broadcast_to(np.arange(4.0)[:, None, None] ** 2, (4, 16, 14)).copy()
    kept = apply(LowResolution(factors=(0.5,), in_plane=True), slices[None])
    np.testing.assert_allclose(kept[0], slices, atol=1e-6)
    coarse = apply(LowResolution(factors=(0.5,), in_plane=False), slices[None])
    assert np.abs(coarse[0] - slices).max() > 1


def test_low_resolution_of_a_single_voxel_keeps_it():
    image = picture((1, 1, 7))
    assert apply(LowResolution(factors=(0.5,), in_plane=False), image).shape == (1, 1, 7)


def draws(index, *, channels=2, patch_size=(8, 40, 30), count=2000):
    rng = np.random.default_rng(index)
    return [DRAWS[index](rng, FULL, patch_size, channels) for _ in range(count)]


@pytest.mark.parametrize(
    ("index", "field", "low", "high"),
    [
        (0, "std", 0.0, 0.1),
        (2, "factors", 0.75, 1.25),
        (3, "factors", 0.75, 1.25),
        (5, "exponents", 0.7, 1.5),
        (6, "exponents", 0.7, 1.5),
    ],
    ids=["noise", "brightness", "contrast", "inverted-gamma", "gamma"],
)
def test_draws_fill_their_range(index, field, low, high):
    values = np.array([getattr(draw, field) for draw in draws(index) if draw])
    margin = 0.05 * (high - low)
    assert low <= values.min() < low + margin
    assert high - margin < values.max() <= high


def test_split_ranges_lie_below_one_half_of_the_time():
    values = np.array([draw.exponents for draw in draws(6) if draw]).ravel()
    assert abs((values < 1).mean() - 0.5) < 4 * 0.5 / np.sqrt(values.size)


@pytest.mark.parametrize(("index", "field"), [(1, "sigmas"), (4, "factors")])
def test_channels_are_drawn_one_by_one(index, field):
    found = [[value is not None for value in getattr(d, field)] for d in draws(index) if d]
    assert abs(np.mean(found) - 0.5) < 4 * 0.5 / np.sqrt(np.size(found))
    assert {tuple(row) for row in found} == {
        (True, True),
        (True, False),
        (False, True),
        (False, False),
    }


def test_blur_is_drawn_per_axis_and_low_resolution_knows_the_patch():
    sigmas = [s for d in draws(1) if d for s in d.sigmas if s]
    assert {len(s) for s in sigmas} == {3}
    assert all(0.5 <= value <= 1.0 for s in sigmas for value in s)
    assert all(len(set(s)) == 3 for s in sigmas)
    assert all(d.in_plane for d in draws(4) if d)
    assert not any(d.in_plane for d in draws(4, patch_size=(20, 40, 30)) if d)
