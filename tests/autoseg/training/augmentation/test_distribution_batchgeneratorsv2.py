"""That augmented patches are distributed as nnU-Net's: 2,000 draws of each side.

What is compared is what nnU-Net 2.8.1 builds from batchgeneratorsv2 0.3.6, as it runs and not as it
is described: its noise takes the number called a variance for a standard deviation, and its range
for scaling is not split at 1. Labels are compared with nearest voxels on nnU-Net's side, too; what
its default, the interpolation of each label, makes of them is compared apart.

    AUTOSEG_PEER_PYTHON=.../bin/python pytest -m peer
"""

import os
import subprocess
from dataclasses import replace
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import torch

from autoseg.training.augmentation.augment import augment_batch, draw_augmentation
from autoseg.training.augmentation.policy import FULL, NONE

PROGRAM = Path(__file__).with_name("peer_augmentation.py")
SPEC = spec_from_file_location("distributions", PROGRAM.with_name("distributions.py"))
distributions = module_from_spec(SPEC)
SPEC.loader.exec_module(distributions)

DRAWS = 2000
pytestmark = [pytest.mark.peer, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def nnunet(tmp_path_factory):
    """Return a function from a patch's name to the numbers that nnU-Net's draws give."""
    python = os.environ.get("AUTOSEG_PEER_PYTHON")
    if not python:
        pytest.skip("AUTOSEG_PEER_PYTHON does not name the Python of an environment with nnU-Net")
    folder = tmp_path_factory.mktemp("nnunet")

    @cache
    def numbers(patch):
        result = folder / f"{patch}.npz"
        ended = subprocess.run(
            [python, "-W", "ignore", str(PROGRAM), str(result), patch, str(DRAWS), "11"],
            env=os.environ | {"OMP_NUM_THREADS": "1", "nnUNet_n_proc_DA": "1"},
            capture_output=True,
            text=True,
            timeout=1000,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        with np.load(result) as found:
            return dict(found)

    return numbers


def policy_for(chosen):
    """The policy of a set: its transforms always, or those of FULL as often as there."""
    kept = distributions.SETS[chosen]
    always = {name: 0.5 if name == "mirror" else 1.0 for name in kept}
    return replace(NONE, **always) if kept else FULL


def drawn(policy, patch, source, *, turned=1.0):
    """Sum up draws from a policy on the picture that nnU-Net got; angles may be made wrong."""
    rng, patch_size = np.random.default_rng(5), distributions.PATCHES[patch]
    image, labels = distributions.picture(source, patch_size)

    def one():
        it = draw_augmentation(rng, policy, patch_size, 2, range(len(patch_size)))
        if it.spatial is None:
            return it
        angles = tuple(turned * angle for angle in it.spatial.angles)
        return replace(it, spatial=replace(it.spatial, angles=angles))

    def batch(count):
        sources = [torch.tensor(image)] * count, [torch.tensor(labels)] * count
        done = augment_batch(*sources, None, [one() for _ in range(count)], patch_size)
        return tuple(part.numpy() for part in done)

    return distributions.collect(batch, image, labels, DRAWS)


def of_set(numbers, chosen):
    return {
        name.removeprefix(f"{chosen}/"): values
        for name, values in numbers.items()
        if name.startswith(f"{chosen}/")
    }


@pytest.mark.parametrize("chosen", distributions.SETS)
@pytest.mark.parametrize("patch", distributions.PATCHES)
def test_draws_are_distributed_as_nnunets(nnunet, patch, chosen):
    theirs = nnunet(patch)
    ours = drawn(policy_for(chosen), patch, theirs["source"].tolist())
    assert distributions.differences(ours, of_set(theirs, chosen)) == []


@pytest.mark.parametrize("patch", distributions.PATCHES)
def test_transforms_are_as_frequent_as_nnunets(nnunet, patch):
    theirs = {name: float(p) for name, p in of_set(nnunet(patch), "probability").items()}
    assert len(theirs) == 9
    assert theirs == {name: getattr(FULL, name) for name in theirs}


@pytest.mark.parametrize("patch", distributions.PATCHES)
def test_turned_labels_keep_the_volume_that_nnunets_interpolation_takes_off_their_edges(
    nnunet, patch
):
    source, theirs = nnunet(patch)["source"].tolist(), of_set(nnunet(patch), "interpolated labels")
    ours = drawn(policy_for("rotation"), patch, source)
    _, labels = distributions.picture(source, distributions.PATCHES[patch])
    for label in range(1, labels.ndim + 1):
        name, before = f"volume of label {label}", (labels == label).sum()
        assert ours[name].mean() == pytest.approx(before, rel=0.03), name
        assert 0.94 < theirs[name].mean() / ours[name].mean() < 1.0, name


@pytest.mark.parametrize(
    ("chosen", "wrong"),
    [
        ("rotation", {"rotation": 0.97}),
        ("rotation", {"rotation_axis": 0.9}),
        ("scaling", {"scaling_range": (0.7, 1.35)}),
        ("scaling", {"scaling_range": (0.75, 1.4)}),
        ("scaling", {"scaling_together": False}),
        ("noise", {"noise_std_range": (0.0, 0.12)}),
        ("noise", {"noise_std_range": (0.005, 0.1)}),
        ("noise", {"noise": 0.97}),
        ("blur", {"blur_sigma_range": (0.5, 1.1)}),
        ("blur", {"blur_channel": 0.6}),
        ("blur", {"blur_together": True}),
        ("brightness", {"brightness_range": (0.75, 1.3)}),
        ("brightness", {"brightness_range": (0.77, 1.25)}),
        ("contrast", {"contrast_range": (0.75, 1.3)}),
        ("contrast", {"contrast_channel": 0.95}),
        ("contrast", {"contrast_clamped": 0.95}),
        ("low resolution", {"low_resolution_range": (0.45, 1.0)}),
        ("low resolution", {"low_resolution_range": (0.5, 0.9)}),
        ("low resolution", {"low_resolution_channel": 0.6}),
        ("gamma", {"gamma_range": (0.7, 1.4)}),
        ("gamma", {"gamma_range": (0.75, 1.5)}),
        ("inverted gamma", {"gamma_range": (0.7, 1.4)}),
        ("inverted gamma", {"gamma": 1.0, "inverted_gamma": 0.0}),
        ("mirror", {"mirror": 0.6}),
        ("everything", {"blur_channel": 0.7}),
        ("full", {"rotation": 0.4}),
        ("full", {"scaling": 0.35}),
        ("full", {"mirror": 0.6}),
    ],
    ids=str,
)
@pytest.mark.parametrize("patch", ["2d", "in-plane"])
def test_a_wrong_policy_is_found(nnunet, patch, chosen, wrong):
    theirs = nnunet(patch)
    ours = drawn(replace(policy_for(chosen), **wrong), patch, theirs["source"].tolist())
    assert distributions.differences(ours, of_set(theirs, chosen))


@pytest.mark.parametrize("patch", distributions.PATCHES)
def test_a_tenth_more_rotation_is_found(nnunet, patch):
    theirs = nnunet(patch)
    ours = drawn(policy_for("rotation"), patch, theirs["source"].tolist(), turned=1.1)
    assert distributions.differences(ours, of_set(theirs, "rotation"))
