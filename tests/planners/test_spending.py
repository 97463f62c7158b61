from math import prod

import pytest

from autoseg.core.errors import PlanError
from planners.budget import PLAIN
from planners.candidate import Candidate
from planners.device_memory import GIB, memory_for, usable_bytes
from planners.overrides import Overrides
from planners.patch import Workload, fit_patch, given_patch
from planners.spacing import Grid

LIVER = Grid(spacing=(1.0, 0.77, 0.77), median_shape=(430.0, 440.0, 440.0))
HIPPOCAMPUS = Grid(spacing=(1.0, 1.0, 1.0), median_shape=(36.0, 50.0, 35.0))
BYTES_PER_VOXEL = 500
"""Bytes of a patch's voxel at 32 channels, in the stand-in below."""
FIXED = 300 * 2**20
"""Bytes of weights at 32 channels, in the stand-in below."""


def step_bytes(configuration):
    """Stand in for the tracer: weights grow with the square of the width, features with it."""
    relative = configuration.topology.features[0] / 32
    voxels = configuration.batch_size * prod(configuration.patch_size)
    return int(FIXED * relative**2 + voxels * BYTES_PER_VOXEL * relative)


def bought(
    grid, gib, *, cases=131, predict=step_bytes, may_widen=False, name="3d_fullres", **given
):
    load = Workload(
        reference=PLAIN,
        gpu_memory_gib=gib,
        labels=3,
        overrides=Overrides(**given),
        step_bytes=predict,
        may_widen=may_widen,
    )
    voxels = prod(grid.median_shape) * cases
    patch = given_patch(grid, load.overrides, where=name)
    fit = fit_patch(grid, voxels, load, where=name, given=patch)
    candidate = Candidate(name=name, grid=grid, dataset_voxels=voxels, fit=fit).bought(load)
    return candidate.configured(load)


def test_usable_is_what_the_reserve_and_the_libraries_leave():
    # 85 % of 8 GiB are 6.8 GiB; 1 GiB and half a GiB more are left.
    assert usable_bytes(8.0) == pytest.approx(5.3 * GIB, abs=1)
    assert memory_for(usable_bytes(8.0)) == pytest.approx(8.0)
    assert usable_bytes(1.0) < 0


def test_the_patch_is_that_of_the_reference_at_the_same_memory():
    # 128^3 voxels of 500 bytes are 1000 MiB: 2 patches and 300 MiB fit the usable 5427 MiB, and
    # so do 5 patches of the 12 that the dataset is good for.
    made = bought(LIVER, 8.0)

    assert made.patch_size == (128, 128, 128)
    assert (made.batch_size, made.topology.features[0]) == (5, 32)
    assert made.step_bytes == 5300 * 2**20


def test_a_batch_grows_no_further_than_the_dataset_is_good_for():
    # 5 % of 260 x 36 x 50 x 35 voxels is 9.1 patches.
    made = bought(HIPPOCAMPUS, 8.0, cases=260)

    assert (made.patch_size, made.batch_size) == ((40, 56, 40), 9)
    assert made.topology.features[0] == 32


def test_memory_that_is_left_goes_into_channels_where_it_may():
    # 9 patches take 385 MiB more than the weights: everything fits at 64 channels.
    wide = bought(HIPPOCAMPUS, 8.0, cases=260, may_widen=True)
    # Usable are 0.85 x 2.8 - 1.5 = 0.88 GiB = 901 MiB; at 44 channels 567 + 529 are too many, at
    # 36 380 + 432 fit, at 40 469 + 481 do not.
    some = bought(HIPPOCAMPUS, 2.8, cases=260, may_widen=True)

    assert wide.topology.features == (64, 128, 256, 512)
    assert (some.batch_size, some.topology.features[0]) == (9, 36)
    assert some.step_bytes <= usable_bytes(2.8)


def test_no_channels_are_bought_while_the_batch_is_bound_by_memory():
    made = bought(LIVER, 8.0, may_widen=True)

    assert (made.batch_size, made.topology.features[0]) == (5, 32)


def test_channels_give_way_before_the_patch():
    # nnU-Net's patch for 6 GiB is 112 x 128 x 128: 875 MiB at 500 bytes; let it be 1000 bytes.
    # Two need 3500 + 300 MiB; usable are 0.85 x 6 - 1.5 = 3.6 GiB = 3686 MiB: at 28 channels they
    # need 3062 + 230 MiB.
    def predict(configuration):
        relative = configuration.topology.features[0] / 32
        voxels = configuration.batch_size * prod(configuration.patch_size)
        return int(FIXED * relative**2 + voxels * 1000 * relative)

    made = bought(LIVER, 6.0, predict=predict)

    assert (
        made.patch_size
        == fit_patch(
            LIVER, 1e9, Workload(reference=PLAIN, gpu_memory_gib=6.0, labels=3), where="x"
        ).patch_size
    )
    assert (made.batch_size, made.topology.features[0]) == (2, 28)
    assert made.step_bytes <= usable_bytes(6.0)


def test_the_patch_is_cut_where_channels_do_not_help():
    # Logits of a hundred labels, whatever the width: 3000 bytes per voxel.
    def predict(configuration):
        voxels = configuration.batch_size * prod(configuration.patch_size)
        return FIXED + voxels * 3000

    made = bought(LIVER, 8.0, predict=predict)

    # (5427 - 300) MiB hold 2 x 896 000 voxels: 96^3 are 884 736.
    assert made.patch_size == (96, 96, 96)
    assert (made.batch_size, made.topology.features[0]) == (2, 32)
    assert made.step_bytes <= usable_bytes(8.0)


def test_a_memory_that_holds_nothing_is_refused_with_what_would_do():
    message = r"'3d_fullres': a budget of 2 GiB is too small by \d.*besides what is left free"
    with pytest.raises(PlanError, match=message) as refusal:
        bought(LIVER, 2.0, predict=lambda configuration: 3 * GIB)

    # 3 GiB of 85 % of the memory less 1.5 GiB: (3 + 1.5) / 0.85 = 5.294 GiB.
    assert refusal.value.hint.startswith("grant --gpu-memory-gib 5.3, or leave")


def test_a_given_batch_that_does_not_fit_is_refused_rather_than_changed():
    message = r"8 GiB is too small by .* a step of 6 patches of 128 x 128 x 128 voxels at 32"
    with pytest.raises(PlanError, match=message):
        bought(LIVER, 8.0, batch_size=6, patch_size=(128, 128, 128), width=32)


def test_a_given_patch_narrows_the_network_and_stays():
    # 160^3 voxels of 500 bytes are 1953 MiB; 2 of them and 300 MiB fit 5427 MiB, 192^3 do not.
    kept = bought(LIVER, 8.0, patch_size=(160, 160, 160))
    narrowed = bought(LIVER, 8.0, patch_size=(192, 192, 192))

    assert (kept.patch_size, kept.topology.features[0]) == ((160, 160, 160), 32)
    assert narrowed.patch_size == (192, 192, 192)
    assert narrowed.topology.features[0] < 32
    assert narrowed.step_bytes <= usable_bytes(8.0)


def test_a_batch_and_a_width_of_the_user_are_taken():
    made = bought(LIVER, 8.0, batch_size=3, width=24)

    assert (made.batch_size, made.topology.features[:2]) == (3, (24, 48))
    # The limit of 320 channels goes down in proportion.
    assert made.topology.features[-1] == 240


def test_predictions_are_few():
    asked = []

    def predict(configuration):
        asked.append(configuration)
        return step_bytes(configuration)

    bought(LIVER, 8.0, predict=predict)
    assert len(asked) == 3
    asked.clear()
    bought(HIPPOCAMPUS, 8.0, cases=260, predict=predict)
    assert len(asked) == 2
