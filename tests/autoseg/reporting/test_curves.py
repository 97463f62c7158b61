"""Curves: where their points lie, which are kept, and where their names are written."""

from itertools import pairwise

import pytest

from autoseg.core.training_history import Series
from autoseg.reporting.curves import LABEL_GAP, POINTS, Curve, Panel, draw_epochs, draw_panel, ticks

FRAME = (100.0, 50.0, 300.0, 150.0)


def curve(*values, name="liver", epochs=None, **changes):
    series = Series(epochs=epochs or tuple(range(1, len(values) + 1)), values=values)
    return Curve(name=name, series=series, color="#0072B2", **changes)


def drawn(*curves, epochs=4, limits=(0.0, 1.0), **changes):
    """Return the elements of a panel by tag, in drawing order."""
    panel = Panel(title="Dice", curves=curves, limits=limits, height=100, **changes)
    elements = [e for mark in draw_panel(panel, FRAME, epochs) for e in mark.element.iter()]
    return {tag: [e for e in elements if e.tag == tag] for tag in ("g", "polyline", "text")}


def course(elements):
    """Return the points of the first curve."""
    shown = elements["g"][0].find("polyline").get("points").split()
    return [tuple(map(float, point.split(","))) for point in shown]


def test_points_lie_at_their_epoch_and_value():
    # 50 pixels to an epoch, 100 pixels from 0 at the bottom to 1 at the top; epoch 2 is missing.
    points = course(drawn(curve(0.0, 0.25, 1.0, epochs=(1, 3, 4))))

    assert points == [(150, 150), (250, 125), (300, 50)]


def test_values_outside_lie_on_the_edge():
    assert [y for _, y in course(drawn(curve(5.0, -5.0)))] == [50, 150]


def test_the_lowest_and_highest_of_many_points_are_kept_and_the_last():
    values = [0.5] * 10 * POINTS
    values[3000], values[7001], values[-1] = 0.0, 1.0, 0.6
    points = course(drawn(curve(*values), epochs=len(values)))

    assert len(points) <= POINTS + 1
    ys = [y for _, y in points]
    assert (min(ys), max(ys), ys[-1]) == (50, 150, 90)
    assert [x for x, _ in points] == sorted(x for x, _ in points)


def test_names_keep_apart_in_the_order_of_the_curves_and_say_the_last_value():
    ends = {"a": 0.02, "b": 0.0, "c": 1.0, "d": 0.01}
    curves = [curve(0.0, last, name=name) for name, last in ends.items()]
    texts = [e for e in drawn(*curves)["text"] if float(e.get("x")) > 300]

    assert [e.text for e in texts] == ["c 1", "a 0.02", "d 0.01", "b 0"]
    places = [float(e.get("y")) for e in texts]
    assert all(after - before >= LABEL_GAP - 0.01 for before, after in pairwise(places))
    assert max(places) <= 150 + 0.36 * 11 + 0.01  # centered on the frame's lower edge


def test_a_curve_without_a_name_is_drawn_thin_and_not_named():
    elements = drawn(curve(0.1, 0.2, name="", is_thin=True))

    assert float(elements["polyline"][-1].get("stroke-opacity")) < 1
    assert [e.text for e in elements["text"] if float(e.get("x")) > 300] == []


def test_long_names_lose_their_middle_and_keep_their_end():
    named = drawn(curve(0.5, name="vertebrae_of_the_lumbar_spine_L4"))["text"][-1].text

    assert named == "vertebrae_o...ar_spine_L4 0.5"


def test_values_are_written_in_the_unit_of_the_panel():
    elements = drawn(curve(0.0123, name="waited"), factor=100.0, unit=" %", digits=2)

    assert elements["text"][-1].text == "waited 1.2 %"
    assert [e.text for e in elements["text"][1:-1]] == ["0", "50", "100"]


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        pytest.param(0, 1, 6, (0, 0.2, 0.4, 0.6, 0.8, 1), id="one"),
        pytest.param(-0.83, 1.4, 6, (-0.5, 0, 0.5, 1), id="losses"),
        pytest.param(0, 1000, 10, (0, 200, 400, 600, 800, 1000), id="epochs"),
        pytest.param(0, 0.003, 3, (0, 0.002), id="learning-rate"),
        pytest.param(99.5, 99.6, 3, (99.5, 99.55, 99.6), id="narrow"),
    ],
)
def test_ticks_are_round_and_as_many_as_fit(low, high, most, expected):
    assert ticks(low, high, most=most) == pytest.approx(expected)


def test_epochs_are_counted_under_the_frame_in_whole_numbers():
    texts = [m.element for m in draw_epochs(FRAME, 2) if m.element.tag == "text"]

    # Half an epoch has a tick by its width, and is left out.
    assert [(e.text, e.get("x")) for e in texts] == [
        ("0", "100"), ("1", "200"), ("2", "300"), ("epoch", "200"),
    ]  # fmt: skip
