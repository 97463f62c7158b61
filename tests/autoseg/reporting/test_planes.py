"""Which planes are shown, and the right way round."""

import numpy as np
import pytest

from autoseg.reporting.planes import Overlay, edge_letters, focus_voxel, grey_range, planes

SHAPE = (4, 5, 7)
"""Voxels along z, y, x."""


def overlay(label_map=None, **changes):
    image = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    return Overlay(
        image=changes.pop("image", image),
        label_map=np.zeros(SHAPE, np.uint8) if label_map is None else label_map,
        spacing=changes.pop("spacing", (3.0, 0.75, 0.5)),
        names=("background", "one", "two"),
        title="a",
        **changes,
    )


def painted(*boxes):
    label_map = np.zeros(SHAPE, np.uint8)
    for label, *edges in boxes:
        label_map[tuple(slice(*edge) for edge in edges)] = label
    return label_map


def test_front_head_and_the_patients_right_come_first():
    axial, coronal, sagittal = planes(overlay())
    image = overlay().image  # the middle is at (2, 2, 3)
    # z leads to the head, y to the front, x to the right: the last row and column come first.
    for row in range(5):
        for column in range(7):
            assert axial.image[row, column] == image[2, 4 - row, 6 - column]
    assert coronal.image[0, 0] == image[3, 2, 6]  # head and right
    assert sagittal.image[0, 0] == image[3, 4, 3]  # head and front
    assert sagittal.image[0, -1] == image[3, 0, 3]  # head and back
    assert [plane.size_mm for plane in (axial, coronal, sagittal)] == [
        (5 * 0.75, 7 * 0.5),
        (4 * 3.0, 7 * 0.5),
        (4 * 3.0, 5 * 0.75),
    ]


def test_edges_are_named_after_the_patient():
    # Left, right, top, bottom: right and left, front and back, head (superior) and feet.
    assert [edge_letters(plane) for plane in planes(overlay())] == [
        ("R", "L", "A", "P"),
        ("R", "L", "S", "I"),
        ("A", "P", "S", "I"),
    ]


def test_labels_are_turned_with_their_image():
    label_map = painted((1, (2, 3), (0, 1), (6, 7)))
    for plane in planes(overlay(label_map)):
        ((row, column),) = np.argwhere(plane.label_map == 1)
        assert plane.image[row, column] == overlay().image[2, 0, 6]
    axial = planes(overlay(label_map))[0]
    assert axial.label_map[-1, 0] == 1  # in the back, on the right, which is shown left


def test_what_knows_no_sides_is_shown_as_it_is_stored():
    axial, *_ = planes(overlay(is_anatomical=False))
    np.testing.assert_array_equal(axial.image, overlay().image[2])
    (plane,) = planes(
        overlay(image=overlay().image[0], label_map=np.zeros((5, 7), np.uint8), spacing=(0.75, 0.5))
    )
    np.testing.assert_array_equal(plane.image, overlay().image[0])
    assert plane.size_mm == (5 * 0.75, 7 * 0.5)


@pytest.mark.parametrize(
    ("boxes", "focus", "voxel"),
    [
        pytest.param((), (), (2, 2, 3), id="the-middle-without-foreground"),
        # x = 1 holds 2 voxels, x = 5 one; likewise y = 0 and z = 0.
        pytest.param(
            [(1, (0, 1), (0, 1), (1, 2)), (2, (0, 1), (1, 2), (1, 2)), (1, (3, 4), (0, 1), (5, 6))],
            (),
            (0, 0, 1),
            id="most-foreground",
        ),
        pytest.param(
            [(1, (0, 3), (0, 3), (0, 3)), (2, (3, 4), (4, 5), (6, 7))],
            (2,),
            (3, 4, 6),
            id="the-label-in-question",
        ),
        # Along x both are at 2 only, along y and z they never meet: then where more of either is.
        pytest.param(
            [(1, (0, 1), (0, 1), (0, 3)), (2, (2, 3), (3, 4), (2, 7))],
            (1, 2),
            (2, 3, 2),
            id="both-labels-where-they-meet",
        ),
        pytest.param([(1, (1, 2), (4, 5), (6, 7))], (2,), (1, 4, 6), id="an-absent-label"),
    ],
)
def test_the_planes_meet_in_what_is_in_question(boxes, focus, voxel):
    assert focus_voxel(overlay(painted(*boxes), focus=focus)) == voxel


def test_ignored_voxels_are_no_foreground():
    assert focus_voxel(overlay(painted((3, (0, 1), (0, 1), (0, 1))))) == (2, 2, 3)


def test_grey_levels_go_by_the_foreground():
    # 0 to 9999 with the foreground from 4000 to 5000: as much again on both sides.
    image = np.arange(10_000, dtype=np.float32).reshape(10, 20, 50)
    label_map = ((image >= 4000) & (image <= 5000)).astype(np.uint8)
    low, high = grey_range(image, label_map)
    assert low == pytest.approx(4010 - 980, abs=20)
    assert high == pytest.approx(4990 + 980, abs=20)
    low, high = grey_range(image, np.zeros_like(label_map))
    assert (low, high) == (pytest.approx(50, abs=10), pytest.approx(9950, abs=10))


def test_an_image_of_one_intensity_is_shown_grey():
    image = np.full(SHAPE, 7, np.float32)
    assert grey_range(image, np.ones(SHAPE, np.uint8)) == (6.5, 7.5)
