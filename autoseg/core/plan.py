"""What was decided: the plan, its configurations, and the decision behind every value."""

from dataclasses import dataclass
from math import isfinite, prod
from typing import ClassVar, Final, Literal

from autoseg.core.errors import PlanError, UsageError
from autoseg.core.fingerprint import ChannelStatistics
from autoseg.core.geometry import STRICT, Orientation
from autoseg.core.network_spec import Arch, Style

MOST_ORDER: Final = 5
"""Highest spline order that an image can be resampled with."""
ConfigurationName = Literal["2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres"]
RuleSet = Literal["autoseg", "nnunet"]
"""Whose rules made a plan; see `planners.rules`."""
Scheme = Literal["ct", "zscore", "rescale_to_0_1", "rgb_to_0_1", "none"]
"""Normalization of a channel; see `preprocessing.normalization`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Why a value of the plan is what it is."""

    __pydantic_config__: ClassVar = STRICT

    subject: str
    """What was decided, as a path in the plan: ``3d_fullres.patch_size``."""
    value: str
    """The value, as a person would write it, with its unit."""
    rule: str
    """The rule that led to it, in one sentence."""
    numbers: tuple[tuple[str, str], ...] = ()
    """The measured or given numbers that the rule looked at, named, with units."""
    changed_by: str = ""
    """What would change the value: an option, or a number that crosses a threshold; a clause."""
    is_override: bool = False
    """Whether the user set the value, over what the rules would have decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalization:
    """How the intensities of one channel are normalized."""

    __pydantic_config__: ClassVar = STRICT

    scheme: Scheme
    """Name of the rule."""
    inside_nonzero_only: bool
    """Whether statistics are taken, and values changed, within the nonzero mask only."""
    statistics: ChannelStatistics
    """Foreground intensities of the dataset; ``ct`` uses them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """The geometry of a U-Net by stage, full resolution first, axes in plan order."""

    __pydantic_config__: ClassVar = STRICT

    strides: tuple[tuple[int, ...], ...]
    """Stride into each stage per axis; all 1 into the first."""
    kernels: tuple[tuple[int, ...], ...]
    """Convolution kernel of each stage per axis, 1 or 3."""
    features: tuple[int, ...]
    """Channels of each stage."""

    def __post_init__(self) -> None:
        if not len(self.strides) == len(self.kernels) == len(self.features) >= 1:
            raise PlanError(
                f"topology: {len(self.strides)} strides, {len(self.kernels)} kernels and "
                f"{len(self.features)} features must be one per stage"
            )
        if len({len(axes) for axes in (*self.strides, *self.kernels)}) != 1:
            raise PlanError(
                f"topology: strides {self.strides} and kernels {self.kernels} must have one entry "
                "per axis in every stage"
            )
        if min(*(n for axes in (*self.strides, *self.kernels) for n in axes), *self.features) < 1:
            raise PlanError(
                f"topology: strides {self.strides}, kernels {self.kernels} and features "
                f"{self.features} must all be at least 1"
            )
        if any(edge % 2 == 0 for kernel in self.kernels for edge in kernel):
            raise PlanError(
                f"topology: kernels {self.kernels} must be odd, so that a convolution keeps the "
                "size of what it reads"
            )
        if any(stride != 1 for stride in self.strides[0]):
            raise PlanError(f"topology: the first stride {self.strides[0]} must be 1 on every axis")

    @property
    def divisor(self) -> tuple[int, ...]:
        """What the network's input must be a multiple of, per axis."""
        return tuple(prod(axis) for axis in zip(*self.strides, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One way of training on a dataset: grid, patch, batch and network."""

    __pydantic_config__: ClassVar = STRICT

    name: ConfigurationName
    """Name used on the command line and in result folders."""
    spacing: tuple[float, ...]
    """Target voxel edge in mm, axes in plan order; ``2d`` names the two in-plane axes only."""
    median_shape: tuple[float, ...]
    """Median shape of the resampled cases in voxels, same axes; may end in .5."""
    patch_size: tuple[int, ...]
    """Network input in voxels, same axes; no batch or channel axis."""
    batch_size: int
    """Patches per step."""
    batch_dice: bool
    """Whether the Dice loss sums its overlaps over the batch before the ratio."""
    network: str
    """Name of the network preset that `arch` was taken from."""
    arch: Arch
    """The network's record."""
    style: Style
    """Normalization and activation."""
    topology: Topology
    """The network's geometry."""
    image_order: int = 3
    """Spline order that resamples images."""
    segmentation_order: int = 1
    """Spline order that resamples segmentations, label by label."""
    logits_order: int = 1
    """Spline order that resamples logits on export."""
    anti_aliasing: bool = False
    """Whether images are smoothed along axes that resampling shrinks to under half."""
    previous_stage: ConfigurationName | None = None
    """Configuration whose prediction is a further input, if any."""
    step_bytes: int | None = None
    """Predicted peak of one training step on the device, bytes; None where nobody predicted it."""

    def __post_init__(self) -> None:
        d = len(self.patch_size)
        if d != (2 if self.name == "2d" else 3):
            raise PlanError(
                f"configuration {self.name!r}: patch_size {self.patch_size} has {d} axes; 2d has "
                "two, all others have three"
            )
        if not d == len(self.spacing) == len(self.median_shape) == len(self.topology.divisor):
            raise PlanError(
                f"configuration {self.name!r}: patch_size {self.patch_size}, spacing "
                f"{self.spacing} mm, median_shape {self.median_shape} and the topology's divisor "
                f"{self.topology.divisor} must have one entry per spatial axis"
            )
        self._check_values()
        misfits = [
            (size, by)
            for size, by in zip(self.patch_size, self.topology.divisor, strict=True)
            if size % by
        ]
        if misfits:
            raise PlanError(
                f"configuration {self.name!r}: patch_size {self.patch_size} must be a multiple of "
                f"{self.topology.divisor}, the product of the strides"
            )

    def _check_values(self) -> None:
        where = f"configuration {self.name!r}"
        if not all(isfinite(edge) and edge > 0 for edge in self.spacing):
            raise PlanError(f"{where}: spacing {self.spacing} mm must be positive and finite")
        for name, least in (("patch_size", 1), ("median_shape", 0.5)):
            sizes = getattr(self, name)
            if not all(isfinite(n) and n >= least for n in sizes):
                raise PlanError(f"{where}: {name} {sizes} must be at least {least} on every axis")
        if self.batch_size < 1:
            raise PlanError(f"{where}: batch_size {self.batch_size} must be at least 1")
        for name in ("image_order", "segmentation_order", "logits_order"):
            order = getattr(self, name)
            most = 1 if name == "logits_order" else MOST_ORDER
            if not 0 <= order <= most:
                raise PlanError(f"{where}: {name} {order} must be from 0 to {most}")
        if self.previous_stage == self.name:
            raise PlanError(f"{where}: previous_stage must be another configuration")

    @property
    def ndim(self) -> int:
        """Number of axes of the patch, 2 or 3."""
        return len(self.patch_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that was decided for a dataset."""

    __pydantic_config__: ClassVar = STRICT

    schema_version: int = 1
    """Version of this document."""
    name: str
    """Name of the plan, a folder name."""
    dataset: str
    """Name of the dataset."""
    autoseg_version: str
    """Version that made the plan."""
    rules: RuleSet = "autoseg"
    """Whose rules it follows."""
    gpu_memory_gib: float
    """Memory that a training may use on the device, GiB."""
    orientation: Orientation
    """How the reader turns images; see `autoseg.core.geometry.Orientation`."""
    axis_order: tuple[int, ...]
    """``array.transpose(axis_order)`` puts the axes into plan order, the coarsest first."""
    mirror_axes: tuple[int, ...]
    """Spatial axes, in plan order, along which training and prediction may mirror."""
    normalization: tuple[Normalization, ...]
    """One per channel."""
    configurations: tuple[Configuration, ...]
    """What can be trained."""
    decisions: tuple[Decision, ...]
    """Why."""
    notes: tuple[str, ...] = ()
    """What makes a good model doubtful, whatever the plan."""

    def __post_init__(self) -> None:
        where, axes = f"plan {self.name!r}", tuple(range(len(self.axis_order)))
        if len(axes) not in (2, 3) or tuple(sorted(self.axis_order)) != axes:
            raise PlanError(
                f"{where}: axis_order {self.axis_order} must name each of 2 or 3 axes once"
            )
        if tuple(sorted(set(self.mirror_axes) & set(axes))) != self.mirror_axes:
            raise PlanError(
                f"{where}: mirror_axes {self.mirror_axes} must be axes of {axes}, in rising order"
            )
        if not (isfinite(self.gpu_memory_gib) and self.gpu_memory_gib > 0):
            raise PlanError(f"{where}: gpu_memory_gib {self.gpu_memory_gib} must be positive")
        if len(set(self.names)) != len(self.names):
            raise PlanError(f"{where}: configurations {', '.join(self.names)} must be named once")
        for configuration in self.configurations:
            self._check_place(configuration)

    def _check_place(self, configuration: Configuration) -> None:
        """Refuse a configuration that does not go with the others."""
        where = f"plan {self.name!r}, configuration {configuration.name!r}"
        if configuration.ndim > len(self.axis_order):
            raise PlanError(
                f"{where}: patch_size {configuration.patch_size} has more axes than the images, "
                f"{len(self.axis_order)}"
            )
        previous = configuration.previous_stage
        if previous is not None and previous not in self.names:
            raise PlanError(
                f"{where}: previous_stage {previous!r} is none of its configurations, "
                f"{', '.join(self.names)}"
            )

    def patch_mirror_axes(self, configuration: Configuration) -> tuple[int, ...]:
        """Return `mirror_axes` as axes of a configuration's patch, which in 2D lacks the first."""
        missing = len(self.axis_order) - configuration.ndim
        return tuple(axis - missing for axis in self.mirror_axes if axis >= missing)

    @property
    def names_sides(self) -> bool:
        """Whether it is known which axis runs from left to right.

        It is not for pictures, nor where images keep the axes of their files.
        """
        return self.orientation == "canonical" and len(self.axis_order) == 3

    def patch_left_right(self, configuration: Configuration) -> int | None:
        """Return the axis of a configuration's patch that runs from left to right, if it has it.

        Only where the plan `names_sides`.
        """
        axis = self.axis_order.index(2) - (len(self.axis_order) - configuration.ndim)
        return axis if axis >= 0 else None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the configurations."""
        return tuple(configuration.name for configuration in self.configurations)

    def configuration(self, name: str) -> Configuration:
        """Return the configuration of a name, or raise `UsageError` that lists the names."""
        for configuration in self.configurations:
            if configuration.name == name:
                return configuration
        known = ", ".join(self.names)
        raise UsageError(
            f"configuration {name!r} is not in plan {self.name!r}; it has {known}",
            hint=f"choose one of {known}",
        )
