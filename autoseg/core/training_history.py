"""The rows that a training leaves, one per epoch, as series to draw and to judge."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import isfinite
from typing import Final

Row = Mapping[str, float]
"""Figures of one epoch by name; ``epoch``, from 0, is always there."""

DICE: Final = "dice_"
"""Before the name of a structure: its Dice over random validation patches."""
MEAN_DICE: Final = "pseudo_dice"
"""Mean of those Dice over the structures that have one."""
AVERAGE: Final = "average_"
"""Before the name of a figure: the same with the moving average of the weights."""
RECENT_EPOCHS: Final = 5
"""Epochs over which structures are compared, so that one lucky set of patches decides nothing."""
SPIKE_RATIO: Final = 4.0
"""How many times the spread of all but the highest hundredth of values is shown; see `limits`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One figure over the epochs that have it."""

    epochs: tuple[int, ...]
    """Epochs that were finished when it was measured, from 1, ascending."""
    values: tuple[float, ...]
    """The figure, one per entry of ``epochs``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingHistory:
    """The epochs of a training, each once, in order; `gather_history` makes it from rows."""

    rows: tuple[Row, ...] = field(default=(), repr=False)
    """Finite figures of each epoch."""
    structures: tuple[str, ...] = ()
    """Names of the structures that have a Dice in some row, as they came up."""

    @property
    def last(self) -> Row:
        """The row of the last epoch; empty before the first is complete."""
        return self.rows[-1] if self.rows else {}

    @property
    def has_average(self) -> bool:
        """Whether the last epoch was also judged with the moving average of the weights."""
        return any(name.startswith(AVERAGE) for name in self.last)

    def series(self, name: str) -> Series:
        """Return a figure over the epochs that have it; empty where none has."""
        found = [(int(row["epoch"]) + 1, row[name]) for row in self.rows if name in row]
        return Series(epochs=tuple(e for e, _ in found), values=tuple(v for _, v in found))

    def before(self, epoch: int) -> "TrainingHistory":
        """Return the history up to the start of an epoch."""
        return gather_history(row for row in self.rows if row["epoch"] < epoch)

    def with_row(self, values: Mapping[str, object]) -> "TrainingHistory":
        """Return the history with one epoch more.

        Parameters
        ----------
        values : mapping of str
            Figures of the epoch; what is not a finite number is left out. Without ``epoch`` the
            row says nothing and is left out.

        Notes
        -----
        A training that is resumed or rolled back repeats epochs: what was known of this epoch and
        of later ones belongs to a course that was given up, and goes.
        """
        row = _figures(values)
        if "epoch" not in row:
            return self
        if self.last.get("epoch", -1.0) >= row["epoch"]:
            return self.before(int(row["epoch"])).with_row(row)
        scored = (name.removeprefix(DICE) for name in row if name.startswith(DICE))
        # A dict keeps the order and each name once.
        structures = tuple(dict.fromkeys((*self.structures, *scored)))
        return TrainingHistory(rows=(*self.rows, row), structures=structures)

    def recent_dice(self, structure: str) -> float:
        """Return the mean of a structure's last Dice, with averaged weights where there are any.

        Raises
        ------
        KeyError
            If no epoch has one.
        """
        raw, averaged = DICE + structure, AVERAGE + DICE + structure
        having = (row for row in reversed(self.rows) if raw in row)
        values = [row.get(averaged, row[raw]) for row in islice(having, RECENT_EPOCHS)]
        if not values:
            raise KeyError(structure)
        return sum(values) / len(values)

    def notable(self, most: int) -> tuple[str, ...]:
        """Return the structures that deserve a line of their own.

        Parameters
        ----------
        most : int
            How many there may be, at least 2.

        Returns
        -------
        tuple of str
            All of them as they came up, or else the best and then the worst, the very worst last.
        """
        names = self.structures
        if len(names) <= most:
            return names
        ranked = sorted(names, key=self.recent_dice, reverse=True)
        return (ranked[0], *ranked[1 - most :])


def gather_history(rows: Iterable[Mapping[str, object]]) -> TrainingHistory:
    """Return the history that rows tell, in the order in which they were written.

    See `TrainingHistory.with_row` for what becomes of repeated epochs.
    """
    history = TrainingHistory()
    for values in rows:
        history = history.with_row(values)
    return history


def limits(values: Sequence[float]) -> tuple[float, float]:
    """Return between which values to draw a course that may hold a few wild ones.

    Parameters
    ----------
    values : sequence of float
        At least one.

    Returns
    -------
    tuple of float
        The lowest value; and the highest, unless the highest hundredth of the values (at least
        one of them) lies far above the rest: then `SPIKE_RATIO` times the rest's spread above
        the lowest.

    Examples
    --------
    >>> limits([3.0, 1.0, 2.0, 1000.0])
    (1.0, 9.0)
    """
    ranked = sorted(values)
    low, high = ranked[0], ranked[-1]
    usual = ranked[int(0.99 * (len(ranked) - 1))]
    if usual > low:
        high = min(high, low + SPIKE_RATIO * (usual - low))
    return low, high


def _figures(values: Mapping[str, object]) -> Row:
    """Keep what is a finite number."""
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    }
