"""Faults in the prediction of a cascade's first stage."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from autoseg.core.errors import UsageError
from autoseg.training.augmentation.augment import augment, draw_augmentation
from autoseg.training.augmentation.policy import FULL, LIGHT, NONE
from autoseg.training.augmentation.previous import (
    OPERATIONS,
    Removal,
    Reshaping,
    draw_previous,
    reshaped,
)

PATCH = (24, 64, 80)


def blob(shape=(9, 13, 11), seed=3):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.2)
    return noise > 0.05


def ball(radius, ndim):
    reach = int(radius)
    offsets = np.indices((2 * reach + 1,) * ndim) - reach
    return (offsets**2).sum(0) <= radius**2


def oracle(mask, operation, radius):
    element = ball(radius, mask.ndim)

    def dilate(m):
        return ndimage.binary_dilation(m, element)

    def erode(m):
        return ndimage.binary_erosion(m, element, border_value=1)

    return {
        "dilate": dilate,
        "erode": erode,
        "close": lambda m: erode(dilate(m)),
        "open": lambda m: dilate(erode(m)),
    }[operation](mask)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("radius", [1.0, 1.5, 2.3, 8.0])
@pytest.mark.parametrize("shape", [(9, 13, 11), (17, 6)])
def test_masks_grow_and_shrink_by_a_ball(operation, radius, shape):
    mask = blob(shape)
    got = reshaped(torch.from_numpy(mask), operation, radius).numpy()
    np.testing.assert_array_equal(got, oracle(mask, operation, radius))


def test_what_a_label_gains_the_others_lose_and_what_it_loses_is_background():
    before = torch.tensor([[1, 1, 1, 2, 2, 0, 3]])
    grown = Reshaping(changes=((2, "dilate", 1.0),)).apply(before)
    assert grown.tolist() == [[1, 1, 2, 2, 2, 2, 3]]
    shrunk = Reshaping(changes=((1, "erode", 1.0),)).apply(before)
    assert shrunk.tolist() == [[1, 1, 0, 2, 2, 0, 3]]  # the border is no edge
    both = Reshaping(changes=((2, "dilate", 1.0), (3, "dilate", 1.0))).apply(before)
    assert both.tolist() == [[1, 1, 2, 2, 2, 3, 3]]


def test_only_a_small_component_vanishes_and_diagonal_voxels_hang_together():
    prediction = torch.tensor([[1, 1, 1, 0, 1, 0], [1, 1, 0, 0, 0, 1], [0, 0, 0, 2, 0, 0]])
    # Of label 1: a component of 5 and, joined at a corner, one of 2 voxels; 15 % of 18 are 2.7.
    for place in (0.0, 0.99):
        gone = Removal(places=((1, place),), largest_fraction=0.15).apply(prediction)
        assert gone.tolist() == [[1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0], [0, 0, 0, 2, 0, 0]]
    kept = Removal(places=((1, 0.5),), largest_fraction=0.1).apply(prediction)
    assert torch.equal(kept, prediction)


def test_the_place_chooses_among_the_small_components():
    row = torch.tensor([[1, 0, 1, 0, 1, 0, 0, 0, 0, 0]])
    left = [Removal(places=((1, p),), largest_fraction=0.1).apply(row) for p in (0.0, 0.5, 0.9)]
    assert [int(after.argmax()) for after in left] == [2, 0, 0]
    assert [after.sum().item() for after in left] == [2, 2, 2]


def test_how_often_faults_are_drawn():
    rng = np.random.default_rng(0)
    drawn = [draw_previous(rng, FULL, 2, PATCH) for _ in range(4000)]
    flat = [transform for each in drawn for transform in each]
    reshapings = [t for t in flat if isinstance(t, Reshaping)]
    # A sample gets one with 0.4; each of two labels with 0.5, so none of them in a quarter.
    assert len(reshapings) / 4000 == pytest.approx(0.4 * 0.75, abs=0.03)
    assert sum(isinstance(t, Removal) for t in flat) / 4000 == pytest.approx(0.15, abs=0.02)
    radii = [radius for t in reshapings for _, _, radius in t.changes]
    assert 1 <= min(radii) < 1.1
    assert 2.9 < max(radii) <= 3.0  # an eighth of the shortest edge, 24 voxels


@pytest.mark.parametrize("policy", [FULL, LIGHT], ids=["full", "light"])
def test_without_a_previous_stage_nothing_is_drawn(policy):
    before, after = (np.random.default_rng(4) for _ in range(2))
    assert draw_previous(before, policy, 0, PATCH) == ()
    assert before.random() == after.random()


def test_the_prediction_moves_with_the_image_and_becomes_channels():
    prediction = torch.zeros(6, 8, 10, dtype=torch.int64)
    prediction[1:3, 2:4, 1:5] = 2
    prediction[4, 6, 7] = 1
    image = (prediction == 2).float()[None] + 0.5 * (prediction == 1).float()[None]
    policy = replace(NONE, mirror=1.0)
    drawn = draw_augmentation(np.random.default_rng(1), policy, (6, 8, 10), 1, (0, 2), 2)
    got, labels = augment(
        image,
        torch.zeros_like(prediction),
        image[0] > 0,
        drawn,
        (6, 8, 10),
        inside_only=(True,),
        previous=prediction,
    )
    assert got.shape == (3, 6, 8, 10)
    assert got.dtype == torch.float32
    assert torch.equal(got[0], image[0].flip(0, 2))
    assert torch.equal(got[1], (got[0] == 0.5).float())
    assert torch.equal(got[2], (got[0] == 1).float())
    assert not labels.any()


def test_a_prediction_must_be_there_when_it_was_drawn_for():
    image, labels = torch.zeros(1, 4, 4), torch.zeros(4, 4, dtype=torch.int64)
    with_stage = draw_augmentation(np.random.default_rng(0), NONE, (4, 4), 1, (), 2)
    without = draw_augmentation(np.random.default_rng(0), NONE, (4, 4), 1, ())
    with pytest.raises(UsageError, match=r"drawn for 2 labels .* prediction is missing"):
        augment(image, labels, None, with_stage, (4, 4))
    with pytest.raises(UsageError, match="drawn for 0 labels"):
        augment(image, labels, None, without, (4, 4), previous=labels)
    wide = torch.zeros(4, 5, dtype=torch.int64)
    with pytest.raises(UsageError, match=r"previous prediction of shape \(4, 5\) and torch.int64"):
        augment(image, labels, None, with_stage, (4, 4), previous=wide)
