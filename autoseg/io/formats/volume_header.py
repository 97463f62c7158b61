"""What the header of an NRRD, MetaImage or GIPL file declares, and how its numbers are read.

A pure function of bytes, as every header here; world space is looked at only as far as SimpleITK
would take damaged numbers for sound ones.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from autoseg.core.errors import GeometryError, ImageFileError, VoxelError
from autoseg.io.formats.header_faults import impossible

LONGEST_HEADER_BYTES: Final = 2**20
"""Longest header of text; those of segmentations list their segments."""

BLANKS: Final = " \t\v\f"
"""Letters that C takes for blanks within a line; Python strips others too, of other codings."""

_BLANKS: Final = re.compile(f"[{BLANKS}]+")
_NUMBER: Final = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_MILLIMETER: Final = {"", "?", "mm", "millimeter", "millimetre", "millimeters", "millimetres"}


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeHeader:
    """How the voxels of a file are laid out."""

    sizes: tuple[int, ...]
    """Length of every axis in the file's order, fastest first, the channels' one too."""
    channel_axis: int | None
    """Axis along which the channels lie; None for one channel."""
    dtype: str
    """Voxel type with its byte order, as numpy writes it."""
    encoding: Literal["raw", "gzip", "zlib"]
    """How the voxels are packed."""
    length: int
    """Bytes of the header."""
    data_file: str = ""
    """File beside the header that holds the voxels; empty where they follow the header."""
    unit: str = ""
    """Unit of lengths as it is stated; empty for mm, and where none is."""
    placeless: str = ""
    """Why left and right are unknown; empty where they are known."""
    edges: tuple[float, ...] = ()
    """Voxel edges by spatial axis of a header that leaves left and right open, if it has any."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels per spatial axis, 2 or 3, fastest first."""
        return tuple(n for axis, n in enumerate(self.sizes) if axis != self.channel_axis)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return 1 if self.channel_axis is None else self.sizes[self.channel_axis]

    @property
    def declared_bytes(self) -> int:
        """Size of header and voxels, unpacked."""
        return self.length + math.prod(self.sizes) * np.dtype(self.dtype).itemsize


def header_lines(data: bytes | bytearray, where: str) -> list[str]:
    """Return the lines of a header of text, each ended by a line feed alone or behind a return.

    A byte is a letter: `str.splitlines` would end lines at letters of UTF-8 and other codings.

    Raises
    ------
    ImageFileError
        E-FILE-09 for a return within a line, which ends it for some readers and not for others.
    """
    lines = [line.removesuffix("\r") for line in data.decode("latin-1").split("\n")]
    torn = next((line for line in lines if "\r" in line), None)
    if torn is not None:
        raise impossible(where, f"the line {torn[:60]!r} holds a carriage return")
    return lines


def whole_numbers(text: str, count: int, field: str, where: str) -> tuple[int, ...]:
    """Read a field of whole numbers from 1.

    Raises
    ------
    ImageFileError
        E-FILE-09 if there are not ``count`` of them.
    """
    words = _BLANKS.split(text.strip(BLANKS))
    if len(words) != count or not all(_is_whole(word) for word in words):
        raise impossible(where, f"{field} is {text[:60]!r}, needed are {count} numbers from 1")
    return tuple(int(word) for word in words)


def _is_whole(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= 12 and int(word) > 0


def numbers(text: str, count: int, field: str, where: str) -> tuple[float, ...]:
    """Read a field of ``count`` finite numbers.

    Raises
    ------
    GeometryError
        E-GEO-17 if they are not.
    """
    words = _BLANKS.split(text.strip(BLANKS))
    found = tuple(float(word) for word in words if _NUMBER.fullmatch(word))
    if len(found) != count or not all(math.isfinite(value) for value in found):
        raise misplaced(where, f"{field} is {text[:60]!r}, needed are {count} finite numbers")
    return found


def check_edges(edges: Sequence[float], field: str, where: str) -> None:
    """Refuse voxel edges (E-GEO-17) that are not positive and finite."""
    if not all(0 < edge < math.inf for edge in edges):
        raise misplaced(where, f"{field} is {tuple(edges)} mm")


def other_unit(*units: str) -> str:
    """Return the unit of lengths, or all of several units; an empty string if all are in mm."""
    others = {unit.strip(): None for unit in units if unit.strip().lower() not in _MILLIMETER}
    if others and len({unit.strip().lower() for unit in units}) > 1:
        return " and ".join(dict.fromkeys(unit or "none" for unit in units))
    return next(iter(others), "")


def unsupported(where: str, problem: str) -> ImageFileError:
    """Return the error for a variant of a format that is not read."""
    return ImageFileError(
        f"{where}: {problem}",
        rule="E-FILE-08",
        hint="convert the image to .nii.gz, with its orientation",
    )


def refused_type(where: str, found: str) -> VoxelError:
    """Return the error for voxels that are no real numbers."""
    return VoxelError(
        f"{where}: holds {found}; allowed are integers and floats of up to 64 bits",
        rule="E-VAL-30",
        hint="store each component as a channel of its own",
    )


def elsewhere(where: str, name: str, allowed: str) -> ImageFileError:
    """Return the error for a header that names another file as its voxels."""
    return ImageFileError(
        f"{where}: names {name[:80]!r} as the file of its voxels; allowed is {allowed}",
        rule="E-FILE-10",
        hint="convert the image to a single file, such as .nii.gz",
    )


def misplaced(where: str, problem: str) -> GeometryError:
    """Return the error for numbers that place no grid in space."""
    return GeometryError(
        f"{where}: {problem}; a place in space needs positive edges and finite numbers",
        rule="E-GEO-17",
        hint="export the image again with its orientation, or correct its header",
    )


def too_many_axes(where: str, sizes: Sequence[int]) -> GeometryError:
    """Return the error for axes that are neither space nor channels."""
    return GeometryError(
        f"{where}: has the shape {tuple(sizes)}; allowed are 2 or 3 spatial axes and one of "
        "channels",
        rule="E-GEO-26",
        hint="store the volumes as channels along one axis, or each in its own file",
    )
