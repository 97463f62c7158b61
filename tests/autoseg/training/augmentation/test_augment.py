from dataclasses import replace
from math import pi

import numpy as np
import pytest
import torch

from autoseg.core.errors import UsageError
from autoseg.training.augmentation.augment import Augmentation, augment, draw_augmentation
from autoseg.training.augmentation.intensity import Brightness, Gamma, Noise
from autoseg.training.augmentation.mirror import Mirror
from autoseg.training.augmentation.neighborhood import Blur, LowResolution
from autoseg.training.augmentation.policy import FULL, LIGHT, NONE
from autoseg.training.augmentation.spatial import Spatial

PATCHES = [
    pytest.param((24, 16), id="2d"),
    pytest.param((6, 24, 20), id="in-plane"),
    pytest.param((12, 16, 20), id="3d"),
]
ALWAYS = replace(
    FULL,
    rotation=1.0,
    scaling=1.0,
    noise=1.0,
    blur=1.0,
    brightness=1.0,
    contrast=1.0,
    low_resolution=1.0,
    inverted_gamma=1.0,
    gamma=1.0,
    mirror=1.0,
)


def sample(shape, *, channels=2, seed=0):
    """Image, segmentation and mask on one grid."""
    rng = np.random.default_rng(seed)
    image = torch.tensor(rng.normal(size=(channels, *shape)), dtype=torch.float32)
    segmentation = torch.tensor(rng.integers(0, 4, shape), dtype=torch.uint8)
    return image, segmentation, torch.tensor(rng.random(shape) < 0.7)


def nothing(**changes):
    """An augmentation that does what is named and nothing else."""
    plain = Augmentation(channels=2, spatial=None, intensity=(), mirror=None)
    return replace(plain, **changes)


def draw(policy, patch_size, seed):
    rng = np.random.default_rng(seed)
    return draw_augmentation(rng, policy, patch_size, 2, range(len(patch_size)))


def roomy(patch_size):
    """A source that no rotation and zoom of the policies leaves."""
    return tuple(3 * size for size in patch_size)


@pytest.mark.parametrize("patch_size", PATCHES)
@pytest.mark.parametrize("policy", [ALWAYS, FULL, LIGHT], ids=["always", "full", "light"])
def test_same_seed_gives_identical_patches(patch_size, policy):
    given = sample(roomy(patch_size))
    first, second = draw(policy, patch_size, 8), draw(policy, patch_size, 8)
    assert first == second
    results = [
        augment(*given, drawn, patch_size, inside_only=(True, False)) for drawn in (first, second)
    ]
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


@pytest.mark.parametrize("patch_size", PATCHES)
def test_another_seed_gives_another_patch(patch_size):
    given = sample(roomy(patch_size))
    first, second = (augment(*given, draw(ALWAYS, patch_size, s), patch_size) for s in (1, 2))
    assert not torch.equal(first[0], second[0])
    assert not torch.equal(first[1], second[1])


def test_everything_happens_as_often_as_the_policy_says():
    rng = np.random.default_rng(2024)
    count = 2000
    drawn = [draw_augmentation(rng, FULL, (32, 40, 48), 2, (0, 2)) for _ in range(count)]

    def kinds(a):
        spatial = a.spatial
        yield from (type(transform).__name__ for transform in a.intensity)
        yield from (f"mirror {axis}" for axis in (a.mirror.axes if a.mirror else ()))
        if spatial and any(spatial.angles):
            yield "rotation"
        if spatial and spatial.factors[0] != 1.0:
            yield "scaling"

    found = [kind for a in drawn for kind in kinds(a)]
    expected = {
        "rotation": 0.2,
        "scaling": 0.2,
        "Noise": 0.1,
        "Blur": 0.2,
        "Brightness": 0.15,
        "Contrast": 0.15,
        "LowResolution": 0.25,
        "Gamma": 0.1 + 0.3,  # inverted and plain, counted together
        "mirror 0": 0.5,
        "mirror 2": 0.5,
    }
    assert set(found) == set(expected)
    for kind, p in expected.items():
        variance = 0.1 * 0.9 + 0.3 * 0.7 if kind == "Gamma" else p * (1 - p)
        assert abs(found.count(kind) - p * count) < 4 * np.sqrt(count * variance), kind


def test_order_is_noise_blur_brightness_contrast_low_resolution_gammas():
    names = [
        (type(t).__name__, getattr(t, "inverted", None))
        for t in draw(ALWAYS, (12, 16, 20), 0).intensity
    ]
    assert [name for name, _ in names] == [
        "Noise",
        "Blur",
        "Brightness",
        "Contrast",
        "LowResolution",
        "Gamma",
        "Gamma",
    ]
    assert [inverted for name, inverted in names if name == "Gamma"] == [True, False]


def test_light_neither_interpolates_nor_coarsens():
    drawn = [draw(LIGHT, (12, 16, 20), seed) for seed in range(300)]
    assert all(a.spatial is None for a in drawn)
    assert not any(isinstance(t, Blur | LowResolution | Gamma) for a in drawn for t in a.intensity)
    assert any(isinstance(t, Noise) for a in drawn for t in a.intensity)
    assert any(isinstance(t, Brightness) for a in drawn for t in a.intensity)


@pytest.mark.parametrize("patch_size", PATCHES)
def test_no_augmentation_is_the_centered_crop(patch_size):
    image, segmentation, mask = sample(tuple(size + 4 for size in patch_size))
    got, labels = augment(image, segmentation, mask, draw(NONE, patch_size, 0), patch_size)
    middle = tuple(slice(2, 2 + size) for size in patch_size)
    assert torch.equal(got, image[(slice(None), *middle)])
    assert torch.equal(labels, segmentation[middle])


@pytest.mark.parametrize("patch_size", PATCHES)
def test_intensity_never_changes_labels(patch_size):
    drawn = replace(draw(ALWAYS, patch_size, 3), spatial=None, mirror=None)
    image, segmentation, _ = sample(patch_size)
    got, labels = augment(image, segmentation, None, drawn, patch_size)
    assert torch.equal(labels, segmentation)
    assert not torch.equal(got, image)


@pytest.mark.parametrize("patch_size", PATCHES)
def test_arguments_are_left_as_they_are(patch_size):
    given = sample(roomy(patch_size))
    before = [tensor.clone() for tensor in given]
    augment(*given, draw(ALWAYS, patch_size, 5), patch_size, inside_only=(True, True))
    assert all(torch.equal(a, b) for a, b in zip(given, before, strict=True))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_segmentation_keeps_its_type_and_its_labels(dtype):
    patch_size = (12, 16, 20)
    image, segmentation, mask = sample(roomy(patch_size))
    drawn = draw(ALWAYS, patch_size, 6)
    got, labels = augment(image, 60 * segmentation.to(dtype), mask, drawn, patch_size)
    assert got.dtype == torch.float32
    assert labels.dtype == dtype
    assert set(labels.unique().tolist()) <= {0, 60, 120, 180}


def test_image_and_labels_are_mirrored_together():
    image, segmentation, _ = sample((4, 6))
    got, labels = augment(image, segmentation, None, nothing(mirror=Mirror(axes=(1,))), (4, 6))
    assert torch.equal(got, image.flip(2))
    assert torch.equal(labels, segmentation.flip(1))


def test_mask_turns_and_mirrors_along_and_zeroes_flagged_channels_only():
    image, segmentation, mask = sample((8, 8))
    drawn = nothing(
        spatial=Spatial(angles=(pi / 2,), factors=(1.0, 1.0)),
        intensity=(Brightness(factors=(1.0, 1.0)),),
        mirror=Mirror(axes=(0,)),
    )
    got, _ = augment(image + 5, segmentation, mask, drawn, (8, 8), inside_only=(False, True))
    expected = np.flip(np.rot90(mask.numpy()), 0)
    np.testing.assert_array_equal(got[1].numpy() != 0, expected)
    assert (got[0] != 0).all()


def test_mask_comes_last_so_that_noise_leaves_no_trace_outside():
    image, segmentation, mask = sample((6, 9))
    drawn = nothing(intensity=(Noise(std=1.0, seed=1),))
    got, _ = augment(image, segmentation, mask, drawn, (6, 9), inside_only=(True, True))
    assert (got[:, ~mask] == 0).all()
    assert (got[:, mask] != 0).all()


def test_source_shape_is_the_patch_where_nothing_turns():
    drawn = [draw(FULL, (12, 16, 20), seed) for seed in range(200)]
    still = [a for a in drawn if a.spatial is None]
    assert {a.source_shape((12, 16, 20)) for a in still} == {(12, 16, 20)}
    # 0.8 * 0.8 of the samples are neither rotated nor scaled; 4 sigma of 200 are 27
    assert abs(len(still) - 128) < 27


@pytest.mark.parametrize("patch_size", PATCHES)
def test_source_shape_is_enough(patch_size):
    drawn = draw(replace(NONE, rotation=1.0, scaling=1.0), patch_size, 3)
    ones = torch.ones(2, *drawn.source_shape(patch_size))
    got, _ = augment(ones, ones[0].byte(), None, drawn, patch_size)
    assert (got > 1 - 1e-4).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": torch.zeros(2, 8, 9).double()}, r"image is torch.float64"),
        ({"image": torch.zeros(3, 8, 9)}, "image has 3 channels but was drawn for 2"),
        ({"segmentation": torch.zeros(8, 9)}, "segmentation is torch.float32"),
        (
            {"segmentation": torch.zeros(9, 8, dtype=torch.uint8)},
            r"segmentation shape \(9, 8\) differs from the image's \(8, 9\)",
        ),
        (
            {"mask": torch.ones(8, 8, dtype=torch.bool)},
            r"mask shape \(8, 8\) differs from the image's \(8, 9\)",
        ),
        ({"patch_size": (8, 10)}, r"\(8, 9\) must be at least patch_size \(8, 10\)"),
        ({"patch_size": (1, 8, 8)}, r"\(8, 9\) must be at least patch_size \(1, 8, 8\)"),
        ({"inside_only": (True, False)}, r"inside_only \(True, False\) needs a mask"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(changes, message):
    image, segmentation, _ = sample((8, 9))
    arguments = {"image": image, "segmentation": segmentation, "mask": None, "patch_size": (8, 8)}
    with pytest.raises(UsageError, match=message):
        augment(**(arguments | changes), drawn=nothing())


@pytest.mark.parametrize(
    ("patch_size", "mirror_axes", "message"),
    [
        ((8, 8), (0, 2), r"mirror_axes \(0, 2\) must lie within the 2 axes"),
        ((1, 2, 8, 8), (), r"patch_size \(1, 2, 8, 8\) must have 2 or 3 axes"),
    ],
)
def test_impossible_draws_are_refused(patch_size, mirror_axes, message):
    with pytest.raises(UsageError, match=message):
        draw_augmentation(np.random.default_rng(0), FULL, patch_size, 1, mirror_axes)
