"""Single decisions that the user takes over from the rules."""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar, Final

from autoseg.core.errors import UsageError
from autoseg.core.geometry import STRICT
from autoseg.core.plan import ConfigurationName
from planners.words import times

Sizes = tuple[int, ...]

WIDTHS: Final = (8, 512)
"""Fewest and most channels that the first stage may be given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What the user sets; None leaves a decision to the rules.

    All per-axis values are in the order in which a plan prints them, the coarsest axis first.
    """

    __pydantic_config__: ClassVar = STRICT

    spacing: tuple[float, ...] | None = None
    """Target voxel edge per axis, mm."""
    patch_size: Sizes | None = None
    """Voxels per axis; two values concern ``2d``, three the configurations of volumes."""
    batch_size: int | None = None
    """Patches per step of every configuration."""
    width: int | None = None
    """Channels of the first stage of every network."""
    configurations: tuple[ConfigurationName, ...] | None = None
    """Names of the only configurations to plan."""

    def __post_init__(self) -> None:
        if self.spacing is not None and not all(
            isfinite(edge) and edge > 0 for edge in self.spacing
        ):
            raise UsageError(
                f"--spacing {times(self.spacing)} mm: each edge must be positive and finite",
                hint="give one edge in mm per axis, for example 3,0.8,0.8",
            )
        if self.patch_size is not None and not all(n >= 1 for n in self.patch_size):
            raise UsageError(
                f"--patch-size {times(self.patch_size)}: each axis must have at least 1 voxel",
                hint="give one size in voxels per axis, for example 96,160,160",
            )
        if self.batch_size is not None and self.batch_size < 1:
            raise UsageError(
                f"--batch-size {self.batch_size}: a step must take at least 1 patch",
                hint="leave --batch-size out to take what fits",
            )
        if self.width is not None and not WIDTHS[0] <= self.width <= WIDTHS[1]:
            raise UsageError(
                f"--width {self.width}: the first stage must have {WIDTHS[0]} to {WIDTHS[1]} "
                "channels",
                hint="leave --width out to take what fits; 32 is usual",
            )
        self._check_names()

    def _check_names(self) -> None:
        names = self.configurations
        if names is not None and "3d_cascade_fullres" in names and "3d_lowres" not in names:
            raise UsageError(
                "--configurations names 3d_cascade_fullres without 3d_lowres, whose prediction it "
                "starts from",
                hint="name both, or 3d_fullres instead of the cascade",
            )


NO_OVERRIDES: Final = Overrides()
"""Every decision is left to the rules."""
