"""What was measured: one record per case, and the fingerprint that they add up to."""

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, Final

from autoseg.core.errors import DocumentError
from autoseg.core.geometry import STRICT

BINARY: Final[dict[str, Any]] = {
    **STRICT,
    "ser_json_bytes": "base64",
    "val_json_bytes": "base64",
}
"""How `autoseg.io.documents` reads a class with bytes in it: written as base64."""
RANKS: Final = 1000
"""Quantiles that are kept of each channel of a case. The share of the foreground below a value is
then off by at most 0.05 %: half the step between two ranks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelMoments:
    """Foreground intensities of one channel of one case, in numbers that add up over cases."""

    __pydantic_config__: ClassVar = STRICT

    mean: float
    """Mean over the foreground."""
    variance: float
    """Mean squared distance from this mean."""
    minimum: float
    """Smallest intensity."""
    maximum: float
    """Largest intensity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SymmetricPair:
    """Two labels of a case, one of which is nearly the mirror image of the other."""

    __pydantic_config__: ClassVar = STRICT

    axis: int
    """Array axis along which they mirror each other."""
    first: int
    """The smaller label."""
    second: int
    """The larger label."""
    dice: float
    """Overlap of one label's reflection about the plane midway between them with the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseMeasurement:
    """What one pass over the files of one case measures."""

    __pydantic_config__: ClassVar = STRICT

    name: str
    """Case name."""
    key: str
    """Digest of what the measurement depends on besides the case's files."""
    shape: tuple[int, ...]
    """Voxels per array axis, before cropping."""
    shape_after_crop: tuple[int, ...]
    """Voxels per array axis of the box around nonzero voxels."""
    spacing: tuple[float, ...]
    """Voxel edge per array axis, mm."""
    class_voxels: tuple[int, ...]
    """Voxels per label, background first; ignored voxels last, if there is an ignore label."""
    channels: tuple[ChannelMoments | None, ...]
    """Foreground intensities by channel; None where the case has no foreground."""
    symmetric_pairs: tuple[SymmetricPair, ...] = ()
    """Labels that mirror each other, and along which axis."""
    image_digests: tuple[str, ...] = ()
    """SHA-256 of each image file as it is stored, with its data file or sidecar."""
    segmentation_digest: str = ""
    """That of the segmentation."""
    extremes: tuple[tuple[float, float], ...] = ()
    """Smallest and largest intensity of each channel, background included."""
    stored_axes: tuple[int, ...] = ()
    """For each axis of an array in the file's own order the array axis above that runs along it:
    what nnU-Net, which turns no image, takes for the shape is ``shape[a] for a in stored_axes``.
    Empty in older documents: the same order."""
    voxel_digest: str = ""
    """SHA-256 of the shape and the intensities, whatever file they were read from."""
    orientation: str = ""
    """Where the axes of the first image file lead, in the file's order, such as ``LPS``; empty in
    2D and where the file does not say it."""
    label_centers: tuple[tuple[float, ...] | None, ...] = ()
    """Centroid of each foreground label: mm from the middle of the image, by array axis. None
    where the case lacks the label."""
    body_center: tuple[float, ...] = ()
    """That of the voxels brighter than the mean of the first channel; empty if there are none."""
    notes: tuple[str, ...] = ()
    """What the reader repaired or found worth saying."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseSketch:
    """What is kept of a case, so that its files need not be read again."""

    __pydantic_config__: ClassVar = BINARY

    schema_version: int = 1
    """Version of this document."""
    measurement: CaseMeasurement
    """Small enough to hold those of all cases in memory."""
    quantiles: tuple[bytes | None, ...]
    """By channel the foreground intensities at `RANKS` evenly spaced ranks, ascending, as
    little-endian float32; None where the case has no foreground."""

    def __post_init__(self) -> None:
        wanted = [None if channel is None else 4 * RANKS for channel in self.measurement.channels]
        found = [None if held is None else len(held) for held in self.quantiles]
        if found != wanted:
            raise DocumentError(
                f"case {self.measurement.name!r}: quantiles take {found} bytes by channel, its "
                f"foreground asks for {wanted}",
                rule="E-SET-46",
                hint="remove the file: the case is then measured again",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelStatistics:
    """Foreground intensities of one channel over the dataset, each case weighing the same."""

    __pydantic_config__: ClassVar = STRICT

    mean: float
    """Mean."""
    median: float
    """Median."""
    std: float
    """Population standard deviation."""
    minimum: float
    """Smallest."""
    maximum: float
    """Largest."""
    percentile_00_5: float
    """0.5th percentile."""
    percentile_99_5: float
    """99.5th percentile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseGrid:
    """The measured values of one case that planning needs."""

    __pydantic_config__: ClassVar = STRICT

    name: str
    """Case name."""
    shape: tuple[int, ...]
    """Voxels per array axis, before cropping."""
    shape_after_crop: tuple[int, ...]
    """Voxels per array axis, after cropping to nonzero."""
    spacing: tuple[float, ...]
    """Voxel edge per array axis, mm."""
    class_voxels: tuple[int, ...]
    """Voxels per label, background first; ignored voxels last, if there is an ignore label."""
    stored_axes: tuple[int, ...] = ()
    """For each axis of an array in the file's own order the array axis that runs along it:
    what nnU-Net, which turns no image, takes for the shape is ``shape[a] for a in stored_axes``.
    Empty in older documents: the same order."""

    @property
    def relative_size_after_crop(self) -> float:
        """Share of the voxels that cropping keeps, 0 to 1."""
        return prod(self.shape_after_crop) / prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Symmetry:
    """Two labels that mirror each other in most cases that have both."""

    __pydantic_config__: ClassVar = STRICT

    axis: int
    """Array axis along which they mirror each other."""
    first: int
    """The smaller label."""
    second: int
    """The larger label."""
    cases: int
    """Cases that have both labels."""
    median_dice: float
    """Median over these cases of `SymmetricPair.dice`, 0 where the case lists no such pair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What was measured of a dataset."""

    __pydantic_config__: ClassVar = STRICT

    schema_version: int = 1
    """Version of this document."""
    dataset: str
    """Name of the dataset."""
    cases: tuple[CaseGrid, ...]
    """One entry per measured case, sorted by name."""
    channels: tuple[ChannelStatistics, ...]
    """Foreground intensities by channel."""
    symmetries: tuple[Symmetry, ...] = ()
    """Labels that mirror each other, and along which axis."""
    notes: tuple[str, ...] = ()
    """What was found worth saying, with the case it concerns."""

    @property
    def ndim(self) -> int:
        """Number of spatial axes, 2 or 3."""
        return len(self.cases[0].spacing)
