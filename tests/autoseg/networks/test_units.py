import pytest
import torch
from torch import nn
from torch.nn.functional import conv3d, leaky_relu

from autoseg.networks.units import (
    SLOPE,
    TRANSPOSED,
    ConvUnit,
    ResidualBlock,
    initialize,
    upsample,
    upsample_beside,
)


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def initialized(module):
    torch.manual_seed(1)
    initialize(module)
    return module


def normed(x):
    """Normalize every channel of every sample over space: the slow way."""
    axes = tuple(range(2, x.ndim))
    centered = x - x.mean(axes, keepdim=True)
    return centered / (centered.square().mean(axes, keepdim=True) + 1e-5).sqrt()


@pytest.mark.parametrize(
    ("kernel", "stride", "shape", "expected"),
    [
        pytest.param((3, 3), (1, 1), (7, 10), (7, 10), id="2d-kept"),
        pytest.param((3, 3), (2, 1), (8, 10), (4, 10), id="2d-one-axis-halved"),
        pytest.param((1, 3, 3), (1, 2, 2), (5, 8, 12), (5, 4, 6), id="in-plane"),
        pytest.param((3, 1, 3), (2, 1, 2), (6, 7, 8), (3, 7, 4), id="middle-axis-kept"),
    ],
)
def test_unit_keeps_the_shape_but_for_its_stride(kernel, stride, shape, expected):
    unit = ConvUnit(2, 5, kernel=kernel, stride=stride)
    assert unit(noise(3, 2, *shape)).shape == (3, 5, *expected)


def test_unit_is_convolution_then_instance_norm_then_leaky_relu():
    unit = initialized(ConvUnit(2, 4, kernel=(1, 3, 3), stride=(1, 2, 1)))
    x = noise(2, 2, 4, 6, 5)
    convolved = conv3d(x, unit.conv.weight, unit.conv.bias, (1, 2, 1), (0, 1, 1))
    expected = normed(convolved)
    expected = torch.where(expected > 0, expected, 0.01 * expected)
    torch.testing.assert_close(unit(x), expected, rtol=1e-4, atol=1e-5)


def test_inactive_unit_ends_with_the_norm():
    unit = initialized(ConvUnit(1, 3, kernel=(3, 3), stride=(1, 1), active=False))
    x = noise(2, 1, 9, 7)
    torch.testing.assert_close(unit(x), normed(unit.conv(x)), rtol=1e-4, atol=1e-5)


def test_residual_block_at_start_passes_its_input_through():
    block = initialized(ResidualBlock(4, 4, kernel=(3, 3, 3), stride=(1, 1, 1)))
    x = noise(2, 4, 5, 6, 7)
    torch.testing.assert_close(block(x), leaky_relu(x, SLOPE))


def test_residual_block_at_start_pools_and_widens_where_it_must():
    block = initialized(ResidualBlock(2, 6, kernel=(1, 3, 3), stride=(1, 2, 2)))
    x = noise(2, 2, 3, 8, 6)
    pooled = x.unflatten(4, (3, 2)).unflatten(3, (4, 2)).mean((4, 6))
    projection = block.shortcut[1]
    assert projection.bias is None
    widened = torch.einsum("oi,nizyx->nozyx", projection.weight[:, :, 0, 0, 0], pooled)
    expected = leaky_relu(normed(widened), SLOPE)
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)


def test_residual_block_that_only_strides_has_no_projection():
    block = ResidualBlock(4, 4, kernel=(3, 3), stride=(2, 2))
    assert [type(part) for part in block.shortcut] == [nn.AvgPool2d]
    assert block(noise(1, 4, 8, 6)).shape == (1, 4, 4, 3)


def test_residual_block_leaves_its_input_unchanged():
    block = initialized(ResidualBlock(3, 3, kernel=(3, 3), stride=(1, 1)))
    x = noise(1, 3, 5, 8)
    before = x.clone()
    block(x)
    torch.testing.assert_close(x, before, rtol=0, atol=0)


def test_weights_have_the_deviation_of_kaiming_for_the_slope():
    unit = initialized(ConvUnit(40, 50, kernel=(3, 3, 3), stride=(1, 1, 1)))
    # He et al. 2015: variance 2 / ((1 + slope^2) fan_in), with fan_in 40 * 27.
    expected = (2 / ((1 + 0.01**2) * 40 * 27)) ** 0.5
    assert unit.conv.weight.std().item() == pytest.approx(expected, rel=0.02)
    assert unit.conv.weight.mean().item() == pytest.approx(0, abs=0.01 * expected)
    assert not unit.conv.bias.any()


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last_3d])
def test_upsampling_is_a_transposed_convolution_with_its_gradients(order):
    transposed = nn.ConvTranspose3d(4, 3, (2, 1, 2), (2, 1, 2)).to(memory_format=order)
    initialized(transposed)
    transposed.bias.data = noise(3, seed=2)
    x, of_loss = noise(2, 4, 3, 5, 4).requires_grad_(), noise(2, 3, 6, 5, 8, seed=3)
    found, expected = upsample(transposed, x), transposed(x)
    torch.testing.assert_close(found, expected)
    wanted = (x, *transposed.parameters())
    for one, other in zip(
        torch.autograd.grad(found, wanted, of_loss),
        torch.autograd.grad(expected, wanted, of_loss),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_upsampling_in_bfloat16_stays_in_it():
    transposed = nn.ConvTranspose2d(2, 3, (2, 1), (2, 1))
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = upsample(transposed, noise(1, 2, 5, 4)), transposed(noise(1, 2, 5, 4))
    assert found.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(found, expected, rtol=2**-7, atol=2**-7)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("is_ordered", [True, False])
def test_upsampled_features_lie_beside_those_of_the_skip(axes, is_ordered):
    torch.manual_seed(2)
    order = (torch.channels_last, torch.channels_last_3d)[axes - 2]
    transposed = TRANSPOSED[axes](6, 3, 2, 2)
    low, skip = torch.randn(2, 6, *(2, 3, 5)[:axes]), torch.randn(2, 3, *(4, 6, 10)[:axes])
    if is_ordered:
        low, skip = (each.contiguous(memory_format=order) for each in (low, skip))
    expected = torch.cat((transposed(low), skip), dim=1)
    torch.testing.assert_close(upsample_beside(transposed, low, skip), expected)
    with torch.inference_mode():
        found = upsample_beside(transposed, low, skip)
    torch.testing.assert_close(found, expected.detach())
    assert found.is_contiguous(memory_format=order) == is_ordered
