from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from autoseg.inference.predictor import predict_logits, predict_slabs
from autoseg.inference.previous import PreviousPrediction
from autoseg.inference.tiling import Tiling
from autoseg.inference.workplace import Workplace
from autoseg.networks.assembler import build_network
from autoseg.networks.device import Device

CPU = Device(torch_device=torch.device("cpu"), autocast=None)
HALF = Device(torch_device=torch.device("cpu"), autocast=torch.bfloat16)


class Stub(nn.Module):
    """A network whose logits are a function of its input."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.batches = []

    def forward(self, x, levels=1):
        self.batches.append(len(x))
        return [self.function(x)]


def image_of(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def slope_of(tile):
    """A factor for every voxel of a tile that differs from all others and has no symmetry."""
    return image_of(*tile, seed=9)


def place_of(networks, *, device=CPU, voxels=1):
    """One patch per pass, or as many as have so many voxels."""
    return Workplace(
        networks=tuple(networks),
        device=device,
        sums_on=device.torch_device,
        most_voxels=voxels,
    )


def predict(networks, image, tile, *, device=CPU, patches=1, **options):
    tiling = Tiling(tile=tile, **({"mirror_axes": ()} | options))
    place = place_of(networks, device=device, voxels=patches * int(np.prod(tile)))
    return predict_logits(place, image, tiling)


def starts(size, tile):
    count = max(1, int(np.ceil((size - tile) / (tile / 2))) + 1)
    return [round(k * (size - tile) / max(1, count - 1)) for k in range(count)]


def blended(image, tile, factor):
    """Multiply every tile by a factor and blend, voxel by voxel: the slow way."""
    shape = image.shape[1:]
    total, weights = np.zeros(image.shape), np.zeros(shape)
    for start in np.ndindex(*(len(starts(n, t)) for n, t in zip(shape, tile, strict=True))):
        first = [starts(n, t)[k] for k, n, t in zip(start, shape, tile, strict=True)]
        for voxel in np.ndindex(*tile):
            away = sum(((v - t // 2) / (t / 8)) ** 2 for v, t in zip(voxel, tile, strict=True))
            weight = max(np.exp(-away / 2), 1e-4)
            place = tuple(a + v for a, v in zip(first, voxel, strict=True))
            total[(slice(None), *place)] += weight * factor[voxel] * image[(slice(None), *place)]
            weights[place] += weight
    return total / weights


@pytest.mark.parametrize(
    ("shape", "tile"),
    [
        pytest.param((9, 17, 30), (8, 8, 12), id="3d"),
        pytest.param((8, 8, 12), (8, 8, 12), id="one-tile"),
        pytest.param((3, 19, 5), (8, 8, 12), id="smaller-on-two-axes"),
        pytest.param((1, 1, 1), (4, 6, 8), id="one-voxel"),
        pytest.param((17, 31), (8, 12), id="2d"),
        pytest.param((5, 17, 31), (8, 12), id="2d-tiles-of-3d"),
        pytest.param((1, 7, 31), (8, 12), id="2d-tiles-of-one-slice"),
    ],
)
@pytest.mark.parametrize("mirror_axes", [(), (0,), (0, 1)])
def test_network_that_returns_its_input_gives_the_image_back(shape, tile, mirror_axes):
    image = image_of(2, *shape)
    logits = predict([Stub(lambda x: x)], image, tile, mirror_axes=mirror_axes)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, image, rtol=0, atol=2e-6)


def test_tiles_are_blended_by_their_gaussian_weights():
    image, tile = image_of(2, 7, 6, 10), (4, 4, 6)
    factor = slope_of(tile)
    logits = predict([Stub(lambda x: x * torch.from_numpy(factor))], image, tile)
    np.testing.assert_allclose(logits, blended(image, tile, factor), atol=1e-5)


def test_image_smaller_than_the_tile_lies_in_its_middle():
    image, tile = image_of(1, 3, 5), (6, 8)
    factor = slope_of(tile)
    logits = predict([Stub(lambda x: x * torch.from_numpy(factor))], image, tile)
    # 3 voxels are missing along both axes: one goes before, two behind.
    np.testing.assert_allclose(logits[0], image[0] * factor[1:4, 1:6], rtol=1e-5)


def test_image_is_padded_with_zeros():
    padded = []
    predict([Stub(lambda x: padded.append(x) or x)], image_of(1, 3, 5) + 9, (6, 8))
    tile = padded[0][0, 0].numpy().copy()
    tile[1:4, 1:6] = 0
    assert not tile.any()


def test_slices_are_predicted_each_on_its_own():
    image = image_of(1, 5, 7, 9)
    largest = Stub(lambda x: x.amax((2, 3), keepdim=True).expand_as(x))
    logits = predict([largest], image, (8, 12))
    expected = np.broadcast_to(image.max((2, 3), keepdims=True), image.shape)
    np.testing.assert_allclose(logits, expected, rtol=1e-6)
    assert sum(largest.batches) == 5


@pytest.mark.parametrize(
    ("mirror_axes", "views"),
    [
        pytest.param((), [()], id="none"),
        pytest.param((1,), [(), (1,)], id="one"),
        pytest.param((0, 2), [(), (0,), (2,), (0, 2)], id="two"),
    ],
)
def test_views_are_every_combination_of_mirrored_axes(mirror_axes, views):
    tile = (4, 6, 8)
    image, factor = image_of(1, *tile), slope_of(tile)
    network = Stub(lambda x: x * torch.from_numpy(factor))
    logits = predict([network], image, tile, mirror_axes=mirror_axes)
    # What the network multiplies a mirrored view by, the mirrored factor multiplies the image by.
    average = np.mean([np.flip(factor, view) for view in views], axis=0)
    np.testing.assert_allclose(logits[0], image[0] * average, rtol=1e-4, atol=1e-6)
    assert network.batches == [1] * len(views)


def test_mirroring_changes_nothing_for_a_network_that_mirrors_along():
    convolution = nn.Conv3d(2, 3, 3, padding=1)
    kernel = convolution.weight.data
    for axis in (2, 3, 4):
        kernel = kernel + kernel.flip(axis)
    convolution.weight.data = kernel
    image, network = image_of(2, 9, 13, 11), Stub(convolution)
    plain = predict([network], image, (6, 8, 8))
    mirrored = predict([network], image, (6, 8, 8), mirror_axes=(0, 1, 2))
    assert plain.shape == (3, 9, 13, 11)
    np.testing.assert_allclose(mirrored, plain, atol=1e-5)


def test_networks_are_averaged():
    image = image_of(1, 9, 14)
    networks = [Stub(lambda x: x), Stub(lambda x: 4 * x - 3)]
    logits = predict(networks, image, (8, 8), mirror_axes=(1,))
    np.testing.assert_allclose(logits, 2.5 * image - 1.5, atol=1e-5)


@pytest.mark.parametrize(
    ("patches", "mirror_axes", "batches"),
    [
        # 4 starts along 9, 3 along 14 and 2 along 7 voxels: 4 groups of 6 tiles.
        pytest.param(1, (), [1] * 24, id="one"),
        pytest.param(4, (), [4, 2] * 4, id="part-of-a-group"),
        pytest.param(15, (), [12] * 2, id="two-groups"),
        pytest.param(100, (), [24], id="all"),
        pytest.param(2, (1,), [2] * 24, id="both-views-of-a-tile"),
        pytest.param(3, (0, 1), [3, 1] * 24, id="some-views-of-a-tile"),
        pytest.param(12, (0, 1), [12] * 8, id="views-of-three-tiles"),
    ],
)
def test_number_of_patches_per_pass_changes_nothing(patches, mirror_axes, batches):
    image, factor = image_of(1, 9, 14, 7), slope_of((4, 8, 6))
    network = Stub(lambda x: x * torch.from_numpy(factor))
    options = {"mirror_axes": mirror_axes}
    logits = predict([network], image, (4, 8, 6), patches=patches, **options)
    assert network.batches == batches
    alone = predict([network], image, (4, 8, 6), **options)
    np.testing.assert_array_equal(logits, alone)


def test_every_pass_tells_how_many_tiles_are_done():
    told = []
    slabs = predict_slabs(
        place_of([Stub(lambda x: x)], voxels=4 * 32),
        image_of(1, 9, 30),
        Tiling(tile=(4, 8), mirror_axes=()),
        on_tile=lambda *n: told.append(n),
    )
    assert len(list(slabs)) == 4
    # 4 by 7 tiles; a pass takes 4 of them.
    assert told == [(n, 28) for n in (4, 7, 11, 14, 18, 21, 25, 28)]


def test_turned_view_gives_what_its_copy_gives():
    view = image_of(9, 2, 14).transpose(1, 2, 0)
    network = Stub(lambda x: x.cumsum(2))
    np.testing.assert_array_equal(
        predict([network], view, (8, 6)), predict([network], view.copy(), (8, 6))
    )


def test_sums_are_kept_in_float32_whatever_the_device_computes_in():
    convolution = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.ones_(convolution.weight)
    image = np.full((1, 30, 45), 257.0, np.float32)  # bfloat16 has 256 and 258
    logits = predict([Stub(convolution)], image, (8, 12), device=HALF)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, 256.0, rtol=1e-6)


def test_unet_is_run_for_its_finest_level(configuration_of):
    configuration = configuration_of((1.0, 1.0, 1.0), (8, 8, 12))
    torch.manual_seed(0)
    network = build_network(
        configuration.arch, configuration.topology, channels_in=1, channels_out=3
    ).eval()
    image = image_of(1, 8, 8, 12)
    with torch.no_grad():
        expected = network(torch.from_numpy(image)[None])[0][0].numpy()
    logits = predict([network], image, (8, 8, 12))
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "tile"),
    [((9, 17, 30), (8, 8, 12)), ((3, 19, 5), (8, 8, 12)), ((5, 17, 31), (8, 12))],
    ids=["3d", "smaller", "2d-tiles"],
)
@pytest.mark.parametrize("mirror_axes", [(), (1,)])
def test_the_previous_prediction_is_a_channel_per_label_behind_the_image(shape, tile, mirror_axes):
    image = image_of(2, *shape)
    label_map = np.random.default_rng(4).integers(0, 4, shape).astype(np.uint8)
    tiling = Tiling(tile=tile, mirror_axes=mirror_axes)
    previous = PreviousPrediction(label_map=label_map, labels=3)
    logits = predict_logits(place_of([Stub(lambda x: x)]), image, tiling, previous=previous)
    expected = np.concatenate([image, *([label_map == k] for k in (1, 2, 3))])
    np.testing.assert_allclose(logits, expected, rtol=0, atol=2e-6)


def test_tiles_of_constant_content_are_computed_once_and_used_again():
    image = image_of(2, 12, 16, 40)
    image[:, :, :, 14:] = [[[[-1.0]]], [[[3.0]]]]  # air, whose channels differ
    factor = slope_of((4, 8, 6))
    network = Stub(lambda x: x.cumsum(2) * torch.from_numpy(factor))
    logits = predict([network], image, (4, 8, 6), mirror_axes=(0, 2))
    tiles = [starts(n, t) for n, t in zip((12, 16, 40), (4, 8, 6), strict=True)]
    in_air = sum(start >= 14 for start in tiles[2])
    varied = len(tiles[0]) * len(tiles[1]) * (len(tiles[2]) - in_air)
    assert in_air > 3
    assert len(network.batches) == 4 * (varied + 1)  # four views of each, one tile of air
    # The same where no two tiles are alike to the last bit.
    noise = image_of(2, 12, 16, 40, seed=5) * 1e-6
    np.testing.assert_allclose(
        logits, predict([network], image + noise, (4, 8, 6), mirror_axes=(0, 2)), atol=1e-3
    )


def test_another_constant_is_computed_anew():
    image = np.zeros((1, 4, 8, 60), np.float32)
    image[..., 30:] = 2.0
    network = Stub(lambda x: x)
    logits = predict([network], image, (4, 8, 10))
    np.testing.assert_allclose(logits, image, atol=1e-6)
    # 0 throughout, two tiles across the border, 2 throughout.
    assert sum(network.batches) < len(starts(60, 10))


def test_slabs_follow_each_other_with_one_plane_in_common():
    image = image_of(1, 17, 9, 12)
    slabs = [
        slab.clone()
        for slab in predict_slabs(
            place_of([Stub(lambda x: x)]), image, Tiling(tile=(6, 8, 8), mirror_axes=())
        )
    ]
    assert [slab.shape[1] for slab in slabs] == [3, 4, 3, 4, 7]  # tiles start at 0, 3, 6, 8, 11
    joined = torch.cat([slab[:, min(n, 1) :] for n, slab in enumerate(slabs)], dim=1)
    np.testing.assert_allclose(joined, image, atol=1e-6)
    for before, after in pairwise(slabs):
        assert torch.equal(before[:, -1], after[:, 0])


def test_folds_apart_stand_behind_each_other():
    image = image_of(2, 9, 14)
    networks = [Stub(lambda x: x), Stub(lambda x: 4 * x - 3)]
    slabs = predict_slabs(
        place_of(networks), image, Tiling(tile=(8, 8), mirror_axes=(1,)), folds_apart=True
    )
    parts = [slab[:, min(n, 1) :].clone() for n, slab in enumerate(slabs)]
    found = torch.cat(parts, dim=1).numpy()
    np.testing.assert_allclose(found, np.concatenate((image, 4 * image - 3)), atol=1e-5)
