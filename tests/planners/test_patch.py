from dataclasses import replace
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoseg.core.errors import PlanError
from planners.budget import PLAIN, REFERENCES
from planners.overrides import Overrides
from planners.patch import Workload, fit_patch, given_patch
from planners.rules import AUTOSEG, NNUNET
from planners.spacing import Grid

HIPPOCAMPUS = (Grid(spacing=(1.0, 1.0, 1.0), median_shape=(36.0, 50.0, 35.0)), 260, 3)
LIVER = (Grid(spacing=(1.0, 0.77, 0.77), median_shape=(430.0, 440.0, 440.0)), 131, 3)
PROSTATE = (Grid(spacing=(3.6, 0.62, 0.62), median_shape=(20.0, 320.0, 320.0)), 32, 3)
BRAIN = (Grid(spacing=(1.0, 1.0, 1.0), median_shape=(140.0, 171.0, 137.0)), 484, 4)
HEART = (Grid(spacing=(5.0, 1.56, 1.56), median_shape=(20.0, 256.0, 216.0)), 200, 4)
BODY = (Grid(spacing=(1.5, 1.5, 1.5), median_shape=(231.0, 231.0, 247.0)), 1228, 118)
LUNG = (Grid(spacing=(1.25, 0.79, 0.79), median_shape=(252.0, 512.0, 512.0)), 63, 2)
PHOTOGRAPHS = (Grid(spacing=(1.0, 1.0), median_shape=(1500.0, 1500.0)), 100, 2)


def load_of(reference, *, labels=3, rules=AUTOSEG, gpu_memory_gib=None, **given):
    return Workload(
        reference=reference,
        gpu_memory_gib=reference.gpu_memory_gib if gpu_memory_gib is None else gpu_memory_gib,
        labels=labels,
        rules=rules,
        overrides=Overrides(**given),
    )


def fitted(dataset, reference, *, flat=False, rules=AUTOSEG):
    grid, cases, labels = dataset
    dataset_voxels = prod(grid.median_shape) * cases
    if flat:
        grid = grid.permuted((1, 2))
    load = load_of(reference, labels=labels, rules=rules)
    return fit_patch(grid, dataset_voxels, load, where="3d_fullres")


@pytest.mark.parametrize(
    ("dataset", "plain", "medium", "large", "extra_large"),
    [
        pytest.param(
            LIVER,
            ((128, 128, 128), 2),
            ((128, 128, 128), 2),
            ((192, 192, 192), 2),
            ((224, 256, 224), 2),
            id="liver",
        ),
        pytest.param(
            PROSTATE,
            ((20, 320, 256), 2),
            ((20, 256, 256), 2),
            ((20, 320, 320), 5),
            ((20, 320, 320), 8),
            id="prostate",
        ),
        pytest.param(
            BRAIN,
            ((128, 128, 128), 2),
            ((128, 128, 128), 2),
            ((160, 192, 160), 3),
            ((160, 192, 160), 5),
            id="brain",
        ),
        pytest.param(
            HEART,
            ((20, 256, 224), 4),
            ((20, 256, 224), 3),
            ((20, 256, 224), 10),
            ((20, 256, 224), 17),
            id="heart",
        ),
        pytest.param(
            BODY,
            ((112, 112, 128), 2),
            ((112, 112, 128), 2),
            ((160, 160, 192), 2),
            ((192, 192, 224), 2),
            id="118-labels",
        ),
        pytest.param(
            LUNG,
            ((80, 192, 160), 2),
            ((80, 192, 160), 2),
            ((112, 256, 256), 2),
            ((128, 320, 320), 2),
            id="lung",
        ),
        pytest.param(
            PHOTOGRAPHS,
            ((1280, 1024), 2),
            ((512, 512), 13),
            ((896, 768), 13),
            ((1024, 1024), 13),
            id="photographs",
        ),
        pytest.param(
            HIPPOCAMPUS,
            ((40, 56, 40), 9),
            ((40, 56, 40), 58),
            ((40, 56, 40), 178),
            ((40, 56, 40), 183),
            id="hippocampus",
        ),
    ],
)
def test_patch_and_batch_are_those_of_the_reference_planners(
    dataset, plain, medium, large, extra_large
):
    fits = [fitted(dataset, reference, rules=NNUNET) for reference in REFERENCES]

    assert [(fit.patch_size, fit.batch_size) for fit in fits] == [
        plain, medium, large, extra_large
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("dataset", "patch", "batches"),
    [
        pytest.param(HIPPOCAMPUS, (56, 40), [366, 1618, 4554, 6711], id="hippocampus"),
        pytest.param(LIVER, (448, 448), [16, 16, 46, 68], id="liver"),
    ],
)
def test_flat_patch_and_batch_are_those_of_the_reference_planners(dataset, patch, batches):
    fits = [fitted(dataset, reference, flat=True, rules=NNUNET) for reference in REFERENCES]

    assert [(fit.patch_size, fit.batch_size) for fit in fits] == [(patch, n) for n in batches]


def test_no_batch_holds_more_than_five_percent_of_the_dataset_or_more_than_is_useful():
    # 5 % of 260 x 36 x 50 x 35 voxels is 9.1 patches of 40 x 56 x 40, and 365.6 of 56 x 40, of
    # which 48 are useful.
    volumes = [fitted(HIPPOCAMPUS, reference).batch_size for reference in REFERENCES]
    slices = [fitted(HIPPOCAMPUS, reference, flat=True).batch_size for reference in REFERENCES]
    # Of 32 x 20 x 320 x 320 voxels it is 1.6 patches of 20 x 320 x 320: rounded, 2.
    prostates = [fitted(PROSTATE, reference).batch_size for reference in REFERENCES]
    # Of 200 x 20 x 256 x 216 voxels it is 9.6 patches of 20 x 256 x 224: rounded, 10.
    hearts = [fitted(HEART, reference).batch_size for reference in REFERENCES]

    assert volumes == [9] * 4
    assert slices == [48] * 4
    assert prostates == [2] * 4
    assert hearts == [4, 3, 10, 10]


def test_a_batch_of_small_volumes_stops_at_twelve_patches():
    # 5 % of 2000 x 36 x 50 x 35 voxels is 70 patches of 40 x 56 x 40.
    many = (HIPPOCAMPUS[0], 2000, 3)

    assert fitted(many, PLAIN).dataset_batch == 70
    assert [fitted(many, reference).batch_size for reference in REFERENCES] == [12] * 4


def test_a_given_patch_is_taken_whatever_it_needs():
    load = load_of(PLAIN, patch_size=(192, 160, 224))
    given = given_patch(LIVER[0], load.overrides, where="3d_fullres")

    fit = fit_patch(LIVER[0], 1e9, load, where="3d_fullres", given=given)

    assert (fit.patch_size, fit.steps, fit.is_given) == ((192, 160, 224), 0, True)
    assert fit.elements > fit.patch_limit


def test_a_given_patch_of_other_axes_leaves_the_configuration_alone():
    overrides = Overrides(patch_size=(64, 96))

    assert given_patch(LIVER[0], overrides, where="3d_fullres") is None
    in_plane = LIVER[0].permuted((1, 2))
    assert given_patch(in_plane, overrides, where="2d") == (64, 96)


def test_a_given_patch_that_no_network_divides_is_refused_with_the_next_larger():
    # 40 voxels are halved three times to 5, 200 and 120 five and four times.
    grid = Grid(spacing=(2.0, 1.0, 1.0), median_shape=(60.0, 300.0, 200.0))

    message = r"'3d_fullres': --patch-size 40 x 200 x 120 voxels is not a multiple"
    with pytest.raises(PlanError, match=message) as refusal:
        given_patch(grid, Overrides(patch_size=(40, 200, 120)), where="3d_fullres")

    assert refusal.value.hint == "take --patch-size 40,224,128"


def test_a_given_patch_beyond_every_image_is_refused_with_the_largest():
    grid = replace(HIPPOCAMPUS[0], largest_shape=(41, 60, 47))

    # The largest image, padded to a multiple of 8.
    message = r"96 x 64 x 40 voxels is larger than every image; allowed are up to 48 x 64 x 48"
    with pytest.raises(PlanError, match=message) as refusal:
        given_patch(grid, Overrides(patch_size=(96, 64, 40)), where="3d_fullres")

    assert refusal.value.hint == "take --patch-size 48,64,40"


@pytest.mark.parametrize("size", [(7, 7, 7), (8, 7, 7), (4, 11, 4)])
def test_a_given_patch_that_cannot_be_halved_is_refused(size):
    message = "no axis has enough voxels for a network to halve it; at least two must have 8"
    with pytest.raises(PlanError, match=message):
        given_patch(LIVER[0], Overrides(patch_size=size), where="3d_fullres")


@settings(deadline=None, max_examples=80)
@given(
    patch=st.tuples(st.integers(12, 400), st.integers(12, 400), st.integers(12, 400)),
    edge=st.sampled_from([0.5, 1.0, 2.5, 6.0]),
)
def test_the_patch_that_a_refusal_names_is_taken(patch, edge):
    grid = Grid(spacing=(edge, 1.0, 0.8), median_shape=(90.0, 300.0, 250.0))
    try:
        given_patch(grid, Overrides(patch_size=patch), where="3d_fullres")
    except PlanError as refusal:
        named = tuple(int(n) for n in refusal.hint.rpartition(" ")[2].split(","))
        assert given_patch(grid, Overrides(patch_size=named), where="3d_fullres") == named


def test_a_batch_has_two_patches_even_of_a_single_small_case():
    grid = Grid(spacing=(2.0, 1.0, 1.5), median_shape=(20.0, 44.0, 31.0))

    fit = fit_patch(grid, prod(grid.median_shape), load_of(PLAIN), where="3d_fullres")

    assert (fit.dataset_batch, fit.batch_size) == (0, 2)


def test_the_network_of_118_labels_has_five_stages():
    assert len(fitted(BODY, PLAIN).topology.strides) == 5


def test_an_image_smaller_than_the_first_patch_is_taken_whole():
    fit = fitted(HIPPOCAMPUS, PLAIN)

    assert fit.first_patch == fit.patch_size == (40, 56, 40)
    assert fit.steps == 0


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param((1.0, 9000.0), id="one-row"),
        pytest.param((2.0, 900.0, 900.0), id="two-slices"),
        pytest.param((500.0, 1.0, 700.0), id="one-column"),
    ],
)
@pytest.mark.parametrize("reference", REFERENCES, ids=lambda reference: reference.name)
def test_a_thin_axis_is_never_cut_to_nothing(shape, reference):
    grid = Grid(spacing=(1.0,) * len(shape), median_shape=shape)
    load = load_of(reference, gpu_memory_gib=0.01)

    fit = fit_patch(grid, 1e9, load, where="3d_fullres")

    assert min(fit.patch_size) >= 1
    assert fit.elements <= fit.patch_limit


def test_a_budget_below_the_smallest_patch_is_refused_with_what_is_missing():
    grid = Grid(spacing=(3.0, 1.0, 2.0), median_shape=(30.0, 90.0, 60.0))

    # One voxel of two convolutions of 32 channels is 64 elements; 5.6e8 take 8 GiB.
    message = r"'3d_lowres': a budget of 5e-07 GiB is too small by 4.14e-07 GiB.* 1 x 1 x 1 voxels"
    with pytest.raises(PlanError, match=message) as refusal:
        fit_patch(grid, 1e6, load_of(PLAIN, gpu_memory_gib=5e-7), where="3d_lowres")

    assert "at least 9.14e-07 GiB" in refusal.value.hint


@st.composite
def grids(draw):
    d = draw(st.sampled_from([2, 3]))
    edges = st.sampled_from([0.3, 0.5, 0.75, 1.0, 1.5, 3.0, 8.0])
    sizes = st.integers(2, 1000).map(lambda doubled: doubled / 2)
    return Grid(
        spacing=tuple(draw(st.lists(edges, min_size=d, max_size=d))),
        median_shape=tuple(draw(st.lists(sizes, min_size=d, max_size=d))),
    )


@settings(deadline=None, max_examples=60)
@given(grid=grids(), reference=st.sampled_from(REFERENCES), exponent=st.floats(-5, 2))
def test_the_patch_fits_and_the_network_divides_it(grid, reference, exponent):
    load = load_of(reference, gpu_memory_gib=10**exponent)

    fit = fit_patch(grid, 1e9, load, where="x")

    assert fit.elements <= fit.patch_limit
    assert all(n % by == 0 for n, by in zip(fit.patch_size, fit.topology.divisor, strict=True))


@settings(deadline=None, max_examples=60)
@given(
    grid=grids(),
    reference=st.sampled_from(REFERENCES),
    exponent=st.floats(-4, 2),
    factor=st.floats(1, 4),
)
def test_more_memory_never_cuts_the_patch_further(grid, reference, exponent, factor):
    less, more = (
        fit_patch(grid, 1e9, load_of(reference, gpu_memory_gib=gib), where="x")
        for gib in (10**exponent, factor * 10**exponent)
    )

    assert more.steps <= less.steps
    assert more.first_patch == less.first_patch


@settings(deadline=None, max_examples=60)
@given(grid=grids(), exponent=st.floats(-3, 1))
def test_only_ratios_of_spacings_decide_the_patch(grid, exponent):
    doubled = replace(grid, spacing=tuple(2 * edge for edge in grid.spacing))
    load = load_of(PLAIN, gpu_memory_gib=10**exponent)

    assert (
        fit_patch(doubled, 1e9, load, where="x").patch_size
        == fit_patch(grid, 1e9, load, where="x").patch_size
    )
