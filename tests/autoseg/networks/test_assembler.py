from dataclasses import dataclass

import pytest
import torch

from autoseg.core.errors import PlanError
from autoseg.core.network_presets import preset
from autoseg.core.plan import Topology
from autoseg.networks.assembler import build_network
from autoseg.networks.device import Device, narrow_convolutions, place_network
from autoseg.networks.instance_norm import InstanceNorm


@dataclass(frozen=True)
class Shape:
    """A small topology, and the input that it is tried with."""

    id: str
    size: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]
    kernels: tuple[tuple[int, ...], ...]
    features: tuple[int, ...]

    @property
    def topology(self):
        return Topology(strides=self.strides, kernels=self.kernels, features=self.features)

    def level(self, number):
        """Spatial shape of the logits of a level, full resolution first."""
        sizes = self.size
        for stride in self.strides[: number + 1]:
            sizes = tuple(n // s for n, s in zip(sizes, stride, strict=True))
        return sizes


SHAPES = [
    Shape(
        id="isotropic",
        size=(8, 16, 24),
        strides=((1, 1, 1), (2, 2, 2), (2, 2, 2)),
        kernels=((3, 3, 3),) * 3,
        features=(4, 6, 8),
    ),
    Shape(
        id="thick-slices",
        size=(6, 24, 16),
        strides=((1, 1, 1), (1, 2, 2), (2, 2, 2), (1, 2, 1)),
        kernels=((1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3)),
        features=(4, 6, 8, 8),
    ),
    Shape(
        id="2d",
        size=(16, 40),
        strides=((1, 1), (2, 2), (1, 2), (2, 2)),
        kernels=((3, 3),) * 4,
        features=(4, 8, 12, 12),
    ),
    Shape(
        id="two-stages",
        size=(4, 6, 10),
        strides=((1, 1, 1), (1, 2, 2)),
        kernels=((1, 3, 3), (3, 3, 3)),
        features=(4, 5),
    ),
]
NETWORKS = ["plain", "resenc"]

every_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.id)
every_network = pytest.mark.parametrize("name", NETWORKS)


def build(name, topology, *, seed=1, channels_in=2, channels_out=3):
    torch.manual_seed(seed)
    return build_network(preset(name), topology, channels_in=channels_in, channels_out=channels_out)


def noise(shape, *, batch=2, channels=2):
    generator = torch.Generator().manual_seed(0)
    return torch.randn((batch, channels, *shape.size), generator=generator)


def doubling(axes, stages, largest):
    """Return the topology of a large isotropic patch: 32 features, doubled up to a limit."""
    return Topology(
        strides=((1,) * axes, *((2,) * axes for _ in range(stages - 1))),
        kernels=((3,) * axes,) * stages,
        features=tuple(min(32 * 2**stage, largest) for stage in range(stages)),
    )


@pytest.mark.parametrize(
    ("name", "topology", "parameters"),
    [
        pytest.param("plain", doubling(3, 6, 320), 31_195_594, id="plain-3d-6-stages"),
        pytest.param("resenc", doubling(3, 6, 320), 102_349_770, id="resenc-3d-6-stages"),
        pytest.param("plain", doubling(2, 8, 512), 46_324_558, id="plain-2d-8-stages"),
    ],
)
def test_networks_have_as_many_parameters_as_nnunets(name, topology, parameters):
    with torch.device("meta"):  # counts need no memory
        network = build(name, topology, channels_in=1, channels_out=2)
    assert sum(weights.numel() for weights in network.parameters()) == parameters


@every_network
@every_shape
def test_every_level_has_the_shape_of_its_stage(name, shape):
    network = build(name, shape.topology)
    levels = len(shape.features) - 1
    assert network.supervised_levels == levels
    with torch.no_grad():
        logits = network(noise(shape), levels)
    expected = [(2, 3, *shape.level(number)) for number in range(levels)]
    assert [tuple(level.shape) for level in logits] == expected
    assert all(level.isfinite().all() for level in logits)


@every_network
def test_fewer_levels_are_the_finest_ones(name):
    shape = SHAPES[1]
    network, x = build(name, shape.topology), noise(SHAPES[1])
    with torch.no_grad():
        every = network(x, 3)
        for levels in (1, 2):
            fewer = network(x, levels)
            assert len(fewer) == levels
            for some, same in zip(fewer, every, strict=False):
                torch.testing.assert_close(some, same, rtol=0, atol=0)
        assert len(network(x)) == 1


@every_network
def test_same_seed_gives_the_same_weights_and_another_others(name):
    topology = SHAPES[1].topology
    first, again, other = (build(name, topology, seed=seed) for seed in (1, 1, 2))
    for weights, same in zip(first.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(weights, same, rtol=0, atol=0)
    assert not torch.equal(first.heads[0].weight, other.heads[0].weight)


@every_network
@every_shape
def test_gradients_reach_every_parameter_behind_the_logits(name, shape):
    network = build(name, shape.topology)
    for block in network.modules():  # a silenced residual branch lets no gradient through
        if hasattr(block, "second"):
            torch.nn.init.ones_(block.second.norm.weight)
    levels = network.supervised_levels
    sum(level.square().mean() for level in network(noise(shape), levels)).backward()
    silent = {
        name
        for name, weights in network.named_parameters()
        if weights.grad is None or not weights.grad.abs().sum() > 0
    }
    # An instance norm takes away whatever constant the convolution before it adds, but for
    # rounding, so that bias may or may not get a gradient.
    assert {name for name in silent if not name.endswith("conv.bias")} == set()


def test_heads_of_levels_that_are_not_asked_for_get_no_gradient():
    network = build("plain", SHAPES[0].topology)
    network(noise(SHAPES[0]), 1)[0].sum().backward()
    coarse, fine = network.heads
    assert coarse.weight.grad is None
    assert fine.weight.grad.abs().sum() > 0


def test_resenc_has_its_blocks_by_stage_and_a_stem():
    network = build("resenc", SHAPES[1].topology)
    assert [len(stage) for stage in network.encoder] == [1, 3, 4, 6]
    assert [len(stage) for stage in network.decoder] == [1, 1, 1]
    assert network.stem.conv.in_channels == 2
    assert network.encoder[0][0].first.conv.in_channels == 4


def test_plain_has_two_convolutions_by_stage_the_first_with_the_stride():
    network = build("plain", SHAPES[1].topology)
    assert [len(stage) for stage in (*network.encoder, *network.decoder)] == [2] * 7
    strides = [tuple(unit.conv.stride for unit in stage) for stage in network.encoder]
    assert strides == [(stride, (1, 1, 1)) for stride in SHAPES[1].strides]
    kernels = [unit.conv.kernel_size for stage in network.decoder for unit in stage]
    assert kernels == [(3, 3, 3)] * 2 + [(1, 3, 3)] * 4


@every_network
def test_upsampled_channels_come_before_the_skip(name):
    network = build(name, SHAPES[3].topology)
    x = noise(SHAPES[3])
    with torch.no_grad():
        skip = network.encoder[0](network.stem(x))
        upsampled = network.upsamplers[0](network.encoder[1](skip))
        expected = network.heads[0](network.decoder[0](torch.cat((upsampled, skip), 1)))
        torch.testing.assert_close(network(x)[0], expected)


def test_samples_of_a_batch_do_not_see_each_other():
    network, x = build("plain", SHAPES[0].topology), noise(SHAPES[0])
    with torch.no_grad():
        together = network(x)[0]
        alone = torch.cat([network(one[None])[0] for one in x])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_single_stage_is_refused():
    topology = Topology(strides=((1, 1, 1),), kernels=((3, 3, 3),), features=(4,))
    with pytest.raises(PlanError, match="1 stage is too few; a U-Net needs at least 2") as refusal:
        build("plain", topology)
    assert "8 voxels" in refusal.value.hint


@every_network
@every_shape
@pytest.mark.parametrize("kind", [None, torch.bfloat16], ids=["float32", "bfloat16"])
def test_without_gradients_and_with_narrow_weights_the_logits_are_the_same(name, shape, kind):
    device = Device(torch_device=torch.device("cpu"), autocast=kind)
    network = place_network(build(name, shape.topology), device, axes=len(shape.size))
    for norm in (part for part in network.modules() if isinstance(part, InstanceNorm)):
        torch.nn.init.normal_(norm.weight)  # else the second half of residual blocks says nothing
    with device.precision():
        expected = [logits.detach() for logits in network(noise(shape), 1)]
    if kind:
        narrow_convolutions(network, kind)
    with torch.inference_mode(), device.precision():
        found = network(noise(shape), 1)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0.03 if kind else 1e-5)
