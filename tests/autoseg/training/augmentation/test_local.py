import numpy as np
import pytest
import torch
from scipy.stats import norm

from autoseg.training.augmentation.local import Bump, Gradient, LocalGamma, Rectangles
from autoseg.training.augmentation.policy import STRONG

SHAPES = [pytest.param((14, 9), id="2d"), pytest.param((6, 14, 9), id="3d")]


def picture(shape, *, channels=2, seed=1):
    return np.random.default_rng(seed).normal(size=(channels, *shape)).astype(np.float32)


def apply(transform, image):
    """Change a copy of one (C, *spatial) image."""
    copied = torch.tensor(image, dtype=torch.float32)[None]
    return transform.apply(copied, [transform])[0].numpy()


def bump(shape):
    """A bump whose center and widths differ between the axes."""
    centers = [0.2 * (axis + 1) * size for axis, size in enumerate(shape)]
    widths = [0.7 * size / (axis + 1) for axis, size in enumerate(shape)]
    return Bump(centers=tuple(centers), widths=tuple(widths))


def kernel(bump, shape):
    """A Gaussian over every voxel, stretched to reach from 0 to 1."""
    weights = np.ones(shape)
    for place in np.ndindex(*shape):
        for voxel, center, width in zip(place, bump.centers, bump.widths, strict=True):
            weights[place] *= norm.pdf(voxel, center, width)
    weights -= weights.min()
    return weights / weights.max()


@pytest.mark.parametrize("shape", SHAPES)
def test_gradient_adds_a_bump_of_its_height(shape):
    image = picture(shape)
    expected = image[0] - 2.5 * kernel(bump(shape), shape)
    result = apply(Gradient(bumps=((bump(shape), -2.5), None)), image)
    np.testing.assert_allclose(result[0], expected, atol=1e-5)
    np.testing.assert_array_equal(result[1], image[1])


@pytest.mark.parametrize("shape", SHAPES)
def test_local_gamma_blends_the_curve_in_where_the_bump_is(shape):
    image = picture(shape)
    low, extent = image[1].min(), np.ptp(image[1])
    unit, share = (image[1] - low) / extent, kernel(bump(shape), shape)
    expected = (unit * (1 - share) + unit**3.0 * share) * extent + low
    result = apply(LocalGamma(bumps=(None, (bump(shape), 3.0))), image)
    np.testing.assert_allclose(result[1], expected, atol=1e-5)
    np.testing.assert_array_equal(result[0], image[0])


def test_a_bump_far_outside_is_steep_and_one_voxel_has_none():
    # Its values underflow in single precision before they are stretched.
    far = Bump(centers=(-400.0, 2.0), widths=(12.0, 9.0))
    added = apply(Gradient(bumps=((far, 4.0),)), np.zeros((1, 30, 5)))
    np.testing.assert_allclose(added[0], 4 * kernel_by_logarithm(far, (30, 5)), atol=1e-5)
    single = Gradient(bumps=((Bump(centers=(0.4, -0.1), widths=(0.3, 0.9)), 4.0),))
    assert not apply(single, np.zeros((1, 1, 1))).any()


def kernel_by_logarithm(bump, shape):
    logarithm = sum(
        -0.5
        * ((np.arange(size) - center) / width).reshape([-1 if a == axis else 1 for a in (0, 1)])
        ** 2
        for axis, (size, center, width) in enumerate(
            zip(shape, bump.centers, bump.widths, strict=True)
        )
    )
    weights = np.exp(logarithm - logarithm.max())
    return (weights - weights.min()) / np.ptp(weights)


def test_constant_image_stays_what_it_is_under_local_gamma():
    image = np.full((1, 5, 6), 3.0)
    assert (apply(LocalGamma(bumps=((bump((5, 6)), 0.01),)), image) == 3.0).all()


def test_boxes_are_filled_with_their_mean_one_after_the_other():
    image = np.arange(12.0).reshape(1, 3, 4)
    boxes = (((0, 2), (0, 2)), ((1, 3), (1, 4)))
    # 0 1 4 5 become 2.5; then 2.5 6 7 9 10 11 become 45.5 / 6
    expected = np.arange(12.0).reshape(3, 4)
    expected[:2, :2] = 2.5
    expected[1:, 1:] = 45.5 / 6
    result = apply(Rectangles(boxes=(boxes,)), image)
    np.testing.assert_allclose(result[0], expected, rtol=1e-6)


def draws(cls, patch_size, *, count=3000):
    rng = np.random.default_rng(2)
    drawn = (cls.draw(rng, STRONG, patch_size, 2) for _ in range(count))
    return [one for one in drawn if one]


@pytest.mark.parametrize(
    ("cls", "field", "probability"),
    [(Rectangles, "boxes", 0.4), (Gradient, "bumps", 0.3), (LocalGamma, "bumps", 0.3)],
)
def test_samples_and_channels_are_drawn_as_often_as_they_should(cls, field, probability):
    found = draws(cls, (12, 40, 31))
    sigma = np.sqrt(3000 * probability * (1 - probability))
    assert abs(len(found) - 3000 * probability) < 4 * sigma
    chosen = [value is not None for one in found for value in getattr(one, field)]
    assert abs(np.mean(chosen) - 0.5) < 4 * 0.5 / np.sqrt(len(chosen))


def test_boxes_have_a_tenth_to_a_third_of_each_edge_and_lie_within():
    boxes = [of for one in draws(Rectangles, (12, 40, 31)) for of in one.boxes if of]
    counts = [len(of) for of in boxes]
    assert set(counts) == {1, 2, 3, 4}
    edges = np.array([[b - a for a, b in box] for of in boxes for box in of])
    firsts = np.array([[a for a, _ in box] for of in boxes for box in of])
    # nnU-Net draws from p // 10 up to, and without, p // 3
    assert edges.min(axis=0).tolist() == [1, 4, 3]
    assert edges.max(axis=0).tolist() == [3, 12, 9]
    assert firsts.min() == 0
    assert (firsts + edges).max(axis=0).tolist() == [12, 40, 31]


@pytest.mark.parametrize("patch_size", [(1, 2, 5), (10, 30, 20)])
def test_boxes_fit_into_any_patch(patch_size):
    for one in draws(Rectangles, patch_size, count=200):
        for box in (box for of in one.boxes if of for box in of):
            assert all(0 <= a < b <= size for (a, b), size in zip(box, patch_size, strict=True))


def test_bumps_and_their_numbers_fill_their_ranges():
    size = np.array([12, 40, 31])
    gradients = [b for one in draws(Gradient, (12, 40, 31)) for b in one.bumps if b]
    centers = np.array([bump.centers for bump, _ in gradients]) / size
    widths = np.log(np.array([bump.widths for bump, _ in gradients]) / size)
    assert (centers >= -0.5).all()
    assert (centers <= 1.5).all()
    assert np.abs(centers.mean(axis=0) - 0.5).max() < 4 * 2 / np.sqrt(12 * len(centers))
    assert (widths >= np.log(1 / 6) - 1e-12).all()
    assert (widths <= 1e-12).all()
    middle, spread = np.log(1 / 6) / 2, -np.log(1 / 6) / np.sqrt(12 * len(widths))
    assert np.abs(widths.mean(axis=0) - middle).max() < 4 * spread
    heights = np.array([height for _, height in gradients])
    assert (np.abs(heights) >= 1).all()
    assert (np.abs(heights) <= 5).all()
    assert abs((heights > 0).mean() - 0.5) < 4 * 0.5 / np.sqrt(len(heights))
    exponents = np.array(
        [e for one in draws(LocalGamma, (12, 40, 31)) for b in one.bumps if b for e in b[1:]]
    )
    low = exponents < 1
    assert abs(low.mean() - 0.5) < 4 * 0.5 / np.sqrt(len(low))
    assert 0.01 <= exponents[low].min() < exponents[low].max() <= 0.8
    assert 1.5 <= exponents[~low].min() < exponents[~low].max() <= 4.0
