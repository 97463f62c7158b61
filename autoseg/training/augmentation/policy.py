"""How often and how strongly patches are changed.

A policy holds probabilities and ranges only; `autoseg.training.augmentation.augment` draws from it.
"""

from dataclasses import dataclass
from typing import ClassVar, Final

from autoseg.core.errors import UsageError
from autoseg.core.geometry import STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Probabilities and ranges of every random change of a training patch.

    Ranges are ``(low, high)``. A *split* range is drawn uniformly below 1 with probability 1/2 and
    uniformly above 1 otherwise, so that strengthening is as frequent as weakening.
    """

    __pydantic_config__: ClassVar = STRICT

    rotation: float = 0.0
    """Probability per sample; for the largest angles see `rotation_ranges`."""
    rotation_axis: float = 1.0
    """Probability per axis of being turned about, given that the sample is rotated."""
    scaling: float = 0.0
    """Probability per sample of scaling."""
    scaling_together: bool = True
    """Whether all axes are scaled by one factor, or each by its own."""
    scaling_range: tuple[float, float] = (0.7, 1.4)
    """Scaling factor, without unit; above 1 shows more of the image (zooms out)."""
    noise: float = 0.0
    """Probability per sample of Gaussian noise, of one strength for all channels."""
    noise_std_range: tuple[float, float] = (0.0, 0.1)
    """Standard deviation of the noise, in units of the normalized image."""
    noise_first: bool = True
    """Whether noise is added before the sample is smoothed, or after."""
    blur: float = 0.0
    """Probability per sample of smoothing."""
    blur_channel: float = 0.5
    """Probability per channel, given that the sample is smoothed."""
    blur_together: bool = False
    """Whether a channel is blurred by one standard deviation along all axes."""
    blur_sigma_range: tuple[float, float] = (0.5, 1.0)
    """Standard deviation of the blur per channel and axis, voxels."""
    median_fraction: float = 0.0
    """Share of the smoothed samples that get a median filter, the others a Gaussian blur."""
    median_size_range: tuple[int, int] = (2, 7)
    """Edge of the median filter per channel, voxels; both ends included."""
    brightness: float = 0.0
    """Probability per sample of multiplying the intensities."""
    brightness_range: tuple[float, float] = (0.75, 1.25)
    """Factor per channel, without unit; a split range."""
    shift: float = 0.0
    """Probability per sample of adding a number to the intensities."""
    shift_channel: float = 0.5
    """Probability per channel, given that the sample is shifted."""
    shift_std: float = 0.5
    """Standard deviation of that number, in units of the normalized image."""
    contrast: float = 0.0
    """Probability per sample of stretching the intensities around their mean."""
    contrast_channel: float = 1.0
    """Probability per channel, given that the sample is stretched."""
    contrast_clamped: float = 1.0
    """Share of the stretched samples that are clamped to their former range."""
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
    quarter_turns: float = 0.0
    """Probability per sample of 0 to 3 quarter turns between two allowed axes of equal size."""
    exchange: float = 0.0
    """Probability per sample of a random order of the allowed axes of equal size."""
    rectangles: float = 0.0
    """Probability per sample of boxes filled with their mean."""
    rectangles_channel: float = 0.5
    """Probability per channel, given that the sample gets boxes."""
    rectangles_count_range: tuple[int, int] = (1, 4)
    """Boxes per channel; both ends included."""
    rectangles_edge_range: tuple[float, float] = (1 / 10, 1 / 3)
    """Edges of a box as a fraction of the patch's."""
    gradient: float = 0.0
    """Probability per sample of adding a broad bump of brightness."""
    gradient_channel: float = 0.5
    """Probability per channel, given that the sample gets a bump."""
    gradient_range: tuple[float, float] = (1.0, 5.0)
    """Height of the bump in units of the normalized image; up or down with equal probability."""
    local_gamma: float = 0.0
    """Probability per sample of a gamma curve within a broad bump."""
    local_gamma_channel: float = 0.5
    """Probability per channel, given that the sample gets it."""
    local_gamma_low_range: tuple[float, float] = (0.01, 0.8)
    """Exponent of that curve in one half of the draws."""
    local_gamma_high_range: tuple[float, float] = (1.5, 4.0)
    """Exponent of that curve in the other half."""
    bump_width_range: tuple[float, float] = (1 / 6, 1.0)
    """Standard deviation of a bump along an axis as a fraction of the patch; uniform logarithm."""
    sharpening: float = 0.0
    """Probability per sample of subtracting the Laplacian."""
    sharpening_channel: float = 0.5
    """Probability per channel, given that the sample is sharpened."""
    sharpening_range: tuple[float, float] = (0.1, 1.0)
    """Share of the Laplacian that is subtracted."""
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
        for name in (*_RANGES, *_POSITIVE_RANGES):
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
    *("rotation", "rotation_axis", "scaling"),
    *("noise", "blur", "blur_channel", "median_fraction", "brightness"),
    *("shift", "shift_channel", "contrast", "contrast_channel", "contrast_clamped"),
    *("low_resolution", "low_resolution_channel", "inverted_gamma", "gamma"),
    *("mirror", "quarter_turns", "exchange", "rectangles", "rectangles_channel"),
    *("gradient", "gradient_channel", "local_gamma", "local_gamma_channel"),
    *("sharpening", "sharpening_channel"),
    *("reshaping", "reshaping_label", "removal", "removal_label", "removal_largest_fraction"),
)
_RANGES: Final = (
    *("noise_std_range", "brightness_range", "contrast_range", "low_resolution_range"),
    *("rectangles_edge_range", "gradient_range", "sharpening_range", "reshaping_radius_range"),
)
_SPLIT_RANGES: Final = ("brightness_range", "contrast_range", "gamma_range")
_POSITIVE_RANGES: Final = (
    *("scaling_range", "blur_sigma_range", "gamma_range"),
    *("median_size_range", "rectangles_count_range", "bump_width_range"),
    *("local_gamma_low_range", "local_gamma_high_range"),
)

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
STRONG: Final = Policy(
    rotation=0.4,
    rotation_axis=0.5,
    scaling=0.2,
    scaling_together=False,
    scaling_range=(0.7, 1.43),
    noise=0.1,
    noise_first=False,
    blur=0.2,
    blur_together=True,
    blur_sigma_range=(0.3, 1.5),
    median_fraction=0.5,
    shift=0.1,
    contrast=0.2,
    contrast_channel=0.5,
    contrast_clamped=0.5,
    contrast_range=(0.5, 2.0),
    low_resolution=0.15,
    low_resolution_range=(0.25, 1.0),
    inverted_gamma=0.1,
    mirror=0.5,
    quarter_turns=0.5,
    exchange=0.5,
    rectangles=0.4,
    gradient=0.3,
    local_gamma=0.3,
    sharpening=0.2,
    reshaping=0.4,
    removal=0.2,
)
"""Everything that nnU-Net's variant DA5 does, but for its second inverted gamma, a slip.

Medians are taken along one axis after the other: see
`autoseg.training.augmentation.neighborhood.Median`."""
LIGHT: Final = Policy(
    noise=0.1, brightness=0.15, contrast=0.15, mirror=0.5, reshaping=0.4, removal=0.2
)
"""Cheap on a CPU: nothing interpolates, and no more of the image is read than the patch."""
NONE: Final = Policy()
"""No change."""

POLICIES: Final[dict[str, Policy]] = {
    "full": FULL,
    "strong": STRONG,
    "light": LIGHT,
    "none": NONE,
}


def policy_named(name: str) -> Policy:
    """Return the policy of a name, or raise `UsageError` that lists the names."""
    if name not in POLICIES:
        raise UsageError(
            f"augmentation policy {name!r} is unknown; known are {', '.join(sorted(POLICIES))}"
        )
    return POLICIES[name]
