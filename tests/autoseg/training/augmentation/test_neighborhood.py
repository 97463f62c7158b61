import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its customary name
from scipy import ndimage

from autoseg.training.augmentation.neighborhood import (
    Blur,
    LowResolution,
    Median,
    Sharpening,
    draw_smoothing,
)
from autoseg.training.augmentation.policy import FULL, STRONG


def picture(shape=(2, 5, 12, 9), *, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def apply(transform, image):
    """Change a copy of one (C, *spatial) image."""
    copied = torch.tensor(image, dtype=torch.float32)[None]
    return transform.apply(copied, [transform])[0].numpy()


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
def test_blur_mirrors_a_short_axis_more_than_once(size):
    # sigma 1 is cut at 3 voxels
    image = picture((1, size, 10))
    expected = ndimage.gaussian_filter1d(image[0], 1.0, 0, mode="mirror", truncate=3.0)
    expected = ndimage.gaussian_filter1d(expected, 0.5, 1, mode="mirror", truncate=3.0)
    np.testing.assert_allclose(apply(Blur(sigmas=((1.0, 0.5),)), image)[0], expected, atol=1e-6)


@pytest.mark.parametrize("name", ["narrow-first", "wide-first"])
def test_each_sample_is_blurred_as_far_as_it_was_drawn(name):
    # radii of 1 and 5 voxels are convolved together
    drawn = [Blur(sigmas=((0.3, 0.4),)), Blur(sigmas=((1.5, 1.4),))]
    drawn = drawn if name == "narrow-first" else drawn[::-1]
    images = picture((2, 1, 11, 14))
    blurred = Blur.apply(torch.tensor(images), drawn).numpy()
    for image, transform, result in zip(images, drawn, blurred, strict=True):
        np.testing.assert_allclose(result, apply(transform, image), atol=1e-6)


def test_blur_leaves_channels_that_were_not_drawn():
    image = picture((3, 6, 8))
    blurred = apply(Blur(sigmas=(None, (1.0, 1.0), None)), image)
    np.testing.assert_array_equal(blurred[[0, 2]], image[[0, 2]])
    assert not np.array_equal(blurred[1], image[1])


@pytest.mark.parametrize("size", [2, 3, 4, 7])
@pytest.mark.parametrize("shape", [(1, 14, 9), (1, 8, 14, 9), (1, 2, 10)])
def test_median_agrees_with_scipy_along_one_axis_after_the_other(shape, size):
    image = picture(shape)
    expected = image[0]
    for axis in range(expected.ndim):
        window = [size if other == axis else 1 for other in range(expected.ndim)]
        expected = ndimage.median_filter(expected, window, mode="mirror")
    np.testing.assert_array_equal(apply(Median(sizes=(size,)), image)[0], expected)


def test_median_removes_an_outlier_and_keeps_an_edge():
    image = np.zeros((1, 12, 16))
    image[:, :, 8:] = 1
    spoiled = image.copy()
    spoiled[0, 5, 3] = 9
    np.testing.assert_array_equal(apply(Median(sizes=(3,)), spoiled), image)


def test_channels_get_the_median_of_their_own_size():
    image = picture((4, 6, 8))
    result = apply(Median(sizes=(5, None, 2, 5)), image)
    np.testing.assert_array_equal(result[1], image[1])
    for channel, size in ((0, 5), (2, 2), (3, 5)):
        alone = apply(Median(sizes=(size,)), image[channel : channel + 1])
        np.testing.assert_array_equal(result[channel], alone[0])


@pytest.mark.parametrize("shape", [(2, 7, 10), (2, 5, 7, 10), (2, 1, 6)])
def test_sharpening_subtracts_the_laplacian(shape):
    image = picture(shape)
    expected = [
        channel - share * ndimage.laplace(channel.astype(np.float64), mode="nearest")
        for channel, share in zip(image, (0.3, 1.0), strict=True)
    ]
    result = apply(Sharpening(strengths=(0.3, 1.0)), image)
    np.testing.assert_allclose(result, expected, atol=1e-5)


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


@pytest.mark.parametrize("shape", [(21, 17), (9, 21, 17)], ids=["2d", "3d"])
@pytest.mark.parametrize("factors", [(0.25, 0.97), (0.52, 0.71)])
def test_low_resolution_agrees_with_torch(shape, factors):
    image = picture((3, *shape))
    result = apply(LowResolution(factors=(factors[0], None, factors[1]), in_plane=False), image)
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    for channel, factor in ((0, factors[0]), (2, factors[1])):
        coarse = [round(size * factor) for size in shape]
        picked = F.interpolate(
            torch.tensor(image[None, None, channel]), coarse, mode="nearest-exact"
        )
        expected = F.interpolate(picked, shape, mode=mode, align_corners=False)[0, 0]
        np.testing.assert_allclose(result[channel], expected, atol=1e-5)
    np.testing.assert_array_equal(result[1], image[1])


def draws(draw, *, policy=FULL, channels=2, patch_size=(8, 40, 30), count=2000):
    rng = np.random.default_rng(5)
    return [one for _ in range(count) if (one := draw(rng, policy, patch_size, channels))]


@pytest.mark.parametrize(
    ("draw", "policy", "field"),
    [
        pytest.param(draw_smoothing, FULL, "sigmas", id="blur"),
        pytest.param(LowResolution.draw, FULL, "factors", id="low-resolution"),
        pytest.param(Sharpening.draw, STRONG, "strengths", id="sharpening"),
    ],
)
def test_channels_are_drawn_one_by_one(draw, policy, field):
    found = [[value is not None for value in getattr(d, field)] for d in draws(draw, policy=policy)]
    assert abs(np.mean(found) - 0.5) < 4 * 0.5 / np.sqrt(np.size(found))
    assert {tuple(row) for row in found} == {
        (True, True),
        (True, False),
        (False, True),
        (False, False),
    }


def test_blur_is_drawn_per_axis_and_low_resolution_knows_the_patch():
    sigmas = [s for d in draws(draw_smoothing) for s in d.sigmas if s]
    assert {len(s) for s in sigmas} == {3}
    assert all(0.5 <= value <= 1.0 for s in sigmas for value in s)
    assert all(len(set(s)) == 3 for s in sigmas)
    assert all(d.in_plane for d in draws(LowResolution.draw))
    assert not any(d.in_plane for d in draws(LowResolution.draw, patch_size=(20, 40, 30)))


def test_strong_smoothing_is_a_median_or_an_isotropic_blur():
    found = draws(draw_smoothing, policy=STRONG, count=4000)
    # 4 sigma of 4000 draws with 0.2: 4 * sqrt(4000 * 0.16) = 101
    assert abs(len(found) - 800) < 101
    medians = [d for d in found if isinstance(d, Median)]
    assert abs(len(medians) - len(found) / 2) < 4 * np.sqrt(len(found) / 4)
    assert {size for d in medians for size in d.sizes} == {None, 2, 3, 4, 5, 6, 7}
    sigmas = [s for d in found if isinstance(d, Blur) for s in d.sigmas if s]
    assert all(len(set(s)) == 1 for s in sigmas)
    assert 0.3 <= min(s[0] for s in sigmas) < 0.36
    assert 1.44 < max(s[0] for s in sigmas) <= 1.5


def test_strong_sharpening_and_coarsening_fill_their_ranges():
    strengths = [s for d in draws(Sharpening.draw, policy=STRONG) for s in d.strengths if s]
    assert 0.1 <= min(strengths) < 0.15
    assert 0.95 < max(strengths) <= 1.0
    factors = [f for d in draws(LowResolution.draw, policy=STRONG) for f in d.factors if f]
    assert 0.25 <= min(factors) < 0.29
    assert 0.96 < max(factors) <= 1.0
