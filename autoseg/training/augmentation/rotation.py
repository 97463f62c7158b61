"""How far patches may be turned, about which axes, and what a turn does to coordinates."""

from collections.abc import Sequence
from math import cos, pi, radians, sin
from typing import Final

import numpy as np
import numpy.typing as npt

IN_PLANE_RATIO: Final = 3.0
"""A 3D patch whose longest axis exceeds its first by more is rotated and scaled in-plane only."""
ELONGATED_RATIO: Final = 1.5
"""A 2D patch whose longer axis exceeds its shorter by more is rotated by small angles only."""


def is_in_plane(patch_size: Sequence[int]) -> bool:
    """Return whether a patch has three axes of which the first is much shorter.

    Such a patch is rotated, scaled and coarsened within its slices only: across them the voxels
    lie too far apart.
    """
    return len(patch_size) == 3 and max(patch_size) > IN_PLANE_RATIO * patch_size[0]


def rotation_ranges(patch_size: Sequence[int]) -> tuple[float, ...]:
    """Return the largest angle of each rotation, in rad.

    Parameters
    ----------
    patch_size : sequence of int
        Voxels per spatial axis, the coarsest first.

    Returns
    -------
    tuple of float
        One angle in 2D and for in-plane 3D patches (`is_in_plane`), otherwise one per axis that is
        rotated about. Angles are drawn uniformly from minus to plus this value.

    Examples
    --------
    >>> [round(angle * 180 / pi) for angle in rotation_ranges((96, 160, 160))]
    [30, 30, 30]
    """
    if len(patch_size) == 2:
        elongated = max(patch_size) > ELONGATED_RATIO * min(patch_size)
        return (radians(15.0 if elongated else 180.0),)
    return (pi,) if is_in_plane(patch_size) else (radians(30.0),) * 3


def rotation_matrix(about: int, angle: float, ndim: int) -> npt.NDArray[np.float64]:
    """Return the (ndim, ndim) matrix from a voxel's offset to the offset that it is taken from.

    Parameters
    ----------
    about : int
        Rotation axis in 3D (the plane is spanned by the next two axes, in cyclic order); in 2D the
        only rotation is 0 and the plane is that of both axes.
    angle : float
        Angle in rad. The image turns from the plane's first towards its second axis, as with
        `numpy.rot90`.
    ndim : int
        2 or 3.
    """
    first, second = (0, 1) if ndim == 2 else ((about + 1) % 3, (about + 2) % 3)
    matrix = np.eye(ndim)
    matrix[first, first] = matrix[second, second] = cos(angle)
    matrix[first, second] = sin(angle)
    matrix[second, first] = -sin(angle)
    return matrix
