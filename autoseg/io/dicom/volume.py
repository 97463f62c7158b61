"""The slices of a series as one volume: each rescaled by its own header, copies dropped.

Whole numbers stay whole; others are computed in float64 and rounded once.
"""

from dataclasses import dataclass
from math import ceil, floor
from pathlib import Path
from typing import Final

import numpy as np

from autoseg.core.errors import ImageFileError
from autoseg.core.geometry import Array
from autoseg.io.dicom.headers import Header, check_size
from autoseg.io.dicom.pixels import read_slice
from autoseg.io.dicom.stack import Stack
from autoseg.io.formats.placement import Affine

_WHOLE_TYPES: Final = ("uint8", "int16", "uint16", "int32", "int64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """The voxels of a series."""

    voxels: Array
    """Shape (slices, rows, columns)."""
    affine: Affine
    """From (column, row, slice) to RAS+ mm."""
    digests: tuple[str, ...]
    """SHA-256 of each file, copies included."""
    notes: tuple[str, ...]
    """What was dropped or resampled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Canvas:
    """The straight grid that holds all slices of a leaning stack."""

    first: tuple[int, int]
    """Row and column of the canvas, against those of the first slice."""
    shape: tuple[int, int]
    """Rows and columns."""


def read_volume(stack: Stack, folder: Path, *, limit_bytes: int) -> Volume:
    """Read the pixels of a stack.

    Parameters
    ----------
    stack : Stack
        Slices in their order.
    folder : Path
        Names the series in errors.
    limit_bytes : int
        Largest size of the volume; compared before a pixel is read.

    Raises
    ------
    ImageFileError
        E-DCM-51 if files that share a place differ, E-DCM-54 for pixels that cannot be taken,
        E-FILE-06 if the volume is too large.
    """
    headers = [header for files in stack.slices for header in files]
    columns, rows, count = stack.shape
    canvas = _canvas(stack)
    kind = np.dtype("float32") if canvas else _value_type(headers)
    shape = (count, *(canvas.shape if canvas else (rows, columns)))
    declared = int(np.prod(shape, dtype=object)) * kind.itemsize
    check_size(folder, declared, limit_bytes, f"declares shape {shape},")
    voxels = np.empty((count, rows, columns), dtype=kind)
    digests: list[str] = []
    for index, files in enumerate(stack.slices):
        pixels = _one_of(files, digests, limit_bytes)
        with np.errstate(over="ignore"):
            voxels[index] = _values(pixels, files[0], kind)
    affine, notes = stack.affine, []
    if canvas:
        voxels, affine = _straightened(voxels, stack, canvas)
        notes.append(
            f"slices lay aside of each other and were resampled onto a straight grid of {shape}"
        )
    dropped = len(headers) - count
    if dropped:
        notes.append(f"files that repeat another slice, pixels and place, dropped: {dropped}")
    return Volume(voxels=voxels, affine=affine, digests=tuple(digests), notes=tuple(notes))


def _one_of(files: tuple[Header, ...], digests: list[str], limit_bytes: int) -> Array:
    """Return the pixels of files that share a place, refusing (E-DCM-51) those that differ."""
    first, *others = files
    pixels, digest = read_slice(first, limit_bytes=limit_bytes)
    digests.append(digest)
    for other in others:
        repeated, digest = read_slice(other, limit_bytes=limit_bytes)
        digests.append(digest)
        wrong = "pixels" if not np.array_equal(pixels, repeated) else ""
        if (first.slope, first.intercept) != (other.slope, other.intercept):
            wrong = "scaling"
        if wrong:
            raise ImageFileError(
                f"{first.where}: lies where {other.path.name} does, but its {wrong} differ"
                f"{'s' if wrong == 'scaling' else ''}; one slice per position is allowed",
                rule="E-DCM-51",
                hint="does the series hold several times, echoes or phases? Give each a folder of "
                "its own",
            )
    return pixels


def _value_type(headers: list[Header]) -> "np.dtype[np.generic]":
    """Return the smallest type that holds every value that the headers allow."""
    lows, highs = [], []
    for header in headers:
        low = -(2 ** (header.bits_stored - 1)) if header.is_signed else 0
        ends = [
            stored * header.slope + header.intercept
            for stored in (low, low + 2.0**header.bits_stored - 1)
        ]
        lows.append(min(ends))
        highs.append(max(ends))
    if all(header.slope == 1 and header.intercept.is_integer() for header in headers):
        for name in _WHOLE_TYPES:
            held = np.iinfo(name)
            if held.min <= min(lows) and max(highs) <= held.max:
                return np.dtype(name)
    held_largest = float(np.finfo(np.float32).max)
    return np.dtype("float32" if max(-min(lows), *highs) <= held_largest else "float64")


def _values(pixels: Array, header: Header, kind: "np.dtype[np.generic]") -> Array:
    """Return what stored pixels mean, by the scaling of their own slice."""
    if kind.kind == "f":
        scaled: Array = pixels.astype(np.float64) * header.slope + header.intercept
        return scaled
    return pixels.astype(np.int64) + int(header.intercept)


def _canvas(stack: Stack) -> _Canvas | None:
    """Return the grid that holds every shifted slice; None if nothing is shifted."""
    if not stack.shifts:
        return None
    columns, rows, _ = stack.shape
    first, shape = [], []
    for size, shifts in zip(
        (rows, columns), ([y for _, y in stack.shifts], [x for x, _ in stack.shifts]), strict=True
    ):
        first.append(floor(min(shifts)))
        shape.append(size + ceil(max(shifts)) - floor(min(shifts)))
    return _Canvas(first=(first[0], first[1]), shape=(shape[0], shape[1]))


def _straightened(voxels: Array, stack: Stack, canvas: _Canvas) -> tuple[Array, Affine]:
    """Shift every slice (linear interpolation) to where it lies; the rest is the lowest value."""
    from scipy import ndimage

    count, rows, columns = voxels.shape
    lowest = voxels.min()
    straight = np.full((count, *canvas.shape), lowest, dtype=voxels.dtype)
    for index, (x, y) in enumerate(stack.shifts):
        shifts = (y - canvas.first[0], x - canvas.first[1])
        row, column = map(floor, shifts)
        straight[index, row : row + rows, column : column + columns] = voxels[index]
        rest = (shifts[0] - row, shifts[1] - column)
        if any(rest):
            straight[index] = ndimage.shift(straight[index], rest, order=1, cval=lowest)
    affine = stack.affine.copy()
    affine[:3, 3] += affine[:3, 0] * canvas.first[1] + affine[:3, 1] * canvas.first[0]
    return straight, affine
