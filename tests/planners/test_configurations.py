from math import prod

import pytest

from planners.budget import PLAIN, REFERENCES, RESENC_L, RESENC_M, RESENC_XL
from planners.configurations import plan_configurations
from planners.patch import Workload
from planners.spacing import Grid

LIVER = (Grid(spacing=(1.0, 0.77, 0.77), median_shape=(430.0, 440.0, 440.0)), 131, 3)
LUNG = (Grid(spacing=(1.25, 0.79, 0.79), median_shape=(252.0, 512.0, 512.0)), 63, 2)
PROSTATE = (Grid(spacing=(3.6, 0.62, 0.62), median_shape=(20.0, 320.0, 320.0)), 32, 3)
IMAGES = (Grid(spacing=(0.5, 0.75), median_shape=(900.0, 700.0)), 40, 3)
ONE_SLICE = (Grid(spacing=(8.0, 0.5, 0.75), median_shape=(1.0, 300.0, 200.0)), 40, 3)


def planned_for(dataset, reference):
    grid, cases, labels = dataset
    load = Workload(reference=reference, gpu_memory_gib=reference.gpu_memory_gib, labels=labels)
    return plan_configurations(grid, cases, load)


def by_name(dataset, reference=PLAIN):
    return {each.name: each for each in planned_for(dataset, reference).configurations}


def decision(dataset, subject, reference=PLAIN):
    planned = planned_for(dataset, reference)
    return next(each for each in planned.decisions if each.subject == subject)


@pytest.mark.parametrize(
    ("dataset", "reference", "spacing", "patch"),
    [
        pytest.param(LIVER, PLAIN, (2.157, 1.661, 1.661), (128, 128, 128), id="liver-plain"),
        pytest.param(LIVER, RESENC_M, (2.157, 1.661, 1.661), (128, 128, 128), id="liver-M"),
        pytest.param(LIVER, RESENC_L, (1.469, 1.131, 1.131), (192, 192, 192), id="liver-L"),
        pytest.param(LUNG, PLAIN, (2.395, 1.514, 1.514), (80, 192, 160), id="lung-plain"),
        pytest.param(LUNG, RESENC_M, (2.395, 1.514, 1.514), (80, 192, 160), id="lung-M"),
        pytest.param(LUNG, RESENC_L, (1.68, 1.062, 1.062), (112, 256, 256), id="lung-L"),
    ],
)
def test_the_coarse_grid_is_that_of_the_reference_planners(dataset, reference, spacing, patch):
    lowres = by_name(dataset, reference)["3d_lowres"]

    assert lowres.spacing == pytest.approx(spacing, abs=5e-4)
    assert lowres.patch_size == patch


@pytest.mark.parametrize("dataset", [LIVER, LUNG], ids=["liver", "lung"])
def test_a_coarse_grid_that_saves_less_than_half_the_voxels_is_dropped(dataset):
    assert list(by_name(dataset, RESENC_XL)) == ["2d", "3d_fullres"]
    dropped = decision(dataset, "3d_lowres", RESENC_XL)
    assert dropped.value == "not made"
    assert "less than 2 times fewer voxels" in dropped.rule


@pytest.mark.parametrize("reference", REFERENCES[:3], ids=lambda reference: reference.name)
@pytest.mark.parametrize("dataset", [LIVER, LUNG], ids=["liver", "lung"])
def test_the_coarse_patch_covers_a_quarter_and_its_grid_saves_half(dataset, reference):
    made = by_name(dataset, reference)
    lowres, fullres = made["3d_lowres"], made["3d_fullres"]

    assert prod(lowres.patch_size) / prod(lowres.median_shape) > 0.249  # the shape is rounded
    assert prod(fullres.median_shape) / prod(lowres.median_shape) > 1.99


def test_fine_axes_are_coarsened_first():
    # The plane, 8 times as fine as the slices, is coarsened alone until it is half as fine.
    grid = Grid(spacing=(4.0, 0.5, 0.5), median_shape=(160.0, 640.0, 600.0))

    lowres = by_name((grid, 50, 2))["3d_lowres"]

    assert lowres.spacing[0] == 4.0
    assert 0.5 < lowres.spacing[1] == lowres.spacing[2] < 2.1


@pytest.mark.parametrize(
    ("dataset", "names"),
    [
        pytest.param(
            LIVER, ["2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres"], id="large-volumes"
        ),
        pytest.param(PROSTATE, ["2d", "3d_fullres"], id="small-volumes"),
        pytest.param(ONE_SLICE, ["2d"], id="one-slice"),
        pytest.param(IMAGES, ["2d"], id="images"),
    ],
)
def test_configurations_by_kind_of_dataset(dataset, names):
    assert list(by_name(dataset)) == names


def test_the_cascade_is_3d_fullres_with_a_stage_before_it():
    made = by_name(LIVER)
    cascade, fullres = made["3d_cascade_fullres"], made["3d_fullres"]

    assert cascade.previous_stage == "3d_lowres"
    assert cascade.patch_size == fullres.patch_size
    assert cascade.topology == fullres.topology
    assert (cascade.batch_size, cascade.batch_dice) == (fullres.batch_size, True)


@pytest.mark.parametrize(
    ("dataset", "pooled"),
    [
        pytest.param(
            LIVER,
            {"2d": True, "3d_lowres": False, "3d_fullres": True, "3d_cascade_fullres": True},
            id="with-lowres",
        ),
        pytest.param(PROSTATE, {"2d": True, "3d_fullres": False}, id="without-lowres"),
    ],
)
def test_overlaps_are_summed_over_the_batch_where_patches_show_little(dataset, pooled):
    assert {name: each.batch_dice for name, each in by_name(dataset).items()} == pooled


def test_2d_has_the_in_plane_axes_of_a_volume():
    flat = by_name(PROSTATE)["2d"]

    assert flat.spacing == (0.62, 0.62)
    assert flat.median_shape == (320.0, 320.0)
    assert flat.patch_size == (320, 320)


def test_2d_has_both_axes_of_an_image_in_their_order():
    flat = by_name(IMAGES)["2d"]

    assert flat.spacing == (0.5, 0.75)
    assert flat.median_shape == (900.0, 700.0)


def test_a_small_patch_of_the_median_image_is_named_in_the_decision():
    fullres = by_name(PROSTATE)["3d_fullres"]
    assert fullres.patch_size == (20, 320, 256)

    absent = decision(PROSTATE, "3d_lowres")

    # 256 of 320 columns are covered.
    assert absent.numbers == (("covered by the 3d_fullres patch", "80 %"),)
    assert "at least 25 %" in absent.rule


@pytest.mark.parametrize(
    ("reference", "rule", "memory", "dataset"),
    [
        pytest.param(PLAIN, "this many fit", "16 patches", "2717 patches", id="memory"),
        pytest.param(RESENC_L, "this many fit", "46 patches", "2717 patches", id="L"),
    ],
)
def test_the_batch_decision_names_both_limits(reference, rule, memory, dataset):
    # 5 % of 131 x 430 x 440 x 440 voxels is 2716.6 patches of 448 x 448.
    batch = decision(LIVER, "2d.batch_size", reference)

    assert batch.rule.startswith(rule)
    assert batch.numbers == (
        ("the memory holds", memory),
        ("5 % of the dataset fills", dataset),
    )


def test_the_patch_decision_tells_the_search():
    patch = decision(LIVER, "3d_fullres.patch_size")

    assert patch.value == "128 x 128 x 128 voxels"
    assert "until the estimate of 2 patches came down to that of the reference" in patch.rule
    numbers = dict(patch.numbers)
    assert numbers["allowed for one patch"] == "560 million elements"
    # 450 699 264 elements with 2 labels; a third adds 128**3.
    assert numbers["estimate of one patch"] == "452.8 million elements"


def test_the_coarse_batch_is_bounded_by_the_voxels_of_the_coarse_dataset():
    batch = decision(LIVER, "3d_lowres.batch_size", RESENC_L)

    # 13 steps of 3 % leave 430 x 440 x 440 / 1.03**39 voxels; 5 % of 131 such images is 24.3
    # patches of 192 x 192 x 192.
    assert dict(batch.numbers)["5 % of the dataset fills"] == "24 patches"
