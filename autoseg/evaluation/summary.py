"""What the scores of all cases add up to.

Every label or region weighs the same in the mean, and within it every case that counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from autoseg.core.errors import DatasetError
from autoseg.core.geometry import STRICT
from autoseg.core.labels import Labels, Region
from autoseg.evaluation.overlap import values_in_files
from autoseg.evaluation.scoring import CaseScores, StructureScores


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
    mean_precision: float | None = None
    """Mean share of predicted voxels that are right, 0 to 1, of the cases that have any."""
    mean_recall: float | None = None
    """Mean share of the reference's voxels that are found, 0 to 1, of the cases that have any."""
    mean_volume_error: float | None = None
    """Mean of (predicted - reference) / reference volume, of the same cases."""
    mean_hd95_mm: float | None = None
    """Mean Hausdorff distance of 95 %, mm, of the cases where both have the label."""
    mean_assd_mm: float | None = None
    """Mean of the mean distances between surfaces, mm, of the same cases."""
    mean_nsd: float | None = None
    """Mean share of the surfaces within the tolerance, 0 to 1, of the cases that count."""
    mean_lesion_f1: float | None = None
    """Mean F1 of the detection of lesions, 0 to 1, of the cases that count."""
    distances_counted: int = 0
    """Cases where both have the label, and so a distance between surfaces."""
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
        _summarize_label(structure, labels, [scored.structures[place] for scored in ordered])
        for place, structure in enumerate(labels.structures)
    )
    return Summary(
        dataset=dataset,
        cases=ordered,
        labels=summaries,
        mean_dice=mean([label.mean_dice for label in summaries]),
    )


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
    structure: Region, labels: Labels, scores: Sequence[StructureScores]
) -> LabelSummary:
    """Add up one label or region over all cases."""
    overlaps = [each.overlap for each in scores]
    surfaces = [each.surface for each in scores if each.surface is not None]
    lesions = [each.lesions for each in scores if each.lesions is not None]
    return LabelSummary(
        label=structure.name,
        values=values_in_files(structure, labels),
        mean_dice=mean([each.dice for each in overlaps]),
        mean_iou=mean([each.iou for each in overlaps]),
        mean_precision=mean([each.precision for each in overlaps]),
        mean_recall=mean([each.recall for each in overlaps]),
        mean_volume_error=mean([each.volume_error for each in overlaps]),
        mean_hd95_mm=mean([each.hd95_mm for each in surfaces]),
        mean_assd_mm=mean([each.assd_mm for each in surfaces]),
        mean_nsd=mean([each.nsd for each in surfaces]),
        mean_lesion_f1=mean([each.f1 for each in lesions]),
        distances_counted=sum(each.hd95_mm is not None for each in surfaces),
        cases_counted=sum(not each.both_empty for each in overlaps),
        both_empty=sum(each.both_empty for each in overlaps),
        missed=sum(each.is_missed for each in overlaps),
        spurious=sum(each.is_spurious for each in overlaps),
    )


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values that exist, or None."""
    existing = [value for value in values if value is not None]
    return fmean(existing) if existing else None
