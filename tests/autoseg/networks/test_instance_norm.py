import pytest
import torch
from torch.nn.functional import instance_norm, leaky_relu

from autoseg.networks.instance_norm import InstanceNorm

ORDERS = {4: torch.channels_last, 5: torch.channels_last_3d}
SHAPES = [
    pytest.param((3, 5, 7, 4), id="2d"),
    pytest.param((2, 4, 3, 6, 5), id="3d"),
    pytest.param((1, 3, 1, 1, 2), id="two-voxels"),
    pytest.param((2, 1, 4, 3, 2), id="one-channel"),
]


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def ordered(x):
    return x.contiguous(memory_format=ORDERS[x.ndim])


def norm_of(channels, slope, dtype=torch.float64):
    norm = InstanceNorm(channels, slope=slope)
    norm.weight.data, norm.bias.data = 1 + noise(channels) / 4, noise(channels, seed=1) / 4
    return norm.to(dtype)


def reference(x, norm):
    """What torch computes, on contiguous copies."""
    normed = instance_norm(x.contiguous(), weight=norm.weight, bias=norm.bias, eps=1e-5)
    return leaky_relu(normed, norm.slope)


def gradients(function, x, norm, slope_of_loss):
    x = x.detach().requires_grad_()
    result = function(x)
    return result, *torch.autograd.grad(result, (x, norm.weight, norm.bias), slope_of_loss)


@pytest.mark.parametrize("slope", [1.0, 0.01])
@pytest.mark.parametrize("shape", SHAPES)
def test_norm_and_its_gradients_are_torchs_in_the_order_of_the_input(shape, slope):
    x, norm, of_loss = noise(*shape), norm_of(shape[1], slope), noise(*shape, seed=2)
    expected = gradients(lambda x: reference(x, norm), x, norm, of_loss)
    for order in (ordered, torch.clone):
        found = gradients(norm, order(x), norm, order(of_loss))
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other)
    found = gradients(norm, ordered(x), norm, of_loss)  # in another order than the output
    assert found[0].is_contiguous(memory_format=ORDERS[x.ndim])
    assert found[1].is_contiguous(memory_format=ORDERS[x.ndim])
    torch.testing.assert_close(found[1], expected[1])


@pytest.mark.parametrize("slope", [1.0, 0.01])
def test_gradients_are_those_of_small_differences(slope):
    norm = norm_of(3, slope)
    x = ordered(noise(2, 3, 2, 3, 2)).requires_grad_()

    def apply(x, weight, bias):
        return torch.func.functional_call(norm, {"weight": weight, "bias": bias}, x)

    weight, bias = (p.detach().clone().requires_grad_() for p in norm.parameters())
    assert torch.autograd.gradcheck(apply, (x, weight, bias))


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    # 24 significant bits, of which a sum of 2**15 values may lose 10 or so; and 8.
    [(torch.float32, 2**-14), (torch.bfloat16, 2**-7)],
)
def test_sums_over_many_voxels_are_made_in_float32(dtype, tolerance):
    x = ordered(3 + noise(2, 4, 32, 16, 64)).to(dtype)
    norm = norm_of(4, 0.01, torch.float32)
    exact = reference(x.double(), norm_of(4, 0.01))
    found = norm(x)
    assert found.dtype == dtype
    error = (found.double() - exact).abs() / exact.abs().clamp_min(1)
    assert error.max() < tolerance


def test_gradients_in_bfloat16_are_as_good_as_torchs():
    x, of_loss = (ordered(noise(2, 8, 12, 10, 14, seed=seed)).bfloat16() for seed in (0, 1))
    norm = norm_of(8, 1.0, torch.float32)
    double = norm_of(8, 1.0)
    wanted = gradients(lambda x: reference(x, double), x.double(), double, of_loss.double())
    torchs = gradients(lambda x: reference(x, norm), x, norm, of_loss)
    ours = gradients(norm, x, norm, of_loss)
    for one, other, truth in zip(ours, torchs, wanted, strict=True):
        assert one.dtype == other.dtype
        scale = truth.abs().max()
        error, allowed = ((found.double() - truth).abs().max() / scale for found in (one, other))
        assert error <= 1.1 * allowed + 1e-5


def test_a_single_voxel_has_no_variance_and_is_refused():
    with pytest.raises(ValueError, match="Expected more than 1 spatial element"):
        InstanceNorm(3)(torch.ones(2, 3, 1, 1, 1))


def test_output_is_kept_for_the_gradient_only_where_it_was_activated():
    x = ordered(noise(2, 3, 4, 5)).requires_grad_()
    kept = {}
    for slope in (1.0, 0.01):
        kept[slope] = []
        hooks = torch.autograd.graph.saved_tensors_hooks(kept[slope].append, lambda x: x)
        with hooks:
            norm_of(3, slope)(x)
    full = [sum(tensor.shape == x.shape for tensor in kept[slope]) for slope in (1.0, 0.01)]
    assert full == [1, 2]


def test_no_gradient_is_kept_in_inference():
    x, norm = ordered(noise(2, 3, 4, 5)), norm_of(3, 0.01)
    with torch.inference_mode():
        expected = reference(x, norm)
        torch.testing.assert_close(norm(x), expected)


@pytest.mark.parametrize("slope", [1.0, 0.01])
def test_without_gradients_the_input_is_overwritten_by_the_same_numbers(slope):
    x, norm = ordered(noise(2, 4, 3, 6, 5)), norm_of(4, slope)
    expected = norm(x.clone())
    with torch.inference_mode():
        found = norm(x)
    assert found.data_ptr() == x.data_ptr()
    torch.testing.assert_close(found, expected.detach(), rtol=0, atol=0)


def test_tensors_without_numbers_take_the_way_of_the_device_they_stand_for():
    x = ordered(noise(2, 3, 4, 5)).to("meta").requires_grad_()
    norm = norm_of(3, 0.01).to("meta")
    found = {}
    for norm.kind in ("cpu", "cuda"):
        result = norm(x)
        result.sum().backward()
        found[norm.kind] = result.is_contiguous(memory_format=torch.channels_last)
        assert x.grad.shape == x.shape
    assert found == {"cpu": True, "cuda": False}


def test_weights_have_the_names_of_torchs():
    theirs = torch.nn.InstanceNorm3d(5, affine=True)
    assert list(InstanceNorm(5).state_dict()) == list(theirs.state_dict())
