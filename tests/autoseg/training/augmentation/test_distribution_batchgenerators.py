"""That augmented patches are distributed as batchgenerators', where it means what nnU-Net means.

Its range for brightness is not split at 1, which makes no difference to one that is symmetric; its
range for scaling is, so only factors above 1 are compared. Its blur repeats the voxel at the border
and ours does not, so the picture for it is constant there.
"""

import random
from dataclasses import replace
from functools import cache, partial
from importlib.util import module_from_spec, spec_from_file_location
from math import pi
from pathlib import Path

import numpy as np
import pytest
import torch
from batchgenerators.augmentations.color_augmentations import (
    augment_brightness_additive,
    augment_brightness_multiplicative,
    augment_contrast,
    augment_gamma,
)
from batchgenerators.augmentations.noise_augmentations import (
    augment_gaussian_blur,
    augment_gaussian_noise,
)
from batchgenerators.augmentations.resample_augmentations import augment_linear_downsampling_scipy
from batchgenerators.augmentations.spatial_transformations import (
    augment_mirroring,
    augment_spatial,
)

from autoseg.training.augmentation.augment import augment_batch, draw_augmentation
from autoseg.training.augmentation.policy import NONE, STRONG

SPEC = spec_from_file_location("distributions", Path(__file__).with_name("distributions.py"))
distributions = module_from_spec(SPEC)
SPEC.loader.exec_module(distributions)

DRAWS = 2000
PATCHES = {"2d": (20, 16), "3d": (8, 13, 11)}
LARGER = {"2d": (26, 20), "3d": (12, 16, 14)}
"""Patches for pictures whose outer four voxels are as the fifth."""
WIDE = {"2d": (38, 36), "3d": (28, 29, 29)}
"""Sources that no voxel of a turned patch lies outside of."""
WITHIN_CHANNELS = {
    "noise": partial(augment_gaussian_noise, noise_variance=(0, 0.1)),
    "blur": partial(
        augment_gaussian_blur,
        sigma_range=(0.5, 1.0),
        p_per_channel=0.5,
        different_sigma_per_axis=True,
    ),
    "brightness": partial(augment_brightness_multiplicative, multiplier_range=(0.75, 1.25)),
    "contrast": augment_contrast,
    "low_resolution": partial(
        augment_linear_downsampling_scipy, p_per_channel=0.5, order_downsample=0, order_upsample=1
    ),
    "inverted_gamma": partial(
        augment_gamma,
        gamma_range=(0.7, 1.5),
        invert_image=True,
        per_channel=True,
        retain_stats=True,
    ),
    "gamma": partial(augment_gamma, gamma_range=(0.7, 1.5), per_channel=True, retain_stats=True),
    "shift": partial(augment_brightness_additive, mu=0.0, sigma=0.5, p_per_channel=0.5),
}
"""Theirs for each transform that leaves the labels alone; (C, *patch) images in and out."""


def picture_for(patch, name):
    if name == "blur":
        return distributions.picture(LARGER[patch], LARGER[patch], margin=4)
    turns = name in ("rotation", "scaling")
    return distributions.picture(WIDE[patch] if turns else PATCHES[patch], PATCHES[patch])


def patch_size_for(patch, name):
    return (LARGER if name == "blur" else PATCHES)[patch]


def change(name, patch, image, labels):
    """Return what batchgenerators makes of one sample."""
    if name == "mirror":
        return augment_mirroring(image, labels[None], axes=range(labels.ndim))
    if name not in ("rotation", "scaling"):
        return WITHIN_CHANNELS[name](image), labels[None]
    limits = (-pi / 6, pi / 6) if patch == "3d" else (-pi, pi)
    images, maps = augment_spatial(
        image[None],
        labels[None, None],
        PATCHES[patch],
        do_elastic_deform=False,
        do_rotation=name == "rotation",
        angle_x=limits,
        angle_y=limits,
        angle_z=limits,
        do_scale=name == "scaling",
        scale=(1.0, 1.4),
        border_mode_data="constant",
        order_data=1,
        random_crop=False,
    )
    return images[0], maps[0]


@cache
def theirs(name, patch):
    """Sum up draws of batchgenerators."""
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002 - batchgenerators draws from both
    image, labels = picture_for(patch, name)

    def batch(count):
        done = [change(name, patch, image.copy(), labels.copy()) for _ in range(count)]
        return np.stack([one for one, _ in done]), np.stack([of[0] for _, of in done])

    return distributions.collect(batch, image, labels, DRAWS)


def policy_for(name):
    policy = replace(NONE, scaling_range=(1.0, 1.4), shift_std=STRONG.shift_std)
    return replace(policy, **{name: 0.5 if name == "mirror" else 1.0})


def ours(policy, name, patch):
    """Sum up our draws from a policy on the same picture."""
    rng, patch_size = np.random.default_rng(4), patch_size_for(patch, name)
    image, labels = picture_for(patch, name)

    def batch(count):
        axes = range(len(patch_size))
        drawn = [draw_augmentation(rng, policy, patch_size, 2, axes) for _ in range(count)]
        sources = [torch.tensor(image)] * count, [torch.tensor(labels)] * count
        return tuple(part.numpy() for part in augment_batch(*sources, None, drawn, patch_size))

    return distributions.collect(batch, image, labels, DRAWS)


@pytest.mark.parametrize("name", [*WITHIN_CHANNELS, "rotation", "scaling", "mirror"])
@pytest.mark.parametrize("patch", PATCHES)
def test_draws_are_distributed_as_batchgenerators(patch, name):
    found = distributions.differences(ours(policy_for(name), name, patch), theirs(name, patch))
    assert found == []


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("noise", {"noise_std_range": (0.0, 0.12)}),
        ("blur", {"blur_sigma_range": (0.5, 1.1)}),
        ("blur", {"blur_channel": 0.6}),
        ("brightness", {"brightness_range": (0.75, 1.3)}),
        ("contrast", {"contrast_range": (0.75, 1.3)}),
        ("contrast", {"contrast_clamped": 0.95}),
        ("low_resolution", {"low_resolution_range": (0.4, 1.0)}),
        ("inverted_gamma", {"gamma_range": (0.7, 1.4)}),
        ("gamma", {"gamma_range": (0.7, 1.4)}),
        ("gamma", {"gamma": 0.0, "inverted_gamma": 1.0}),
        ("shift", {"shift_std": 0.7}),
        ("rotation", {"rotation_axis": 0.9}),
        ("scaling", {"scaling_range": (1.0, 1.3)}),
        ("scaling", {"scaling_together": False}),
        ("mirror", {"mirror": 0.6}),
    ],
    ids=str,
)
def test_a_wrong_policy_is_found(name, wrong):
    changed = replace(policy_for(name), **wrong)
    assert distributions.differences(ours(changed, name, "2d"), theirs(name, "2d"))


def test_equal_numbers_differ_in_nothing_and_one_that_is_shifted_is_named():
    drawn = {"mean": np.random.default_rng(0).normal(size=DRAWS), "share": np.ones(DRAWS)}
    assert distributions.differences(drawn, drawn) == []
    (found,) = distributions.differences(drawn, drawn | {"mean": drawn["mean"] + 0.25})
    assert found.startswith("mean: distance 0.")
    assert "means" in found
    assert "spreads" not in found


def test_numbers_within_the_rounding_of_float32_are_equal():
    drawn = {"mean": np.full(DRAWS, 2.0)}
    assert distributions.differences(drawn, {"mean": np.full(DRAWS, 2.0 + 2e-7)}) == []
    assert distributions.differences(drawn, {"mean": np.full(DRAWS, 2.0 + 2e-4)})
