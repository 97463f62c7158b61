import numpy as np
import pytest
import torch

from autoseg.core.errors import UsageError
from autoseg.core.labels import Labels
from autoseg.training.losses.segmentation import cross_entropy, segmentation_loss, soft_dice

# Measured with nnU-Net on these values.
LOGITS = torch.arange(24, dtype=torch.float32).sin().reshape(2, 3, 2, 2)
TARGET = torch.tensor([[[0, 1], [2, 1]], [[0, 0], [0, 1]]])
LABELS = Labels(names=("background", "organ", "tumor"))


def labels_of(k):
    return Labels(names=("background", "a", "b", "c")[:k])


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def slow_dice(logits, target, *, batch, smooth):
    """Dice voxel by voxel, straight from its definition."""
    n, k = logits.shape[:2]
    p = softmax(logits.astype(np.float64)).reshape(n, k, -1)
    y = target.reshape(n, -1)
    samples = [list(range(n))] if batch else [[i] for i in range(n)]
    ratios = []
    for members in samples:
        for label in range(1, k):
            both = total = 0.0
            for i in members:
                for voxel in range(y.shape[1]):
                    hit = float(y[i, voxel] == label)
                    both += p[i, label, voxel] * hit
                    total += p[i, label, voxel] + hit
            ratios.append((2 * both + smooth) / (total + smooth))
    return np.mean(ratios)


def example(*, k=4, shape=(3, 5, 2), n=2, seed=3):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, k, *shape)), rng.integers(0, k, (n, *shape))


def confident(target, k):
    """Logits so large that the probabilities are 0 and 1."""
    one_hot = torch.nn.functional.one_hot(target, k).movedim(-1, 1)
    return 200.0 * one_hot.float()


def test_cross_entropy_is_nnunets():
    assert cross_entropy(LOGITS, TARGET, LABELS).item() == pytest.approx(1.3403237, abs=1e-6)


@pytest.mark.parametrize(("batch", "expected"), [(True, 0.2489259), (False, 0.2390403)])
def test_dice_is_nnunets(batch, expected):
    assert soft_dice(LOGITS, TARGET, LABELS, batch=batch).item() == pytest.approx(
        expected, abs=1e-6
    )


@pytest.mark.parametrize(("batch_dice", "nnunet"), [(True, 1.0913978), (False, 1.1012833)])
def test_loss_is_one_more_than_nnunets(batch_dice, nnunet):
    loss = segmentation_loss(LOGITS, TARGET, LABELS, batch_dice=batch_dice)
    assert loss.item() == pytest.approx(1 + nnunet, abs=1e-6)


@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("shape", [(3, 5, 2), (7, 4)], ids=["3d", "2d"])
@pytest.mark.parametrize("smooth", [1e-5, 1.0])
def test_dice_agrees_with_its_definition(batch, shape, smooth):
    logits, target = example(shape=shape)
    options = {"batch": batch, "smooth": smooth}
    dice = soft_dice(torch.tensor(logits), torch.tensor(target), labels_of(4), **options)
    assert dice.item() == pytest.approx(slow_dice(logits, target, **options))


def test_cross_entropy_agrees_with_its_definition():
    logits, target = example()
    of_target = np.take_along_axis(softmax(logits), target[:, None], 1)
    loss = cross_entropy(torch.tensor(logits), torch.tensor(target), labels_of(4))
    assert loss.item() == pytest.approx(-np.log(of_target).mean())


def test_equal_logits_give_log_k_and_a_hand_made_dice():
    # 2 labels, p = 1/2 everywhere, 3 of 12 voxels foreground: 2 * 1.5 / (6 + 3) = 1/3
    target = torch.zeros(1, 3, 4, dtype=torch.uint8)
    target[0, 1, :3] = 1
    logits = torch.zeros(1, 2, 3, 4)
    assert cross_entropy(logits, target, labels_of(2)).item() == pytest.approx(np.log(2))
    assert soft_dice(logits, target, labels_of(2), batch=True).item() == pytest.approx(
        1 / 3, rel=1e-5
    )


@pytest.mark.parametrize("batch_dice", [True, False])
def test_perfect_prediction_costs_nothing(batch_dice):
    _, target = example(k=3)
    target = torch.tensor(target)
    loss = segmentation_loss(confident(target, 3), target, LABELS, batch_dice=batch_dice)
    assert loss.item() == 0.0


def test_label_that_neither_side_has_counts_as_found():
    # Label 1 everywhere and found, label 2 nowhere and not predicted: (1 + 1) / 2.
    target = torch.ones(1, 3, 2, dtype=torch.int64)
    assert soft_dice(confident(target, 3), target, LABELS, batch=False).item() == 1.0


def test_label_predicted_where_absent_scores_zero():
    # Label 1 in 4 of 6 voxels found, its other 2 called label 2: 2*4/(4+6) and 0.
    target = torch.ones(1, 3, 2, dtype=torch.int64)
    said = target.clone()
    said[0, 0] = 2
    dice = soft_dice(confident(said, 3), target, LABELS, batch=False)
    assert dice.item() == pytest.approx(0.8 / 2, abs=1e-4)


def test_batch_dice_pools_a_sample_without_the_label():
    # Sample 0 has label 1 in all 6 voxels, sample 1 in none; both are called label 1 throughout.
    target = torch.stack([torch.ones(3, 2), torch.zeros(3, 2)]).long()
    logits = confident(torch.ones_like(target), 2)
    pooled, apart = (soft_dice(logits, target, labels_of(2), batch=b).item() for b in (True, False))
    assert pooled == pytest.approx(2 * 6 / (12 + 6))
    assert apart == pytest.approx((1 + 0) / 2, abs=1e-5)


def test_no_smoothing_and_nothing_to_find_stays_finite():
    target = torch.zeros(1, 3, 2, dtype=torch.int64)
    logits = confident(target, 2).requires_grad_()
    loss = soft_dice(logits, target, labels_of(2), batch=True, smooth=0.0)
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("batch_dice", [True, False])
def test_gradient_is_that_of_finite_differences(batch_dice):
    logits, target = example(k=3, shape=(2, 3, 2))
    target = torch.tensor(target)
    assert torch.autograd.gradcheck(
        lambda z: segmentation_loss(z, target, LABELS, batch_dice=batch_dice),
        torch.tensor(logits, requires_grad=True),
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_coarse_logits_lose_no_more_than_their_own_rounding(dtype):
    logits, target = example(shape=(16, 24, 20))
    coarse, target = torch.tensor(logits, dtype=dtype), torch.tensor(target)
    loss = segmentation_loss(coarse, target, labels_of(4), batch_dice=True)
    assert loss.dtype == torch.float32
    assert loss == segmentation_loss(coarse.float(), target, labels_of(4), batch_dice=True)
    exact = segmentation_loss(torch.tensor(logits), target, labels_of(4), batch_dice=True)
    # 8 significant bits in bfloat16
    assert loss.item() == pytest.approx(exact.item(), rel=2**-8)


def test_sums_beyond_the_range_of_float16_are_exact():
    # 70000 voxels of probability 1: more than the largest float16, 65504.
    target = torch.ones(1, 250, 280, dtype=torch.uint8)
    logits = confident(target.long(), 2).half()
    assert soft_dice(logits, target, labels_of(2), batch=True).item() == 1.0


def test_autocast_changes_nothing():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = segmentation_loss(LOGITS, TARGET, LABELS, batch_dice=True)
    assert loss.item() == pytest.approx(2.0913978, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_integer_type_of_the_target_does_not_matter(dtype):
    loss = segmentation_loss(LOGITS, TARGET.to(dtype), LABELS, batch_dice=False)
    assert loss == segmentation_loss(LOGITS, TARGET, LABELS, batch_dice=False)


@pytest.mark.parametrize(
    "function",
    [cross_entropy, lambda z, y, labels: soft_dice(z, y, labels, batch=True)],
    ids=["cross-entropy", "dice"],
)
def test_target_with_channel_axis_is_refused(function):
    with pytest.raises(UsageError, match=r"target shape \(2, 1, 2, 2\).*\(2, 3, 2, 2\)"):
        function(LOGITS, TARGET[:, None], LABELS)


def test_labels_without_foreground_are_refused():
    with pytest.raises(UsageError, match=r"labels \('background',\) must hold one besides"):
        soft_dice(LOGITS[:, :1], TARGET, labels_of(1), batch=True)


def test_logits_of_other_labels_are_refused():
    with pytest.raises(UsageError, match=r"\(2, 3, 2, 2\) have 3 channels; the labels need 4"):
        soft_dice(LOGITS, TARGET, labels_of(4), batch=True)
