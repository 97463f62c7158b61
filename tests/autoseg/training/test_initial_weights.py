"""What networks take over from each other; logits before and after are compared throughout."""

from dataclasses import replace

import pytest
import torch

from autoseg.core.initial import InitialFold
from autoseg.core.network_presets import preset
from autoseg.core.network_spec import Arch, Block
from autoseg.core.plan import Topology
from autoseg.networks.assembler import build_network
from autoseg.training.fitted_tensors import ChannelNames, channel_names
from autoseg.training.initial_weights import InitialWeights, match_weights, start_from

THREE = Topology(
    strides=((1, 1, 1), (1, 2, 2), (2, 2, 1)),
    kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3)),
    features=(4, 6, 8),
)
FOUR = Topology(
    strides=(*THREE.strides, (2, 2, 3)),
    kernels=(*THREE.kernels, (3, 3, 3)),
    features=(*THREE.features, 8),
)
SIZE = (8, 16, 12)
NAMES = ChannelNames(image=("T1", "T2"), logits=("background", "liver", "tumor"))
NETWORKS = pytest.mark.parametrize("name", ["plain", "resenc"])


def build(arch, topology=THREE, names=NAMES, *, seed=1):
    """A network whose norms are not fresh either, so that every tensor tells whose it is."""
    torch.manual_seed(seed)
    network = build_network(
        preset(arch) if isinstance(arch, str) else arch,
        topology,
        channels_in=len(names.image) + len(names.previous),
        channels_out=len(names.logits),
    )
    with torch.no_grad():
        for weights in network.parameters():
            if weights.ndim == 1:
                weights.copy_(torch.rand(weights.shape) + 0.5)
    return network


def start(network, source, *, names=NAMES, known=NAMES):
    """Put into a network what fits of another; return what was put where."""
    target = network.state_dict()
    matched = match_weights(target, source.state_dict(), names=names, source_names=known)
    for tensor in matched.tensors:
        if tensor.values is not None:
            target[tensor.name].copy_(tensor.values)
    return matched


def logits(network, x, levels=1):
    with torch.no_grad():
        return network(x, levels)


def noise(channels=2, size=SIZE):
    return torch.randn((2, channels, *size), generator=torch.Generator().manual_seed(0))


def hows(matched):
    """How each part of the network comes about; a part has to be of one kind."""
    kinds = {part: {t.how for t in tensors} for part, tensors in matched.parts.items()}
    return {part: "/".join(sorted(each)) for part, each in kinds.items()}


@NETWORKS
def test_the_same_network_is_copied_whole(name):
    source, target = build(name), build(name, seed=2)
    x = noise()
    assert not torch.allclose(logits(target, x)[0], logits(source, x)[0])
    matched = start(target, source)
    assert {tensor.how for tensor in matched.tensors} == {"copied"}
    assert matched.unused == ()
    assert matched.taken == matched.parameters == sum(p.numel() for p in source.parameters())
    for mine, theirs in zip(logits(target, x, 2), logits(source, x, 2), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


@NETWORKS
def test_a_deeper_network_takes_the_stages_that_both_have_from_the_finest_on(name):
    source, target = build(name), build(name, FOUR, seed=2)
    matched = start(target, source)
    fresh = {part for part, how in hows(matched).items() if how == "fresh"}
    assert fresh == {"encoder stage 3", "decoder stage 2"}
    assert hows(matched)["heads"] == "copied/fresh"
    assert matched.unused == ()
    for deep, other in zip(target.encoder, source.encoder, strict=False):
        assert_same(deep, other)
    for parts in ("upsamplers", "decoder", "heads"):
        deep, other = getattr(target, parts), getattr(source, parts)
        assert len(deep) == len(other) + 1
        for mine, theirs in zip(list(deep)[1:], other, strict=True):
            assert_same(mine, theirs)
        assert_same(deep[0], getattr(build(name, FOUR, seed=2), parts)[0])
    of_deepest_head = next(t for t in matched.tensors if t.name == "heads.2.weight")
    assert of_deepest_head.source == "heads.1.weight"


def assert_same(mine, theirs):
    for (name, one), (other, two) in zip(
        mine.state_dict().items(), theirs.state_dict().items(), strict=True
    ):
        assert name == other
        torch.testing.assert_close(one, two, rtol=0, atol=0)


@NETWORKS
def test_a_shallower_network_leaves_the_deepest_stage_unused(name):
    source, target = build(name, FOUR), build(name, seed=2)
    matched = start(target, source)
    assert set(hows(matched).values()) == {"copied"}
    prefixes = ("encoder.3.", "upsamplers.0.", "decoder.0.", "heads.0.")
    assert set(matched.unused) == {n for n in source.state_dict() if n.startswith(prefixes)}


@NETWORKS
def test_of_a_wider_network_nothing_fits(name):
    wide = replace(THREE, features=(8, 12, 16))
    matched = start(build(name, wide), build(name))
    assert set(hows(matched).values()) == {"fresh"}
    assert matched.taken == 0
    assert len(matched.unused) == len(build(name).state_dict())


def test_of_one_wider_stage_only_what_touches_it_is_drawn():
    wide = replace(THREE, features=(4, 6, 12))
    source, target = build("plain"), build("plain", wide, seed=2)
    matched = start(target, source)
    drawn = {tensor.name for tensor in matched.tensors if tensor.how == "fresh"}
    # The bias of the upsampling has the right shape, but its weights have not.
    expected = ("encoder.2.", "upsamplers.0.")
    assert drawn == {name for name in target.state_dict() if name.startswith(expected)}
    assert_same(target.upsamplers[0], build("plain", wide, seed=2).upsamplers[0])


@NETWORKS
def test_logits_of_labels_that_both_know_are_the_model_s(name):
    other = replace(NAMES, logits=("background", "tumor", "spleen", "liver"))
    source, target = build(name), build(name, names=other, seed=2)
    matched = start(target, source, names=other)
    x = noise()
    for mine, theirs in zip(logits(target, x, 2), logits(source, x, 2), strict=True):
        torch.testing.assert_close(mine[:, [0, 3, 1]], theirs)
        assert torch.equal(mine[:, [0, 3, 1]].argmax(1), theirs.argmax(1))
    drawn = build(name, names=other, seed=2).heads[1]
    torch.testing.assert_close(target.heads[1].weight[2], drawn.weight[2], rtol=0, atol=0)
    torch.testing.assert_close(target.heads[1].bias[2], drawn.bias[2], rtol=0, atol=0)
    assert hows(matched)["heads"] == "adapted"
    # Three of four rows of each head: 6 and 4 weights wide, and a bias.
    assert sum(tensor.taken for tensor in matched.parts["heads"]) == 3 * (6 + 1 + 4 + 1)


WITHOUT_STEM = Arch(encoder=Block(shortcut="residual"), decoder=Block(n=(1,)))


@pytest.mark.parametrize("arch", ["plain", "resenc", WITHOUT_STEM], ids=["plain", "stem", "none"])
def test_channels_in_another_order_give_the_same_logits(arch):
    other = replace(NAMES, image=("T2", "T1"))
    source, target = build(arch), build(arch, names=other, seed=2)
    matched = start(target, source, names=other)
    x = noise()
    torch.testing.assert_close(logits(target, x.flip(1))[0], logits(source, x)[0])
    first = {"stem.conv.weight"} if arch == "resenc" else {"encoder.0.0.conv.weight"}
    if arch is WITHOUT_STEM:
        first = {"encoder.0.0.first.conv.weight", "encoder.0.0.shortcut.0.weight"}
    assert {tensor.name for tensor in matched.tensors if tensor.how == "adapted"} == first


@NETWORKS
def test_a_new_channel_starts_as_the_mean_of_the_others(name):
    other = replace(NAMES, image=("T2", "ADC", "T1"))
    source, target = build(name), build(name, names=other, seed=2)
    start(target, source, names=other)
    mine = next(w for n, w in target.state_dict().items() if n.endswith("conv.weight"))
    theirs = next(w for n, w in source.state_dict().items() if n.endswith("conv.weight"))
    torch.testing.assert_close(mine[:, 1], mine[:, [0, 2]].mean(1))
    torch.testing.assert_close(mine[:, 2] / theirs[:, 0], mine[:, 0] / theirs[:, 1])


@NETWORKS
def test_the_second_stage_of_a_cascade_does_at_first_what_a_single_one_does(name):
    cascade = replace(NAMES, previous=("liver", "tumor"))
    source, target = build(name), build(name, names=cascade, seed=2)
    matched = start(target, source, names=cascade)
    x, labels = noise(), noise().roll(1, 1) > 0
    torch.testing.assert_close(
        logits(target, torch.cat((x, labels.float()), 1))[0], logits(source, x)[0]
    )
    # 4 filters of 2 label channels of 1 x 3 x 3 are new.
    assert matched.parameters - matched.taken == 4 * 2 * 9


@NETWORKS
def test_previous_labels_are_taken_by_name(name):
    known = replace(NAMES, previous=("liver", "tumor"))
    names = replace(known, previous=("tumor", "liver"))
    source, target = build(name, names=known), build(name, names=names, seed=2)
    start(target, source, names=names, known=known)
    x, labels = noise(), (noise().roll(1, 1) > 0).float()
    torch.testing.assert_close(
        logits(target, torch.cat((x, labels.flip(1)), 1))[0],
        logits(source, torch.cat((x, labels), 1))[0],
    )


@NETWORKS
@pytest.mark.parametrize("flat", [(1, 3, 3), (3, 1, 3), (3, 3, 1)])
def test_thick_kernels_do_at_first_what_flat_ones_did(name, flat):
    flat_stages = replace(THREE, kernels=(flat, (3, 3, 3), flat))
    thick = replace(THREE, kernels=((3, 3, 3),) * 3)
    source, target = build(name, flat_stages), build(name, thick, seed=2)
    matched = start(target, source)
    torch.testing.assert_close(logits(target, noise())[0], logits(source, noise())[0])
    assert matched.taken == sum(p.numel() for p in source.parameters())
    assert matched.unused == ()


def test_thick_kernels_are_not_cut_and_their_norms_go_with_them():
    thick = replace(THREE, kernels=((3, 3, 3),) * 3)
    matched = start(build("plain", seed=2), build("plain", thick))
    kinds = hows(matched)
    assert kinds["encoder stage 0"] == "fresh"
    assert kinds["encoder stage 1"] == kinds["encoder stage 2"] == "copied"
    of_decoder = {t.how for t in matched.tensors if t.name.startswith("decoder.1.")}
    assert of_decoder == {"fresh"}


def test_an_upsampling_of_another_stride_is_drawn():
    thirds = replace(THREE, strides=((1, 1, 1), (3, 2, 2), (2, 2, 1)))
    matched = start(build("plain", thirds, seed=2), build("plain"))
    drawn = {tensor.name for tensor in matched.tensors if tensor.how == "fresh"}
    assert drawn == {"upsamplers.1.weight", "upsamplers.1.bias"}


def test_two_axes_and_three_have_nothing_in_common():
    flat = Topology(
        strides=((1, 1), (2, 2), (2, 1)), kernels=((3, 3),) * 3, features=THREE.features
    )
    matched = start(build("plain", flat), build("plain"))
    assert matched.taken == 0
    assert set(hows(matched).values()) == {"fresh"}


def test_a_first_stage_behind_a_stem_is_none_that_reads_the_image():
    four = ChannelNames(image=("a", "b", "c", "d"), logits=NAMES.logits)  # as wide as the stem
    without, with_stem = (
        build(replace(WITHOUT_STEM, stem=stem), names=four, seed=2) for stem in (False, True)
    )
    matched = start(with_stem, without, names=four, known=four)
    assert hows(matched)["stem"] == "fresh"
    first = {t.name: t.how for t in matched.parts["encoder stage 0"]}
    assert first["encoder.0.0.first.conv.weight"] == "fresh"
    assert first["encoder.0.0.second.conv.weight"] == "copied"


@NETWORKS
def test_shapes_alone_are_matched_alike(name):
    other = ChannelNames(image=("ADC", "T1"), previous=("liver",), logits=("background", "tumor"))
    source, topology = build(name), replace(FOUR, kernels=((3, 3, 3),) * 4)
    whole = start(build(name, topology, other), source, names=other)
    with torch.device("meta"):
        network = build_network(preset(name), topology, channels_in=3, channels_out=2)
    shapes = match_weights(
        network.state_dict(), source.state_dict(), names=other, source_names=NAMES
    )
    assert [(t.name, t.how, t.source, t.taken) for t in shapes.tensors] == [
        (t.name, t.how, t.source, t.taken) for t in whole.tensors
    ]
    assert shapes.unused == whole.unused


def test_a_network_is_started_in_place(setup_of):
    source = setup_of(features=(4, 8, 8), patch_size=(8, 16, 8))
    target = setup_of(number=1, features=(4, 8, 8), patch_size=(8, 16, 8))
    trained, network = source.fresh_network(), target.fresh_network()
    before = {name: id(weights) for name, weights in network.named_parameters()}
    initial = InitialWeights(
        description=source.description,
        tensors=trained.state_dict(),
        origin=InitialFold(fold=0, weights_digest="0"),
    )
    matched = start_from(network, initial, target.description)
    assert matched.taken == matched.parameters
    assert {name: id(weights) for name, weights in network.named_parameters()} == before
    assert all(weights.requires_grad for weights in network.parameters())
    x = noise(1, (8, 16, 8))
    torch.testing.assert_close(logits(network, x)[0], logits(trained, x)[0], rtol=0, atol=0)


def test_names_are_those_of_the_network_s_channels(setup_of):
    description = setup_of().description
    names = channel_names(description)
    assert names == ChannelNames(image=("CT",), logits=("background", "organ", "tumor"))
    assert len(names.image) == description.channels_in
    assert len(names.logits) == description.dataset.labels.channels
