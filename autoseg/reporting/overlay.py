"""A picture of a case: planes through what stands out, with the outlines of its labels.

Lengths keep their proportions, so that a wrong spacing shows.
"""

import warnings
from collections.abc import Sequence
from io import BytesIO
from math import ceil
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from autoseg.reporting.planes import Overlay, Plane, edge_letters, grey_range, planes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLANES: Final = ("axial", "coronal", "sagittal")
"""Names of the planes across each array axis."""
PALETTE: Final = (
    "#ffb000",
    "#00d5ff",
    "#ff4fa3",
    "#7cff4f",
    "#a78bff",
    "#ff5c33",
    "#f5ff3d",
    "#3d8bff",
    "#00ffb3",
    "#ff9ecb",
)
"""Colors of outlines that stay apart on grey; labels in question take the first."""
PAPER: Final = "#101010"
"""Color around the planes."""
INK: Final = "#f0f0f0"
"""Color of texts."""
WIDTH_IN: Final = 13.0
"""Width of the picture, inches."""
DPI: Final = 100
"""Pixels per inch."""
NAME_FRACTION: Final = 0.12
"""Share of a plane's height from which a structure has room for its name; else it stands above."""
LISTED_LABELS: Final = 10
"""Labels that the legend names."""
LINE_CHARACTERS: Final = 150
"""Characters per line of text."""
BARS_MM: Final = (1, 2, 5, 10, 20, 50, 100, 200)
"""Lengths that a scale may have."""


def draw_overlay(overlay: Overlay) -> bytes:
    """Draw a case.

    Parameters
    ----------
    overlay : Overlay
        What to show.

    Returns
    -------
    bytes
        A PNG: one plane of a picture, three of a volume, each through the labels in question, or
        through the foreground, or through the middle. The same overlay gives the same bytes.
    """
    from matplotlib.figure import Figure

    shown = planes(overlay)
    widths = np.array([plane.size_mm[1] for plane in shown])
    widths = np.clip(widths, 0.4 * widths.mean(), 2.5 * widths.mean())
    heights = np.array([plane.size_mm[0] for plane in shown])
    tallest = float((heights * widths / [plane.size_mm[1] for plane in shown]).max())
    panel_in = float(np.clip(WIDTH_IN * tallest / widths.sum(), 2.5, 6.0))
    text = [line for whole in overlay.lines for line in _wrapped(whole)]
    head_in, foot_in = 0.55 + 0.22 * len(text), 0.75
    height_in = head_in + panel_in + foot_in
    figure = Figure(figsize=(WIDTH_IN, height_in), dpi=DPI, facecolor=PAPER)
    grid = figure.add_gridspec(
        1,
        len(shown),
        width_ratios=widths.tolist(),
        left=0.03,
        right=0.97,
        wspace=0.08,
        bottom=foot_in / height_in,
        top=1 - head_in / height_in,
    )
    colors = _colors(overlay)
    _write_head(figure, overlay.title, text, height_in)
    for column, plane in enumerate(shown):
        _draw_plane(figure.add_subplot(grid[column]), plane, overlay, colors)
    _write_legend(figure, overlay, shown, colors)
    stored = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that the font lacks become boxes
        figure.savefig(stored, format="png")
    return stored.getvalue()


def _colors(overlay: Overlay) -> dict[int, str]:
    others = [k for k in range(1, len(overlay.names)) if k not in overlay.focus]
    return {k: PALETTE[n % len(PALETTE)] for n, k in enumerate((*overlay.focus, *others))}


def _draw_plane(axes: "Axes", plane: Plane, overlay: Overlay, colors: dict[int, str]) -> None:
    height, width = plane.size_mm
    low, high = grey_range(overlay.image, overlay.label_map)
    axes.imshow(plane.image, "gray", vmin=low, vmax=high, extent=(0, width, height, 0))
    axes.set_axis_off()
    axes.autoscale(enable=False)
    for label in reversed(colors):  # what is in question comes last, above the others
        _draw_outline(
            axes,
            plane,
            label,
            colors[label],
            name=overlay.names[label],
            is_focus=label in overlay.focus,
        )
    if plane.is_turned and overlay.body_center:
        _mark_middle(axes, plane, overlay)
    if plane.axis >= 0:
        size = overlay.image.shape[plane.axis]
        name = PLANES[plane.axis] if overlay.is_anatomical else f"across axis {plane.axis}"
        axes.set_title(f"{name}, slice {plane.index + 1} of {size}", color=INK, fontsize=9)
    if plane.is_turned:
        _write_letters(axes, plane)
        _draw_scale(axes, plane)


def _draw_outline(
    axes: "Axes", plane: Plane, label: int, color: str, *, name: str, is_focus: bool
) -> None:
    mask = np.pad(plane.label_map == label, 1).astype(float)
    if not mask.any():
        return
    step_y, step_x = (mm / n for mm, n in zip(plane.size_mm, plane.image.shape, strict=True))
    y, x = (np.arange(n) - 0.5 for n in mask.shape)  # a voxel's center lies half a step inside
    axes.contour(
        x * step_x, y * step_y, mask, [0.5], colors=color, linewidths=2.2 if is_focus else 1.0
    )
    if is_focus:
        held_y, held_x = np.nonzero(mask)
        is_small = np.ptp(held_y) < NAME_FRACTION * len(mask)
        at_y = held_y.min() - 1 if is_small else held_y.mean() - 0.5
        style = {**_text(9, "center", "bottom" if is_small else "center"), "color": color}
        axes.text((held_x.mean() - 0.5) * step_x, at_y * step_y, _plain(name), **style)


def _mark_middle(axes: "Axes", plane: Plane, overlay: Overlay) -> None:
    if plane.columns != len(PLANES) - 1:
        return
    at = plane.size_mm[1] / 2 - overlay.body_center[plane.columns]
    axes.axvline(at, color=INK, linestyle=(0, (4, 4)), linewidth=1)
    axes.text(at, 0.9 * plane.size_mm[0], " middle of the body", **_text(8, "left", "center"))


def _write_letters(axes: "Axes", plane: Plane) -> None:
    height, width = plane.size_mm
    left, right, top, bottom = edge_letters(plane)
    for x, y, letter, across, along in (
        (0, height / 2, left, "left", "center"),
        (width, height / 2, right, "right", "center"),
        (width / 2, 0, top, "center", "top"),
        (width / 2, height, bottom, "center", "bottom"),
    ):
        axes.text(x, y, f" {letter} ", weight="bold", **_text(13, across, along))


def _draw_scale(axes: "Axes", plane: Plane) -> None:
    height, width = plane.size_mm
    fitting = [bar for bar in BARS_MM if bar <= width / 3]
    if fitting:
        left, y = 0.03 * width, 0.95 * height
        axes.plot([left, left + fitting[-1]], [y, y], color=INK, linewidth=3)
        axes.text(left, y - 0.01 * height, f"{fitting[-1]} mm", **_text(8, "left", "bottom"))


def _text(size: int, across: str, along: str) -> dict[str, Any]:
    from matplotlib.patheffects import withStroke

    return {
        "color": INK,
        "fontsize": size,
        "ha": across,
        "va": along,
        "path_effects": [withStroke(linewidth=2, foreground=PAPER)],
    }


def _write_head(figure: "Figure", title: str, lines: Sequence[str], height_in: float) -> None:
    at = 1 - 0.12 / height_in
    figure.text(0.03, at, _plain(title), color=INK, fontsize=14, weight="bold", va="top")
    for number, line in enumerate(lines):
        y = at - (0.3 + 0.2 * number) / height_in
        figure.text(0.03, y, _plain(line), color=INK, fontsize=10, va="top")


def _write_legend(
    figure: "Figure", overlay: Overlay, shown: Sequence[Plane], colors: dict[int, str]
) -> None:
    from matplotlib.lines import Line2D

    seen = {int(k) for plane in shown for k in np.unique(plane.label_map)}
    listed = [k for k in colors if k in seen or k in overlay.focus]
    named = listed[:LISTED_LABELS]
    texts = [_plain(overlay.names[k]) + ("" if k in seen else " (not here)") for k in named]
    handles: list[Any] = [Line2D([], [], color=colors[k], linewidth=3) for k in named]
    if len(listed) > LISTED_LABELS:
        handles.append(Line2D([], [], linewidth=0))
        texts.append(f"and {len(listed) - LISTED_LABELS} more")
    figure.legend(
        handles,
        texts,
        loc="lower left",
        bbox_to_anchor=(0.025, 0.0),
        ncols=ceil(max(1, len(texts)) / (1 if len(texts) <= 5 else 2)),
        frameon=False,
        labelcolor=INK,
        fontsize=10,
    )


def _wrapped(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text, LINE_CHARACTERS)


def _plain(text: str) -> str:
    """Keep dollar signs from being read as formulas, and control characters out."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text).replace(
        "$", r"\$"
    )
