"""A manifest's table: the rows and columns of a CSV file that a person or a spreadsheet wrote."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from autoseg.core.errors import AutosegError, DocumentError
from autoseg.io.raw.dataset_json import read_bytes, refuse
from autoseg.io.raw.layouts import wrong
from autoseg.io.raw.manifest_entries import Cell, Entry, misspelled

_DELIMITERS: Final = ",;\t"
_NEEDED: Final = ("case", "segmentation")
_IMAGE: Final = "image"
_PLAIN: Final = (*_NEEDED, _IMAGE, "patient")
_CHANNEL: Final = "image:"
_LABEL: Final = "label:"
_COMMENT: Final = "#"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a table that holds anything."""

    number: int
    """Its number in a spreadsheet: the first line is 1, empty ones count."""
    cells: tuple[str, ...]
    """Its cells without spaces around them, and without empty ones at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A manifest's table whose columns are known."""

    path: Path
    """The file."""
    columns: tuple[str, ...]
    """Names of the columns, each once; those of comments are not read."""
    rows: tuple[Row, ...]
    """The rows below the header."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels that have a column of their own; none if one file holds all of them."""
        return self._behind(_CHANNEL)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels whose values have a column."""
        return self._behind(_LABEL)

    def _behind(self, front: str) -> tuple[str, ...]:
        return tuple(c.removeprefix(front) for c in self.columns if c.startswith(front))

    def problems(self) -> list[AutosegError]:
        """Return an error for each row that is longer than the header."""
        return [
            wrong(
                f"{self.path}: row {row.number} has {len(row.cells)} cells, the header names "
                f"{len(self.columns)} columns",
                "put quotes around cells that hold the sign between cells",
            ).about(
                dict(zip(self.columns, row.cells, strict=False)).get("case", ""),
                file=str(self.path),
            )
            for row in self.rows
            if len(row.cells) > len(self.columns)
        ]

    def entries(self, channels: Sequence[str]) -> Iterator[Entry]:
        """Yield the entry of each row, with its images in the order of the channels."""
        images = [_CHANNEL + channel for channel in channels] if self.channels else [_IMAGE]
        for row in self.rows:
            values = dict(zip(self.columns, row.cells, strict=False))
            cells = {
                column: Cell(
                    place=f"row {row.number}, column {column!r}", value=values.get(column, "")
                )
                for column in (*_PLAIN, *self.columns)
            }
            yield Entry(
                place=f"row {row.number}",
                name=cells["case"],
                images=tuple(cells[column] for column in images),
                segmentation=cells["segmentation"],
                patient=cells["patient"],
                labels=tuple((label, cells[_LABEL + label]) for label in self.labels),
            )


def read_table(path: Path, *, needs_segmentation: bool = True) -> Table:
    """Read a manifest's table.

    Parameters
    ----------
    path : Path
        UTF-8 text, with or without a byte order mark; cells lie between commas, semicolons or
        tabs, whichever the header has most of.
    needs_segmentation : bool
        Whether there has to be a column of segmentations.

    Raises
    ------
    DatasetError
        E-SET-46 if its columns are not those of a manifest.
    DocumentError
        E-SET-46 if it is no text or no table.
    OSError
        If it cannot be read.
    """
    header, *rows = read_rows(path) or [Row(number=1, cells=())]
    columns = tuple(map(_tidy, header.cells))
    _check_columns(columns, str(path), _NEEDED if needs_segmentation else _NEEDED[:1])
    return Table(path=path, columns=columns, rows=tuple(rows))


def _tidy(column: str) -> str:
    """Return a column's name without spaces around its colon."""
    front, colon, name = column.partition(":")
    return f"{front.strip()}:{name.strip()}" if colon else column


def read_rows(path: Path, delimiters: str = _DELIMITERS) -> list[Row]:
    """Return the rows of a table that hold anything; see `read_table`."""
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentError(
            f"{path}: is no UTF-8 text ({error.reason} at byte {error.start})",
            rule="E-SET-46",
            hint="save it as CSV in UTF-8",
        ) from error
    header = next((line for line in text.splitlines() if line.strip()), "")
    rows: list[Row] = []
    try:
        lines = csv.reader(
            io.StringIO(text, newline=""),
            delimiter=max(delimiters, key=partial(_columns_by, header)),
            skipinitialspace=True,
            strict=True,
        )
        for line in lines:
            rows.append(Row(number=len(rows) + 1, cells=_trimmed(line)))
    except csv.Error as error:
        raise DocumentError(
            f"{path}: is no table at row {len(rows) + 1}: {error}",
            rule="E-SET-46",
            hint="check the quotes of that row",
        ) from error
    return [row for row in rows if row.cells]


def _columns_by(header: str, delimiter: str) -> int:
    """Return how many columns a header has if its cells lie between some sign."""
    return len(next(csv.reader([header], delimiter=delimiter)))


def _trimmed(line: Sequence[str]) -> tuple[str, ...]:
    """Return cells without spaces around them and without the empty ones at the end."""
    cells = [cell.strip() for cell in line]
    while cells and not cells[-1]:
        cells.pop()
    return tuple(cells)


def _check_columns(columns: Sequence[str], where: str, needed: Sequence[str]) -> None:
    read = [column for column in columns if not column.startswith(_COMMENT)]
    allowed = (*_PLAIN, "image:<channel>", "label:<name>")
    unknown = [column for column in read if not _is_known(column)]
    if unknown:
        refuse(
            where,
            f"unknown columns {misspelled(unknown, _PLAIN)}; allowed are {', '.join(allowed)}",
            f"correct the name, or put {_COMMENT} in front of it if the column is not to be read",
        )
    twice = [column for column, count in Counter(read).items() if count > 1]
    if twice:
        refuse(where, f"columns {twice} occur more than once", "keep one of them")
    lacking = [column for column in needed if column not in read]
    if lacking:
        refuse(
            where,
            f"columns {', '.join(lacking)} are missing; the header has {list(columns)}",
            f"begin the file with a line such as {','.join((needed[0], _IMAGE, *needed[1:]))}",
        )
    if (_IMAGE in read) == any(column.startswith(_CHANNEL) for column in read):
        refuse(
            where,
            f"the header has {list(columns)}; needed is one column {_IMAGE!r}, or a column "
            f"'{_CHANNEL}<channel>' for each channel",
            "name one or the others",
        )


def _is_known(column: str) -> bool:
    fronts = [front for front in (_CHANNEL, _LABEL) if column.startswith(front)]
    return column in _PLAIN or any(column.removeprefix(front).strip() for front in fronts)
