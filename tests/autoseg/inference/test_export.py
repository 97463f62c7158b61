"""The image is sagittal and anisotropic, its crop lies off center and the labels are asymmetric."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from autoseg.core.geometry import Box
from autoseg.core.labels import Labels
from autoseg.inference.export import label_map_on_input_grid
from preprocessing.case import raw_grid

LABELS = Labels(names=("background", "left", "right", "vessel"))
SHAPE = (14, 18, 9)
AXIS_ORDER = (2, 0, 1)
CROP = Box(start=(2, 3, 1), stop=(10, 15, 7))
"""Axes as the reader gives them; (6, 8, 12) voxels in plan order."""


def label_map(*, coarse):
    """Labels inside the crop, in blocks of 2 x 2 x 2 voxels if coarse; background elsewhere."""
    step = 2 if coarse else 1
    shape = [n // step for n in CROP.shape]
    smooth = gaussian_filter(np.random.default_rng(4).normal(size=shape), 0.7)
    blocks = np.digitize(smooth, np.quantile(smooth, (0.4, 0.6, 0.8))).astype(np.uint8)
    whole = np.zeros(SHAPE, np.uint8)
    whole[CROP.slices] = np.kron(blocks, np.ones((step,) * 3, np.uint8))
    return whole


def slabs_of(logits, *bounds):
    """Cut logits into slabs behind these planes, each with the last plane of the one before."""
    stops = (*bounds, logits.shape[1])
    starts = (0, *(bound - 1 for bound in bounds))
    return [torch.from_numpy(logits[:, a:b]) for a, b in zip(starts, stops, strict=True)]


def logits_of(expected, factors):
    """Logits in plan order on a grid whose axes have so many times the voxels of the crop."""
    cut = expected[CROP.slices].transpose(AXIS_ORDER)
    logits = np.stack([(cut == label) * 8.0 - 4.0 for label in range(LABELS.count)])
    for axis, factor in enumerate(factors, start=1):
        if factor >= 1:
            logits = logits.repeat(factor, axis)
        else:
            logits = logits.take(range(0, logits.shape[axis], round(1 / factor)), axis)
    return logits.astype(np.float32)


@pytest.mark.parametrize(
    ("spacing", "target", "factors"),
    [
        pytest.param((1.0, 1.5, 2.0), (2.0, 1.0, 1.5), (1, 1, 1), id="same-grid"),
        pytest.param((1.0, 1.5, 2.0), (1.0, 0.5, 0.75), (2, 2, 2), id="finer-grid"),
        # Linear interpolation along two halved axes leaves at least 9/16 to a voxel's own block.
        pytest.param((1.0, 1.5, 2.0), (2.0, 2.0, 3.0), (1, 0.5, 0.5), id="coarser-grid"),
        pytest.param((0.5, 0.5, 2.0), (2.0, 1.0, 0.25), (1, 0.5, 2), id="slices-apart"),
        pytest.param((0.5, 0.5, 2.0), (1.0, 0.5, 1.0), (2, 1, 0.5), id="slices-apart-doubled"),
    ],
)
def test_label_map_returns_to_its_place(plan_of, configuration_of, spacing, target, factors):
    configuration = configuration_of(target, (4, 4, 4))
    plan = plan_of(configuration, axis_order=AXIS_ORDER)
    expected = label_map(coarse=min(factors) < 1)
    grid = raw_grid(SHAPE, spacing, CROP.permuted(AXIS_ORDER), plan)
    exported = label_map_on_input_grid(
        slabs_of(logits_of(expected, factors)), grid, LABELS, plan, configuration
    )
    assert exported.dtype == np.uint8
    assert len(np.unique(expected)) == 4
    np.testing.assert_array_equal(exported, expected)


def test_2d_configuration_returns_slices_to_their_places(plan_of, configuration_of):
    configuration = configuration_of((0.5, 3.0), (4, 4))
    plan = plan_of(configuration, axis_order=AXIS_ORDER)
    expected = label_map(coarse=True)
    grid = raw_grid(SHAPE, (1.0, 1.5, 2.0), CROP.permuted(AXIS_ORDER), plan)
    logits = logits_of(expected, (1, 2, 0.5))
    exported = label_map_on_input_grid(slabs_of(logits), grid, LABELS, plan, configuration)
    np.testing.assert_array_equal(exported, expected)


def test_2d_image(plan_of, configuration_of):
    configuration = configuration_of((1.0, 0.5), (4, 4))
    plan = plan_of(configuration, axis_order=(1, 0))
    grid = raw_grid((5, 7), (0.5, 1.0), Box(start=(2, 1), stop=(5, 4)), plan)
    logits = np.zeros((4, 3, 3), np.float32)
    logits[2, 0, 1] = logits[3, 2, 2] = 1
    expected = np.zeros((5, 7), np.uint8)
    expected[2, 2], expected[3, 4] = 2, 3  # the crop starts at row 1, column 2
    exported = label_map_on_input_grid(slabs_of(logits), grid, LABELS, plan, configuration)
    np.testing.assert_array_equal(exported, expected)


def test_outside_of_the_crop_is_background_whatever_the_logits_say(plan_of, configuration_of):
    configuration = configuration_of((2.0, 1.0, 1.5), (4, 4, 4))
    plan = plan_of(configuration, axis_order=AXIS_ORDER)
    grid = raw_grid(SHAPE, (1.0, 1.5, 2.0), CROP.permuted(AXIS_ORDER), plan)
    logits = np.zeros((4, 6, 8, 12), np.float32)
    logits[3] = 1
    exported = label_map_on_input_grid(slabs_of(logits), grid, LABELS, plan, configuration)
    expected = np.zeros(SHAPE, np.uint8)
    expected[CROP.slices] = 3
    np.testing.assert_array_equal(exported, expected)


def test_many_labels_need_a_wider_type(plan_of, configuration_of):
    labels = Labels(names=("background", *(f"part {n}" for n in range(1, 300))))
    configuration = configuration_of((1.0, 1.0), (4, 4))
    plan = plan_of(configuration, axis_order=(0, 1))
    grid = raw_grid((1, 2), (1.0, 1.0), Box(start=(0, 0), stop=(1, 2)), plan)
    logits = np.zeros((300, 1, 2), np.float32)
    logits[299, 0, 1] = 1
    exported = label_map_on_input_grid(slabs_of(logits), grid, labels, plan, configuration)
    assert exported.dtype == np.uint16
    assert exported.tolist() == [[0, 299]]
