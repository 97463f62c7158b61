import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its customary name

from autoseg.core.errors import UsageError
from autoseg.core.labels import Labels, Region
from autoseg.training.losses.deep_supervision import (
    downsampled_targets,
    level_weights,
    supervised_loss,
    weighted_levels,
)
from autoseg.training.losses.segmentation import segmentation_loss

LABELS = Labels(names=("background", "organ", "tumor"))


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (1, (1.0,)),
        (2, (1.0, 0.0)),
        (3, (2 / 3, 1 / 3, 0.0)),
        (5, (8 / 15, 4 / 15, 2 / 15, 1 / 15, 0.0)),  # nnU-Net: .53333, .26667, .13333, .06667, 0
    ],
)
def test_weights_halve_and_the_last_level_is_left_out(levels, expected):
    assert level_weights(levels) == pytest.approx(expected)


@pytest.mark.parametrize(("levels", "expected"), [(1, 1), (2, 1), (3, 2), (6, 5)])
def test_all_levels_but_the_last_of_several_have_a_weight(levels, expected):
    assert weighted_levels(levels) == expected


def test_no_level_is_refused():
    with pytest.raises(UsageError, match="0 levels; there must be at least 1"):
        level_weights(0)


def test_target_is_sampled_at_the_later_of_the_middle_voxels():
    target = torch.arange(12, dtype=torch.int16).reshape(1, 2, 6)
    # Halving 6: centers at 1, 3, 5; thirds of 6 into 2: centers at 1.5, 4.5, inside voxels 1 and 4.
    halves, thirds = downsampled_targets(target, [(2, 3), (1, 2)])
    assert halves.tolist() == [[[1, 3, 5], [7, 9, 11]]]
    assert thirds.tolist() == [[[7, 10]]]


@pytest.mark.parametrize(
    ("shape", "level"),
    [((6, 10), (3, 5)), ((12, 20, 7), (12, 10, 4)), ((5, 9, 16), (2, 3, 5))],
    ids=["2d", "anisotropic-stride", "odd"],
)
def test_sampling_is_nearest_exact(shape, level):
    target = torch.arange(2 * torch.Size(shape).numel()).reshape(2, *shape)
    expected = F.interpolate(target[:, None].double(), size=level, mode="nearest-exact")
    assert torch.equal(downsampled_targets(target, [level])[0], expected[:, 0].long())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_targets_keep_their_type_and_full_resolution_is_not_copied(dtype):
    target = torch.zeros(2, 4, 6, dtype=dtype)
    full, half = downsampled_targets(target, [(4, 6), (2, 3)])
    assert full is target
    assert half.dtype == dtype


def test_level_with_another_number_of_axes_is_refused():
    with pytest.raises(UsageError, match=r"level shape \(2, 3\) must have the 3 spatial axes"):
        downsampled_targets(torch.zeros(1, 4, 6, 8), [(2, 3)])


def levels():
    generator = torch.Generator().manual_seed(5)
    shapes = ((4, 8, 12), (4, 4, 6), (2, 2, 3))
    outputs = [torch.randn(2, 3, *shape, generator=generator) for shape in shapes]
    target = torch.randint(0, 3, (2, 4, 8, 12), generator=generator, dtype=torch.uint8)
    return [output.requires_grad_() for output in outputs], target


@pytest.mark.parametrize("batch_dice", [True, False])
def test_loss_is_the_weighted_sum_over_levels(batch_dice):
    outputs, target = levels()
    half = target[:, :, 1::2, 1::2]
    expected = 2 / 3 * segmentation_loss(outputs[0], target, LABELS, batch_dice=batch_dice)
    expected += 1 / 3 * segmentation_loss(outputs[1], half, LABELS, batch_dice=batch_dice)
    loss = supervised_loss(outputs, target, LABELS, batch_dice=batch_dice)
    assert loss.item() == pytest.approx(expected.item())


def test_last_level_is_never_computed():
    outputs, target = levels()
    supervised_loss(outputs, target, LABELS, batch_dice=True).backward()
    assert outputs[0].grad.abs().sum() > 0
    assert outputs[1].grad.abs().sum() > 0
    assert outputs[2].grad is None


@pytest.mark.parametrize("batch_dice", [True, False])
def test_level_without_weight_may_be_left_out(batch_dice):
    outputs, target = levels()
    whole = supervised_loss(outputs, target, LABELS, batch_dice=batch_dice)
    assert whole == supervised_loss(outputs[:2], target, LABELS, batch_dice=batch_dice, levels=3)


@pytest.mark.parametrize("number", [2, 3])
def test_level_with_a_weight_must_be_there(number):
    outputs, target = levels()
    message = f"1 outputs of {number + 1} levels; there must be {number}, or all"
    with pytest.raises(UsageError, match=message):
        supervised_loss(outputs[:1], target, LABELS, batch_dice=True, levels=number + 1)


def test_single_output_is_the_plain_loss():
    outputs, target = levels()
    loss = supervised_loss(outputs[:1], target, LABELS, batch_dice=True)
    assert loss == segmentation_loss(outputs[0], target, LABELS, batch_dice=True)


def test_first_output_must_be_at_full_resolution():
    outputs, target = levels()
    with pytest.raises(UsageError, match=r"\(4, 4, 6\); it must be the target's \(4, 8, 12\)"):
        supervised_loss(outputs[1:], target, LABELS, batch_dice=True)


def test_no_output_is_refused():
    with pytest.raises(UsageError, match="0 levels"):
        supervised_loss([], torch.zeros(1, 4, 4), LABELS, batch_dice=True)


def test_regions_and_ignored_voxels_are_found_at_every_level():
    labels = Labels(
        names=("background", "edema", "core"),
        regions=(
            Region(name="whole", labels=(1, 2), written=1),
            Region(name="core", labels=(2,), written=2),
        ),
        ignore=9,
    )
    outputs, _ = levels()
    outputs = [output.detach()[:, :2].requires_grad_() for output in outputs]
    target = torch.zeros(2, 4, 8, 12, dtype=torch.int64)
    target[0, 2:, 3:, 5:9] = 1
    target[0, 3, 4:6, 6] = 2
    target[:, :, :2] = labels.ignored
    half = target[:, :, 1::2, 1::2]  # ignored in its first row
    expected = 2 / 3 * segmentation_loss(outputs[0], target, labels, batch_dice=True)
    expected += 1 / 3 * segmentation_loss(outputs[1], half, labels, batch_dice=True)
    loss = supervised_loss(outputs, target, labels, batch_dice=True)
    loss.backward()
    assert loss.item() == pytest.approx(expected.item())
    assert not outputs[1].grad[:, :, :, 0].any()
    assert (outputs[1].grad[:, :, :, 1:] != 0).all()
