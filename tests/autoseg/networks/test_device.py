import pytest
import torch
from torch import nn

from autoseg.core.errors import UsageError
from autoseg.networks.device import Device, choose_device, narrow_convolutions, place_network

CPU = torch.device("cpu")


def test_cpu_is_always_there():
    device = choose_device("cpu")
    assert device.torch_device == CPU
    assert device.autocast in (None, torch.bfloat16)
    assert choose_device("cpu:0") == device


def test_auto_takes_a_device_that_works():
    device = choose_device()
    assert torch.ones(3, device=device.torch_device).sum().item() == 3


@pytest.mark.parametrize(
    "name", ["gpu", "", "cpu:", "cuda:", "cuda:-1", "cuda:x", "cpu:²", "auto:0"]
)
def test_unknown_device_is_refused(name):
    with pytest.raises(UsageError, match=rf"device '{name}' is unknown; allowed are auto, cpu"):
        choose_device(name)


def test_device_that_the_machine_lacks_is_refused_with_a_way_out():
    with pytest.raises(UsageError, match="device 'cpu:1': this machine has 1 of kind cpu") as error:
        choose_device("cpu:1")
    assert "--device auto" in error.value.hint
    count = torch.cuda.device_count()
    with pytest.raises(UsageError, match=f"device 'cuda:{count}': this machine has {count}"):
        choose_device(f"cuda:{count}")


@pytest.mark.parametrize(
    ("autocast", "ways", "text", "scales"),
    [
        pytest.param(None, {}, "cpu in float32, channels last", False, id="float32"),
        pytest.param(
            torch.bfloat16,
            {"channels_last": False, "compiled": True},
            "cpu in bfloat16, compiled",
            False,
            id="bfloat16",
        ),
        pytest.param(
            torch.float16,
            {"fused": True},
            "cpu in float16, channels last, fused optimizer",
            True,
            id="float16",
        ),
    ],
)
def test_device_says_how_it_computes_and_only_float16_needs_gradients_scaled(
    autocast, ways, text, scales
):
    device = Device(torch_device=CPU, autocast=autocast, **ways)
    assert str(device) == text
    assert device.scales_gradients is scales


def test_float32_is_had_by_asking_for_it():
    assert choose_device("cpu/float32").autocast is None


@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_convolutions_run_in_the_precision_of_the_device(autocast):
    convolution, x = nn.Conv2d(1, 2, 3), torch.ones(1, 1, 5, 6)
    with Device(torch_device=CPU, autocast=autocast).precision():
        assert convolution(x).dtype == (autocast or torch.float32)
    assert convolution(x).dtype == torch.float32


@pytest.mark.parametrize(
    ("axes", "convolution", "order"),
    [
        pytest.param(2, nn.Conv2d(3, 4, 3), torch.channels_last, id="2d"),
        pytest.param(3, nn.Conv3d(3, 4, 3), torch.channels_last_3d, id="3d"),
    ],
)
def test_placed_weights_lie_in_channels_last_order_and_are_the_same(axes, convolution, order):
    before = convolution.weight.detach().clone()
    placed = place_network(convolution, Device(torch_device=CPU, autocast=None), axes=axes)
    assert placed is convolution
    assert placed.weight.is_contiguous(memory_format=order)
    torch.testing.assert_close(placed.weight.detach(), before, rtol=0, atol=0)


def test_placed_weights_lie_in_torchs_order_where_the_device_wants_that():
    convolution = nn.Conv3d(3, 4, 3).to(memory_format=torch.channels_last_3d)
    device = Device(torch_device=CPU, autocast=None, channels_last=False)
    assert place_network(convolution, device, axes=3).weight.is_contiguous()


# Torch warns of itself when its compiler is loaded.
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
def test_compiled_weights_keep_their_names():
    device = Device(torch_device=CPU, autocast=None, compiled=True)
    placed = place_network(nn.Sequential(nn.Conv2d(1, 2, 3)), device, axes=2)
    assert placed._compiled_call_impl is not None  # nothing is compiled before the first call
    assert list(placed.state_dict()) == ["0.weight", "0.bias"]


def test_narrow_convolutions_give_what_autocast_gives():
    torch.manual_seed(1)
    layers = (nn.Conv3d(2, 5, 3), nn.LayerNorm([5, 4, 5, 6]), nn.ConvTranspose3d(5, 2, 2, 2))
    network = nn.Sequential(*layers)
    x = torch.randn(1, 2, 6, 7, 8)
    device = Device(torch_device=CPU, autocast=torch.bfloat16)
    with torch.inference_mode(), device.precision():
        expected = network(x)
        narrow_convolutions(network, torch.bfloat16)
        found = network(x)
    kinds = [layer.weight.dtype for layer in layers]
    assert kinds == [torch.bfloat16, torch.float32, torch.bfloat16]
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
