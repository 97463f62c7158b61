"""Which lesions a segmentation finds, each connected part of a structure being one."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from autoseg.core.geometry import STRICT
from autoseg.evaluation.boxes import Mask


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionDetection:
    """How many lesions of one structure were found in one case."""

    __pydantic_config__: ClassVar = STRICT

    reference: int
    """Lesions of the reference."""
    detected: int
    """Those of them that share a voxel with the prediction."""
    spurious: int
    """Lesions of the prediction that share no voxel with the reference."""
    f1: float | None
    """Harmonic mean of precision and recall of detection, 0 to 1; None where neither has any."""


def lesion_detection(reference: Mask, prediction: Mask) -> LesionDetection:
    """Count which lesions of a reference (*spatial) a prediction of the same shape finds.

    Notes
    -----
    Voxels that touch by a face, an edge or a corner belong to one lesion. One voxel in common is
    enough to find a lesion: its outline is scored by other metrics. With ``missed`` for the lesions
    of the reference that are not found, ``F1 = 2 detected / (2 detected + missed + spurious)``.
    """
    lesions, count = _parts(reference)
    found = int(np.count_nonzero(np.bincount(lesions[prediction], minlength=count + 1)[1:]))
    parts, predicted = _parts(prediction)
    hits = int(np.count_nonzero(np.bincount(parts[reference], minlength=predicted + 1)[1:]))
    wrong = count - found + predicted - hits
    return LesionDetection(
        reference=count,
        detected=found,
        spurious=predicted - hits,
        f1=2 * found / (2 * found + wrong) if count + predicted else None,
    )


def _parts(mask: Mask) -> tuple[npt.NDArray[np.int32], int]:
    """Return the number of each voxel's connected part, 1 and up, and how many there are."""
    from scipy.ndimage import label

    parts, count = label(mask, structure=np.ones((3,) * mask.ndim))
    return parts, int(count)
