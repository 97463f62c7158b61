"""Curves over epochs in a panel, each named where it ends, with ticks and a grid."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Final
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from autoseg.core.training_history import Series
from autoseg.reporting.drawing import Box, Mark, Point, group, write_text

LABEL_PX: Final = 11.0
"""Font size of ticks and of the names of curves."""
LABEL_GAP: Final = 14.0
"""Between the names of two curves, pixels."""
LEADER: Final = 16.0
"""Length of the line from a curve's end to its name, pixels."""
PAD: Final = 6.0
"""Between marks and their texts, pixels."""
GRID: Final = "#e4e4e4"
"""Color of the grid, light grey."""
DOTTED: Final = 40
"""Up to how many epochs each is marked by a dot."""
DENSE: Final = 300
"""From how many epochs lines are narrow: two pixels to an epoch leave no room for wide ones."""
POINTS: Final = 1200
"""Most points of a curve: two to a pixel; of more, the lowest and the highest are kept."""
LONGEST_NAME: Final = 26
"""Characters of a curve's name; from longer ones the middle is cut out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One figure over the epochs."""

    name: str
    """What is written at its end; empty for a curve that goes with another."""
    series: Series
    """At least one point."""
    color: str
    """Color of the line."""
    is_thin: bool = False
    """Whether it stands back behind the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Curves on one scale."""

    title: str
    """What is shown, and its unit."""
    curves: tuple[Curve, ...]
    """Later ones lie above earlier ones."""
    limits: tuple[float, float]
    """Lowest and highest value shown; what lies outside is drawn on the edge."""
    height: float
    """Pixels."""
    factor: float = 1.0
    """What values are multiplied by where they are written, such as 100 for percent."""
    unit: str = ""
    """What is written behind a last value."""
    digits: int = 3
    """Significant digits of a value that is written."""


def draw_panel(panel: Panel, frame: Box, epochs: int) -> Iterator[Mark]:
    """Draw a panel.

    Parameters
    ----------
    panel : Panel
        What to draw.
    frame : Box
        Where its curves lie; title, ticks and names lie around it.
    epochs : int
        Number of finished epochs at the right edge; 0 lies at the left edge.
    """
    left, top, right, _ = frame
    yield write_text(panel.title, (left, top - 12), is_bold=True)
    for value in ticks(*panel.limits, most=max(3, round(panel.height / 32))):
        y = _place(panel, frame, value)
        yield draw_line([(left, y), (right, y)], color=GRID, width=1)
        text = f"{round(value * panel.factor, 9):.4g}"
        yield write_text(text, (left - PAD, y), anchor="end", size=LABEL_PX)
    for curve in panel.curves:
        yield _draw_curve(panel, curve, frame, epochs)
    yield from _name_curves(panel, frame, epochs)


def draw_epochs(frame: Box, epochs: int) -> Iterator[Mark]:
    """Draw the ticks of the epochs under a frame."""
    left, _, right, bottom = frame
    for value in ticks(0, epochs, most=10):
        if value == int(value):
            x = left + value / epochs * (right - left)
            yield draw_line([(x, bottom), (x, bottom + 4)], color="#7a7a7a", width=1)
            yield write_text(f"{value:g}", (x, bottom + 14), anchor="middle", size=LABEL_PX)
    yield write_text("epoch", ((left + right) / 2, bottom + 32), anchor="middle", size=LABEL_PX)


def draw_line(points: Sequence[Point], *, color: str, width: float, opacity: float = 1.0) -> Mark:
    """Draw straight lines through points, at least one."""
    attributes = {
        "points": " ".join(f"{x:.1f},{y:.1f}" for x, y in points),
        "fill": "none",
        "stroke": color,
        "stroke-width": f"{width:g}",
        "stroke-linejoin": "round",
    }
    if opacity < 1:
        attributes["stroke-opacity"] = f"{opacity:g}"
    xs, ys = zip(*points, strict=True)
    box = (min(xs), min(ys), max(xs), max(ys))
    return Mark(element=ElementTree.Element("polyline", attributes), box=box)


def ticks(low: float, high: float, *, most: int) -> tuple[float, ...]:
    """Return the round values between two others.

    Parameters
    ----------
    low, high : float
        ``low < high``.
    most : int
        How many there may be, at least 2.

    Returns
    -------
    tuple of float
        Multiples of 1, 2 or 5 times a power of ten, as narrow as `most` allows.

    Examples
    --------
    >>> ticks(0.0, 1.0, most=6)
    (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    """
    power = floor(log10((high - low) / most))
    for step in (m * 10.0**p for p in (power, power + 1, power + 2) for m in (1, 2, 5)):
        # A millionth of a step more at both ends: a limit on a tick must not miss it by rounding.
        first, last = ceil(low / step - 1e-6), floor(high / step + 1e-6)
        if last - first < most:
            return tuple(round(k * step, 12 - power) for k in range(first, last + 1))
    raise AssertionError("unreachable: a step a hundred times as wide leaves one tick")


def _place(panel: Panel, frame: Box, value: float) -> float:
    low, high = panel.limits
    share = min(max((value - low) / (high - low), 0.0), 1.0)
    return frame[3] - share * (frame[3] - frame[1])


def _draw_curve(panel: Panel, curve: Curve, frame: Box, epochs: int) -> Mark:
    at, values = _thinned(curve.series)
    low, high = panel.limits
    xs = frame[0] + at / epochs * (frame[2] - frame[0])
    shares = np.clip((values - low) / (high - low), 0, 1)
    ys = frame[3] - shares * (frame[3] - frame[1])
    points = list(zip(xs.tolist(), ys.tolist(), strict=True))
    width, opacity = (0.8, 0.45) if curve.is_thin else (2.0 if len(points) < DENSE else 1.2, 1.0)
    marks = [draw_line(points, color=curve.color, width=width, opacity=opacity)]
    if len(points) <= DOTTED and not curve.is_thin:
        marks += [_draw_dot(point, color=curve.color) for point in points]
    return group(marks, kind="curve", tooltip=curve.name or panel.title)


def _draw_dot(center: Point, *, color: str, radius: float = 2.5) -> Mark:
    x, y = center
    attributes = {"cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": f"{radius:g}", "fill": color}
    box = (x - radius, y - radius, x + radius, y + radius)
    return Mark(element=ElementTree.Element("circle", attributes), box=box)


def _name_curves(panel: Panel, frame: Box, epochs: int) -> Iterator[Mark]:
    """Write the name and the last value of curves beside their ends, none over another."""
    named = [curve for curve in panel.curves if curve.name]
    named.sort(key=lambda curve: -curve.series.values[-1])
    ends = [_place(panel, frame, curve.series.values[-1]) for curve in named]
    for curve, end, y in zip(named, ends, _spread(ends, frame[1], frame[3]), strict=True):
        x = frame[0] + curve.series.epochs[-1] / epochs * (frame[2] - frame[0])
        leader = [(x, end), (frame[2] + PAD, end), (frame[2] + LEADER, y)]
        yield draw_line(leader, color=curve.color, width=1)
        value = f"{curve.series.values[-1] * panel.factor:.{panel.digits}g}"
        text = f"{_shortened(curve.name)} {value}{panel.unit}"
        yield write_text(text, (frame[2] + LEADER + PAD, y), size=LABEL_PX)


def _spread(places: Sequence[float], top: float, bottom: float) -> list[float]:
    """Move ascending places apart, within a frame as far as they fit there."""
    spread: list[float] = []
    for place in places:
        spread.append(max(place, spread[-1] + LABEL_GAP) if spread else max(place, top))
    room = bottom
    for k in reversed(range(len(spread))):
        spread[k] = min(spread[k], room)
        room = spread[k] - LABEL_GAP
    return spread


def _shortened(name: str) -> str:
    if len(name) <= LONGEST_NAME:
        return name
    half = (LONGEST_NAME - 3) // 2
    return f"{name[:half]}...{name[-half:]}"


def _thinned(series: Series) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the points of a curve; of too many, the lowest and highest of every few, and the last.

    A spike of a single epoch is still seen.
    """
    at, values = np.array(series.epochs, np.float64), np.array(series.values, np.float64)
    if len(at) <= POINTS:
        return at, values
    together = ceil(2 * len(at) / POINTS)
    rows = len(at) // together
    blocks, first = values[: rows * together].reshape(rows, together), np.arange(rows) * together
    lowest, highest = first + blocks.argmin(axis=1), first + blocks.argmax(axis=1)
    kept = np.unique([*lowest, *highest, len(at) - 1])
    return at[kept], values[kept]
