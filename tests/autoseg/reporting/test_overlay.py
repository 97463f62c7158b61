"""What a picture shows, pixel by pixel."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from autoseg.reporting.overlay import PALETTE, draw_overlay
from autoseg.reporting.planes import Overlay

SHAPE = (20, 40, 50)
"""Voxels along z, y, x: 60 x 30 x 25 mm."""


def overlay(**changes):
    """Return a bright head on black with one label on the patient's right, in front and on top."""
    image = np.zeros(SHAPE, np.float32)
    image[2:18, 4:36, 5:45] = 100
    label_map = np.zeros(SHAPE, np.uint8)
    label_map[13:17, 28:34, 36:42] = 1
    values = {
        "image": image,
        "label_map": label_map,
        "spacing": (3.0, 0.75, 0.5),
        "names": ("background", "one", "two"),
        "focus": (1,),
        "title": "case_1: something",
        "lines": ("measured: 1", "usual: 2"),
    }
    return Overlay(**(values | changes))


def pixels(picture):
    return np.asarray(Image.open(BytesIO(draw_overlay(picture))).convert("RGB")).astype(int)


def panels(rgb):
    """Return the columns of pixels of each plane: where the middle row is not paper."""
    body = rgb[int(0.2 * len(rgb)) : int(0.85 * len(rgb))]
    used = (np.abs(body - body[0, 0]).sum(axis=2) > 30).any(axis=0)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], used, [0]])))
    spans = edges.reshape(-1, 2)
    return [span for span in spans if span[1] - span[0] > 60]


def places(rgb, color, span, rows=(0.2, 0.85)):
    """Return the (row, column) of pixels of a color in a panel, as fractions of its gray pixels."""
    wanted = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])
    part = rgb[int(rows[0] * len(rgb)) : int(rows[1] * len(rgb)), span[0] : span[1]]
    return np.argwhere(np.abs(part - wanted).sum(axis=2) < 30)


def middle_of_head(rgb, span, rows=(0.2, 0.85)):
    part = rgb[int(rows[0] * len(rgb)) : int(rows[1] * len(rgb)), span[0] : span[1]]
    grey = np.abs(part - part.mean(axis=2, keepdims=True)).max(axis=2) < 3
    return np.argwhere(grey & (part.mean(axis=2) > 60)).mean(axis=0)


def test_a_structure_shows_on_the_side_where_it_lies():
    rgb = pixels(overlay())
    spans = panels(rgb)
    assert len(spans) == 3
    # Axial: in front is up, the patient's right is left. Coronal: the head is up. Sagittal: the
    # front is left.
    for span in spans:
        row, column = places(rgb, PALETTE[0], span).mean(axis=0)
        middle_row, middle_column = middle_of_head(rgb, span)
        assert row < middle_row - 20
        assert column < middle_column - 20


@pytest.mark.parametrize(("axis", "moved"), [(0, (1, 2)), (1, (0,)), (2, (0, 1))])
def test_a_flipped_structure_shows_on_the_other_side(axis, moved):
    flipped = overlay(label_map=np.flip(overlay().label_map, axis).copy())
    rgb = pixels(flipped)
    for number, span in enumerate(panels(rgb)):
        row, column = places(rgb, PALETTE[0], span).mean(axis=0)
        middle_row, middle_column = middle_of_head(rgb, span)
        if axis == 2:
            assert (column > middle_column) == (number in moved)
        elif axis == 0:
            assert (row > middle_row) == (number in moved)
        else:
            assert (row > middle_row) == (number in moved)
            assert (column > middle_column) == (number == 2)


def test_planes_keep_the_proportions_of_the_patient():
    rgb = pixels(overlay(focus=()))
    ratios = []
    for span in panels(rgb):
        column = rgb[:, int(np.mean(span)) + 30]
        part = np.flatnonzero(column.mean(axis=1) > 60)
        part = part[(part > 0.2 * len(rgb)) & (part < 0.85 * len(rgb))]
        row = rgb[int(np.median(part)) + 30, span[0] : span[1]]
        ratios.append(np.ptp(part) / np.ptp(np.flatnonzero(row.mean(axis=1) > 60)))
    # The head: 16 * 3 = 48 mm high, 32 * 0.75 = 24 mm deep, 40 * 0.5 = 20 mm wide.
    assert ratios == pytest.approx([24 / 20, 48 / 20, 48 / 24], rel=0.05)


def test_labels_have_colors_of_their_own_those_in_question_first():
    label_map = overlay().label_map.copy()
    label_map[13:17, 10:16, 36:42] = 2
    rgb = pixels(overlay(label_map=label_map, focus=(2,)))
    axial = panels(rgb)[0]
    two, one = places(rgb, PALETTE[0], axial), places(rgb, PALETTE[1], axial)
    assert len(two)
    assert len(one)
    assert two[:, 0].mean() > one[:, 0].mean()  # label 2 lies behind label 1


def test_the_middle_of_the_body_is_a_line_in_planes_across_which_sides_show():
    # 5 mm right of the middle is left of it in the picture: 5 of 25 mm.
    plain = pixels(overlay())
    marked = pixels(overlay(body_center=(0.0, 0.0, 5.0)))
    for number, span in enumerate(panels(plain)):
        part = np.abs(marked - plain)[:, span[0] : span[1]].sum(axis=2) > 100
        if number == 2:
            assert not part.any()
            continue
        at = part.sum(axis=0).argmax() / (span[1] - span[0])
        assert at == pytest.approx((12.5 - 5) / 25, abs=0.03)


def test_a_picture_fills_one_panel_and_is_not_turned():
    flat = overlay(
        image=overlay().image[15],
        label_map=overlay().label_map[15],
        spacing=(0.75, 0.5),
        is_anatomical=False,
    )
    rgb = pixels(flat)
    (span,) = panels(rgb)
    row, column = places(rgb, PALETTE[0], span).mean(axis=0)
    middle_row, middle_column = middle_of_head(rgb, span)
    assert row > middle_row
    assert column > middle_column


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"image": np.zeros(SHAPE, np.float32)}, id="empty-image"),
        pytest.param({"label_map": np.zeros(SHAPE, np.uint8)}, id="no-foreground"),
        pytest.param({"label_map": np.ones(SHAPE, np.uint8)}, id="nothing-else"),
        pytest.param({"title": "a$b_{2}$ \n\x00 \u810a", "lines": ("$",) * 9}, id="odd-names"),
        pytest.param(
            {"names": ("background", *(f"label {n}" for n in range(117)))}, id="many-labels"
        ),
        pytest.param({"spacing": (500.0, 0.75, 0.5)}, id="absurd-spacing"),
        pytest.param(
            {"image": np.ones((1, 1, 1), np.float32), "label_map": np.ones((1, 1, 1), np.uint8)},
            id="one-voxel",
        ),
    ],
)
def test_whatever_the_case_is_like_it_can_be_drawn(changes):
    rgb = pixels(overlay(**changes))
    assert rgb.shape[1] == 1300
    assert 300 < rgb.shape[0] < 1000


def test_the_same_case_gives_the_same_bytes():
    assert draw_overlay(overlay()) == draw_overlay(overlay())
