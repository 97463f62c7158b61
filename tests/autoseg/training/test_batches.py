from dataclasses import replace

import numpy as np
import pytest
import torch

from autoseg.core.errors import DamagedError
from autoseg.training.augmentation.policy import FULL, LIGHT, NONE, Policy
from autoseg.training.batches import BatchSource, augment_patches, read_patches, read_samples

ADDRESSES = [(epoch, step) for epoch in range(2) for step in range(3)]


def striped(shape, seed=0):
    """A label map with all labels, and one bright and one random channel."""
    rng = np.random.default_rng(seed)
    segmentation = rng.integers(0, 3, shape).astype(np.uint8)
    return segmentation, np.stack([segmentation * 10, rng.normal(size=shape)])


@pytest.fixture
def source_of(case_of):
    """Draw from three cases of different shapes."""
    shapes = {"a": (9, 17, 14), "b": (12, 10, 30), "c": (7, 20, 11)}
    cases = []
    for seed, (name, shape) in enumerate(shapes.items()):
        segmentation, image = striped(shape, seed)
        cases.append(case_of(name, segmentation, image=image))

    def build(**options):
        defaults = {
            "cases": tuple(cases),
            "purpose": "training",
            "seed": 5,
            "fold": 0,
            "batch_size": 3,
            "patch_size": (6, 10, 8),
            "foreground_fraction": 0.33,
            "policy": NONE,
            "mirror_axes": (0, 1, 2),
            "inside_only": (False, False),
        }
        return BatchSource(**defaults | options)

    return build


def batches(source, addresses=ADDRESSES):
    return [augment_patches(source, read_patches(source, *address)) for address in addresses]


def assert_same(first, second):
    for one, other in zip(first, second, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("policy", [LIGHT, FULL], ids=["light", "full"])
def test_an_address_always_gives_the_same_batch(source_of, policy):
    source = source_of(policy=policy)
    assert_same(batches(source, ADDRESSES[::-1])[::-1], batches(source))


def test_slots_of_a_shared_batch_are_those_of_the_whole(source_of):
    source = source_of(policy=LIGHT)
    whole = batches(source)
    first, second = (batches(replace(source, slots=s)) for s in (range(1), range(1, 3)))
    together = [
        tuple(torch.cat(halves) for halves in zip(*pair, strict=True))
        for pair in zip(first, second, strict=True)
    ]
    assert_same(together, whole)


@pytest.mark.parametrize("change", [{"seed": 6}, {"fold": 1}, {"purpose": "validation"}])
def test_seed_fold_and_purpose_give_other_patches(source_of, change):
    source = source_of()
    (images, _), (others, _) = (
        batches(s, [(0, 0)])[0] for s in (source, replace(source, **change))
    )
    assert not torch.equal(images, others)


def test_batch_has_its_shapes_and_types(source_of):
    images, targets = batches(source_of(), [(0, 0)])[0]
    assert images.shape == (3, 2, 6, 10, 8)
    assert targets.shape == (3, 6, 10, 8)
    assert (images.dtype, targets.dtype) == (torch.float32, torch.int64)


def test_images_and_targets_stay_together_when_mirrored(source_of):
    source = source_of(policy=replace(NONE, mirror=0.5))
    for images, targets in batches(source):
        torch.testing.assert_close(images[:, 0], 10.0 * targets)


def test_unchanged_patch_is_a_cut_of_its_case(source_of):
    source = source_of()
    arrays = {case.record.name: case.arrays.image[...] for case in source.cases}
    for sample in read_samples(source, 1, 2):
        whole = np.lib.stride_tricks.sliding_window_view(arrays[sample.case], (2, 6, 10, 8))
        windows = whole.reshape(-1, *sample.patch.image.shape)
        assert (windows == sample.patch.image).all((1, 2, 3, 4)).sum() == 1


def test_every_case_is_drawn_equally_often(source_of):
    source = source_of(batch_size=10, patch_size=(2, 4, 2))
    names = [sample.case for step in range(60) for sample in read_samples(source, 0, step)]
    counts = [names.count(name) for name in "abc"]
    assert sum(counts) == 600
    assert max(abs(count - 200) for count in counts) < 6 * 200**0.5


def test_forced_slots_come_last_and_hold_foreground(case_of, source_of):
    segmentation = np.zeros((60, 80), np.uint8)
    segmentation[31, 47] = 2
    source = source_of(
        cases=(case_of("dot", segmentation),),
        batch_size=9,
        patch_size=(4, 6),
        mirror_axes=(),
        inside_only=(False,),
    )
    found = torch.stack([targets.amax((1, 2)) for _, targets in batches(source)])
    assert (found[:, -3:] == 2).all()  # 9 - round(9 * 0.67)
    assert (found[:, :-3] == 2).float().mean() < 0.1  # 24 of 57 * 75 starts hit it by chance


def test_2d_patches_are_cut_from_the_slices_of_3d_images(source_of):
    source = source_of(patch_size=(8, 10), mirror_axes=(0, 1))
    arrays = {case.record.name: case.arrays.image[...] for case in source.cases}
    depths = set()
    for step in range(20):
        for sample in read_samples(source, 0, step):
            windows = np.lib.stride_tricks.sliding_window_view(arrays[sample.case], (2, 1, 8, 10))[
                0, :, :, :, :, 0
            ]
            hits = np.argwhere((windows == sample.patch.image).all((-1, -2, -3)))
            assert len(hits) == 1
            depths.add(int(hits[0][0]))
    assert len(depths) > 6
    images, targets = batches(source, [(0, 0)])[0]
    assert (images.shape, targets.shape) == ((3, 2, 8, 10), (3, 8, 10))


def test_patch_larger_than_the_image_is_padded_with_zeros(source_of):
    source = source_of(patch_size=(16, 12, 8), batch_size=2)
    for images, targets in batches(source, [(0, 0), (0, 1)]):
        assert images.shape == (2, 2, 16, 12, 8)
        assert not images[:, :, 0].any()
        assert not targets[:, -1].any()


def test_channels_that_are_zero_outside_the_body_stay_so(case_of, source_of):
    segmentation, image = striped((9, 17, 14))
    nonzero = np.zeros((9, 17, 14), bool)
    nonzero[:, 4:12] = True
    case = case_of("body", segmentation, image=image + 5, nonzero=nonzero)
    brighter = replace(NONE, brightness=1.0)
    source = source_of(
        cases=(case,), policy=brighter, patch_size=(8, 16, 12), inside_only=(False, True)
    )
    images, _ = batches(source, [(0, 0)])[0]
    assert (images[:, 0] == 0).float().mean() < 0.01
    assert 0.35 < (images[:, 1] == 0).float().mean() < 0.6  # half of 16 rows lie outside


def test_rotated_batch_is_full_of_image(source_of):
    turned = replace(NONE, rotation=1.0)
    source = source_of(policy=turned, patch_size=(2, 4, 4), inside_only=())
    images, targets = batches(source, [(0, 0)])[0]
    assert images.shape == (3, 2, 2, 4, 4)
    assert targets.shape == (3, 2, 4, 4)
    samples = read_samples(source, 0, 0)
    assert all(min(s.patch.image.shape[-2:]) > 4 for s in samples)


@pytest.mark.parametrize(
    "patch_size",
    [
        pytest.param((6, 16, 10), id="3d"),
        pytest.param((3, 10, 16), id="in-plane"),
        pytest.param((16, 12), id="2d"),
        pytest.param((10, 18), id="2d-elongated"),
    ],
)
def test_zoomed_out_and_turned_batch_shows_what_lies_around_its_patch(
    case_of, source_of, patch_size
):
    segmentation = np.zeros((30, 61, 64), np.uint8)
    segmentation[15, 30, 33] = 1
    z, y, x = np.indices(segmentation.shape)
    slopes = (z - 15) + 0.2 * (y - 30) - 0.5 * (x - 33)
    image = np.stack([np.ones(segmentation.shape), slopes])
    source = source_of(
        cases=(case_of("dot", segmentation, image=image),),
        patch_size=patch_size,
        foreground_fraction=1.0,
        policy=Policy(rotation=1.0, scaling=1.0, scaling_range=(1.4, 1.4), mirror=0.5),
        mirror_axes=(0, 1),
    )
    # A patch starts half its voxels, rounded down, before the dot.
    offsets = ((size - 1) / 2 - size // 2 for size in patch_size)
    middle = sum(a * b for a, b in zip((1, 0.2, -0.5)[-len(patch_size) :], offsets, strict=True))
    for images, _ in batches(source, [(0, step) for step in range(12)]):
        torch.testing.assert_close(images[:, 0], torch.ones(3, *patch_size), atol=1e-4, rtol=0)
        # A turn about the middle, a zoom and a mirroring leave the mean of a slope as it is.
        means = images[:, 1].flatten(1).mean(1)
        torch.testing.assert_close(means, torch.full((3,), middle), atol=1e-3, rtol=0)


def test_patches_share_the_memory_of_what_was_read(source_of):
    patches = read_patches(source_of(), 0, 0)
    assert [image.shape for image in patches.images] == [(2, 6, 10, 8)] * 3
    assert {labels.dtype for labels in patches.segmentations} == {torch.uint8}
    assert (patches.masks, patches.previous) == ((), ())


def test_any_error_while_reading_names_the_case(case_of, source_of):
    with pytest.raises(ValueError, match="zip") as raised:  # a 3D patch of a 2D case
        batches(source_of(cases=(case_of("flat", np.ones((5, 6), np.uint8)),)))
    assert raised.value.__notes__ == ["while a patch of case 'flat' was made"]


def test_case_that_is_damaged_after_it_was_opened_is_named(case_of, source_of, tmp_path):
    segmentation, image = striped((20, 31, 40))
    source = source_of(cases=(case_of("torn", segmentation, image=image),))
    file = tmp_path / "cases" / "torn.image.b2nd"
    data = bytearray(file.read_bytes())
    with file.open("r+b") as opened:  # in place: what is mapped already changes
        opened.seek(200)
        opened.write(bytes(255 ^ byte for byte in data[200:-200]))
    with pytest.raises(DamagedError, match="case 'torn': a patch cannot be read: ") as raised:
        batches(source)
    assert raised.value.cases == ("torn",)
