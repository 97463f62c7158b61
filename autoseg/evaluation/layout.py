"""A summary as a table to read and as a CSV to compute with."""

import csv
import io
from collections.abc import Sequence
from typing import Final

from autoseg.evaluation.overlap import volume_ml
from autoseg.evaluation.scoring import CaseScores, StructureScores
from autoseg.evaluation.summary import LabelSummary, Summary, mean

Row = tuple[str, ...]
Number = float | int | None

COLUMNS: Final = (
    "case",
    "label",
    "dice",
    "iou",
    "precision",
    "recall",
    "volume_error",
    "hd95_mm",
    "assd_mm",
    "nsd",
    "tolerance_mm",
    "lesions",
    "lesions_detected",
    "lesions_spurious",
    "lesion_f1",
    "reference_ml",
    "prediction_ml",
)
"""Columns of the CSV."""


def as_table(summary: Summary, *, worst: int = 0) -> str:
    """Lay a summary out as plain text, to be read on a terminal.

    Parameters
    ----------
    summary : Summary
        What to show.
    worst : int
        How many (case, label) rows to append, smallest Dice first and those without a Dice last.

    Returns
    -------
    str
        Lines without trailing spaces or a final line break. ``-`` stands for a missing number;
        columns without any number are left out.
    """
    head = ("label", *_METRICS, "cases", "both empty", "missed", "spurious")
    rows = [_label_row(label) for label in summary.labels]
    means = [mean(column) for column in zip(*map(_means, summary.labels), strict=True)]
    table = _align([head, *rows, ("mean", *_metrics(means), "", "", "", "")], texts=1)
    if worst < 1:
        return table
    case_head = ("case", "label", *_METRICS, "reference mL", "prediction mL")
    return f"{table}\n\n{_align([case_head, *_case_rows(summary)[:worst]], texts=2)}"


def as_csv(summary: Summary) -> str:
    """Write the scores of a summary as CSV, one line per case and label.

    Parameters
    ----------
    summary : Summary
        What to write.

    Returns
    -------
    str
        A head line with `COLUMNS`. Numbers are written in full; a missing number is an empty field.
        Lines end with a line feed.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for scored in summary.cases:
        for each in scored.structures:
            writer.writerow((scored.case, each.overlap.label, *_numbers(scored, each)))
    return text.getvalue()


def _numbers(scored: CaseScores, each: StructureScores) -> tuple[Number, ...]:
    """Return the numbers of a line of the CSV."""
    overlap, surface, lesions = each.overlap, each.surface, each.lesions
    apart = (surface.hd95_mm, surface.assd_mm, surface.nsd, surface.tolerance_mm) if surface else ()
    counts = (lesions.reference, lesions.detected, lesions.spurious, lesions.f1) if lesions else ()
    return (
        overlap.dice,
        overlap.iou,
        overlap.precision,
        overlap.recall,
        overlap.volume_error,
        *(apart or (None,) * 4),
        *(counts or (None,) * 4),
        *_volumes(scored, each),
    )


def _volumes(scored: CaseScores, each: StructureScores) -> tuple[float | None, float | None]:
    """Return the volumes of the reference and of the prediction, mL."""
    return (
        volume_ml(each.overlap.reference_voxels, scored.voxel_mm3),
        volume_ml(each.overlap.predicted_voxels, scored.voxel_mm3),
    )


_METRICS: Final = ("Dice", "IoU", "HD95 mm", "ASSD mm", "NSD", "lesion F1")
_DIGITS: Final = (4, 4, 2, 2, 4, 4)
"""Decimals of each."""


def _metrics(values: Sequence[float | None]) -> Row:
    return tuple(map(_number, values, _DIGITS))


def _means(label: LabelSummary) -> tuple[float | None, ...]:
    return (
        label.mean_dice,
        label.mean_iou,
        label.mean_hd95_mm,
        label.mean_assd_mm,
        label.mean_nsd,
        label.mean_lesion_f1,
    )


def _label_row(label: LabelSummary) -> Row:
    counts = (label.cases_counted, label.both_empty, label.missed, label.spurious)
    return (label.label, *_metrics(_means(label)), *map(str, counts))


def _case_rows(summary: Summary) -> list[Row]:
    """Return one row per case and label, worst first."""
    scored = [(case, each) for case in summary.cases for each in case.structures]
    scored.sort(key=lambda pair: 2.0 if pair[1].overlap.dice is None else pair[1].overlap.dice)
    return [
        (
            case.case,
            each.overlap.label,
            *_metrics(_values(each)),
            *(_number(ml, 2) for ml in _volumes(case, each)),
        )
        for case, each in scored
    ]


def _values(each: StructureScores) -> tuple[float | None, ...]:
    surface = each.surface
    return (
        each.overlap.dice,
        each.overlap.iou,
        *((surface.hd95_mm, surface.assd_mm, surface.nsd) if surface else (None,) * 3),
        each.lesions.f1 if each.lesions else None,
    )


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _align(rows: Sequence[Row], *, texts: int) -> str:
    """Lay rows out in columns: the first ``texts`` to the left, numbers to the right."""
    filled = [
        place
        for place, column in enumerate(zip(*rows[1:], strict=True))
        if place < texts or any(cell.strip("-") for cell in column)
    ]
    rows = [tuple(row[place] for place in filled) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.ljust(width) if place < texts else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
