"""A training at a glance: one line for a log, a few for a terminal."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from autoseg.core.training_history import (
    AVERAGE,
    DICE,
    MEAN_DICE,
    Row,
    TrainingHistory,
    limits,
)

STRUCTURES: Final = 8
"""Structures with a line of their own; of more, the best and the worst."""
LEVELS: Final = "\N{LOWER ONE EIGHTH BLOCK}\N{LOWER ONE QUARTER BLOCK}\
\N{LOWER THREE EIGHTHS BLOCK}\N{LOWER HALF BLOCK}\N{LOWER FIVE EIGHTHS BLOCK}\
\N{LOWER THREE QUARTERS BLOCK}\N{LOWER SEVEN EIGHTHS BLOCK}\N{FULL BLOCK}"
"""Characters of a sparkline, from the lowest value to the highest."""
BAR: Final = ("\N{BOX DRAWINGS HEAVY HORIZONTAL}", "\N{BOX DRAWINGS LIGHT HORIZONTAL}")
"""Characters of a bar: what is done and what is left."""
LONGEST_BAR: Final = 40
"""Characters of the bar where there is room."""
LONGEST_SPARKLINE: Final = 40
"""Characters of a sparkline where there is room; more than a glance takes in is noise."""
SHORTEST_COURSE: Final = 6
"""A sparkline or bar of fewer characters tells nothing and is left out."""
LONGEST_NAME: Final = 20
"""Characters of a structure's name; from longer ones the middle is cut out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingView:
    """Where a training stands."""

    name: str
    """What is trained, such as ``fold 0``."""
    epoch: int
    """Epoch that is going on, from 0."""
    epochs: int | None
    """Epochs to train; None where only time counts."""
    fraction: float
    """Share of the training that is done, 0 to 1."""
    remaining_s: float
    """Estimate of the time to the end."""
    values: Row
    """Figures of the epoch so far."""
    history: TrainingHistory
    """Figures of the epochs that are complete."""
    event: str = ""
    """The last warning or other event, as it was told; empty if there was none."""
    is_milestone: bool = False
    """Whether an epoch is complete."""

    @property
    def line(self) -> str:
        """The state in one line; losses and Dice are those of the last whole epoch."""
        last = self.history.last
        parts = [f"{self.name} {self._epoch}"]
        if "train_loss" in last:
            parts.append(f"loss {last['train_loss']:.3f}")
        if "validation_loss" in last:
            parts.append(f"validation {_both(last, 'validation_loss')}")
        if MEAN_DICE in last:
            parts.append(f"Dice {_both(last, MEAN_DICE)}")
        if len(self.history.structures) > 1:
            worst = min(self.history.structures, key=self.history.recent_dice)
            parts.append(f"lowest {_shortened(worst)} {self.history.recent_dice(worst):.3f}")
        if "wait_fraction" in self.values:
            parts.append(f"wait {self.values['wait_fraction']:.0%}")
        return "  ".join((*parts, f"ETA {duration(self.remaining_s)}"))

    def lines(self, width: int) -> tuple[str, ...]:
        """Return the state in lines of at most ``width`` characters."""
        wide = (self._head(width), *self._courses(width), *self._rest())
        return tuple(_cut(_printable(line), width) for line in wide)

    @property
    def _epoch(self) -> str:
        return f"epoch {self.epoch + 1}" + (f"/{self.epochs}" if self.epochs else "")

    def _head(self, width: int) -> str:
        """Say how far it is, with a bar where there is room."""
        before = f"{self.name}  {self._epoch}"
        after = f"{self.fraction:.0%}  {duration(self.remaining_s)} left"
        room = min(LONGEST_BAR, width - len(before) - len(after) - 4)
        if room < SHORTEST_COURSE:
            return f"{after}  {before}"
        return f"{before}  {_bar(self.fraction, room)}  {after}"

    def _courses(self, width: int) -> Iterator[str]:
        """Give a line for each figure that is followed: its name, last values and course."""
        structures = self.history.notable(STRUCTURES)
        total = len(self.history.structures)
        shown = [("loss", "train_loss"), ("validation", "validation_loss")]
        shown += [("mean Dice", MEAN_DICE)] * (total > 1)
        shown += [(_shortened(structure), DICE + structure) for structure in structures]
        column = max(len(label) for label, _ in shown)
        for label, figure in shown:
            if course := self.history.series(figure).values:
                text = f"{label:<{column}}  {self._latest(figure):<15}  "
                is_loss = figure.endswith("_loss") and not figure.startswith(DICE)
                span = limits(course) if is_loss else (0.0, 1.0)
                room = min(LONGEST_SPARKLINE, width - len(text))
                yield text + sparkline(course, room, span=span)
        if total > len(structures):
            yield f"(the best and the worst {len(structures) - 1} of {total} structures)"

    def _latest(self, figure: str) -> str:
        row = next(row for row in reversed(self.history.rows) if figure in row)
        return _both(row, figure)

    def _rest(self) -> Iterator[str]:
        """Give pace and rate, and the last event."""
        known = {**self.history.last, **self.values}
        formats = {
            "step_s": "step {:.3g} s",
            "wait_fraction": "data wait {:.1%}",
            "learning_rate": "learning rate {:.2g}",
        }
        parts = [text.format(known[name]) for name, text in formats.items() if name in known]
        parts += ["(...): averaged weights"] * self.history.has_average
        if parts:
            yield "   ".join(parts)
        if self.event:
            yield self.event


def sparkline(values: Sequence[float], width: int, *, span: tuple[float, float]) -> str:
    """Draw a course in one line of text.

    Parameters
    ----------
    values : sequence of float
        At least one.
    width : int
        Most characters; of more values, neighbors are averaged.
    span : tuple of float
        Values of the lowest and the highest character; what lies outside is drawn as these.

    Examples
    --------
    >>> sparkline((0.0, 0.5, 1.0), 10, span=(0.0, 1.0))
    '▁▅█'
    """
    if width < SHORTEST_COURSE:
        return ""
    together = ceil(len(values) / width)
    # From the end, so that the last character stands for as many epochs as the others.
    starts = range(-(-len(values) % together), len(values), together)
    low, high = span
    drawn = []
    for start in starts:
        few = values[max(start, 0) : start + together]
        share = (sum(few) / len(few) - low) / (high - low) if high > low else 0.0
        drawn.append(LEVELS[round(min(max(share, 0.0), 1.0) * (len(LEVELS) - 1))])
    return "".join(drawn)


def duration(seconds: float) -> str:
    """Write a time as clocks do, in days where it takes some.

    Examples
    --------
    >>> duration(65), duration(3 * 3600 + 61), duration(200_000)
    ('1:05', '3:01:01', '2 d 7 h')
    """
    minutes, second = divmod(int(min(seconds, 1e9)), 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def _both(row: Row, figure: str) -> str:
    """Write a figure, and behind it that of the averaged weights."""
    averaged = row.get(AVERAGE + figure)
    return f"{row[figure]:.3f}" + (f" ({averaged:.3f})" if averaged is not None else "")


def _bar(fraction: float, width: int) -> str:
    done = round(min(max(fraction, 0.0), 1.0) * width)
    return BAR[0] * done + BAR[1] * (width - done)


def _shortened(name: str) -> str:
    if len(name) <= LONGEST_NAME:
        return name
    half = (LONGEST_NAME - 3) // 2
    return f"{name[:half]}...{name[-half:]}"


def _printable(text: str) -> str:
    """Replace what a terminal would obey instead of showing it."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _cut(line: str, width: int) -> str:
    line = line.rstrip()
    return line if len(line) <= width else line[: max(0, width - 1)] + "\N{HORIZONTAL ELLIPSIS}"
