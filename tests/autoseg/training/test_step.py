from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from autoseg.core.labels import Labels
from autoseg.core.training_config import TrainingConfig
from autoseg.networks.device import Device
from autoseg.training.batches import Batch, augment_patches, read_patches
from autoseg.training.losses.deep_supervision import supervised_loss
from autoseg.training.state import make_optimizer, make_state
from autoseg.training.step import training_step

CPU = torch.device("cpu")
LABELS = Labels(names=("background", "organ", "tumor"))
PRECISIONS = [pytest.param(None, id="float32"), pytest.param(torch.bfloat16, id="bfloat16")]


def device_of(autocast=None):
    return Device(torch_device=CPU, autocast=autocast)


def config(**options):
    return TrainingConfig(preset="test", epochs=1, **options)


def state_of(setup):
    return make_state(setup.fresh_network(), setup.description.training, setup.device)


def batch_of(source, epoch, step):
    images, targets = augment_patches(source, read_patches(source, epoch, step))
    return Batch(images=images, targets=targets, waited_s=0.0)


def batches(setup, count=1):
    return [batch_of(setup.source("training"), 0, k) for k in range(count)]


def update(state, batch, **options):
    defaults = {
        "labels": LABELS,
        "learning_rate": 0.02,
        "gradient_norm": 12.0,
        "batch_dice": False,
        "device": device_of(),
    }
    return training_step(state, batch, **defaults | options)


def weights(state):
    return torch.cat([value.detach().flatten().clone() for value in state.network.parameters()])


@pytest.mark.parametrize("autocast", PRECISIONS)
@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 0.02), ("adamw", 0.01)])
def test_loss_falls_within_twenty_steps(setup_of, optimizer, rate, autocast):
    setup = setup_of(device=device_of(autocast), optimizer=optimizer, momentum=0.9)
    state = state_of(setup)
    losses = [
        update(state, batch, learning_rate=rate, device=setup.device).loss.item()
        for batch in batches(setup, 20)
    ]
    assert sum(losses[-4:]) < 0.7 * sum(losses[:4])
    assert state.step == 20


def test_loss_is_that_of_the_network_before_the_update(setup_of):
    setup = setup_of(features=(4, 6, 8))
    state, batch = state_of(setup), batches(setup)[0]
    before = deepcopy(state.network)
    loss = update(state, batch, batch_dice=True).loss
    expected = supervised_loss(before(batch.images, 2), batch.targets, LABELS, batch_dice=True)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert not loss.requires_grad
    assert loss.shape == ()


def test_update_follows_the_gradient_with_the_rate_of_the_step(setup_of):
    setup = setup_of(optimizer="sgd", momentum=0.5, weight_decay=0.0)
    state, batch = state_of(setup), batches(setup)[0]
    copy = deepcopy(state.network)
    supervised_loss(copy(batch.images, 1), batch.targets, LABELS, batch_dice=False).backward()
    # Nesterov's first step goes along g + 0.5 g.
    expected = [w.detach() - 0.03 * 1.5 * w.grad for w in copy.parameters()]
    update(state, batch, learning_rate=0.03, gradient_norm=1e9)
    for updated, wanted in zip(state.network.parameters(), expected, strict=True):
        torch.testing.assert_close(updated.detach(), wanted, rtol=1e-5, atol=1e-7)


def test_gradients_are_scaled_down_to_their_norm(setup_of):
    setup = setup_of(optimizer="sgd", momentum=0.5, weight_decay=0.0)
    state, batch = state_of(setup), batches(setup)[0]
    before = weights(state)
    update(state, batch, learning_rate=0.1, gradient_norm=1e-2)
    # The step is as long as rate * 1.5 * norm, Nesterov's first momentum being half the gradient.
    assert (weights(state) - before).norm().item() == pytest.approx(0.1 * 1.5 * 1e-2, rel=1e-2)


def test_norm_is_that_of_the_gradients_before_they_are_scaled_down(setup_of):
    setup = setup_of()
    state, batch = state_of(setup), batches(setup)[0]
    copy = deepcopy(state.network)
    supervised_loss(copy(batch.images, 1), batch.targets, LABELS, batch_dice=False).backward()
    expected = sum((w.grad.double() ** 2).sum() for w in copy.parameters()).sqrt()
    norm = update(state, batch, gradient_norm=1e-2).norm
    assert norm.item() == pytest.approx(expected.item(), rel=1e-5)
    assert not norm.requires_grad
    assert norm.shape == ()


def test_rate_of_zero_changes_no_weight(setup_of):
    setup = setup_of(optimizer="adamw")
    state = state_of(setup)
    before = weights(state)
    update(state, batches(setup)[0], learning_rate=0.0)
    assert torch.equal(weights(state), before)
    assert state.step == 1


def test_head_of_the_coarsest_level_is_never_updated(setup_of):
    setup = setup_of(features=(4, 6, 8), weight_decay=0.1)
    state = state_of(setup)
    coarse, fine = (head.weight.detach().clone() for head in state.network.heads)
    for batch in batches(setup, 2):
        update(state, batch)
    assert torch.equal(state.network.heads[0].weight, coarse)
    assert not torch.equal(state.network.heads[1].weight, fine)


def test_head_of_the_coarsest_level_is_never_computed(setup_of):
    setup = setup_of(features=(4, 6, 8))
    state, computed = state_of(setup), []
    for place, head in enumerate(state.network.heads):
        head.register_forward_hook(lambda *_, place=place: computed.append(place))
    update(state, batches(setup)[0])
    assert computed == [1]


def test_gradients_do_not_add_up_over_steps(setup_of):
    setup = setup_of(optimizer="sgd", momentum=0.9)
    state, batch = state_of(setup), batches(setup)[0]
    update(state, batch, learning_rate=0.0, gradient_norm=1e9)
    first = [w.grad.clone() for w in state.network.parameters()]
    update(state, batch, learning_rate=0.0, gradient_norm=1e9)
    for gradient, same in zip((w.grad for w in state.network.parameters()), first, strict=True):
        torch.testing.assert_close(gradient, same, rtol=0, atol=0)


@pytest.mark.parametrize("autocast", PRECISIONS)
def test_weights_stay_in_float32(setup_of, autocast):
    setup = setup_of(device=device_of(autocast))
    state = state_of(setup)
    loss = update(state, batches(setup)[0], device=setup.device).loss
    assert loss.dtype == torch.float32
    assert {w.dtype for w in state.network.parameters()} == {torch.float32}
    assert not state.scaler.is_enabled()


OPTIMIZERS = [
    pytest.param(name, fused, id=f"{name}{'-fused' if fused else ''}")
    for name in ("sgd", "adamw")
    for fused in (False, True)
]


def fresh(setup, *, fused, scaled=False):
    state = state_of(setup)
    state.optimizer = make_optimizer(state.network, setup.description.training, fused=fused)
    state.scaler = torch.amp.GradScaler("cpu", enabled=scaled, init_scale=256.0)
    return state


def hold_a_nan(state, batch):
    images = batch.images.clone()
    images[1, 0, 2, 3, 4] = torch.nan
    update(state, replace(batch, images=images))


def lose_infinitely(state, batch):
    """Make the summed cost overflow, while probabilities and so gradients are finite."""
    bias = state.network.heads[-1].bias
    before = bias.detach().clone()
    bias.data[0] = 3e38
    assert update(state, batch).loss.isposinf()
    bias.data.copy_(before)


def break_a_gradient(state, batch):
    weight = next(state.network.parameters())
    handle = weight.register_hook(lambda gradient: gradient * torch.inf)
    assert update(state, batch).loss.isfinite()
    handle.remove()


@pytest.mark.parametrize("break_step", [hold_a_nan, lose_infinitely, break_a_gradient])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(("optimizer", "fused"), OPTIMIZERS)
def test_step_that_is_not_finite_changes_neither_weights_nor_optimizer(
    setup_of, optimizer, fused, scaled, break_step
):
    setup = setup_of(optimizer=optimizer, momentum=0.9, weight_decay=0.1)
    first, second = batches(setup, 2)
    broken, sound = (fresh(setup, fused=fused, scaled=scaled) for _ in range(2))

    break_step(broken, first)
    update(broken, first)
    break_step(broken, second)
    update(broken, second)
    for batch in (first, second):
        assert update(sound, batch).norm.isfinite()

    assert (broken.step, sound.step) == (4, 2)
    assert torch.equal(weights(broken), weights(sound))
    for one, other in zip(
        broken.optimizer.state.values(), sound.optimizer.state.values(), strict=True
    ):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
    # Two backoffs, each to a half.
    assert broken.scaler.get_scale() == (64.0 if scaled else 1.0)


def test_step_that_is_not_finite_says_so(setup_of):
    setup = setup_of()
    state, batch = state_of(setup), batches(setup)[0]
    result = update(state, replace(batch, images=batch.images * torch.nan))
    assert result.loss.isnan()
    assert result.norm.isnan()


class Looks(TorchDispatchMode):
    """Counts how often a number is fetched from a tensor, as if it were on a device."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("optimizer", "fused"), OPTIMIZERS)
def test_only_optimizers_that_are_not_fused_and_first_steps_wait_for_the_device(
    setup_of, optimizer, fused
):
    setup = setup_of(features=(4, 6, 8), optimizer=optimizer)
    state, counts = fresh(setup, fused=fused), []
    for batch in batches(setup, 3):
        with Looks() as looks:
            update(state, batch, labels=replace(LABELS, ignore=9), batch_dice=True)
        counts.append(looks.count)
    assert counts[0] > 0
    assert (counts[1:] == [0, 0]) == fused


def test_sgd_is_nesterovs_with_the_momentum_of_the_config(setup_of):
    network = setup_of().fresh_network()
    optimizer = make_optimizer(network, config(optimizer="sgd", momentum=0.9, weight_decay=0.25))
    assert isinstance(optimizer, torch.optim.SGD)
    group = optimizer.param_groups[0]
    assert (group["momentum"], group["weight_decay"], group["nesterov"]) == (0.9, 0.25, True)
    assert group["lr"] == 0.01
    assert len(group["params"]) == len(list(network.parameters()))


def test_adamw_decays_apart_from_the_gradient(setup_of):
    network = setup_of().fresh_network()
    optimizer = make_optimizer(network, config(optimizer="adamw", weight_decay=0.25))
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.param_groups[0]["weight_decay"] == 0.25
