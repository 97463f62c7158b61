"""How many voxels a segmentation shares with its reference, structure by structure.

Counts voxels and forms Dice and IoU from them; it measures no surfaces and reads no files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from autoseg.core.errors import GeometryError, VoxelError
from autoseg.core.geometry import STRICT
from autoseg.core.labels import Labels, Region

LabelMap = npt.NDArray[Any]

SLAB_VOXELS: Final = 2**22
"""Voxels that are paired up at a time; bounds the working memory to some 32 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """How a segmentation and its reference agree on one structure of one case: a label or a region.

    A voxel carries a region if its label is one of the region's. Voxels that the reference ignores
    are in no count.
    """

    __pydantic_config__: ClassVar = STRICT

    label: str
    """Name of the label or region."""
    values: tuple[int, ...]
    """Values in files of the label, or of all labels of the region."""
    true_positive: int
    """Voxels that carry the label in both."""
    false_positive: int
    """Voxels that carry the label in the prediction only."""
    false_negative: int
    """Voxels that carry the label in the reference only."""
    dice: float | None
    """Dice coefficient, 0 to 1; None where neither has the label."""
    iou: float | None
    """Intersection over union, 0 to 1; None where neither has the label."""

    @property
    def reference_voxels(self) -> int:
        """Voxels that carry the label in the reference."""
        return self.true_positive + self.false_negative

    @property
    def predicted_voxels(self) -> int:
        """Voxels that carry the label in the prediction."""
        return self.true_positive + self.false_positive

    @property
    def precision(self) -> float | None:
        """Share of the predicted voxels that are right, 0 to 1; None where none is predicted."""
        return self.true_positive / self.predicted_voxels if self.predicted_voxels else None

    @property
    def recall(self) -> float | None:
        """Share of the reference's voxels that are found, 0 to 1; None where it has none."""
        return self.true_positive / self.reference_voxels if self.reference_voxels else None

    @property
    def volume_error(self) -> float | None:
        """Volume that is predicted too much, as a fraction of the reference's, -1 or more.

        None where the reference has none.
        """
        if not self.reference_voxels:
            return None
        return (self.predicted_voxels - self.reference_voxels) / self.reference_voxels

    @property
    def both_empty(self) -> bool:
        """Whether neither has the label."""
        return self.reference_voxels == 0 and self.predicted_voxels == 0

    @property
    def is_missed(self) -> bool:
        """Whether the reference has the label and the prediction nowhere."""
        return self.reference_voxels > 0 and self.predicted_voxels == 0

    @property
    def is_spurious(self) -> bool:
        """Whether the prediction has the label and the reference nowhere."""
        return self.reference_voxels == 0 and self.predicted_voxels > 0


def overlap_per_label(
    reference: LabelMap, prediction: LabelMap, labels: Labels
) -> tuple[Overlap, ...]:
    """Compare a segmentation with its reference, structure by structure.

    Parameters
    ----------
    reference, prediction : (*spatial) array of integers
        Label maps of the same shape; their types may differ. Values are positions in `labels`, as
        files are read.
    labels : Labels
        What the values mean.

    Returns
    -------
    tuple of Overlap
        One per region, or per foreground label, in the order of `labels`.

    Raises
    ------
    GeometryError
        If the shapes differ.
    VoxelError
        If an array is not of integers, or holds a value that is no label, or if the prediction
        holds the ignore label.

    Notes
    -----
    Voxels that are ignored in the reference are left out, whatever is predicted there.

    Dice is ``2 TP / (2 TP + FP + FN)``, IoU is ``TP / (TP + FP + FN)``. Where neither array has
    the label both are 0/0: they are None, and the case does not count in a mean. Where only one
    array has it both are 0: the label was missed (reference only) or is spurious (prediction
    only).

    References
    ----------
    Dice 1945 (doi:10.2307/1932409); Jaccard 1912 (doi:10.1111/j.1469-8137.1912.tb05611.x).
    Maier-Hein et al. 2024 (doi:10.1038/s41592-023-02151-z) on empty structures.
    """
    if reference.shape != prediction.shape:
        raise GeometryError(
            f"prediction: shape {prediction.shape} differs from the reference's shape "
            f"{reference.shape} (z, y, x); they must be equal",
            rule="E-GEO-20",
            hint="compare a prediction with the reference of the same case, on the same grid",
        )
    _check_values(reference, "reference", labels)
    _check_values(prediction, "prediction", labels)
    _check_decided(prediction, labels)
    pairs = count_pairs(reference, prediction, labels)
    return tuple(_overlap(pairs, structure, labels) for structure in labels.structures)


def values_in_files(structure: Region, labels: Labels) -> tuple[int, ...]:
    """Return the values that files hold where a structure is."""
    return tuple(labels.file_values[label] for label in structure.labels)


def voxel_volume_mm3(spacing: Sequence[float]) -> float | None:
    """Return the volume of a voxel in mm^3, or None in 2D, where a pixel has none.

    Parameters
    ----------
    spacing : sequence of float
        Voxel edge in mm, one entry per axis; every entry > 0.

    Raises
    ------
    GeometryError
        If a spacing is not positive.
    """
    if not all(edge > 0 for edge in spacing):
        raise GeometryError(f"spacing {tuple(spacing)} mm must be positive")
    return prod(spacing) if len(spacing) == 3 else None


def volume_ml(voxels: int, voxel_mm3: float | None) -> float | None:
    """Return the volume of so many voxels in mL (1000 mm^3), or None where a voxel has none."""
    return None if voxel_mm3 is None else voxels * voxel_mm3 / 1000


def _check_values(label_map: LabelMap, origin: str, labels: Labels) -> None:
    """Refuse an array that is not a map of these labels."""
    if label_map.dtype.kind not in "ui":
        raise VoxelError(
            f"{origin}: type {label_map.dtype} is not allowed; a label map holds integers"
        )
    if label_map.size == 0:
        return
    smallest, largest = int(label_map.min()), int(label_map.max())
    allowed = labels.count - 1 if labels.ignored is None else labels.ignored
    if smallest < 0 or largest > allowed:
        wrong = smallest if smallest < 0 else largest
        raise VoxelError(
            f"{origin}: value {wrong} in {np.count_nonzero(label_map == wrong)} voxels is no "
            f"label; allowed are 0 to {allowed}",
            rule="E-VAL-35",
        )


def _check_decided(prediction: LabelMap, labels: Labels) -> None:
    """Refuse a prediction that leaves voxels open."""
    ignored = 0 if labels.ignored is None else np.count_nonzero(prediction == labels.ignored)
    if ignored:
        raise VoxelError(
            f"prediction: {ignored} voxels hold the ignore label ({labels.ignore} in files); "
            "only a reference may hold it",
            rule="E-VAL-35",
            hint="give every voxel of the prediction a label",
        )


def count_pairs(reference: LabelMap, prediction: LabelMap, labels: Labels) -> npt.NDArray[np.int64]:
    """Return a (reference, prediction) table of how many voxels carry each pair of labels.

    Voxels that the reference ignores are in none.
    """
    count = labels.count
    rows_counted = count if labels.ignored is None else count + 1
    pairs = np.zeros(rows_counted * count, dtype=np.int64)
    row_voxels = max(1, reference.size // max(1, len(reference)))
    rows = max(1, SLAB_VOXELS // row_voxels)
    for start in range(0, len(reference), rows):
        slab = slice(start, start + rows)
        # Widened first: a product of uint8 values would wrap around at 256.
        code = reference[slab].astype(np.intp) * count + prediction[slab].astype(np.intp)
        pairs += np.bincount(code.ravel(), minlength=pairs.size)
    return pairs.reshape(-1, count)[:count]  # the row of ignored voxels is last


def _overlap(pairs: npt.NDArray[np.int64], structure: Region, labels: Labels) -> Overlap:
    """Read one structure's counts off the table of pairs."""
    members = list(structure.labels)
    both = int(pairs[np.ix_(members, members)].sum())
    reference_voxels = int(pairs[members].sum())
    predicted_voxels = int(pairs[:, members].sum())
    either = reference_voxels + predicted_voxels - both
    return Overlap(
        label=structure.name,
        values=values_in_files(structure, labels),
        true_positive=both,
        false_positive=predicted_voxels - both,
        false_negative=reference_voxels - both,
        dice=2 * both / (reference_voxels + predicted_voxels) if either else None,
        iou=both / either if either else None,
    )
