"""What was measured: one record per case, and the fingerprint that they add up to."""

from dataclasses import dataclass
from typing import ClassVar

from autoseg.core.geometry import STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSketch:
    """Foreground intensities of one channel of one case, in a form that adds up over cases."""

    __pydantic_config__: ClassVar = STRICT

    mean: float
    """Mean over the foreground."""
    square: float
    """Mean of the squared intensities."""
    minimum: float
    """Smallest intensity."""
    maximum: float
    """Largest intensity."""
    quantiles: tuple[float, ...]
    """Intensities at evenly spaced ranks: pooled over cases, each case weighs the same."""


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

    schema_version: int = 1
    """Version of this document."""
    name: str
    """Case name."""
    key: str
    """Digest of the case's files and of what else the measurement depends on."""
    shape: tuple[int, ...]
    """Voxels per array axis, before cropping."""
    shape_after_crop: tuple[int, ...]
    """Voxels per array axis of the box around nonzero voxels."""
    spacing: tuple[float, ...]
    """Voxel edge per array axis, mm."""
    class_voxels: tuple[int, ...]
    """Voxels per label, background first; ignored voxels last, if there is an ignore label."""
    channels: tuple[ChannelSketch | None, ...]
    """Foreground intensities by channel; None where the case has no foreground."""
    symmetric_pairs: tuple[SymmetricPair, ...] = ()
    """Labels that mirror each other, and along which axis."""
    image_digests: tuple[str, ...] = ()
    """SHA-256 of each image file as it is stored, with its data file or sidecar."""
    extremes: tuple[tuple[float, float], ...] = ()
    """Smallest and largest intensity of each channel, background included."""
    notes: tuple[str, ...] = ()
    """What the reader repaired or found worth saying."""


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

    @property
    def relative_size_after_crop(self) -> float:
        """Share of the voxels that cropping keeps, 0 to 1."""
        share = 1.0
        for before, after in zip(self.shape, self.shape_after_crop, strict=True):
            share *= after / before
        return share


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
