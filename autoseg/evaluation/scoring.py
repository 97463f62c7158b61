"""All scores of one case: overlap, distance between surfaces, and detection of lesions."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import ClassVar

import numpy as np

from autoseg.core.geometry import STRICT
from autoseg.core.labels import Labels, Region
from autoseg.evaluation.boxes import Box, Mask, grown, hull, label_boxes, structure_mask
from autoseg.evaluation.lesions import LesionDetection, lesion_detection
from autoseg.evaluation.overlap import LabelMap, Overlap, overlap_per_label, voxel_volume_mm3
from autoseg.evaluation.surfaces import SurfaceDistance, surface_distance


@dataclass(frozen=True, slots=True, kw_only=True)
class StructureScores:
    """How one structure of one case was segmented."""

    overlap: Overlap
    """Voxels in common."""
    surface: SurfaceDistance | None
    """Distance of the surfaces; None where it was not measured."""
    lesions: LesionDetection | None
    """Lesions found; None where they were not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseScores:
    """How one case was segmented."""

    __pydantic_config__: ClassVar = STRICT

    case: str
    """Case name."""
    overlaps: tuple[Overlap, ...]
    """One per region, or per foreground label, in their order."""
    surfaces: tuple[SurfaceDistance, ...] = ()
    """The same; empty where only voxels were counted."""
    lesions: tuple[LesionDetection, ...] = ()
    """The same."""
    voxel_mm3: float | None
    """Volume of a voxel, mm^3; None for a 2D image."""

    @property
    def structures(self) -> tuple[StructureScores, ...]:
        """All scores of each structure."""
        return tuple(
            StructureScores(overlap=overlap, surface=surface, lesions=lesions)
            for overlap, surface, lesions in zip_longest(self.overlaps, self.surfaces, self.lesions)
        )


def score_case(
    case: str,
    reference: LabelMap,
    prediction: LabelMap,
    labels: Labels,
    spacing: Sequence[float],
    *,
    tolerance_mm: float | None = None,
) -> CaseScores:
    """Compare a segmentation with its reference in every way.

    Parameters
    ----------
    case : str
        Case name.
    reference, prediction : (*spatial) array of integers
        As for `autoseg.evaluation.overlap.overlap_per_label`.
    labels : Labels
        What the values mean.
    spacing : sequence of float
        Voxel edges along the axes, mm.
    tolerance_mm : float, optional
        Of `autoseg.evaluation.surfaces.surface_distance`.

    Raises
    ------
    GeometryError
        If the shapes differ, or the spacing or the tolerance is impossible.
    VoxelError
        If an array is no map of these labels.

    Notes
    -----
    Voxels that are ignored in the reference are outside every structure, and surfaces beside them
    are not measured.
    """
    overlaps = overlap_per_label(reference, prediction, labels)
    ignored = None if labels.ignored is None else reference == labels.ignored
    if ignored is not None:
        prediction = np.where(ignored, 0, prediction)
    boxes = [label_boxes(each, labels.count) for each in (reference, prediction)]
    surfaces, lesions = [], []
    for structure in labels.structures:
        box = hull([found[label] for found in boxes for label in structure.labels])
        if ignored is not None and box is not None:
            box = grown(box, ignored.shape)
        expected, found = (_mask(each, structure, box) for each in (reference, prediction))
        unknown = None if ignored is None or box is None else ignored[box]
        surfaces.append(surface_distance(expected, found, spacing, tolerance_mm, ignored=unknown))
        lesions.append(lesion_detection(expected, found))
    return CaseScores(
        case=case,
        overlaps=overlaps,
        surfaces=tuple(surfaces),
        lesions=tuple(lesions),
        voxel_mm3=voxel_volume_mm3(spacing),
    )


def _mask(label_map: LabelMap, structure: Region, box: Box | None) -> Mask:
    """Return where a structure is, within a box; a single voxel outside it if there is none."""
    if box is None:
        return np.zeros((1,) * label_map.ndim, bool)
    return structure_mask(label_map[box], structure.labels)
