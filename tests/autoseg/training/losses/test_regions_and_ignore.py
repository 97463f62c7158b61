"""The loss of regions and of ignored voxels, against float64 loops and sums by hand."""

from dataclasses import replace
from math import exp, log, log1p

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its customary name

from autoseg.core.errors import UsageError
from autoseg.core.labels import Labels, Region
from autoseg.training.losses.segmentation import cross_entropy, segmentation_loss, soft_dice

PLAIN = Labels(names=("background", "edema", "necrosis", "enhancing"))
REGIONS = replace(
    PLAIN,
    regions=(
        Region(name="whole", labels=(1, 2, 3), written=1),
        Region(name="core", labels=(2, 3), written=2),
        Region(name="enhancing", labels=(3,), written=3),
        Region(name="rim", labels=(1, 3), written=3),
        Region(name="edema", labels=(1,), written=1),
    ),
)
BOTH_MODES = [pytest.param(PLAIN, id="labels"), pytest.param(REGIONS, id="regions")]
IGNORING_MODES = [
    pytest.param(replace(PLAIN, ignore=255), id="labels-and-ignore"),
    pytest.param(replace(REGIONS, ignore=255), id="regions-and-ignore"),
]
IGNORED = 4


def example(labels, *, shape=(3, 5, 2), n=2, seed=3, ignored=0.4):
    """Random logits and labels; where there is an ignore label, a share of voxels has it."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2.0, size=(n, labels.channels, *shape))
    target = rng.integers(0, labels.count, (n, *shape))
    if labels.ignore is not None:
        target[rng.random(target.shape) < ignored] = IGNORED
    return torch.tensor(logits), torch.tensor(target)


def probability(labels, z, k):
    """Probability of a channel at a voxel, from the voxel's logits."""
    return 1 / (1 + exp(-z[k])) if labels.regions else exp(z[k]) / sum(map(exp, z))


def slow_cross_entropy(logits, target, labels):
    """Sum over voxels that count, one by one, divided by the number of terms."""
    terms = []
    for n, *voxel in np.argwhere(target.numpy() != IGNORED):
        z, y = logits[(n, slice(None), *voxel)].tolist(), target[(n, *voxel)].item()
        if not labels.regions:
            terms.append(-log(probability(labels, z, y)))
        for k, region in enumerate(labels.regions):
            p = probability(labels, z, k)
            terms.append(-log(p if y in region.labels else 1 - p))
    return sum(terms) / len(terms)


def slow_dice(logits, target, labels, *, batch):
    n_samples = len(target)
    members = [(k, r.labels) for k, r in enumerate(labels.regions)]
    members = members or [(k, (k,)) for k in range(1, labels.count)]
    ratios = []
    for samples in [range(n_samples)] if batch else [[n] for n in range(n_samples)]:
        for k, inside in members:
            both = total = 0.0
            for n, *voxel in np.argwhere(target.numpy() != IGNORED):
                if n in samples:
                    p = probability(labels, logits[(n, slice(None), *voxel)].tolist(), k)
                    hit = target[(n, *voxel)].item() in inside
                    both, total = both + p * hit, total + p + hit
            ratios.append((2 * both + 1e-5) / (total + 1e-5))
    return sum(ratios) / len(ratios)


ALL_MODES = [*BOTH_MODES[1:], *IGNORING_MODES]


@pytest.mark.parametrize("labels", ALL_MODES)
@pytest.mark.parametrize("shape", [(3, 5, 2), (7, 4)], ids=["3d", "2d"])
def test_cross_entropy_agrees_with_its_definition(labels, shape):
    logits, target = example(labels, shape=shape)
    loss = cross_entropy(logits, target, labels)
    assert loss.item() == pytest.approx(slow_cross_entropy(logits, target, labels), rel=1e-9)


@pytest.mark.parametrize("labels", ALL_MODES)
@pytest.mark.parametrize("batch", [True, False])
def test_dice_agrees_with_its_definition(labels, batch):
    logits, target = example(labels)
    dice = soft_dice(logits, target, labels, batch=batch)
    expected = slow_dice(logits, target, labels, batch=batch)
    assert dice.item() == pytest.approx(expected, rel=1e-9)


def test_loss_with_ignored_voxels_is_one_more_than_nnunets():
    # Measured with nnU-Net: the first two channels, label 2 as ignore label.
    logits = torch.arange(24, dtype=torch.float32).sin().reshape(2, 3, 2, 2)[:, :2]
    target = torch.tensor([[[0, 1], [2, 1]], [[0, 0], [0, 1]]])
    labels = Labels(names=("background", "organ"), ignore=2)
    loss = segmentation_loss(logits, target, labels, batch_dice=True)
    assert loss.item() == pytest.approx(1.2869418, abs=1e-6)


@pytest.mark.parametrize("batch_dice", [True, False])
def test_regions_agree_with_torchs_own_functions(batch_dice):
    logits, target = example(REGIONS, shape=(4, 7, 5), n=3)
    truth = torch.stack([torch.isin(target, torch.tensor(r.labels)) for r in REGIONS.regions], 1)
    truth, p = truth.double(), logits.sigmoid()
    over = (0, 2, 3, 4) if batch_dice else (2, 3, 4)
    dice = (2 * (p * truth).sum(over) + 1e-5) / ((p + truth).sum(over) + 1e-5)
    expected = F.binary_cross_entropy_with_logits(logits, truth) + 1 - dice.mean()
    loss = segmentation_loss(logits, target, REGIONS, batch_dice=batch_dice)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-7)


def test_regions_and_ignored_voxels_by_hand():
    # z = 1 everywhere; labels 2, 1, 0 and an ignored voxel: in "whole", 2 of 3, in "core", 1 of 3.
    labels = Labels(names=PLAIN.names, regions=REGIONS.regions[:2], ignore=7)
    target = torch.tensor([[[2, 1], [0, IGNORED]]])
    logits = torch.ones(1, 2, 2, 2, dtype=torch.float64)
    inside, outside = log1p(exp(-1)), 1 + log1p(exp(-1))
    assert cross_entropy(logits, target, labels).item() == pytest.approx(
        (3 * inside + 3 * outside) / (3 * 2)
    )
    p = 1 / (1 + exp(-1))
    assert soft_dice(logits, target, labels, batch=True, smooth=0.0).item() == pytest.approx(
        (2 * 2 * p / (3 * p + 2) + 2 * p / (3 * p + 1)) / 2
    )


@pytest.mark.parametrize("labels", BOTH_MODES)
def test_an_ignore_label_that_no_voxel_has_changes_nothing(labels):
    logits, target = example(labels)
    ignoring = replace(labels, ignore=255)
    for batch in (True, False):
        with_it = segmentation_loss(logits, target, ignoring, batch_dice=batch)
        without = segmentation_loss(logits, target, labels, batch_dice=batch)
        assert with_it.item() == pytest.approx(without.item(), rel=1e-12)


@pytest.mark.parametrize("ignore", [None, 9])
def test_cross_entropy_has_the_same_scale_for_any_number_of_regions(ignore):
    target = example(PLAIN)[1]
    for number in (1, 2, 5):
        labels = replace(REGIONS, regions=REGIONS.regions[:number], ignore=ignore)
        logits = torch.zeros(2, number, 3, 5, 2)
        assert cross_entropy(logits, target, labels).item() == pytest.approx(log(2))


@pytest.mark.parametrize("labels", IGNORING_MODES)
@pytest.mark.parametrize("batch_dice", [True, False])
def test_ignored_voxels_change_neither_loss_nor_gradient(labels, batch_dice):
    logits, target = example(labels)
    ignored = (target == IGNORED)[:, None]
    other = torch.where(ignored, 9 * torch.cos(7 * logits), logits)
    results = []
    for values in (logits, other):
        values = values.clone().requires_grad_()
        loss = segmentation_loss(values, target, labels, batch_dice=batch_dice)
        loss.backward()
        results.append((loss.item(), values.grad))
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])
    assert not results[0][1][ignored.expand_as(logits)].any()
    assert results[0][1][~ignored.expand_as(logits)].all()


@pytest.mark.parametrize("labels", IGNORING_MODES)
@pytest.mark.parametrize("batch_dice", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_all_ignored_batch_costs_nothing(labels, batch_dice, dtype):
    logits, target = example(labels, ignored=1.1)
    logits = logits.to(dtype).requires_grad_()
    loss = segmentation_loss(logits, target, labels, batch_dice=batch_dice)
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("labels", ALL_MODES)
@pytest.mark.parametrize("batch_dice", [True, False])
def test_gradient_is_that_of_finite_differences(labels, batch_dice):
    logits, target = example(labels, shape=(2, 3, 1))
    assert torch.autograd.gradcheck(
        lambda z: segmentation_loss(z, target, labels, batch_dice=batch_dice),
        logits.requires_grad_(),
    )


@pytest.mark.parametrize("sign", [1, -1], ids=["right", "wrong"])
def test_very_sure_regions_cost_their_logit_or_nothing(sign):
    _, target = example(REGIONS)
    truth = torch.stack([torch.isin(target, torch.tensor(r.labels)) for r in REGIONS.regions], 1)
    logits = (sign * 500.0 * (2.0 * truth - 1)).requires_grad_()
    loss = cross_entropy(logits, target, REGIONS)
    loss.backward()
    assert loss.item() == (0.0 if sign == 1 else 500.0)
    assert logits.grad.isfinite().all()


def test_nearly_sure_regions_keep_their_small_loss():
    # log(1 + exp(-20)), of which 20 - 20 in float32 would leave nothing
    target = torch.ones(1, 3, 2, dtype=torch.int64)
    labels = replace(REGIONS, regions=REGIONS.regions[:1])
    loss = cross_entropy(torch.full((1, 1, 3, 2), 20.0), target, labels)
    assert loss.item() == pytest.approx(exp(-20), rel=1e-5)


def test_voxels_of_a_region_beyond_the_range_of_float16_are_counted():
    # 70000 voxels of probability 1: more than the largest float16, 65504; as many are ignored.
    labels = replace(REGIONS, regions=REGIONS.regions[:1], ignore=9)
    target = torch.ones(1, 500, 280, dtype=torch.int64)
    target[:, 250:] = IGNORED
    logits = torch.full((1, 1, 500, 280), 200.0).half()
    assert soft_dice(logits, target, labels, batch=True).item() == 1.0
    assert segmentation_loss(logits, target, labels, batch_dice=True).item() == 0.0


@pytest.mark.parametrize("labels", ALL_MODES)
def test_coarse_logits_are_cast_once(labels):
    logits, target = example(labels, shape=(8, 12, 10))
    coarse = logits.bfloat16()
    loss = segmentation_loss(coarse, target, labels, batch_dice=True)
    assert loss.dtype == torch.float32
    assert loss == segmentation_loss(coarse.float(), target, labels, batch_dice=True)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16])
@pytest.mark.parametrize("labels", ALL_MODES)
def test_integer_type_of_the_target_does_not_matter(labels, dtype):
    logits, target = example(labels)
    loss = segmentation_loss(logits, target.to(dtype), labels, batch_dice=False)
    assert loss == segmentation_loss(logits, target, labels, batch_dice=False)


def test_a_channel_per_region_is_needed():
    logits, target = example(PLAIN)
    with pytest.raises(UsageError, match=r"\(2, 4, 3, 5, 2\) have 4 channels; the labels need 5"):
        segmentation_loss(logits, target, REGIONS, batch_dice=True)
