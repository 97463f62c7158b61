"""The course of a training in one figure: losses, Dice, learning rate and time waited for data."""

from collections.abc import Iterator
from typing import Final

from autoseg.core.training_history import (
    AVERAGE,
    DICE,
    MEAN_DICE,
    TrainingHistory,
    limits,
)
from autoseg.reporting.curves import Curve, Panel, draw_epochs, draw_panel
from autoseg.reporting.drawing import INK, svg_document, write_text
from autoseg.reporting.wording import count

WIDTH: Final = 640.0
"""Width of the panels, pixels."""
PANEL_GAP: Final = 44.0
"""Between two panels, with the title of the lower one, pixels."""
TRAINING: Final = "#0072B2"
"""Blue, of the color-blind safe palette of Okabe and Ito, as all colors here."""
VALIDATION: Final = "#D55E00"
"""Vermilion."""
STRUCTURES: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Colors of structures; the palette without its yellow, which is lost on white."""
LEAST_WAIT: Final = 0.05
"""The scale of the time waited reaches at least this share: noise must not look like trouble."""


def training_figure(history: TrainingHistory, *, title: str, label: str = "") -> bytes:
    """Draw the course of a training.

    Parameters
    ----------
    history : TrainingHistory
        Any number of epochs, none included.
    title : str
        What is trained.
    label : str
        How it is trained, in a line; left out if empty.

    Returns
    -------
    bytes
        An SVG document, UTF-8: panels one below the other over the same epochs, each left out if
        no epoch has its figures. Where the moving average of the weights was judged as well, thick
        lines are its figures and thin ones those of the raw weights. Of more structures than
        there are colors, the best and the worst are shown. The same history gives the same bytes.
    """
    heads = [line for line in (label, _summary(history)) if line]
    marks = [write_text(title, (0, -46 - 20 * len(heads)), size=16, is_bold=True)]
    marks += [write_text(line, (0, -40 - 20 * k)) for k, line in enumerate(reversed(heads))]
    epochs = int(history.last.get("epoch", 0)) + 1
    top = bottom = 0.0
    for panel in _panels(history):
        bottom = top + panel.height
        marks += draw_panel(panel, (0.0, top, WIDTH, bottom), epochs)
        top = bottom + PANEL_GAP
    if bottom:
        marks += draw_epochs((0.0, 0.0, WIDTH, bottom), epochs)
    return svg_document(marks, title=title, description=_summary(history)).encode()


def _panels(history: TrainingHistory) -> Iterator[Panel]:
    if losses := (
        *_curves(history, "train_loss", "training", TRAINING),
        *_curves(history, "validation_loss", "validation", VALIDATION),
    ):
        low, high = limits([value for curve in losses for value in curve.series.values])
        margin = 0.05 * (high - low) or 0.05 * abs(low) or 1.0
        span = (low - margin, high + margin)
        yield Panel(title="loss", curves=losses, limits=span, height=180)
    if dice := tuple(_dice(history)):
        yield Panel(title=_dice_title(history), curves=dice, limits=(0.0, 1.0), height=220)
    if rates := tuple(_curves(history, "learning_rate", "learning rate", INK)):
        highest = max(rates[0].series.values) or 1.0
        yield Panel(title="learning rate", curves=rates, limits=(0.0, highest), height=80, digits=2)
    if waits := tuple(_curves(history, "wait_fraction", "waited", INK)):
        highest = max(LEAST_WAIT, *waits[0].series.values)
        yield Panel(
            title="time that the device waited for data, %",
            curves=waits,
            limits=(0.0, highest),
            height=80,
            factor=100.0,
            unit=" %",
            digits=2,
        )


def _dice(history: TrainingHistory) -> Iterator[Curve]:
    notable = history.notable(len(STRUCTURES))
    for structure, color in zip(notable, STRUCTURES, strict=False):
        yield from _curves(history, DICE + structure, structure, color)
    if len(history.structures) > 1:
        yield from _curves(history, MEAN_DICE, "mean", INK)


def _curves(history: TrainingHistory, figure: str, name: str, color: str) -> Iterator[Curve]:
    """Give the curve of a figure; with averaged weights theirs, before a thin one of the raw."""
    raw, averaged = history.series(figure), history.series(AVERAGE + figure)
    for series, is_thin in ((raw, bool(averaged.values)), (averaged, False)):
        if series.values:
            yield Curve(name="" if is_thin else name, series=series, color=color, is_thin=is_thin)


def _dice_title(history: TrainingHistory) -> str:
    weights = "; thick: averaged weights, thin: raw" if history.has_average else ""
    total = len(history.structures)
    if total <= len(STRUCTURES):
        return f"Dice of random validation patches{weights}"
    return f"Dice, best and worst {len(STRUCTURES) - 1} of {total} structures{weights}"


def _summary(history: TrainingHistory) -> str:
    if not history.rows:
        return "no epoch is complete yet"
    last, steps = history.last, history.series("step")
    parts = [count(int(last["epoch"]) + 1, "epoch")]
    if steps.values:
        parts.append(f"{int(steps.values[-1]):,} steps")
    if seconds := last.get("elapsed_s"):
        hours, minutes = divmod(round(seconds / 60), 60)
        parts.append(f"{hours} h {minutes:02d} min" if hours else f"{minutes} min")
    return ", ".join(parts)
