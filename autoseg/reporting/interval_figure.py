"""Means with their intervals, one below the other on one scale: what is better, and how surely."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree

from autoseg.reporting.drawing import INK, Box, Mark, draw_rectangle, svg_document, write_text

WIDTH: Final = 420.0
"""Of the scale, pixels."""
ROW: Final = 30.0
"""From one mean to the next, pixels."""
CHOSEN: Final = "#D55E00"
"""Vermilion, of the palette of Okabe and Ito."""
OTHER: Final = "#0072B2"
"""Blue."""
FAINT: Final = "#e4e4e4"
"""Color of the grid."""
TICKS: Final = 5
"""Values that are written below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A mean."""

    title: str
    """What it is of."""
    mean: float
    """The value."""
    low: float
    """Lower end of its interval."""
    high: float
    """Upper end of its interval."""
    remark: str
    """What is written behind it."""
    is_chosen: bool
    """Whether it stands out."""


def interval_figure(rows: Sequence[Row], *, title: str, lines: Sequence[str]) -> str:
    """Draw means and their intervals.

    Parameters
    ----------
    rows : sequence of Row
        At least one, the first on top.
    title : str
        What is compared.
    lines : sequence of str
        What is said of it, above the figure.

    Returns
    -------
    str
        An SVG document; the same for the same rows.
    """
    low, high = min(row.low for row in rows), max(row.high for row in rows)
    margin = 0.05 * (high - low) or 0.01
    span = (low - margin, high + margin)
    top = -24.0 - 18 * len(lines)
    marks = [write_text(title, (0, top - 8), size=16, is_bold=True)]
    marks += [write_text(line, (0, top + 16 + 18 * k)) for k, line in enumerate(lines)]
    marks += _grid(span, ROW * len(rows))
    for number, row in enumerate(rows):
        marks += _row(row, ROW * (number + 0.5), span)
    return svg_document(marks, title=title, description=" ".join(lines))


def _grid(span: tuple[float, float], height: float) -> Iterator[Mark]:
    for tick in range(TICKS):
        value = span[0] + (span[1] - span[0]) * tick / (TICKS - 1)
        x = _place(value, span)
        yield draw_rectangle((x - 0.5, 0, x + 0.5, height), fill=FAINT, corner_radius=0)
        yield write_text(f"{value:.3f}", (x, height + 14), anchor="middle", size=11)


def _row(row: Row, y: float, span: tuple[float, float]) -> Iterator[Mark]:
    color = CHOSEN if row.is_chosen else OTHER
    ends = (_place(row.low, span), _place(row.high, span))
    yield draw_rectangle((ends[0], y - 1.5, ends[1], y + 1.5), fill=color, corner_radius=1)
    for x in ends:
        yield draw_rectangle((x - 1, y - 5, x + 1, y + 5), fill=color, corner_radius=0)
    yield _dot((_place(row.mean, span), y), color)
    yield write_text(row.title, (-12, y), anchor="end", is_bold=row.is_chosen)
    yield write_text(row.remark, (WIDTH + 12, y), is_bold=row.is_chosen)


def _dot(at: tuple[float, float], color: str, radius: float = 5.5) -> Mark:
    x, y = (f"{value:.2f}" for value in at)
    element = ElementTree.Element(
        "circle", {"cx": x, "cy": y, "r": f"{radius:g}", "fill": color, "stroke": INK}
    )
    box: Box = (at[0] - radius, at[1] - radius, at[0] + radius, at[1] + radius)
    return Mark(element=element, box=box)


def _place(value: float, span: tuple[float, float]) -> float:
    return WIDTH * (value - span[0]) / (span[1] - span[0])
