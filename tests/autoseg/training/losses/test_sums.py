"""That sums by pieces are those of the whole, and take hardly any memory but the gradient's."""

from dataclasses import replace

import pytest
import torch

from autoseg.core.labels import Labels, Region
from autoseg.training.ledger import META, Ledger
from autoseg.training.losses import sums
from autoseg.training.losses.segmentation import segmentation_loss
from autoseg.training.losses.sums import voxel_sums

PLAIN = Labels(names=("background", "edema", "core"))
REGIONS = replace(
    PLAIN,
    regions=(
        Region(name="whole", labels=(1, 2), written=1),
        Region(name="core", labels=(2,), written=2),
    ),
)
MODES = [
    pytest.param(PLAIN, id="labels"),
    pytest.param(REGIONS, id="regions"),
    pytest.param(replace(PLAIN, ignore=7), id="labels-and-ignore"),
    pytest.param(replace(REGIONS, ignore=7), id="regions-and-ignore"),
]
SHAPE = (3, 5, 4)


def example(labels, *, dtype=torch.float64):
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(2, labels.channels, *SHAPE, generator=generator, dtype=torch.float64)
    highest = labels.count + (labels.ignored is not None)
    return logits.to(dtype), torch.randint(0, highest, (2, *SHAPE), generator=generator)


def loss_and_gradient(logits, target, labels):
    leaf = logits.detach().requires_grad_()
    loss = segmentation_loss(leaf, target, labels, batch_dice=True)
    loss.backward()
    return loss.item(), leaf.grad


def test_sums_by_hand():
    # Two voxels count, with odds of 3 and of 1 for label 1, which only the first one has.
    labels = Labels(names=("background", "organ"), ignore=7)
    logits = torch.tensor([[[[0.0, 0.0, 5.0]], [[3.0, 1.0, 9.0]]]]).log()
    found = voxel_sums(logits.clamp_min(0.0), torch.tensor([[[1, 0, 2]]]), labels)
    assert found.cost.item() == pytest.approx(torch.log(torch.tensor((4 / 3) * 2)).item())
    assert found.voxels.item() == 2
    assert found.intersection.tolist() == [[pytest.approx(3 / 4)]]
    assert found.size.tolist() == [[pytest.approx(3 / 4 + 1 / 2 + 1)]]


@pytest.mark.parametrize("labels", MODES)
@pytest.mark.parametrize("width", [1, 7, 59])  # of 60 voxels
def test_pieces_change_nothing(labels, width, monkeypatch):
    logits, target = example(labels)
    loss, gradient = loss_and_gradient(logits, target, labels)
    monkeypatch.setattr(sums, "CPU_PIECE", labels.channels * width)
    by_pieces, same = loss_and_gradient(logits, target, labels)
    assert by_pieces == pytest.approx(loss, rel=1e-13)
    torch.testing.assert_close(same, gradient, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("labels", MODES)
def test_order_of_the_logits_in_memory_changes_nothing(labels):
    logits, target = example(labels)
    loss, gradient = loss_and_gradient(logits, target, labels)
    last = logits.to(memory_format=torch.channels_last_3d)
    swapped = logits.transpose(2, 4).contiguous().transpose(2, 4)  # spatial axes do not merge
    for ordered in (last, swapped):
        same, found = loss_and_gradient(ordered, target, labels)
        assert same == pytest.approx(loss, rel=1e-13)
        torch.testing.assert_close(found, gradient, rtol=1e-12, atol=1e-15)
    assert last.stride() == loss_and_gradient(last, target, labels)[1].stride()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("labels", MODES)
def test_gradient_has_the_type_of_the_logits(labels, dtype):
    logits, target = example(labels, dtype=dtype)
    gradient = loss_and_gradient(logits, target, labels)[1]
    exact = loss_and_gradient(logits.double(), target, labels)[1]
    assert gradient.dtype == dtype
    rounding = torch.finfo(dtype).eps
    torch.testing.assert_close(gradient.double(), exact, rtol=4 * rounding, atol=1e-6)


@pytest.mark.parametrize("labels", MODES[2:])
def test_ignored_logits_need_not_be_numbers(labels):
    logits, target = example(labels)
    loss, gradient = loss_and_gradient(logits, target, labels)
    ignored = (target == labels.ignored)[:, None].expand_as(logits)
    strange = torch.where(ignored, torch.nan, logits)
    same, found = loss_and_gradient(strange, target, labels)
    assert same == loss
    assert torch.equal(found, gradient)


@pytest.mark.parametrize("labels", MODES)
def test_logits_that_are_no_numbers_tell(labels):
    logits, target = example(labels)
    target[0, 0, 0, 0] = 1
    logits[0, 1, 0, 0, 0] = torch.nan
    assert torch.tensor(loss_and_gradient(logits, target, labels)[0]).isnan()


@pytest.mark.parametrize("labels", MODES)
def test_only_logits_and_label_map_are_kept(labels):
    logits, target = example(labels)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda tensor: tensor):
        segmentation_loss(logits.requires_grad_(), target, labels, batch_dice=True)
    large = {tensor.data_ptr() for tensor in kept if tensor.numel() >= target.numel()}
    assert large == {logits.data_ptr(), target.data_ptr()}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_peak_of_many_labels_is_logits_and_gradient_and_a_few_pieces(dtype, monkeypatch):
    monkeypatch.setattr(sums, "PIECE", 2**16)
    labels = Labels(names=tuple(f"label {number}" for number in range(118)))
    logits = torch.empty(2, 118, 32, 48, 40, dtype=dtype, device=META, requires_grad=True)
    target = torch.empty(2, 32, 48, 40, dtype=torch.uint8, device=META)
    with Ledger(1) as ledger:
        segmentation_loss(logits, target, labels, batch_dice=False).backward()
    piece = 2 * 2**16 * 4  # bytes: of both patches, in float32
    assert 2 * logits.nbytes < max(ledger.moments) < 2 * logits.nbytes + 4 * piece
