"""A batch becomes what its samples become alone, and nothing on the way waits for the device."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from autoseg.core.errors import UsageError
from autoseg.training.augmentation.augment import augment, augment_batch, draw_augmentation
from autoseg.training.augmentation.intensity import Brightness, Noise, Shift
from autoseg.training.augmentation.policy import FULL, LIGHT, NONE, STRONG

PATCHES = [
    pytest.param((24, 16), id="2d"),
    pytest.param((20, 20), id="2d-square"),
    pytest.param((6, 24, 20), id="in-plane"),
    pytest.param((12, 16, 20), id="3d"),
    pytest.param((14, 14, 14), id="cube"),
]
POLICIES = [
    pytest.param(policy, id=name)
    for name, policy in {"full": FULL, "strong": STRONG, "light": LIGHT}.items()
]


def samples(patch_size, policy, *, count=10, channels=2, labels=0, seed=0):
    """Samples of different source shapes, as they would be read."""
    rng = np.random.default_rng(seed)
    drawn, images, segmentations, masks, before = [], [], [], [], []
    for place in range(count):
        one = draw_augmentation(rng, policy, patch_size, channels, range(len(patch_size)), labels)
        shape = [size + place % 2 for size in one.source_shape(patch_size)]
        drawn.append(one)
        images.append(torch.tensor(rng.normal(size=(channels, *shape)), dtype=torch.float32))
        segmentations.append(torch.tensor(rng.integers(0, 5, shape), dtype=torch.int16))
        masks.append(torch.tensor(rng.random(shape) < 0.7))
        before.append(torch.tensor(rng.integers(0, labels + 1, shape), dtype=torch.int16))
    return images, segmentations, masks, drawn, before if labels else None


def likely(policy):
    """The policy with every change in half of the samples, so that each meets each in a batch."""
    names = ("rotation", "scaling", "noise", "blur", "brightness", "shift", "contrast")
    more = ("low_resolution", "inverted_gamma", "gamma", "rectangles", "gradient", "local_gamma")
    used = [n for n in (*names, *more, "sharpening") if getattr(policy, n) > 0]
    return replace(policy, **dict.fromkeys(used, 0.5))


def agree(together, alone):
    """Check labels exactly, and images but for rounding."""
    for place, (image, segmentation) in enumerate(alone):
        assert torch.equal(together[1][place], segmentation)
        torch.testing.assert_close(together[0][place], image, rtol=0, atol=1e-5)


@pytest.mark.parametrize("patch_size", PATCHES)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_becomes_what_its_samples_become_alone(patch_size, policy, channels):
    *given, drawn, _ = samples(patch_size, likely(policy), channels=channels)
    inside_only = (True, False, True)[:channels]
    together = augment_batch(*given, drawn, patch_size, inside_only=inside_only)
    alone = [
        augment(*one, patch_size, inside_only=inside_only)
        for one in zip(*given, drawn, strict=True)
    ]
    assert together[0].shape == (10, channels, *patch_size)
    assert together[1].dtype == torch.int16
    agree(together, alone)


@pytest.mark.parametrize("patch_size", PATCHES)
def test_a_cascade_in_a_batch_becomes_what_it_becomes_alone(patch_size):
    policy = replace(likely(STRONG), reshaping=0.5, removal=0.5)
    *given, drawn, before = samples(patch_size, policy, labels=3, count=6)
    together = augment_batch(*given, drawn, patch_size, previous=before)
    alone = [
        augment(*one, patch_size, previous=previous)
        for *one, previous in zip(*given, drawn, before, strict=True)
    ]
    assert together[0].shape == (6, 2 + 3, *patch_size)
    agree(together, alone)


def test_noise_is_the_samples_own_whatever_the_batch():
    patch_size = (9, 12)
    drawn = replace(
        draw_augmentation(np.random.default_rng(0), NONE, patch_size, 1, ()),
        intensity=(Noise(std=1.0, seed=5),),
    )
    other = replace(drawn, intensity=(Noise(std=0.5, seed=6),))
    zeros, labels = torch.zeros(1, *patch_size), torch.zeros(patch_size, dtype=torch.uint8)
    first, _ = augment_batch([zeros] * 2, [labels] * 2, None, [drawn, other], patch_size)
    second, _ = augment_batch([zeros] * 3, [labels] * 3, None, [other, other, drawn], patch_size)
    assert torch.equal(first[0], second[2])
    assert torch.equal(first[1], second[0])
    assert not torch.equal(first[0], 2 * first[1])


def test_each_sample_keeps_the_order_of_its_changes():
    patch_size = (4, 6)
    plain = draw_augmentation(np.random.default_rng(0), NONE, patch_size, 1, ())
    double, add = Brightness(factors=(2.0,)), Shift(offsets=(1.0,))
    orders = [(double, add), (add, double), (add,), (add, double, add), ()]
    drawn = [replace(plain, intensity=order) for order in orders]
    ones, labels = torch.ones(1, *patch_size), torch.zeros(patch_size, dtype=torch.uint8)
    got, _ = augment_batch([ones] * 5, [labels] * 5, None, drawn, patch_size)
    # 2 * 1 + 1, (1 + 1) * 2, 1 + 1, (1 + 1) * 2 + 1, 1
    assert got[:, 0, 0, 0].tolist() == [3, 4, 2, 5, 1]


@pytest.mark.parametrize("patch_size", PATCHES)
@pytest.mark.parametrize("policy", POLICIES)
def test_nothing_waits_for_the_device(patch_size, policy):
    # Tensors of the meta device have no values: whatever asks for one fails. It has no generator,
    # so the noise, which asks for none, is left out.
    policy = replace(likely(policy), noise=0.0, removal=0.0, reshaping=1.0)
    images, segmentations, masks, drawn, before = samples(patch_size, policy, labels=2)
    given = [[one.to("meta") for one in kind] for kind in (images, segmentations, masks)]
    before = [one.to("meta") for one in before]
    got, labels = augment_batch(
        *given, drawn, patch_size, inside_only=(True, True), previous=before
    )
    assert (got.device.type, labels.device.type) == ("meta", "meta")
    assert got.shape == (10, 2 + 2, *patch_size)
    assert labels.shape == (10, *patch_size)


@pytest.mark.parametrize("policy", POLICIES)
def test_arguments_are_left_as_they_are_and_share_no_memory(policy):
    patch_size = (12, 16, 20)
    *given, drawn, _ = samples(patch_size, likely(policy))
    copies = [[one.clone() for one in kind] for kind in given]
    got, labels = augment_batch(*given, drawn, patch_size, inside_only=(True, True))
    got.fill_(7)
    labels.fill_(7)
    for kind, copied in zip(given, copies, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(kind, copied, strict=True))


@pytest.mark.parametrize(
    ("dropped", "message"),
    [
        (1, "9 segmentations for 10 images"),
        (2, "9 masks for 10 images"),
        (3, "9 augmentations for 10 images"),
    ],
)
def test_counts_that_differ_are_refused(dropped, message):
    given = list(samples((8, 10), NONE)[:4])
    given[dropped] = given[dropped][1:]
    with pytest.raises(UsageError, match=message):
        augment_batch(*given, (8, 10))


def test_an_empty_batch_is_refused():
    with pytest.raises(UsageError, match="0 segmentations for 0 images"):
        augment_batch([], [], None, [], (8, 10))
