"""What stored voxels may be, and how they become intensities or labels: exactly or not at all.

Format-free: it takes what a decoder found and gives arrays in the geometry's orientation.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from autoseg.core.acceptance import Accepted, accepted_note, choice_of, offer
from autoseg.core.errors import GeometryError, VoxelError
from autoseg.core.geometry import Array, Geometry
from autoseg.core.labels import Labels

LABEL_TOLERANCE: Final = 1e-4
"""Distance from a whole number up to which a stored label is rounded."""
LISTED_VALUES: Final = 10
"""Undeclared values that an error lists."""

_EXACT_FLOAT32: Final = 2**24
_EXACT_FLOAT64: Final = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """The voxels of a file as they are stored."""

    stored: Array
    """Shape (C, *file_shape), any real type; the file's axes."""
    slope: float = 1.0
    """Factor from stored values to values."""
    intercept: float = 0.0
    """Value of a stored 0."""
    geometry: Geometry
    """The file's grid."""
    notes: tuple[str, ...] = ()
    """What was assumed or repaired."""
    has_colors: bool = False
    """Whether the channels are those of a color picture."""

    @property
    def is_scaled(self) -> bool:
        """Whether values differ from stored values."""
        return (self.slope, self.intercept) != (1.0, 0.0)

    def channel(self, index: int) -> Array:
        """Return the values of a channel, shape ``geometry.shape``; a view if it is not scaled."""
        turned = self.geometry.to_array(self.stored[index])
        if not self.is_scaled:
            return turned
        scaled: Array = turned.astype(np.float64) * self.slope + self.intercept
        return scaled


def intensities(
    decoded: Decoded, where: str, accepted: Accepted = ()
) -> tuple[npt.NDArray[np.float32], tuple[str, ...]]:
    """Return the voxels of an image, and a note for each channel that had to be filled.

    Parameters
    ----------
    decoded : Decoded
        What the file holds.
    where : str
        Names the file in errors.
    accepted : tuple of Acceptance
        ``E-VAL-28=fill`` replaces NaN and infinity by the smallest finite value of the channel.

    Returns
    -------
    (C, *spatial) array
        C-contiguous.
    tuple of str
        Notes.

    Raises
    ------
    VoxelError
        E-VAL-28 if a voxel is NaN or infinite, E-VAL-31 if float32 cannot hold a value.
    """
    channels = decoded.stored.shape[0]
    image = np.empty((channels, *decoded.geometry.shape), dtype=np.float32)
    notes = []
    with np.errstate(over="ignore", invalid="ignore"):
        for index in range(channels):
            values = decoded.channel(index)
            if values.dtype.kind == "f" and choice_of(accepted, "E-VAL-28") == "fill":
                place = f"channel {index}: " if channels > 1 else ""
                values, filled = _filled(values)
                notes += [place + note for note in filled]
            image[index] = values
            _check_held(values, image[index], where)
    return image, tuple(notes)


def constant_notes(image: npt.NDArray[np.float32]) -> tuple[str, ...]:
    """Return a note for each channel of an image (C, *spatial) in which nothing can be seen."""
    places = (f"channel {index} " if len(image) > 1 else "" for index in range(len(image)))
    return tuple(
        f"{place}holds {channel.min():g} in every voxel"
        for place, channel in zip(places, image, strict=True)
        if channel.min() == channel.max()
    )


def label_map(
    decoded: Decoded, labels: Labels, where: str
) -> tuple[npt.NDArray[np.unsignedinteger], tuple[str, ...]]:
    """Return the voxels of a segmentation, and a note if they had to be rounded.

    Returns
    -------
    (*spatial) array of ``labels.dtype``
        The position of each voxel's label, whatever its value in the file; C-contiguous.
    tuple of str
        Notes.

    Raises
    ------
    GeometryError
        E-GEO-26 if there are several volumes.
    VoxelError
        E-VAL-28 for NaN or infinity, E-VAL-30 for colors, E-VAL-34 for fractions, E-VAL-35 for
        undeclared values.
    """
    if decoded.has_colors:
        raise VoxelError(
            f"{where}: holds {decoded.stored.shape[0]} color channels; a segmentation is grey",
            rule="E-VAL-30",
            hint="store the number of the label as the grey value of each pixel",
        )
    if decoded.stored.shape[0] != 1:
        raise GeometryError(
            f"{where}: holds {decoded.stored.shape[0]} volumes, a segmentation has 1",
            rule="E-GEO-26",
            hint="store one label map per case",
        )
    with np.errstate(over="ignore", invalid="ignore"):
        values = decoded.channel(0)
        found, worst = _positions(values, labels, where)
    note = f"labels up to {worst:.2g} away from whole numbers were rounded"
    return found, (note,) if worst else ()


def _positions(
    values: Array, labels: Labels, where: str
) -> tuple[npt.NDArray[np.unsignedinteger], float]:
    """Return the positions of labels by their values, and how far one is from a whole number."""
    known = declared_values(labels)
    table = np.full(known[-1][0] + 1, -1, np.intp)
    table[[value for value, _ in known]] = [position for _, position in known]
    found = np.empty(values.shape, labels.dtype)
    worst = 0.0
    # By slices: indices of a whole volume take 8 bytes a voxel.
    for plane, out in zip(values, found, strict=True):
        whole = plane
        if values.dtype.kind == "f":
            whole = np.rint(plane)
            apart = float(np.abs(plane - whole).max())
            if not apart <= LABEL_TOLERANCE:  # NaN neither
                raise _no_whole_numbers(values, where)
            worst = max(worst, apart)
        if whole.min() < 0 or whole.max() >= table.size:
            raise _undeclared(np.rint(values), labels, where)
        positions = table[whole.astype(np.intp)]
        if positions.min() < 0:
            raise _undeclared(np.rint(values), labels, where)
        out[...] = positions
    return found, worst


def declared_values(labels: Labels) -> list[tuple[int, int]]:
    """Return every value that a file may hold and its position in arrays, by rising value."""
    pairs = [(value, position) for position, value in enumerate(labels.file_values)]
    if labels.ignore is not None:
        pairs.append((labels.ignore, labels.count))
    return sorted(pairs)


def _filled(values: Array) -> tuple[Array, list[str]]:
    """Replace what is not finite, unless nothing is; return a note if something was replaced."""
    finite = np.isfinite(values)
    count = values.size - np.count_nonzero(finite)
    if count in (0, values.size):
        return values, []
    smallest = values.min(where=finite, initial=np.inf)
    note = (
        f"{count} voxels that are NaN or infinite became {smallest:g}, the smallest of the others"
    )
    return np.where(finite, values, smallest), [accepted_note(note, "E-VAL-28", "fill")]


def _check_held(values: Array, held: npt.NDArray[np.float32], where: str) -> None:
    """Refuse values that float32 does not hold; floats may be rounded, whole numbers not."""
    if values.dtype.kind == "f":
        if not np.isfinite(held).all():
            has_finite = bool(np.isfinite(values).any())
            raise _not_finite(values, held, where, offer("E-VAL-28") if has_finite else "")
    elif values.dtype.itemsize >= 4:
        largest = max(abs(int(values.min())), abs(int(values.max())))
        if largest <= _EXACT_FLOAT32:
            return
        if largest > _EXACT_FLOAT64 or (held.astype(np.float64) != values).any():
            raise VoxelError(
                f"{where}: holds the whole number {largest} in {values.dtype}; float32 holds "
                f"whole numbers exactly up to {_EXACT_FLOAT32}",
                rule="E-VAL-31",
                hint="rescale the intensities and store them as float32",
            )


def _not_finite(
    values: Array, held: npt.NDArray[np.float32], where: str, otherwise: str = ""
) -> VoxelError:
    bad = ~np.isfinite(values)
    if not bad.any():
        bad = ~np.isfinite(held)
        return VoxelError(
            f"{where}: {np.count_nonzero(bad)} voxels lie outside float32, such as "
            f"{values[bad][0]:g}; allowed is up to {np.finfo(np.float32).max:g}",
            rule="E-VAL-31",
            hint="rescale the intensities and store them as float32",
        )
    first = tuple(int(index) for index in np.unravel_index(bad.argmax(), bad.shape))
    return VoxelError(
        f"{where}: {np.count_nonzero(bad)} voxels are NaN or infinite, the first at array index "
        f"{first} of shape {bad.shape}; only finite numbers are allowed",
        rule="E-VAL-28",
        hint=f"replace them, for instance by the intensity of the background{otherwise}",
    )


def _no_whole_numbers(values: Array, where: str) -> VoxelError:
    if not np.isfinite(values).all():
        return _not_finite(values, values, where)
    fractions = values[np.abs(values - np.rint(values)) > LABEL_TOLERANCE]
    samples = ", ".join(f"{value:.6g}" for value in np.unique(fractions)[:5])
    return VoxelError(
        f"{where}: {fractions.size} voxels hold fractions, such as {samples}; labels are "
        "whole numbers",
        rule="E-VAL-34",
        hint="was the mask interpolated? Resample it again with nearest neighbor",
    )


def _undeclared(values: Array, labels: Labels, where: str) -> VoxelError:
    allowed = [value for value, _ in declared_values(labels)]
    outside = values[~np.isin(values, allowed)]
    found, counts = np.unique(outside, return_counts=True)
    listed = ", ".join(
        f"{value:.15g} ({count} voxels)"
        for value, count in zip(found[:LISTED_VALUES], counts[:LISTED_VALUES], strict=True)
    )
    if found.size > LISTED_VALUES:
        listed += f" and {found.size - LISTED_VALUES} more values"
    return VoxelError(
        f"{where}: holds {listed}; declared are the labels {_ranges(allowed)}",
        rule="E-VAL-35",
        hint="declare these labels where the dataset names its labels, or correct the segmentation",
    )


def _ranges(values: list[int]) -> str:
    """Write rising numbers as a person does: ``0 to 3, 7``."""
    runs: list[list[int]] = []
    for value in values:
        if runs and runs[-1][-1] == value - 1:
            runs[-1] = [runs[-1][0], value]
        else:
            runs.append([value])
    return ", ".join(" to ".join(map(str, run)) for run in runs)
