"""Boxes whose surface is known by hand, and blobs against every triangle of their meshes."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.measure import marching_cubes, mesh_surface_area

from autoseg.core.errors import GeometryError
from autoseg.evaluation.surfaces import (
    default_tolerance,
    distances,
    surface_distance,
    surface_elements,
)

SPACING = (2.5, 0.8, 0.5)


def box(shape, *sides):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*side) for side in sides)] = True
    return mask


def blob(seed, level=0.0, shape=(14, 30, 40)):
    smooth = gaussian_filter(np.random.default_rng(seed).normal(size=shape), (2, 4, 5))
    return smooth / smooth.std() > level


def mesh(mask, spacing):
    vertices, faces, _, _ = marching_cubes(np.pad(mask, 1).astype(float), 0.5, spacing=spacing)
    return vertices - spacing, faces


def nearest_on_triangles(point, triangles):
    """Distance of a point from the nearest of (t, 3, 3) triangles: inside, edges and corners."""
    a, b, c = triangles.transpose(1, 0, 2)
    found = [np.linalg.norm(triangles - point, axis=2).min()]
    for start, end in ((a, b), (b, c), (c, a)):
        along = end - start
        share = np.clip(((point - start) * along).sum(1) / (along**2).sum(1), 0, 1)
        found.append(np.linalg.norm(start + share[:, None] * along - point, axis=1).min())
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    height = ((point - a) * normal).sum(1)
    foot = point - height[:, None] * normal
    sides = [(np.cross(e - s, foot - s) * normal).sum(1) for s, e in ((a, b), (b, c), (c, a))]
    inside = np.all(np.array(sides) >= 0, axis=0)
    if inside.any():
        found.append(np.abs(height[inside]).min())
    return min(found)


def test_elements_of_a_box_have_its_area_with_bevelled_edges_and_corners():
    z, y, x = SPACING
    elements = surface_elements(box((9, 9, 9), (2, 5), (1, 6), (4, 8)), SPACING)  # 3 x 5 x 4 voxels
    faces = 2 * (2 * z * 4 * y + 2 * z * 3 * x + 4 * y * 3 * x)
    bevels = 4 * (
        2 * z * np.hypot(y / 2, x / 2) + 4 * y * np.hypot(z / 2, x / 2) + 3 * x * np.hypot(z, y) / 2
    )
    half = np.array([[z / 2, -y / 2, 0], [z / 2, 0, -x / 2]])
    corners = 8 * np.linalg.norm(np.cross(*half)) / 2
    assert elements.sizes.sum() == pytest.approx(faces + bevels + corners)
    low, high = elements.centers.min(0), elements.centers.max(0)
    np.testing.assert_allclose(low, np.array([1.5, 0.5, 3.5]) * SPACING)
    np.testing.assert_allclose(high, np.array([4.5, 5.5, 7.5]) * SPACING)


def test_elements_of_a_rectangle_have_its_contour():
    elements = surface_elements(box((7, 9), (0, 3), (2, 7)), (0.8, 0.5))  # at the edge: closed
    expected = 2 * (2 * 0.8 + 4 * 0.5) + 4 * np.hypot(0.4, 0.25)
    assert elements.sizes.sum() == pytest.approx(expected)


def test_area_is_that_of_the_mesh():
    mask = blob(1)
    vertices, faces = mesh(mask, SPACING)
    area = surface_elements(mask, SPACING).sizes.sum()
    assert area == pytest.approx(mesh_surface_area(vertices, faces), rel=1e-3)


@pytest.mark.parametrize("seed", [1, 2])
def test_distances_are_those_from_the_mesh(seed):
    here, there = blob(seed), blob(seed, level=0.35) | blob(seed + 9, level=1.5)
    elements, surface = surface_elements(here, SPACING), surface_elements(there, SPACING)
    vertices, faces = mesh(there, SPACING)
    some = np.random.default_rng(0).choice(len(elements.sizes), 300, replace=False)
    expected = np.array([nearest_on_triangles(elements.centers[n], vertices[faces]) for n in some])
    found = distances(elements, surface)[some]
    assert expected.max() > 2.5
    edge = default_tolerance(SPACING)
    assert np.abs(found - expected).max() < 0.5 * edge
    assert abs(found.mean() - expected.mean()) < 0.02 * edge
    assert abs(np.percentile(found, 95) - np.percentile(expected, 95)) < 0.1 * edge


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_thicker_box_is_as_far_away_as_it_is_thicker(axis):
    shape = (40, 40, 40)
    sides, thicker = ([(4, 36)] * 3 for _ in range(2))
    sides[axis], thicker[axis] = (4, 10), (4, 12)
    found = surface_distance(box(shape, *sides), box(shape, *thicker), SPACING)
    # The face that moves is more than a twentieth of the surface.
    assert found.hd95_mm == pytest.approx(2 * SPACING[axis])
    assert 0 < found.assd_mm < SPACING[axis]
    back = surface_distance(box(shape, *thicker), box(shape, *sides), SPACING)
    assert (back.hd95_mm, back.nsd) == (found.hd95_mm, pytest.approx(found.nsd))
    assert back.assd_mm == pytest.approx(found.assd_mm)


def test_tolerance_parts_what_agrees_from_what_does_not():
    shape = (40, 40, 40)
    first, second = (box(shape, (4, 34), (4, 34), (4, stop)) for stop in (30, 33))
    near, far = (surface_distance(first, second, (1, 1, 1), mm) for mm in (2.9, 3.1))
    # One face of six moves by 3, of which the elements near its edge find the sides sooner.
    assert near.nsd == pytest.approx(1 - 1 / 6, abs=0.05)
    assert far.nsd == 1
    assert (near.tolerance_mm, far.tolerance_mm) == (2.9, 3.1)


@pytest.mark.parametrize("edge", [0.6, 0.7, 0.8, 0.9, 1.0])
def test_one_voxel_is_within_a_tolerance_of_one_voxel(edge):
    shape = (24, 24, 24)
    first, second = (box(shape, (4, 19), (4, 19), (4 + n, 19 + n)) for n in (0, 1))
    assert surface_distance(first, second, (edge,) * 3).nsd == 1


def test_equal_masks_do_not_lie_apart():
    mask = blob(4)
    found = surface_distance(mask, mask.copy(), SPACING, 0)
    assert (found.hd95_mm, found.assd_mm, found.nsd) == (0, 0, 1)


def test_where_the_masks_lie_in_the_image_does_not_matter():
    first, second = np.zeros((30, 50, 60), bool), np.zeros((30, 50, 60), bool)
    first[:14, :30, :40], second[:14, :30, :40] = blob(1), blob(2)
    cut = surface_distance(first[:14, :30, :40], second[:14, :30, :40], SPACING)
    whole = surface_distance(np.roll(first, 9, 0), np.roll(second, 9, 0), SPACING)
    assert whole.hd95_mm == pytest.approx(cut.hd95_mm)
    assert whole.assd_mm == pytest.approx(cut.assd_mm)


def test_turning_axes_with_their_spacing_changes_nothing():
    first, second = blob(1), blob(3)
    plain = surface_distance(first, second, SPACING)
    turned = surface_distance(first.transpose(2, 0, 1), second.transpose(2, 0, 1), (0.5, 2.5, 0.8))
    assert turned.hd95_mm == pytest.approx(plain.hd95_mm, abs=0.05)
    assert turned.assd_mm == pytest.approx(plain.assd_mm, abs=0.01)


def test_distances_scale_with_the_spacing():
    first, second = blob(1), blob(3)
    once, twice = (
        surface_distance(first, second, [factor * edge for edge in SPACING]) for factor in (1, 2)
    )
    assert twice.hd95_mm == pytest.approx(2 * once.hd95_mm)
    assert twice.assd_mm == pytest.approx(2 * once.assd_mm)
    assert twice.nsd == pytest.approx(once.nsd)


def test_contours_of_pictures_are_measured_by_length():
    first, second = box((40, 60), (5, 35), (5, 30)), box((40, 60), (5, 35), (5, 38))
    found = surface_distance(first, second, (0.5, 0.25))
    assert found.hd95_mm == pytest.approx(8 * 0.25)
    assert found.tolerance_mm == 0.375


@pytest.mark.parametrize(
    ("reference", "prediction", "nsd"),
    [
        pytest.param(False, False, None, id="both-empty"),
        pytest.param(True, False, 0.0, id="missed"),
        pytest.param(False, True, 0.0, id="spurious"),
    ],
)
def test_empty_masks_have_no_distance_and_never_an_infinite_one(reference, prediction, nsd):
    masks = [blob(1) & present for present in (reference, prediction)]
    found = surface_distance(*masks, SPACING)
    assert (found.hd95_mm, found.assd_mm, found.nsd) == (None, None, nsd)


def test_a_single_voxel_has_a_surface():
    first, second = (box((5, 6, 7), (z, z + 1), (3, 4), (2, 3)) for z in (1, 4))
    found = surface_distance(first, second, SPACING)
    # From tip to tip: 3 voxels, less the nearer half of the other one, up to all of it.
    assert 2 * SPACING[0] <= found.hd95_mm <= 3 * SPACING[0]


@pytest.mark.parametrize(("spacing", "expected"), [((5, 0.8, 0.8), 0.8), ((0.5, 0.25), 0.375)])
def test_default_tolerance_is_the_median_edge(spacing, expected):
    assert default_tolerance(spacing) == expected


@pytest.mark.parametrize(
    ("other", "spacing", "tolerance", "message"),
    [
        ((4, 5, 7), SPACING, None, r"shapes \(4, 5, 6\) and \(4, 5, 7\) must be equal"),
        ((4, 5, 6), (1, 1), None, "must be 3 positive numbers, mm"),
        ((4, 5, 6), (1, 0, 1), None, "must be 3 positive numbers, mm"),
        ((4, 5, 6), SPACING, -1, "tolerance is -1 mm; it must be 0 or more"),
    ],
)
def test_impossible_input_is_refused(other, spacing, tolerance, message):
    with pytest.raises(GeometryError, match=message):
        surface_distance(np.ones((4, 5, 6), bool), np.ones(other, bool), spacing, tolerance)
