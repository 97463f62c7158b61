"""Marks of a figure, each with the box that it fills, and the SVG document that they make.

Lengths are in pixels at natural size; x grows to the right and y downward, as in SVG.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal
from xml.etree import ElementTree

Box = tuple[float, float, float, float]
"""Left, top, right and bottom edge."""
Point = tuple[float, float]
"""x and y."""
Anchor = Literal["start", "middle", "end"]
"""Which part of a text lies at its x."""

INK: Final = "#1a1a1a"
"""Color of texts."""
TEXT_PX: Final = 12.0
"""Usual size of the font."""
GLYPH_EM: Final = 0.6
"""Width that is reserved per ASCII character, in font sizes: 5 % more than the widest text of a
figure takes in DejaVu Sans, the widest of the usual fonts. Other characters get a whole size."""
BOLD: Final = 1.12
"""How much wider bold characters are."""
MARGIN: Final = 24.0
"""White around the marks."""
FONTS: Final = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"
"""Font of a figure; the first that the reader has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """An element of the drawing and the box that it fills."""

    element: ElementTree.Element
    """The SVG element."""
    box: Box
    """What it covers; an upper bound for texts, whose font the reader's machine chooses."""


def write_text(
    content: str,
    at: Point,
    *,
    anchor: Anchor = "start",
    size: float = TEXT_PX,
    is_bold: bool = False,
) -> Mark:
    """Draw one line of text.

    Parameters
    ----------
    content : str
        Any characters; those that no document may hold become replacement characters.
    at : (x, y)
        The anchor's x and the y of the line's middle.
    anchor : str
        What lies at x.
    size : float
        Font size.
    is_bold : bool
        Whether the font is bold.
    """
    shown = _printable(content)
    width = sum(GLYPH_EM if c.isascii() else 1 for c in shown) * size * (BOLD if is_bold else 1)
    left = at[0] - width * {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor]
    # 0.36: half the height of capitals in the usual fonts, so that these are centered on y.
    attributes = {"x": _number(at[0]), "y": _number(at[1] + 0.36 * size)}
    if anchor != "start":
        attributes["text-anchor"] = anchor
    if size != TEXT_PX:
        attributes["font-size"] = _number(size)
    if is_bold:
        attributes["font-weight"] = "bold"
    element = ElementTree.Element("text", attributes)
    element.text = shown
    return Mark(element=element, box=(left, at[1] - 0.6 * size, left + width, at[1] + 0.6 * size))


def draw_rectangle(
    box: Box, *, fill: str, stroke: str = "none", corner_radius: float = 1.5
) -> Mark:
    """Draw a rectangle."""
    left, top, right, bottom = box
    sides = {"x": left, "y": top, "width": right - left, "height": bottom - top}
    sides["rx"] = corner_radius
    attributes = {name: _number(value) for name, value in sides.items()}
    element = ElementTree.Element("rect", {**attributes, "fill": fill, "stroke": stroke})
    return Mark(element=element, box=box)


def draw_arrow(start: Point, end: Point, *, color: str, head: float = 5.0) -> Mark:
    """Draw a straight arrow, whose head has sides of `head` pixels along and across."""
    along = (end[0] - start[0], end[1] - start[1])
    length = (along[0] ** 2 + along[1] ** 2) ** 0.5
    x, y = along[0] / length * head, along[1] / length * head
    wings = ((end[0] - x - y, end[1] - y + x), (end[0] - x + y, end[1] - y - x))
    points = (start, end, wings[0], end, wings[1])
    parts = zip("MLMLL", points, strict=True)
    attributes = {
        "d": " ".join(f"{step}{_number(px)},{_number(py)}" for step, (px, py) in parts),
        "fill": "none",
        "stroke": color,
        "stroke-width": "2",
        "stroke-linecap": "round",
        "stroke-linejoin": "round",
    }
    xs, ys = zip(*points, strict=True)
    box = (min(xs) - 1, min(ys) - 1, max(xs) + 1, max(ys) + 1)
    return Mark(element=ElementTree.Element("path", attributes), box=box)


def group(marks: Sequence[Mark], *, kind: str, tooltip: str) -> Mark:
    """Gather marks under a class and a text that browsers show under the pointer."""
    element = ElementTree.Element("g", {"class": kind})
    ElementTree.SubElement(element, "title").text = _printable(tooltip)
    element.extend(mark.element for mark in marks)
    return Mark(element=element, box=bounds(marks))


def bounds(marks: Sequence[Mark]) -> Box:
    """Return the box around marks, at least one."""
    lefts, tops, rights, bottoms = zip(*(mark.box for mark in marks), strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def svg_document(marks: Sequence[Mark], *, title: str, description: str) -> str:
    """Write marks as an SVG document on white, as large as they need.

    Parameters
    ----------
    marks : sequence of Mark
        In drawing order, later ones above earlier ones.
    title, description : str
        What a screen reader says of the figure, in a phrase and in full.

    Returns
    -------
    str
        The same for the same marks, byte by byte; ends with a line break.
    """
    left, top, right, bottom = bounds(marks)
    corner = (left - MARGIN, top - MARGIN)
    size = (right - left + 2 * MARGIN, bottom - top + 2 * MARGIN)
    root = ElementTree.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "width": _number(size[0]),
            "height": _number(size[1]),
            "viewBox": " ".join(_number(value) for value in (*corner, *size)),
            "role": "img",
            "font-family": FONTS,
            "font-size": _number(TEXT_PX),
            "fill": INK,
        },
    )
    ElementTree.SubElement(root, "title").text = _printable(title)
    ElementTree.SubElement(root, "desc").text = _printable(description)
    paper = (*corner, corner[0] + size[0], corner[1] + size[1])
    root.append(draw_rectangle(paper, fill="#ffffff", corner_radius=0).element)
    root.extend(mark.element for mark in marks)
    ElementTree.indent(root, " ")
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _printable(text: str) -> str:
    """Replace what XML or UTF-8 cannot hold, and line breaks."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _number(value: float) -> str:
    """Write a length to a hundredth of a pixel; adding 0 takes the sign off a negative zero."""
    return f"{round(value, 2) + 0:.10g}"
