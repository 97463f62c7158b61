"""The phantom is sagittal (x coarsest), anisotropic and has another slope along every axis."""

from dataclasses import replace

import numpy as np
import pytest

from autoseg.core.geometry import Box
from preprocessing.case import (
    RawGrid,
    crop_image,
    in_plan_order,
    plan_resampling,
    raw_grid,
    resample_case,
    resample_reference,
)
from preprocessing.resampling import resample_image

SHAPE = (24, 20, 9)
SPACING = (0.5, 0.75, 2.0)
AXIS_ORDER = (2, 0, 1)
BODY = Box(start=(3, 2, 1), stop=(23, 18, 8))
"""Nonzero part, axes as the reader gives them."""


def ramp(z, y, x):
    """Intensity at a place in mm; positive wherever the phantom is."""
    return 1000 + 2 * z + 30 * y - 5 * x


def phantom():
    """One channel of a linear ramp inside `BODY`, zero outside."""
    centers = np.meshgrid(
        *((np.arange(n) + 0.5) * edge for n, edge in zip(SHAPE, SPACING, strict=True)),
        indexing="ij",
    )
    image = np.zeros((1, *SHAPE), np.float32)
    image[:, *BODY.slices] = ramp(*centers)[BODY.slices]
    return image


def centers_of_cut(shape):
    """World centers (z, y, x) of a grid in plan order that spans the body's box."""
    first = [BODY.start[axis] * SPACING[axis] for axis in AXIS_ORDER]
    extent = [BODY.shape[axis] * SPACING[axis] for axis in AXIS_ORDER]
    x, z, y = np.meshgrid(
        *(
            start + (np.arange(n) + 0.5) * length / n
            for n, start, length in zip(shape, first, extent, strict=True)
        ),
        indexing="ij",
    )
    return z, y, x


def test_plan_order_permutes_spatial_axes_only(plan_of):
    image = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    turned = in_plan_order(image, plan_of(axis_order=AXIS_ORDER))
    assert turned.shape == (2, 5, 3, 4)
    assert turned[1, 4, 1, 2] == image[1, 1, 2, 4]


def test_cut_is_the_body_in_plan_order(plan_of):
    cropped = crop_image(phantom(), SPACING, plan_of(axis_order=AXIS_ORDER))
    assert cropped.grid == RawGrid(
        whole_shape=(9, 24, 20),
        crop=Box(start=(1, 3, 2), stop=(8, 23, 18)),
        spacing=(2.0, 0.5, 0.75),
    )
    assert cropped.image.shape == (1, 7, 20, 16)
    z, y, x = centers_of_cut((7, 20, 16))
    np.testing.assert_allclose(cropped.image[0], ramp(z, y, x), rtol=1e-6)
    assert cropped.grid == raw_grid(
        SHAPE, SPACING, BODY.permuted(AXIS_ORDER), plan_of(axis_order=AXIS_ORDER)
    )


@pytest.mark.parametrize(
    ("target", "shape", "separate"),
    [
        # Extents of the body: 14, 10 and 12 mm.
        pytest.param((2.0, 1.0, 1.0), (7, 10, 12), 0, id="slices-kept"),
        pytest.param((1.0, 0.5, 1.0), (14, 20, 12), 0, id="slices-doubled"),
        pytest.param((2.0, 0.75, 0.5), (7, 13, 24), 0, id="rounded-half-to-even"),
    ],
)
def test_axes_are_resampled_each_to_its_own_spacing(
    plan_of, configuration_of, target, shape, separate
):
    configuration = configuration_of(target, (4, 8, 6))
    cropped = crop_image(phantom(), SPACING, plan_of(configuration, axis_order=AXIS_ORDER))
    used = plan_resampling(cropped.grid, configuration)
    assert (used.shape, used.spacing, used.separate) == (shape, target, separate)
    image, nonzero = resample_case(cropped, configuration)
    assert image.shape == (1, *shape)
    assert nonzero.shape == shape
    z, y, x = centers_of_cut(shape)
    nearest = 2.0 * np.floor(x / 2.0) + 1.0  # whole slices of 2 mm, by their centers
    inner = (slice(None), slice(6, -6), slice(6, -6))  # splines bend a ramp near its ends
    np.testing.assert_allclose(image[0][inner], ramp(z, y, nearest)[inner], atol=0.1)


def test_three_axes_are_interpolated_where_none_is_apart(plan_of, configuration_of):
    configuration = configuration_of((1.0, 1.0, 1.5), (4, 8, 6))
    plan = plan_of(configuration, axis_order=AXIS_ORDER)
    cropped = crop_image(phantom(), (1.0, 1.5, 2.0), plan)
    image, _ = resample_case(cropped, configuration)
    assert plan_resampling(cropped.grid, configuration).separate is None
    assert image.shape == (1, 14, 20, 16)
    expected = resample_image(cropped.image, (14, 20, 16))
    np.testing.assert_array_equal(image, expected)


def test_image_is_smoothed_where_the_configuration_asks_for_it(plan_of, configuration_of):
    plain = configuration_of((1.0, 1.25, 3.0), (4, 8, 4))
    smoothing = replace(plain, anti_aliasing=True)
    plan = plan_of(smoothing, axis_order=AXIS_ORDER, schemes=("zscore",), inside_nonzero_only=True)
    image = phantom()
    image[:, *BODY.slices] += np.random.default_rng(4).normal(0, 99, (1, *BODY.shape))
    image[0, 3:8, 2:9, 1] = 0
    cropped = crop_image(image, SPACING, plan)
    # 7 x 20 x 16 voxels become 14 x 8 x 4: the two axes in plane shrink by 2.5 and 4.
    with_it, without = (resample_case(cropped, one) for one in (smoothing, plain))
    assert with_it[0].shape == (1, 14, 8, 4)
    for resampled, flag in ((with_it[0], True), (without[0], False)):
        expected = resample_image(cropped.image, (14, 8, 4), separate=0, anti_aliasing=flag)
        np.testing.assert_array_equal(resampled, expected)
    assert np.abs(with_it[0] - without[0]).max() > 0.5  # the noise, which averaging removes
    assert not with_it[1].all()
    np.testing.assert_array_equal(with_it[1], without[1])


def test_reference_is_not_smoothed(plan_of, configuration_of):
    plain = configuration_of((1.0, 1.25, 3.0), (4, 8, 4))
    smoothing = replace(plain, anti_aliasing=True)
    plan = plan_of(plain, axis_order=AXIS_ORDER)
    grid = crop_image(phantom(), SPACING, plan).grid
    segmentation = np.random.default_rng(2).integers(0, 3, SHAPE).astype(np.uint8)
    with_it, without = (
        resample_reference(segmentation, grid, plan, one) for one in (smoothing, plain)
    )
    np.testing.assert_array_equal(with_it, without)


def test_reference_lies_where_the_image_lies(plan_of, configuration_of):
    configuration = configuration_of((1.0, 1.0, 1.5), (4, 8, 6))
    plan = plan_of(configuration, axis_order=AXIS_ORDER)
    cropped = crop_image(phantom(), SPACING, plan)
    segmentation = np.zeros(SHAPE, np.uint8)
    segmentation[7:15, 6:14, 2:5] = 3  # 4 to 8 voxels of 0.5, 4 to 12 of 0.75, 1 to 4 of 2 mm
    reference = resample_reference(segmentation, cropped.grid, plan, configuration)
    # In the cut: z 4..12 of 20 become 2..6 of 10; y 4..12 of 16 become 2..6 of 8; x 1..4 of 7
    # become 2..8 of 14.
    expected = np.zeros((14, 10, 8), np.uint8)
    expected[2:8, 2:6, 2:6] = 3
    np.testing.assert_array_equal(reference, expected)


def test_2d_configuration_resamples_within_slices_only(plan_of, configuration_of):
    configuration = configuration_of((1.0, 1.0), (8, 6))
    plan = plan_of(configuration, axis_order=AXIS_ORDER)
    cropped = crop_image(phantom(), SPACING, plan)
    used = plan_resampling(cropped.grid, configuration)
    assert used.shape == (7, 10, 12)
    assert used.spacing == (2.0, 1.0, 1.0)
    image, nonzero = resample_case(cropped, configuration)
    assert nonzero.all()
    for resampled, given in zip(image[0], cropped.image[0], strict=True):
        alone = resample_image(given[None], (10, 12))[0]
        np.testing.assert_allclose(resampled, alone, rtol=1e-5)


def test_2d_image_has_two_axes_throughout(plan_of, configuration_of):
    configuration = configuration_of((1.0, 0.5), (8, 6))
    plan = plan_of(configuration, axis_order=(1, 0))
    image = np.zeros((1, 12, 9), np.float32)
    image[0, 2:10, 3:8] = np.arange(1, 9)[:, None]
    cropped = crop_image(image, (0.5, 2.0), plan)
    assert cropped.grid == RawGrid(
        whole_shape=(9, 12), crop=Box(start=(3, 2), stop=(8, 10)), spacing=(2.0, 0.5)
    )
    resampled, nonzero = resample_case(cropped, configuration)
    assert resampled.shape == (1, 10, 8)
    assert nonzero.shape == (10, 8)
    np.testing.assert_allclose(resampled[0], np.tile(np.arange(1, 9), (10, 1)), atol=1e-3)


def test_mask_is_full_unless_a_scheme_asks_for_it(plan_of):
    image = phantom()
    image[0, 3, 2, 1] = image[0, 3, 3, 1] = 0  # a notch in the body's edge
    full = crop_image(image, SPACING, plan_of(axis_order=AXIS_ORDER))
    assert full.nonzero.all()
    asked = plan_of(axis_order=AXIS_ORDER, schemes=("zscore",), inside_nonzero_only=True)
    notched = crop_image(image, SPACING, asked)
    assert notched.nonzero.size - notched.nonzero.sum() == 2
    assert not notched.nonzero[0, 0, :2].any()
    assert (notched.image[0, 0, 0, :2] == 0).all()
    assert notched.image[0][notched.nonzero].mean() == pytest.approx(0, abs=1e-4)


def test_normalization_sees_the_cut_only(plan_of):
    cropped = crop_image(phantom(), SPACING, plan_of(axis_order=AXIS_ORDER, schemes=("zscore",)))
    assert cropped.image.std() == pytest.approx(1, rel=1e-4)


def test_raw_image_is_left_unchanged(plan_of, configuration_of):
    image = phantom()
    before = image.copy()
    configuration = configuration_of((2.0, 1.0, 1.0), (4, 8, 6))
    plan = plan_of(configuration, axis_order=AXIS_ORDER, schemes=("zscore",))
    resample_case(crop_image(image, SPACING, plan), configuration)
    np.testing.assert_array_equal(image, before)
