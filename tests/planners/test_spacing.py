import pytest

from planners.spacing import (
    Grid,
    axis_order,
    grid_of,
    low_resolution_axis,
    plan_grid,
    target_spacing,
)


def test_the_target_is_the_median_spacing_of_nearly_isotropic_cases(fingerprint_of):
    fingerprint = fingerprint_of(
        [((1.0, 0.5, 0.75), (90, 80, 70)), ((2.0, 0.5, 1.0), (90, 80, 70)),
         ((1.5, 0.25, 0.5), (90, 80, 70))]
    )  # fmt: skip

    assert target_spacing(fingerprint) == (1.5, 0.5, 0.75)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_low_resolution_axis_takes_the_10th_percentile(fingerprint_of, axis):
    # Eleven cases: the 10th percentile is the second smallest spacing.
    coarse = [4.0, 5.0, *[8.0] * 9]
    grids = [(_insert((0.5, 0.75), axis, edge), _insert((200, 160), axis, 12)) for edge in coarse]
    fingerprint = fingerprint_of(grids)

    assert low_resolution_axis(fingerprint) == axis
    assert target_spacing(fingerprint) == _insert((0.5, 0.75), axis, 5.0)


def test_the_10th_percentile_stays_coarser_than_the_plane(fingerprint_of):
    # Of eleven cases two have slices of 0.5 mm, finer than the 1 mm in plane.
    grids = [((edge, 1.0, 1.0), (12, 200, 160)) for edge in [0.5, 0.5, *[8.0] * 9]]

    assert target_spacing(fingerprint_of(grids)) == (1.0 + 1e-5, 1.0, 1.0)


@pytest.mark.parametrize(
    ("spacing", "shape", "axis"),
    [
        pytest.param((3.0, 1.0, 0.5), (20, 200, 160), None, id="exactly-three-times-as-coarse"),
        pytest.param((3.25, 1.0, 0.5), (20, 200, 160), 0, id="coarse-and-short"),
        pytest.param((3.25, 1.0, 0.5), (60, 200, 180), None, id="exactly-a-third-as-long"),
        pytest.param((0.5, 1.0, 3.25), (200, 180, 59), 2, id="last-axis"),
        pytest.param((0.5, 2.0, 2.0), (20, 200, 160), None, id="one-fine-axis"),
        pytest.param((4.0, 0.5), (20, 200), None, id="an-image-has-no-slices"),
    ],
)
def test_low_resolution_axis(fingerprint_of, spacing, shape, axis):
    assert low_resolution_axis(fingerprint_of([(spacing, shape)])) == axis


@pytest.mark.parametrize(
    ("spacing", "order"),
    [
        pytest.param((5.0, 0.8, 0.7), (0, 1, 2), id="axial"),
        pytest.param((0.8, 5.0, 0.7), (1, 0, 2), id="coronal"),
        pytest.param((0.8, 0.7, 5.0), (2, 0, 1), id="sagittal"),
        pytest.param((1.0, 1.0, 1.0), (0, 1, 2), id="first-of-equals"),
        pytest.param((0.5, 2.0, 2.0), (1, 0, 2), id="first-of-two-equals"),
        pytest.param((0.5, 2.0), (0, 1), id="plane"),
    ],
)
def test_the_coarsest_axis_comes_first_and_the_others_keep_their_order(spacing, order):
    assert axis_order(spacing) == order


def test_the_median_shape_is_taken_after_resampling(fingerprint_of):
    fingerprint = fingerprint_of(
        [((2.0, 1.0, 1.0), (10, 50, 40)), ((1.0, 0.5, 1.0), (25, 60, 40)),
         ((1.0, 1.0, 0.5), (40, 70, 90)), ((1.0, 1.0, 1.0), (50, 70, 48))]
    )  # fmt: skip

    # At 1 mm: (20, 50, 40), (25, 30, 40), (40, 70, 45), (50, 70, 48).
    assert grid_of(fingerprint, (1.0, 1.0, 1.0)).median_shape == (
        (25 + 40) / 2,
        60.0,
        (40 + 45) / 2,
    )


def test_resampled_sizes_round_half_to_even_and_keep_one_voxel(fingerprint_of):
    fingerprint = fingerprint_of([((0.5, 0.5, 0.25), (5, 7, 1))])

    # 2.5 -> 2, 3.5 -> 4, 0.25 -> 0, of which one voxel is kept.
    assert grid_of(fingerprint, (1.0, 1.0, 1.0)).median_shape == (2.0, 4.0, 1.0)


def test_a_permuted_grid_moves_spacing_and_shape_together():
    grid = Grid(spacing=(0.5, 0.75, 4.0), median_shape=(200.0, 160.0, 12.0))

    assert grid.permuted((2, 0, 1)).permuted((1, 2)) == Grid(
        spacing=(0.5, 0.75), median_shape=(200.0, 160.0)
    )


def _insert(pair, axis, value):
    return (*pair[:axis], value, *pair[axis:])


@pytest.mark.parametrize(
    ("spacing", "shape", "order"),
    [
        pytest.param((1.0, 2.0, 2.0), (1.0, 256.0, 240.0), (0, 1, 2), id="one-slice-of-z"),
        pytest.param((1.0, 1.0, 1.0), (256.0, 1.0, 240.0), (1, 0, 2), id="one-slice-of-y"),
        pytest.param((1.0, 2.0, 3.0), (9.0, 8.0, 7.0), (2, 0, 1), id="no-single-slice"),
    ],
)
def test_the_axis_of_a_single_slice_comes_first_whatever_its_spacing(spacing, shape, order):
    assert axis_order(spacing, shape) == order


def test_a_grid_in_plan_order_has_the_axes_that_have_a_spacing(fingerprint_of):
    # Slices along the last axis: plan order is 2, 0, 1.
    fingerprint = fingerprint_of([((0.5, 0.75, 4.0), (300, 200, 24))] * 3)

    volume = plan_grid(fingerprint, (8.0, 1.0, 1.5), (2, 0, 1))
    plane = plan_grid(fingerprint, (1.0, 1.5), (2, 0, 1))

    assert (volume.spacing, volume.median_shape) == ((8.0, 1.0, 1.5), (12.0, 150.0, 100.0))
    assert (plane.spacing, plane.largest_shape) == ((1.0, 1.5), (150, 100))
