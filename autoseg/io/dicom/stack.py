"""Where the slices of a series lie: sorted along their normal, at equal steps, without a lean.

File names and InstanceNumber are never looked at.
"""

from dataclasses import dataclass
from math import atan, degrees
from pathlib import Path
from typing import Final

import numpy as np

from autoseg.core.errors import DatasetError, GeometryError, ImageFileError
from autoseg.io.dicom.headers import Header
from autoseg.io.dicom.series import Group
from autoseg.io.formats.placement import REEXPORT, Affine, impossible_place, rounded

STEP_TOLERANCE: Final = 0.01
"""Largest deviation of a step between slices from the median, as a fraction of it."""
STEP_NOISE_MM: Final = 0.01
"""Deviation of a position that headers with few decimals have, mm."""
SAME_POSITION_MM: Final = 1e-3
"""Slices that are no farther apart along the normal lie in one place."""
PARALLEL_TOLERANCE: Final = 1e-3
"""Largest difference of a direction's entries between slices."""
LEAN_TOLERANCE: Final = 1e-3
"""Largest shift of a slice within its plane, as a fraction of the height of the stack."""
SPACING_TOLERANCE: Final = 1e-3
"""Largest relative difference of a pixel's edge between slices."""

_FLAT_MODALITIES: Final = ("CR", "DX", "IO", "MG", "OT", "PX", "RF", "US", "XA", "XC")
"""Machines whose single pictures have no place in a patient."""
_FLAT_THICKNESS_MM: Final = 1.0
_LISTED: Final = 5
_LPS_TO_RAS: Final = (-1.0, -1.0, 1.0)

Shift = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """The slices of an image in their order."""

    slices: tuple[tuple[Header, ...], ...]
    """By rising position along the normal; several headers where slices share a position."""
    affine: Affine
    """From (column, row, slice) to RAS+ mm; the third axis runs along the normal."""
    shifts: tuple[Shift, ...]
    """Columns and rows by which each slice lies aside of the first; empty if none does."""
    notes: tuple[str, ...]
    """What was assumed."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Columns, rows and slices."""
        first = self.slices[0][0]
        return first.columns, first.rows, len(self.slices)


def stacked(group: Group, folder: Path, *, untilt: bool) -> Stack:
    """Sort the slices of a group and find their grid.

    Parameters
    ----------
    group : Group
        Slices of one series, shape and nearly one orientation.
    folder : Path
        Names the series in errors.
    untilt : bool
        Whether slices may lie aside of each other.

    Raises
    ------
    ImageFileError
        E-DCM-50 for unequal steps, E-DCM-51 for slices that share a position but not a place,
        E-DCM-52 for slices that are not parallel, or lie aside of each other.
    GeometryError
        E-GEO-14 if the slices say nothing of their place, E-GEO-17 if a spacing is missing.
    DatasetError
        E-DCM-53 if they differ in spacing.
    """
    spacing = _common_spacing(group, folder)
    if not group.is_placed:
        return _flat(group, spacing, folder)
    along_row, along_column, normal = _axes(group, folder)
    slices = _sorted(group.slices, normal)
    places = np.array([each[0].position for each in slices])
    _check_shared_places(slices)
    heights = (places - places[0]) @ normal
    step, notes = _step(heights, group, folder)
    shifts = (places - places[0]) @ np.array([along_row, along_column]).T  # mm
    leans = _leans(shifts, heights, folder, untilt=untilt)
    affine = np.eye(4)
    affine[:3, 0] = along_row * spacing[1]
    affine[:3, 1] = along_column * spacing[0]
    affine[:3, 2] = normal * step
    affine[:3, 3] = places[0]
    affine[:3] *= np.array(_LPS_TO_RAS)[:, None]
    in_pixels = [(round(x / spacing[1], 6), round(y / spacing[0], 6)) for x, y in shifts.tolist()]
    return Stack(
        slices=slices,
        affine=affine,
        shifts=tuple(in_pixels) if leans else (),
        notes=tuple(notes),
    )


def _axes(group: Group, folder: Path) -> tuple[Affine, Affine, Affine]:
    """Return unit vectors along rows, columns and the normal, LPS+, that all slices share."""
    directions = np.array([header.direction for header in group.slices])
    common = np.median(directions, axis=0)
    apart = np.abs(directions - common).max(axis=1)
    if apart.max() > PARALLEL_TOLERANCE:
        worst = group.slices[int(apart.argmax())]
        raise ImageFileError(
            f"{folder}: its slices are not parallel: the axes of {worst.path.name} differ from "
            f"those of most by {apart.max():.3g}, allowed are {PARALLEL_TOLERANCE:g}",
            rule="E-DCM-52",
            hint="give a series of parallel slices; these cannot be straightened",
        )
    along_row, along_column = common[:3], common[3:]
    normal = np.cross(along_row, along_column)
    length = float(np.linalg.norm(normal))
    if length < 0.1:
        raise impossible_place(str(folder), "ImageOrientationPatient holds parallel vectors")
    return (
        along_row / np.linalg.norm(along_row),
        along_column / np.linalg.norm(along_column),
        normal / length,
    )


def _sorted(headers: tuple[Header, ...], normal: Affine) -> tuple[tuple[Header, ...], ...]:
    """Return the headers by height along the normal, those of one height together."""
    heights = np.array([header.position for header in headers]) @ normal
    slices: list[list[Header]] = []
    lowest = -np.inf
    for index in sorted(range(len(headers)), key=lambda k: (heights[k], headers[k].where)):
        if heights[index] - lowest > SAME_POSITION_MM:
            slices.append([])
            lowest = heights[index]
        slices[-1].append(headers[index])
    return tuple(map(tuple, slices))


def _check_shared_places(slices: tuple[tuple[Header, ...], ...]) -> None:
    for first, *others in slices:
        for other in others:
            apart = np.linalg.norm(np.subtract(first.position or 0, other.position or 0))
            if apart > STEP_NOISE_MM:
                raise ImageFileError(
                    f"{first.where}: {other.path.name} has the same position along the normal but "
                    f"lies {apart:.3g} mm aside; one slice per position is allowed",
                    rule="E-DCM-51",
                    hint="part the series into one folder per stack",
                )


def _step(heights: Affine, group: Group, folder: Path) -> tuple[float, list[str]]:
    """Return the distance of slices in mm, and a note if it was not measured."""
    if len(heights) == 1:
        thickness = group.first.thickness
        if thickness is None:
            raise impossible_place(
                str(folder), "its single slice says neither SliceThickness nor distance"
            )
        return thickness, [f"a single slice, taken to be {thickness:g} mm thick"]
    steps = np.diff(heights)
    usual = float(np.median(steps))
    # Where slices lie closer than the noise of positions, a missing one must still be seen.
    allowed = max(STEP_TOLERANCE * usual, min(STEP_NOISE_MM, 0.1 * usual))
    wrong = np.flatnonzero(np.abs(steps - usual) > allowed)
    if wrong.size:
        listed = ", ".join(
            f"{steps[k]:.6g} mm between {heights[k]:.6g} and {heights[k + 1]:.6g} mm"
            for k in wrong[:_LISTED]
        )
        more = f" and {wrong.size - _LISTED} more" if wrong.size > _LISTED else ""
        raise ImageFileError(
            f"{folder}: its {len(heights)} slices lie at unequal steps: {listed}{more} above the "
            f"first; the usual step is {usual:.6g} mm, allowed are {STEP_TOLERANCE:.0%} more or "
            "less",
            rule="E-DCM-50",
            hint="slices are missing, or do not belong: export the whole series again",
        )
    return float(heights[-1] - heights[0]) / (len(heights) - 1), []


def _leans(shifts: Affine, heights: Affine, folder: Path, *, untilt: bool) -> bool:
    """Return whether slices lie aside of each other; refuse it (E-DCM-52) unless that is wanted."""
    aside = float(np.linalg.norm(shifts, axis=1).max())
    if aside <= max(LEAN_TOLERANCE * float(heights[-1]), STEP_NOISE_MM):
        return False
    if not untilt:
        angle = degrees(atan(float(np.linalg.norm(shifts[-1])) / float(heights[-1])))
        raise ImageFileError(
            f"{folder}: its slices lie up to {aside:.4g} mm aside of each other over a height of "
            f"{heights[-1]:.4g} mm (the stack leans by {angle:.3g} degrees, as a tilted gantry "
            f"leaves it); allowed are {LEAN_TOLERANCE:g} of the height",
            rule="E-DCM-52",
            hint="straighten the series, or let autoseg do so with --accept E-DCM-52=untilt",
        )
    return True


def _common_spacing(group: Group, folder: Path) -> tuple[float, float]:
    """Return the distance of rows and of columns in mm that all slices share."""
    spacings = [header.spacing for header in group.slices]
    known = [spacing for spacing in spacings if spacing is not None]
    if len(known) < len(spacings):
        where = next(header.where for header in group.slices if header.spacing is None)
        raise impossible_place(where, "the size of a pixel is missing (PixelSpacing)")
    common = np.median(known, axis=0)
    apart = float(np.abs(np.array(known) / common - 1).max())
    if apart > SPACING_TOLERANCE:
        raise DatasetError(
            f"{folder}: the pixels of its slices differ in size by {apart:.3g} of "
            f"{rounded(common)} mm, allowed are {SPACING_TOLERANCE:g}",
            rule="E-DCM-53",
            hint="these are several images: give each a folder of its own",
        )
    return float(common[0]), float(common[1])


def _flat(group: Group, spacing: tuple[float, float], folder: Path) -> Stack:
    """Return the grid of a picture that has no place in a patient."""
    first, count = group.first, len(group.slices)
    if count > 1 or first.modality not in _FLAT_MODALITIES:
        raise GeometryError(
            f"{folder}: {count} slice{'s' * (count > 1)} of modality {first.modality or 'unknown'} "
            "without place in space (ImagePositionPatient, ImageOrientationPatient); left and "
            "right are unknown. Allowed is a single picture of a modality that has none "
            f"({', '.join(_FLAT_MODALITIES)})",
            rule="E-GEO-14",
            hint=REEXPORT,
        )
    notes = [
        "a picture without place in space; its rows are taken to run to the left, its columns "
        "to the back"
    ]
    thickness = first.thickness
    if thickness is None:
        thickness = _FLAT_THICKNESS_MM
        notes.append(f"taken to be {thickness:g} mm thick")
    if not first.has_patient_spacing:
        notes.append("the size of a pixel is that on the detector")
    edges = (-spacing[1], -spacing[0], thickness, 1.0)
    return Stack(slices=((first,),), affine=np.diag(edges), shifts=(), notes=tuple(notes))
