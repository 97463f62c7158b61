"""How often and how strongly patches are changed, and how much image a change needs around them.

A policy holds probabilities and ranges only; `autoseg.training.augmentation.augment` draws from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi, radians, sin
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from autoseg.core.errors import UsageError
from autoseg.core.geometry import STRICT

IN_PLANE_RATIO: Final = 3.0
"""A 3D patch whose longest axis exceeds its first by more is rotated and scaled in-plane only."""
ELONGATED_RATIO: Final = 1.5
"""A 2D patch whose longer axis exceeds its shorter by more is rotated by small angles only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Probabilities and ranges of every random change of a training patch.

    Ranges are ``(low, high)``. A *split* range is drawn uniformly below 1 with probability 1/2 and
    uniformly above 1 otherwise, so that strengthening is as frequent as weakening.
    """

    __pydantic_config__: ClassVar = STRICT

    rotation: float = 0.0
    """Probability per sample; all angles are drawn together, see `rotation_ranges`."""
    scaling: float = 0.0
    """Probability per sample of one factor for all axes."""
    scaling_range: tuple[float, float] = (0.7, 1.4)
    """Scaling factor, without unit; above 1 shows more of the image (zooms out)."""
    noise: float = 0.0
    """Probability per sample of Gaussian noise, of one strength for all channels."""
    noise_std_range: tuple[float, float] = (0.0, 0.1)
    """Standard deviation of the noise, in units of the normalized image."""
    blur: float = 0.0
    """Probability per sample of Gaussian blur."""
    blur_channel: float = 0.5
    """Probability per channel, given that the sample is blurred."""
    blur_sigma_range: tuple[float, float] = (0.5, 1.0)
    """Standard deviation of the blur per channel and axis, voxels."""
    brightness: float = 0.0
    """Probability per sample of multiplying the intensities."""
    brightness_range: tuple[float, float] = (0.75, 1.25)
    """Factor per channel, without unit; a split range."""
    contrast: float = 0.0
    """Probability per sample of stretching the intensities around their mean."""
    contrast_range: tuple[float, float] = (0.75, 1.25)
    """Factor per channel, without unit; a split range."""
    low_resolution: float = 0.0
    """Probability per sample of resampling to a coarser grid and back."""
    low_resolution_channel: float = 0.5
    """Probability per channel, given that the sample is resampled."""
    low_resolution_range: tuple[float, float] = (0.5, 1.0)
    """Voxels per axis of the coarser grid as a fraction of the patch, one factor per channel."""
    inverted_gamma: float = 0.0
    """Probability per sample of a gamma curve on the negated image."""
    gamma: float = 0.0
    """Probability per sample of a gamma curve."""
    gamma_range: tuple[float, float] = (0.7, 1.5)
    """Exponent per channel, without unit; a split range."""
    mirror: float = 0.0
    """Probability per allowed axis of mirroring."""
    reshaping: float = 0.0
    """Probability per sample of growing or shrinking labels of the previous stage's prediction."""
    reshaping_label: float = 0.5
    """Probability per label, given that the sample gets it."""
    reshaping_radius_range: tuple[float, float] = (1.0, 8.0)
    """Radius of the ball that a label grows or shrinks by, voxels."""
    removal: float = 0.0
    """Probability per sample of removing components of the previous stage's prediction."""
    removal_label: float = 0.5
    """Probability per label of losing one component, given that the sample gets it."""
    removal_largest_fraction: float = 0.15
    """Components up to this share of the patch may be removed, 0 to 1."""

    def __post_init__(self) -> None:
        for name in _PROBABILITIES:
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise UsageError(f"augmentation policy: {name} {value} must be from 0 to 1")
        for name in _RANGES:
            low, high = getattr(self, name)
            if not 0 <= low <= high:
                raise UsageError(
                    f"augmentation policy: {name} ({low}, {high}) must rise and not be negative"
                )
        for name in _SPLIT_RANGES:
            low, high = getattr(self, name)
            if not low <= 1 <= high:
                raise UsageError(f"augmentation policy: {name} ({low}, {high}) must contain 1")
        for name in _POSITIVE_RANGES:
            if getattr(self, name)[0] == 0:
                raise UsageError(
                    f"augmentation policy: {name} {getattr(self, name)} must be above 0"
                )


_PROBABILITIES: Final = (
    "rotation",
    "scaling",
    "noise",
    "blur",
    "blur_channel",
    "brightness",
    "contrast",
    "low_resolution",
    "low_resolution_channel",
    "inverted_gamma",
    "gamma",
    "mirror",
    "reshaping",
    "reshaping_label",
    "removal",
    "removal_label",
    "removal_largest_fraction",
)
_RANGES: Final = (
    "scaling_range",
    "noise_std_range",
    "blur_sigma_range",
    "brightness_range",
    "contrast_range",
    "low_resolution_range",
    "gamma_range",
    "reshaping_radius_range",
)
_SPLIT_RANGES: Final = ("brightness_range", "contrast_range", "gamma_range")
_POSITIVE_RANGES: Final = ("scaling_range", "blur_sigma_range", "gamma_range")

FULL: Final = Policy(
    rotation=0.2,
    scaling=0.2,
    noise=0.1,
    blur=0.2,
    brightness=0.15,
    contrast=0.15,
    low_resolution=0.25,
    inverted_gamma=0.1,
    gamma=0.3,
    mirror=0.5,
    reshaping=0.4,
    removal=0.2,
)
"""The probabilities and ranges of nnU-Net's default (Isensee et al. 2021,
doi:10.1038/s41592-020-01008-z; version 2 of its code)."""
LIGHT: Final = Policy(
    noise=0.1, brightness=0.15, contrast=0.15, mirror=0.5, reshaping=0.4, removal=0.2
)
"""Cheap on a CPU: nothing interpolates, and no more of the image is read than the patch."""
NONE: Final = Policy()
"""No change."""

POLICIES: Final[dict[str, Policy]] = {"full": FULL, "light": LIGHT, "none": NONE}


def policy_named(name: str) -> Policy:
    """Return the policy of a name, or raise `UsageError` that lists the names."""
    if name not in POLICIES:
        raise UsageError(
            f"augmentation policy {name!r} is unknown; known are {', '.join(sorted(POLICIES))}"
        )
    return POLICIES[name]


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
