"""What the overlaps of all cases add up to, as a record, a table to read and a CSV to compute with.

Every label or region weighs the same in the mean, and within it every case that counts.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from autoseg.core.errors import DatasetError
from autoseg.core.geometry import STRICT
from autoseg.core.labels import Labels, Region
from autoseg.evaluation.overlap import Overlap, values_in_files, volume_ml

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseScores:
    """How one case was segmented."""

    __pydantic_config__: ClassVar = STRICT

    case: str
    """Case name."""
    overlaps: tuple[Overlap, ...]
    """One per region, or per foreground label, in their order."""
    voxel_mm3: float | None
    """Volume of a voxel, mm^3; None for a 2D image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSummary:
    """How one label or region was segmented over all cases."""

    __pydantic_config__: ClassVar = STRICT

    label: str
    """Name of the label or region."""
    values: tuple[int, ...]
    """Values in files of the label, or of all labels of the region."""
    mean_dice: float | None
    """Mean Dice of the cases that count, 0 to 1; None where no case counts."""
    mean_iou: float | None
    """Mean IoU of the same cases, 0 to 1."""
    cases_counted: int
    """Cases where the reference, the prediction or both have the label."""
    both_empty: int
    """Cases where neither has it; they are not in the means."""
    missed: int
    """Cases where only the reference has it; they count as 0."""
    spurious: int
    """Cases where only the prediction has it; they count as 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How a set of cases was segmented."""

    __pydantic_config__: ClassVar = STRICT

    schema_version: int = 1
    """Version of this document."""
    dataset: str
    """Name of the dataset."""
    cases: tuple[CaseScores, ...]
    """One entry per case, sorted by name."""
    labels: tuple[LabelSummary, ...]
    """One entry per region, or per foreground label, in their order."""
    mean_dice: float | None
    """Mean of the labels' mean Dice, 0 to 1, over the labels that have one."""


def summarize(scores: Sequence[CaseScores], labels: Labels, dataset: str) -> Summary:
    """Add up the scores of cases.

    Parameters
    ----------
    scores : sequence of CaseScores
        Cases in any order; may be empty.
    labels : Labels
        The labels that every case was scored on.
    dataset : str
        Name of the dataset.

    Returns
    -------
    Summary
        With cases sorted by name; a mean over no case is None.

    Raises
    ------
    DatasetError
        If a case occurs twice, or was scored on other labels.
    """
    ordered = tuple(sorted(scores, key=lambda scored: scored.case))
    _check_cases(ordered, labels)
    summaries = tuple(
        _summarize_label(structure, labels, tuple(scored.overlaps[place] for scored in ordered))
        for place, structure in enumerate(labels.structures)
    )
    return Summary(
        dataset=dataset,
        cases=ordered,
        labels=summaries,
        mean_dice=_mean([label.mean_dice for label in summaries]),
    )


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
        Lines without trailing spaces or a final line break. ``-`` stands for a missing number.
    """
    head = ("label", "Dice", "IoU", "cases", "both empty", "missed", "spurious")
    rows = [_label_row(label) for label in summary.labels]
    mean_iou = _mean([label.mean_iou for label in summary.labels])
    mean = ("mean", _score(summary.mean_dice), _score(mean_iou), "", "", "", "")
    table = _align([head, *rows, mean], texts=1)
    if worst < 1:
        return table
    case_head = ("case", "label", "Dice", "IoU", "reference mL", "prediction mL")
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
        A head line and the columns case, label, dice, iou, reference_ml, prediction_ml. Numbers
        are written in full; a missing number is an empty field. Lines end with a line feed.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("case", "label", "dice", "iou", "reference_ml", "prediction_ml"))
    for scored in summary.cases:
        for overlap in scored.overlaps:
            writer.writerow(
                (scored.case, overlap.label, overlap.dice, overlap.iou, *_volumes(scored, overlap))
            )
    return text.getvalue()


def _check_cases(ordered: Sequence[CaseScores], labels: Labels) -> None:
    """Refuse a case that occurs twice or that was scored on other labels."""
    expected = tuple((s.name, values_in_files(s, labels)) for s in labels.structures)
    for before, scored in zip((None, *ordered), ordered, strict=False):
        if before is not None and before.case == scored.case:
            raise DatasetError(
                f"case {scored.case!r} was scored more than once; each case counts once",
                rule="E-SET-43",
            )
        found = tuple((overlap.label, overlap.values) for overlap in scored.overlaps)
        if found != expected:
            raise DatasetError(
                f"case {scored.case!r}: scored on labels {found}; the dataset has {expected}"
            )


def _summarize_label(
    structure: Region, labels: Labels, overlaps: Sequence[Overlap]
) -> LabelSummary:
    """Add up one label or region over all cases."""
    return LabelSummary(
        label=structure.name,
        values=values_in_files(structure, labels),
        mean_dice=_mean([overlap.dice for overlap in overlaps]),
        mean_iou=_mean([overlap.iou for overlap in overlaps]),
        cases_counted=sum(not overlap.both_empty for overlap in overlaps),
        both_empty=sum(overlap.both_empty for overlap in overlaps),
        missed=sum(overlap.is_missed for overlap in overlaps),
        spurious=sum(overlap.is_spurious for overlap in overlaps),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values that exist, or None."""
    existing = [value for value in values if value is not None]
    return fmean(existing) if existing else None


def _volumes(scored: CaseScores, overlap: Overlap) -> tuple[float | None, float | None]:
    """Return the volumes of the reference and of the prediction, mL."""
    return (
        volume_ml(overlap.reference_voxels, scored.voxel_mm3),
        volume_ml(overlap.predicted_voxels, scored.voxel_mm3),
    )


def _label_row(label: LabelSummary) -> Row:
    counts = (label.cases_counted, label.both_empty, label.missed, label.spurious)
    return (label.label, _score(label.mean_dice), _score(label.mean_iou), *map(str, counts))


def _case_rows(summary: Summary) -> list[Row]:
    """Return one row per case and label, worst first."""
    scored = [(case, overlap) for case in summary.cases for overlap in case.overlaps]
    scored.sort(key=lambda pair: 2.0 if pair[1].dice is None else pair[1].dice)
    return [
        (
            case.case,
            overlap.label,
            _score(overlap.dice),
            _score(overlap.iou),
            *("-" if ml is None else f"{ml:.2f}" for ml in _volumes(case, overlap)),
        )
        for case, overlap in scored
    ]


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _align(rows: Sequence[Row], *, texts: int) -> str:
    """Lay rows out in columns: the first ``texts`` to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.ljust(width) if place < texts else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
