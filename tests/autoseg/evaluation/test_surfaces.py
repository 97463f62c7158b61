"""Boxes whose surface is known by hand, and blobs against every triangle of their voxels."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from autoseg.core.errors import GeometryError
from autoseg.evaluation import surfaces
from autoseg.evaluation.surfaces import (
    default_tolerance,
    distances,
    surface_distance,
    voxel_surface,
)

SPACING = (2.5, 0.8, 0.5)


def box(shape, *sides):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*side) for side in sides)] = True
    return mask


def blob(seed, level=0.0, shape=(14, 30, 40)):
    smooth = gaussian_filter(np.random.default_rng(seed).normal(size=shape), (2, 4, 5))
    return smooth / smooth.std() > level


def triangles_of(mask, spacing):
    """Every face between a voxel inside and one outside as two triangles, voxel by voxel."""
    found = []
    for voxel in np.argwhere(mask):
        for axis in range(3):
            for side in (-1, 1):
                beside = voxel.copy()
                beside[axis] += side
                is_in_grid = 0 <= beside[axis] < mask.shape[axis]
                if is_in_grid and mask[tuple(beside)]:
                    continue
                first, second = (other for other in range(3) if other != axis)
                corners = []
                for one, two in ((-1, -1), (-1, 1), (1, 1), (1, -1)):
                    corner = voxel.astype(float)
                    corner[[axis, first, second]] += np.array([side, one, two]) / 2
                    corners.append(corner * spacing)
                found += [[corners[k] for k in (0, 1, 3)], [corners[k] for k in (2, 1, 3)]]
    return np.array(found)


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


def test_the_surface_of_a_box_is_its_six_sides():
    z, y, x = SPACING
    surface = voxel_surface(box((9, 9, 9), (2, 5), (1, 6), (4, 8)), SPACING)  # 3 x 5 x 4 voxels
    sides = 2 * (3 * z * 5 * y + 3 * z * 4 * x + 5 * y * 4 * x)
    assert surface.sizes.sum() == pytest.approx(sides)
    assert len(surface.middles) == 2 * 2 * (3 * 5 + 3 * 4 + 5 * 4)
    for places in (surface.points, surface.middles):
        np.testing.assert_allclose(places.min(0), np.array([1.5, 0.5, 3.5]) * SPACING)
        np.testing.assert_allclose(places.max(0), np.array([4.5, 5.5, 7.5]) * SPACING)


def test_the_contour_of_a_rectangle_is_its_four_sides():
    surface = voxel_surface(box((7, 9), (0, 3), (2, 7)), (0.8, 0.5))  # at the edge: closed
    assert surface.sizes.sum() == pytest.approx(2 * (3 * 0.8 + 5 * 0.5))
    np.testing.assert_allclose(surface.points.min(0), (-0.4, 0.75))
    assert len(surface.points) == 2 * 2 * (3 + 5)  # every edge has a middle and an end of its own


def test_middles_and_areas_are_those_of_the_triangles():
    mask = blob(1)
    surface, triangles = voxel_surface(mask, SPACING), triangles_of(mask, SPACING)
    places = np.concatenate((surface.middles, triangles.mean(axis=1)))
    _, counts = np.unique(places.round(6), axis=0, return_counts=True)
    assert (counts == 2).all()
    sides = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    assert surface.sizes.sum() == pytest.approx(np.linalg.norm(sides, axis=1).sum() / 2)


@pytest.mark.parametrize("seed", [1, 2])
def test_distances_are_those_from_the_triangles(seed):
    here, there = blob(seed), blob(seed, level=0.35) | blob(seed + 9, level=1.5)
    surface, other = voxel_surface(here, SPACING), voxel_surface(there, SPACING)
    triangles = triangles_of(there, SPACING)
    some = np.random.default_rng(0).choice(len(surface.sizes), 300, replace=False)
    expected = [nearest_on_triangles(surface.middles[n], triangles) for n in some]
    assert max(expected) > 2.5
    np.testing.assert_allclose(distances(surface, other)[some], expected, atol=1e-6)


def test_slabs_of_a_large_surface_leave_nothing_out(monkeypatch):
    here, there = voxel_surface(blob(1), SPACING), voxel_surface(blob(3), SPACING)
    expected = distances(here, there)
    monkeypatch.setattr(surfaces, "SLAB_POINTS", 4 * 97 * 127)  # four rows of the grid of steps
    in_slabs = voxel_surface(blob(3), SPACING)
    assert len(in_slabs.points) > len(there.points)  # rows where slabs meet are there twice
    np.testing.assert_array_equal(distances(here, in_slabs), expected)


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
    # All 900 voxel faces of the outer side lie 3 away, and of the inner side those whose middles,
    # at thirds, lie more than 2.9 from the outer box's four other sides: 24 x 24.
    area = 2 * (2 * 30 * 30) + 4 * 30 * 26 + 4 * 30 * 29
    assert near.nsd == pytest.approx(1 - (900 + 24 * 24) / area)
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
    assert turned.hd95_mm == pytest.approx(plain.hd95_mm)
    assert turned.assd_mm == pytest.approx(plain.assd_mm)


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
    # The far side is 0.4 of 7.3 mm^2, more than a twentieth: all of the way, 3 voxels.
    assert found.hd95_mm == pytest.approx(3 * SPACING[0])
    assert found.assd_mm == pytest.approx(2.5 * SPACING[0])  # near and far side, and thirds between


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


def test_a_surface_is_not_measured_where_it_borders_ignored_voxels():
    # Both boxes are symmetric about plane 6, from which on all is ignored: what is left of their
    # sides lies as far apart as all of them, and the faces at the cut count for nothing.
    shape, ignored = (12, 16, 18), box((12, 16, 18), (6, 12), (0, 16), (0, 18))
    first, second = (box(shape, (2, 10), (a, a + 8), (3, 12)) for a in (3, 4))
    whole = surface_distance(first, second, SPACING)
    cut = [mask & ~ignored for mask in (first, second)]
    found = surface_distance(*cut, SPACING, ignored=ignored)
    assert found.hd95_mm == pytest.approx(whole.hd95_mm)
    assert found.assd_mm == pytest.approx(whole.assd_mm)
    assert found.nsd == pytest.approx(whole.nsd)
    assert surface_distance(*cut, SPACING).assd_mm < 0.95 * whole.assd_mm  # as the cut is shared


def test_a_prediction_is_near_a_surface_that_is_not_measured_itself():
    # In 2D: columns 2 to 4 are the structure, columns 5 on are ignored; the prediction ends a pixel
    # earlier, 0.5 mm from the edges of the reference that are not measured.
    ignored = box((9, 12), (0, 9), (5, 12))
    first, second = box((9, 12), (2, 6), (2, 5)), box((9, 12), (2, 6), (2, 4))
    found = surface_distance(first, second, (0.8, 0.5), ignored=ignored)
    # Measured are 4 edges of 0.8 mm on the left of both, 3 and 2 of 0.5 mm above and below, and the
    # prediction's last 4. Apart are these, 0.5 mm, but the outer two 0.4 mm, from the reference
    # above and below; and the reference's third edges: 0.25 mm from their middle to the prediction.
    length = 2 * 4 * 0.8 + 2 * (3 + 2) * 0.5 + 4 * 0.8
    apart = 0.8 * (2 * 0.5 + 2 * 0.4) + 2 * 0.5 * 0.25
    assert found.assd_mm == pytest.approx(apart / length)
    assert found.nsd == 1


def test_masks_that_border_nothing_but_ignored_voxels_have_no_distance():
    mask = box((5, 6, 7), (2, 3), (2, 4), (3, 5))
    found = surface_distance(mask, mask, SPACING, 1.5, ignored=~mask)
    assert (found.hd95_mm, found.assd_mm, found.nsd, found.tolerance_mm) == (None, None, None, 1.5)
    half = box((5, 6, 7), (2, 3), (2, 3), (3, 5))  # of one mask all is ignored, of the other not
    found = surface_distance(half, mask, SPACING, ignored=~mask)
    # Measured is the half's one face inside the other mask, which is 1 mm wide along the last axis:
    # the middles of the triangles lie 1/6 and 1/3 mm from its sides.
    assert found.hd95_mm == pytest.approx(1 / 3)
    assert found.assd_mm == pytest.approx(1 / 4)
