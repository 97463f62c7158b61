"""Which planes of a case a picture shows, and how they are turned and lit.

Planes are shown as radiologists look at them: the patient's right on the left, front and head on
top.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from autoseg.core.labels import LabelMap

VOLUME_AXES: Final = 3
"""Axes of a volume; a picture has one less."""
AHEAD: Final = "SAR"
"""Where the array axes ``(z, y, x)`` lead."""
BEHIND: Final = "IPL"
"""Where they come from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """What a picture shows."""

    image: npt.NDArray[np.float32]
    """(*spatial) One channel, in canonical orientation, 2D or 3D."""
    label_map: LabelMap
    """(*spatial) Its segmentation; voxels at or above the number of names are ignored ones."""
    spacing: tuple[float, ...]
    """Voxel edge per array axis, mm."""
    names: tuple[str, ...]
    """Names of the labels, background first."""
    focus: tuple[int, ...] = ()
    """Labels in question; the planes go through them."""
    is_anatomical: bool = True
    """Whether the axes lead to the patient's head, front and right."""
    body_center: tuple[float, ...] = ()
    """Marked if given: mm from the middle of the image, by array axis."""
    title: str
    """First line, bold."""
    lines: tuple[str, ...] = ()
    """Further lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """One plane as it is shown; rows run downward and columns to the right."""

    axis: int
    """Array axis that it lies across; -1 for a picture, which is a plane itself."""
    index: int
    """Its position along that axis."""
    rows: int
    """Array axis that runs along the columns of pixels."""
    columns: int
    """Array axis that runs along the rows of pixels."""
    image: npt.NDArray[np.float32]
    """(rows, columns) Intensities."""
    label_map: LabelMap
    """(rows, columns) Labels."""
    size_mm: tuple[float, float]
    """Height and width."""
    is_turned: bool
    """Whether both axes run against those of the array."""


def planes(overlay: Overlay) -> tuple[Plane, ...]:
    """Return the planes that a picture shows, turned as they are shown."""
    ndim = overlay.image.ndim
    if ndim == VOLUME_AXES:
        at = focus_voxel(overlay)
        return tuple(_plane(overlay, axis, at[axis]) for axis in range(ndim))
    return (_plane(overlay, -1, 0),)


def edge_letters(plane: Plane) -> tuple[str, str, str, str]:
    """Return where the left, right, top and bottom edge of a turned plane lie in the patient."""
    return AHEAD[plane.columns], BEHIND[plane.columns], AHEAD[plane.rows], BEHIND[plane.rows]


def focus_voxel(overlay: Overlay) -> tuple[int, ...]:
    """Return where the planes meet: along each axis the slice with most of what is in question.

    Of several labels in question a slice should cut each; without any, the foreground counts.
    """
    held = [mask for label in overlay.focus if (mask := overlay.label_map == label).any()]
    if not held:
        held = [(overlay.label_map > 0) & (overlay.label_map < len(overlay.names))]
    if not held[0].any():
        return tuple(size // 2 for size in overlay.image.shape)
    found = []
    for axis in range(overlay.image.ndim):
        others = tuple(a for a in range(overlay.image.ndim) if a != axis)
        areas = np.array([mask.sum(axis=others) / mask.sum() for mask in held])
        score = areas.prod(axis=0) if areas.prod(axis=0).any() else areas.sum(axis=0)
        best = np.flatnonzero(score >= score.max() * (1 - 1e-9))
        found.append(int(best[len(best) // 2]))
    return tuple(found)


def grey_range(image: npt.NDArray[np.float32], label_map: LabelMap) -> tuple[float, float]:
    """Return the intensities shown black and white: a wide margin around those of the foreground.

    Notes
    -----
    The foreground's 1st to 99th percentile and as much again on both sides, within the 0.5th to
    99.5th percentile of the image; the latter where there is no foreground. Every 7th voxel
    counts.
    """
    low, high = (float(edge) for edge in np.percentile(image.ravel()[::7], (0.5, 99.5)))
    inside = image[label_map > 0][::7]
    if inside.size:
        darkest, brightest = (float(edge) for edge in np.percentile(inside, (1, 99)))
        margin = brightest - darkest
        if margin > 0:
            low, high = max(low, darkest - margin), min(high, brightest + margin)
    return (low, high) if low < high else (low - 0.5, low + 0.5)


def _plane(overlay: Overlay, axis: int, index: int) -> Plane:
    ndim = overlay.image.ndim
    rows, columns = (a for a in range(ndim) if a != axis)
    cut = tuple(index if a == axis else slice(None) for a in range(ndim))
    image, label_map = overlay.image[cut], overlay.label_map[cut]
    is_turned = overlay.is_anatomical and axis >= 0
    if is_turned:
        image, label_map = image[::-1, ::-1], label_map[::-1, ::-1]
    height, width = image.shape
    return Plane(
        axis=axis,
        index=index,
        rows=rows,
        columns=columns,
        image=image,
        label_map=label_map,
        size_mm=(height * overlay.spacing[rows], width * overlay.spacing[columns]),
        is_turned=is_turned,
    )
