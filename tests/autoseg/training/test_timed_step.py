from dataclasses import replace
from time import process_time

import pytest
import torch

from autoseg.networks.device import Device
from autoseg.training.timed_step import (
    FRESH_MEMORY,
    Workload,
    fresh_memory,
    measure_augmentation_s,
    measure_update_s,
    smaller_workloads,
)

CPU = Device(torch_device=torch.device("cpu"), autocast=None)
HALF = Device(torch_device=torch.device("cpu"), autocast=torch.bfloat16)


@pytest.mark.parametrize(
    ("patch_size", "batch_size", "divisor", "expected"),
    [
        pytest.param(
            (32, 48, 40), 5, (8, 8, 8),
            # 5 patches, 2, 1; then 48 = 6 * 8 would be halved to 3 * 8, but 32 * 24 * 40 < 2**15
            [(32, 48, 40, 1), (32, 48, 40, 2), (32, 48, 40, 5)],
            id="the-batch-first",
        ),
        pytest.param(
            (64, 128, 96), 1, (32, 32, 32),
            # coarsest stage 2 x 4 x 3, then 2 x 2 x 3, 2 x 2 x 2, 1 x 2 x 2, 1 x 1 x 2
            [(32, 32, 64, 1), (32, 64, 64, 1), (64, 64, 64, 1), (64, 64, 96, 1), (64, 128, 96, 1)],
            id="two-voxels-stay-in-the-coarsest-stage",
        ),
        pytest.param(
            (5, 256, 192), 1, (1, 64, 64),
            # 5 x 4 x 3: the first axis is longest, 3; then 4 to 2; then 3 x 2 x 3: 2; 2 x 2 x 3: 2
            [(2, 128, 128, 1), (2, 128, 192, 1), (3, 128, 192, 1), (3, 256, 192, 1),
             (5, 256, 192, 1)],
            id="an-axis-that-is-never-halved",
        ),
        pytest.param((8, 12, 8), 1, (2, 2, 2), [(8, 12, 8, 1)], id="small-as-it-is"),
        pytest.param((256, 384), 1, (64, 64), [(256, 192, 1), (256, 384, 1)], id="2d"),
    ],
)  # fmt: skip
def test_parts_of_a_batch_grow_to_the_whole(patch_size, batch_size, divisor, expected):
    whole = Workload(patch_size=patch_size, batch_size=batch_size)
    found = smaller_workloads(whole, divisor)
    assert [(*load.patch_size, load.batch_size) for load in found] == expected


def test_a_step_is_scaled_by_voxels_but_for_what_the_optimizer_takes(setup_of):
    # 48 * 64 * 16 = 49152 voxels; a half would be fewer than 2**15. Batches of 1, 2 and 4.
    description = whole_description(setup_of, patch_size=(16, 64, 48), batch_size=4)
    # One patch takes 4 s, then 0.5 s: 4 of them would take 2 s, which is allowed once. Clipping and
    # the optimizer take 0.25 s every time.
    clock = Clock(4.0, 0.5, 2.5, *[0.25] * 5)
    assert measure_update_s(description, CPU, clock=clock) == 2.5
    # With 1 s for a patch 2 of them are timed; the optimizer's 0.25 s are not doubled.
    clock = Clock(1.0, 1.0, 1.75, 1.5, *[0.25] * 5)
    assert measure_update_s(description, CPU, clock=clock) == 0.25 + 2 * 1.25


def test_a_patch_that_is_too_slow_is_timed_all_the_same(setup_of):
    description = whole_description(setup_of, patch_size=(16, 64, 48), batch_size=2)
    clock = Clock(9.0, 7.0, 8.0, 1.0, 1.5)
    assert measure_update_s(description, CPU, clock=clock) == 1.0 + 2 * 6.0


class Clock:
    """A clock between whose calls, two by two, given seconds pass."""

    def __init__(self, *seconds: float) -> None:
        self.now, self.times = 0.0, [time for pause in seconds for time in (0.0, pause)]

    def __call__(self) -> float:
        self.now += self.times.pop(0)
        return self.now


def whole_description(setup_of, *, batch_size=2, width=4, **options):
    description = setup_of(features=(width, 2 * width), **options).description
    configuration = replace(description.configuration, batch_size=batch_size)
    return replace(description, plan=replace(description.plan, configurations=(configuration,)))


def test_a_wider_network_takes_longer(setup_of):
    narrow, wide = (
        measure_update_s(whole_description(setup_of, width=width), CPU, clock=process_time)
        for width in (4, 64)
    )
    assert 0 < narrow < wide


def test_measuring_leaves_torchs_randomness_alone(setup_of):
    description = whole_description(setup_of)
    before = torch.random.get_rng_state()
    measure_update_s(description, CPU)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("augmentation", ["none", "light", "full"])
@pytest.mark.parametrize("patch_size", [(8, 12, 8), (24, 16)])
def test_augmentation_takes_time(setup_of, augmentation, patch_size):
    description = whole_description(setup_of, augmentation=augmentation, patch_size=patch_size)
    assert measure_augmentation_s(description) > 0


def test_augmentation_of_a_cascade_changes_the_prediction_too(setup_of):
    description = whole_description(setup_of)
    first = replace(description.configuration, name="3d_lowres")
    second = replace(first, name="3d_cascade_fullres", previous_stage="3d_lowres")
    cascade = replace(
        description,
        plan=replace(description.plan, configurations=(first, second)),
        configuration_name=second.name,
    )
    assert cascade.previous_labels == 2
    assert measure_augmentation_s(cascade) > 0


@pytest.mark.parametrize(
    ("shape", "timed", "device", "factor"),
    [
        # 8 channels of 4 bytes: 2**25 bytes are 2**20 voxels, 64 * 128 * 128
        pytest.param((64, 128, 128), (32, 64, 64), CPU, FRESH_MEMORY, id="grown-to-the-limit"),
        pytest.param((64, 128, 126), (32, 64, 64), CPU, 1.0, id="below-the-limit"),
        pytest.param((64, 128, 128), (64, 128, 128), CPU, 1.0, id="timed-at-the-limit"),
        pytest.param((64, 128, 128), (32, 64, 64), HALF, 1.0, id="half-as-many-bytes"),
    ],
)
def test_fresh_memory_costs_more_where_tensors_grow_too_large_to_be_kept(
    setup_of, shape, timed, device, factor
):
    description = whole_description(setup_of, patch_size=shape, width=8, batch_size=1)
    load = Workload(patch_size=timed, batch_size=1)
    assert fresh_memory(description, device, load) == factor
