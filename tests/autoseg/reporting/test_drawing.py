"""Marks: where they lie, and the document around them."""

from xml.etree import ElementTree

import pytest

from autoseg.reporting.drawing import (
    bounds,
    draw_arrow,
    draw_rectangle,
    group,
    svg_document,
    write_text,
)

SVG = "{http://www.w3.org/2000/svg}"


def parse(marks, *, title="title", description="description"):
    return ElementTree.fromstring(svg_document(marks, title=title, description=description))


@pytest.mark.parametrize(
    ("anchor", "left"),
    # Five characters of 0.6 of 10 pixels: 30 pixels.
    [("start", 100.0), ("middle", 85.0), ("end", 70.0)],
)
def test_the_box_of_a_text_hangs_on_its_anchor(anchor, left):
    box = write_text("abcde", (100, 40), anchor=anchor, size=10).box

    assert box == pytest.approx((left, 34, left + 30, 46))


def test_other_characters_than_ascii_get_the_width_of_the_font_size():
    assert write_text("\N{MULTIPLICATION SIGN}a", (0, 0), size=10).box[2] == pytest.approx(16)


def test_an_arrow_ends_in_a_head_that_points_along_it():
    down = draw_arrow((7, 10), (7, 30), color="#000000", head=4)

    assert down.element.get("d") == "M7,10 L7,30 M3,26 L7,30 L11,26"
    assert down.box == (2, 9, 12, 31)


def test_the_document_is_as_large_as_its_marks_and_a_margin():
    root = parse([draw_rectangle((-30, 10, 50, 20), fill="#000000"), write_text("", (90, 80))])

    # 24 pixels of margin: from -54 to 114, and from -14 to 80 + 0.6 * 12 + 24 = 111.2.
    assert root.get("viewBox") == "-54 -14 168 125.2"
    assert (root.get("width"), root.get("height")) == ("168", "125.2")
    paper = root.find(f"{SVG}rect")
    assert paper.attrib == {
        "x": "-54", "y": "-14", "width": "168", "height": "125.2", "rx": "0",
        "fill": "#ffffff", "stroke": "none",
    }  # fmt: skip


def test_a_group_covers_its_marks_and_names_them():
    marks = [draw_rectangle((0, 5, 10, 20), fill="#000000"), draw_arrow((3, 3), (40, 3), color="x")]
    together = group(marks, kind="pair", tooltip="two")

    assert together.box == bounds(marks) == (0, -3, 41, 20)
    assert parse([together]).findtext(f"{SVG}g[@class='pair']/{SVG}title") == "two"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param('<b> & "c"', '<b> & "c"', id="markup"),
        pytest.param("a\0b\x1bc\nd", "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"
                     "\N{REPLACEMENT CHARACTER}d", id="control-characters"),
        pytest.param("\udcff", "\N{REPLACEMENT CHARACTER}", id="half-of-a-pair"),
        pytest.param("\u6d77\u99ac", "\u6d77\u99ac", id="japanese"),
    ],
)  # fmt: skip
def test_any_text_survives_in_a_document_that_can_be_written(text, shown):
    marks = [group([write_text(text, (0, 0))], kind="g", tooltip=text)]
    document = svg_document(marks, title=text, description=text)
    root = ElementTree.fromstring(document.encode())

    assert [root.findtext(f"{SVG}{tag}") for tag in ("title", "desc")] == [shown, shown]
    assert [e.text for e in root.iter(f"{SVG}text")] == [shown]
    assert root.findtext(f"{SVG}g/{SVG}title") == shown
