"""Where voxels lie: shapes, spacings, boxes, and how a file's axes become an array's and back.

Arrays are indexed ``(z, y, x)``, in 2D ``(y, x)``; world space is RAS+ mm ``(x, y, z)``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from autoseg.core.errors import GeometryError

Orientation = Literal["canonical", "stored"]
"""``canonical``: RAS+ axes, z slowest. ``stored``: the file's voxel axes, reversed to (k, j, i)."""

Array = npt.NDArray[Any]
Matrix = tuple[tuple[float, ...], ...]
STRICT: dict[str, Any] = {
    "extra": "forbid",
    "strict": True,
    "allow_inf_nan": False,
    "ser_json_inf_nan": "constants",  # and not null, which would be read as "no value"
}
"""How `autoseg.io.documents` reads a class that carries it as ``__pydantic_config__``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A half-open box of voxels."""

    __pydantic_config__: ClassVar = STRICT

    start: tuple[int, ...]
    """First voxel per axis."""
    stop: tuple[int, ...]
    """First voxel behind the box per axis."""

    @property
    def slices(self) -> tuple[slice, ...]:
        """Index that cuts the box out of an array."""
        return tuple(slice(a, b) for a, b in zip(self.start, self.stop, strict=True))

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels per axis."""
        return tuple(b - a for a, b in zip(self.start, self.stop, strict=True))

    def permuted(self, order: Sequence[int]) -> "Box":
        """Return the same box after ``array.transpose(order)``."""
        return Box(
            start=tuple(self.start[axis] for axis in order),
            stop=tuple(self.stop[axis] for axis in order),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """The grid of one image file and how its array was turned.

    Array axis ``a`` is file axis ``file_axes[a]``, run backwards where ``reversed_axes[a]``.
    """

    __pydantic_config__: ClassVar = STRICT

    file_shape: tuple[int, ...]
    """Voxels per spatial axis, in the file's order."""
    file_affine: Matrix
    """(d+1) x (d+1) matrix from the file's voxel index to RAS+ mm (2D: to its own plane)."""
    file_axes: tuple[int, ...]
    """For each array axis the file axis that it runs along."""
    reversed_axes: tuple[bool, ...]
    """For each array axis whether it runs against the file axis."""

    def __post_init__(self) -> None:
        d = len(self.file_shape)
        if sorted(self.file_axes) != list(range(d)) or len(self.reversed_axes) != d:
            raise GeometryError(
                f"file_axes {self.file_axes} and reversed_axes {self.reversed_axes} must name "
                f"each of the {d} axes once"
            )
        if len(self.file_affine) != d + 1 or any(len(row) != d + 1 for row in self.file_affine):
            raise GeometryError(f"file_affine must be {d + 1} x {d + 1} for a shape of {d} axes")

    @property
    def ndim(self) -> int:
        """Number of spatial axes, 2 or 3."""
        return len(self.file_shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels per array axis."""
        return tuple(self.file_shape[axis] for axis in self.file_axes)

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """Matrix (d+1, d+1) from the array's index to RAS+ mm."""
        d = self.ndim
        turn = np.zeros((d + 1, d + 1))
        turn[d, d] = 1.0
        for axis, (file_axis, backwards) in enumerate(
            zip(self.file_axes, self.reversed_axes, strict=True)
        ):
            turn[file_axis, axis] = -1.0 if backwards else 1.0
            turn[file_axis, d] = self.file_shape[file_axis] - 1 if backwards else 0.0
        return np.asarray(self.file_affine) @ turn

    @property
    def spacing(self) -> tuple[float, ...]:
        """Voxel edge in mm per array axis, rounded to 1e-6 mm (affines are often float32)."""
        edges = np.linalg.norm(self.affine[:-1, :-1], axis=0)
        return tuple(round(float(edge), 6) for edge in edges)

    def to_array(self, voxels: Array) -> Array:
        """Turn an array in the file's axes into one of shape `shape` (a view)."""
        turned = voxels.transpose(self.file_axes)
        return np.flip(turned, self._flipped) if self._flipped else turned

    def to_file(self, array: Array) -> Array:
        """Undo `to_array`."""
        turned = np.flip(array, self._flipped) if self._flipped else array
        return turned.transpose(np.argsort(self.file_axes))

    @property
    def _flipped(self) -> tuple[int, ...]:
        return tuple(axis for axis, backwards in enumerate(self.reversed_axes) if backwards)


def resampled_shape(
    shape: Sequence[int], spacing: Sequence[float], target_spacing: Sequence[float]
) -> tuple[int, ...]:
    """Return the grid that covers the same extent at another spacing.

    Parameters
    ----------
    shape : sequence of int
        Spatial shape in voxels, e.g. ``(Z, Y, X)``; no channel axis.
    spacing, target_spacing : sequence of float
        Voxel size in mm along the same axes; every entry > 0.

    Returns
    -------
    tuple of int
        Voxels per axis, rounded half to even as nnU-Net does, and at least 1.

    Raises
    ------
    GeometryError
        If the three arguments differ in length or a spacing is not positive and finite.

    Examples
    --------
    >>> resampled_shape((40, 512, 512), (5.0, 0.8, 0.8), (2.5, 0.8, 0.8))
    (80, 512, 512)
    """
    if not len(shape) == len(spacing) == len(target_spacing):
        raise GeometryError(
            f"shape {tuple(shape)}, spacing {tuple(spacing)} and target spacing "
            f"{tuple(target_spacing)} must have one entry per axis"
        )
    if not all(0 < edge < inf for edge in (*spacing, *target_spacing)):
        raise GeometryError(
            f"spacing {tuple(spacing)} and target spacing {tuple(target_spacing)} mm "
            "must be positive and finite"
        )
    return tuple(
        max(1, round(a / b * n)) for n, a, b in zip(shape, spacing, target_spacing, strict=True)
    )


def grids_differ(
    first: Geometry,
    second: Geometry,
    *,
    spacing_tolerance: float = 1e-3,
    shift_voxels: float = 0.05,
) -> str:
    """Say in what way two grids of equal shape differ in space, or return an empty string.

    Parameters
    ----------
    first, second : Geometry
        Grids in the same orientation.
    spacing_tolerance : float
        Largest relative difference of a spacing.
    shift_voxels : float
        Largest distance of corresponding corners, as a fraction of the finest spacing. A corner
        also moves when the axes point elsewhere: one measure covers origin and direction.

    Returns
    -------
    str
        The first difference found, with its size in mm; empty if the grids agree.
    """
    for axis, (a, b) in enumerate(zip(first.spacing, second.spacing, strict=True)):
        if abs(a - b) > spacing_tolerance * max(a, b):
            return f"spacing {first.spacing} and {second.spacing} mm differ along array axis {axis}"
    corners = np.array(
        [[*corner, 1.0] for corner in np.ndindex(*(2,) * first.ndim)], dtype=float
    ) * [*(n - 1 for n in first.shape), 1.0]
    apart = np.linalg.norm(corners @ (first.affine - second.affine).T, axis=1).max()
    # The far corner of a large image moves with the rounding of a float32 affine.
    extent = max(n * s for n, s in zip(first.shape, first.spacing, strict=True))
    allowed = max(shift_voxels * min(first.spacing), spacing_tolerance * extent * 0.1)
    if apart > allowed:
        return f"corners lie up to {apart:.3g} mm apart, allowed are {allowed:.3g} mm"
    return ""
