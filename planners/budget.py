"""What the user grants a training, and the table that turns it into a size of network."""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar, Final, Literal

from autoseg.core.errors import PlanError, UsageError
from autoseg.core.geometry import STRICT
from autoseg.core.plan import RuleSet
from planners.overrides import NO_OVERRIDES, Overrides

NetworkName = Literal["plain", "resenc"]
USUAL_MEMORY_GIB: Final = 8.0
"""Memory that is planned for where none is given, GiB: that of nnU-Net's default."""
MOST_MEMORY_GIB: Final = 512.0
"""No device has more, GiB: whoever asks for it means another unit."""
Mirroring = Literal["auto", "all", "none"]
"""``auto``: along every axis but those whose sides the labels tell apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannerBudget:
    """What the user chooses about a plan."""

    __pydantic_config__: ClassVar = STRICT

    gpu_memory_gib: float | None = None
    """Memory that a training may use on the device, GiB; None where nothing is known of it."""
    network: NetworkName | Literal["auto"] = "auto"
    """Network preset: ``plain``, ``resenc`` with residual blocks in the encoder, or ``auto``."""
    mirroring: Mirroring = "auto"
    """Axes along which training and prediction mirror: ``auto``, ``all`` or ``none``."""
    rules: RuleSet = "autoseg"
    """Whose rules decide; see `planners.rules`."""
    overrides: Overrides = NO_OVERRIDES
    """Single decisions that the user takes over."""

    def __post_init__(self) -> None:
        if not (isfinite(self.memory_gib) and 0 < self.memory_gib <= MOST_MEMORY_GIB):
            raise UsageError(
                f"budget: gpu_memory_gib is {self.gpu_memory_gib}; it must be a positive number "
                f"of at most {MOST_MEMORY_GIB:g}, which no device exceeds",
                hint="give the memory of the device in GiB (2^30 bytes), for example 8",
            )

    @property
    def memory_gib(self) -> float:
        """Memory to plan for, GiB."""
        return USUAL_MEMORY_GIB if self.gpu_memory_gib is None else self.gpu_memory_gib


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkReference:
    """A network whose training is known to fit a certain memory: the yardstick of a plan."""

    name: str
    """Name in tables and decisions, such as ``resenc L``."""
    network: NetworkName
    """Network preset that was trained."""
    gpu_memory_gib: float
    """Memory that the other numbers stand for, GiB."""
    elements_2d: float
    """Elements (see `planners.memory`) of one 2D patch at `batch_2d`."""
    elements_3d: float
    """Elements of one 3D patch at `batch_3d`."""
    batch_2d: int = 12
    """Patches per step that `elements_2d` stands for."""
    batch_3d: int = 2
    """Patches per step that `elements_3d` stands for."""
    least_batch_2d: int = 12
    """The patch is cut until this many 2D patches fit."""
    least_batch_3d: int = 2
    """The patch is cut until this many 3D patches fit."""
    dataset_share: float = 1.0
    """Largest fraction of the dataset's voxels that one batch holds by its authors, 0 to 1."""

    def elements(self, ndim: int, gpu_memory_gib: float) -> float:
        """Return the elements per patch that a memory allows at the reference batch."""
        reference = self.elements_2d if ndim == 2 else self.elements_3d
        return reference * gpu_memory_gib / self.gpu_memory_gib

    def batch(self, ndim: int) -> int:
        """Return the batch that `elements` stands for."""
        return self.batch_2d if ndim == 2 else self.batch_3d

    def least_batch(self, ndim: int) -> int:
        """Return how many patches must fit before the patch is kept."""
        return self.least_batch_2d if ndim == 2 else self.least_batch_3d


PLAIN: Final = NetworkReference(
    name="plain",
    network="plain",
    gpu_memory_gib=8.0,
    elements_2d=8.5e7,
    elements_3d=5.6e8,
    least_batch_2d=2,
    dataset_share=0.05,
)
"""Isensee et al. 2021, doi:10.1038/s41592-020-01008-z, and its code."""
RESENC_M: Final = NetworkReference(
    name="resenc M", network="resenc", gpu_memory_gib=8.0, elements_2d=1.35e8, elements_3d=6.8e8
)
"""Isensee et al. 2024, arXiv:2404.09556."""
RESENC_L: Final = NetworkReference(
    name="resenc L", network="resenc", gpu_memory_gib=24.0, elements_2d=3.8e8, elements_3d=2.1e9
)
"""As M."""
RESENC_XL: Final = NetworkReference(
    name="resenc XL", network="resenc", gpu_memory_gib=40.0, elements_2d=5.6e8, elements_3d=3.6e9
)
"""As M."""
REFERENCES: Final = (PLAIN, RESENC_M, RESENC_L, RESENC_XL)


RESENC_PRESETS: Final = {
    "M": RESENC_M.gpu_memory_gib,
    "L": RESENC_L.gpu_memory_gib,
    "XL": RESENC_XL.gpu_memory_gib,
}
"""Published sizes of the residual network by the memory that they are made for, GiB."""


def budget_of_preset(name: str) -> PlannerBudget:
    """Return the budget that a published size of the residual network stands for.

    Parameters
    ----------
    name : str
        ``M``, ``L`` or ``XL``.

    Raises
    ------
    PlanError
        If there is no such size.
    """
    if name not in RESENC_PRESETS:
        raise PlanError(
            f"preset {name!r} is unknown; known are {', '.join(RESENC_PRESETS)}",
            hint="choose one of these, or give the memory of the device in GiB instead",
        )
    return PlannerBudget(gpu_memory_gib=RESENC_PRESETS[name], network="resenc")


def reference_for(network: str, gpu_memory_gib: float) -> NetworkReference:
    """Return the largest reference of a network that a memory holds.

    Parameters
    ----------
    network : str
        Network preset.
    gpu_memory_gib : float
        Memory that the user grants, GiB.

    Returns
    -------
    NetworkReference
        Of the references of this network that need no more memory than granted, the largest; the
        smallest, to be scaled down, if all need more.

    Raises
    ------
    PlanError
        If no reference has this network.
    """
    known = sorted(
        (reference for reference in REFERENCES if reference.network == network),
        key=lambda reference: reference.gpu_memory_gib,
    )
    if not known:
        names = ", ".join(sorted({reference.network for reference in REFERENCES}))
        raise PlanError(f"budget: network {network!r} is unknown; known are auto, {names}")
    fitting = [each for each in known if each.gpu_memory_gib <= gpu_memory_gib]
    return fitting[-1] if fitting else known[0]
