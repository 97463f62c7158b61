"""Where a case and its labels lie: what tells whether left and right are those of other cases."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from autoseg.core.geometry import Geometry
from autoseg.core.labels import Labels
from autoseg.io.guard import ANATOMICAL_ENDINGS, file_ending
from preprocessing.symmetry import Structures

BODY_STEPS: Final = 128
"""Voxels per axis, about, that are looked at to find the body: 1 % of the extent is enough."""
AHEAD: Final = "SAR"
"""Where the array axes ``(z, y, x)`` of an image in canonical orientation lead."""
BEHIND: Final = "IPL"
"""Where they come from."""


def voxel_digest(voxels: npt.NDArray[np.float32]) -> str:
    """Return the SHA-256 of an image's shape and intensities.

    Parameters
    ----------
    voxels : (C, *spatial) array of float32
        C-contiguous, in canonical orientation.
    """
    digest = hashlib.sha256(repr(voxels.shape).encode())
    digest.update(np.ascontiguousarray(voxels, "<f4").data.cast("B"))
    return digest.hexdigest()


def orientation_code(geometry: Geometry, path: Path) -> str:
    """Return where the axes of a file lead, in the file's order, such as ``LPS``.

    Parameters
    ----------
    geometry : Geometry
        Its grid, in canonical orientation.
    path : Path
        The file, or the folder of a series.

    Returns
    -------
    str
        Three letters; none for a picture and for a format that does not know the patient's sides.
    """
    ending = file_ending(path)
    if geometry.ndim != len(AHEAD) or (ending and ending not in ANATOMICAL_ENDINGS):
        return ""
    leads = [BEHIND[a] if geometry.reversed_axes[a] else AHEAD[a] for a in range(geometry.ndim)]
    return "".join(leads[geometry.file_axes.index(axis)] for axis in range(geometry.ndim))


def label_centers(
    found: Structures, labels: Labels, geometry: Geometry
) -> tuple[tuple[float, ...] | None, ...]:
    """Return the centroid of each foreground label, mm from the middle of the image.

    Parameters
    ----------
    found : Structures
        Where the labels lie.
    labels : Labels
        The labels there may be.
    geometry : Geometry
        Grid of the label map.

    Returns
    -------
    tuple
        By foreground label one number per array axis; None where the case lacks the label.
    """
    rows = {int(label): row for row, label in enumerate(found.labels)}
    return tuple(
        _from_middle(found.center[rows[label]], geometry.shape, geometry.spacing)
        if label in rows
        else None
        for label in labels.foreground
    )


def body_center(image: npt.NDArray[np.float32], spacing: Sequence[float]) -> tuple[float, ...]:
    """Return the centroid of the voxels brighter than the mean, mm from the middle of the image.

    Parameters
    ----------
    image : (*spatial) array
        One channel.
    spacing : sequence of float
        Voxel edges, mm.

    Returns
    -------
    tuple of float
        One number per array axis; none where no voxel is brighter than the mean.
    """
    steps = [max(1, size // BODY_STEPS) for size in image.shape]
    seen = image[tuple(slice(None, None, step) for step in steps)]
    bright = np.argwhere(seen > seen.mean(dtype=np.float64))
    if not len(bright):
        return ()
    return _from_middle(bright.mean(axis=0) * steps, image.shape, spacing)


def _from_middle(
    index: npt.NDArray[np.float64], shape: Sequence[int], spacing: Sequence[float]
) -> tuple[float, ...]:
    """Return an array index as mm from the middle, rounded to 1e-3 mm."""
    placed = zip(index.tolist(), shape, spacing, strict=True)
    return tuple(round((at - (size - 1) / 2) * edge, 3) for at, size, edge in placed)
