"""Where means and their intervals lie on the scale, and what stands out."""

from xml.etree import ElementTree

import pytest

from autoseg.reporting.interval_figure import CHOSEN, OTHER, WIDTH, Row, interval_figure

SVG = "{http://www.w3.org/2000/svg}"
ROWS = (
    Row(title="2d + 3d", mean=0.7, low=0.6, high=0.9, remark="the best", is_chosen=False),
    Row(title="3d <small>", mean=0.65, low=0.5, high=0.8, remark="within noise", is_chosen=True),
)


def drawn(*rows):
    text = interval_figure(rows, title="Liver", lines=("of 9 cases", "Chosen: 3d"))
    return ElementTree.fromstring(text)


def test_means_lie_between_the_ends_on_one_scale():
    # From 0.5 to 0.9 with a twentieth of that on either side: 0.48 to 0.92.
    figure = drawn(*ROWS)
    places = [float(dot.get("cx")) for dot in figure.iter(f"{SVG}circle")]
    assert places == pytest.approx([WIDTH / 2, WIDTH * 17 / 44], abs=0.01)
    heights = [float(dot.get("cy")) for dot in figure.iter(f"{SVG}circle")]
    assert heights == [15, 45]
    for row, place in zip(ROWS, places, strict=True):
        color = CHOSEN if row.is_chosen else OTHER
        bars = [bar for bar in figure.iter(f"{SVG}rect") if bar.get("fill") == color]
        long = max(bars, key=lambda bar: float(bar.get("width")))
        start, width = float(long.get("x")), float(long.get("width"))
        scale = WIDTH / 0.44
        assert start == pytest.approx((row.low - 0.48) * scale, abs=0.1)
        assert width == pytest.approx((row.high - row.low) * scale, abs=0.1)
        assert start < place < start + width


def test_it_says_what_is_compared_and_ends_of_the_scale():
    texts = [each.text for each in drawn(*ROWS).iter(f"{SVG}text")]
    assert {"Liver", "of 9 cases", "Chosen: 3d", "2d + 3d", "3d <small>", "the best"} <= {*texts}
    assert [text for text in texts if text[0] == "0"] == [
        "0.480",
        "0.590",
        "0.700",
        "0.810",
        "0.920",
    ]


def test_only_what_is_chosen_stands_out():
    dots = [dot.get("fill") for dot in drawn(*ROWS).iter(f"{SVG}circle")]
    assert dots == [OTHER, CHOSEN]


def test_one_case_has_no_width():
    row = Row(title="2d", mean=0.7, low=0.7, high=0.7, remark="", is_chosen=True)
    (dot,) = drawn(row).iter(f"{SVG}circle")
    assert float(dot.get("cx")) == pytest.approx(WIDTH / 2, abs=0.01)
