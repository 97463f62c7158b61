"""The record that describes a network: what a plan chooses and the assembler builds.

Geometry (kernels, strides, stages) is not part of it: the planner measures that off the data
(`autoseg.core.plan.Topology`), so one record serves 2D, isotropic and anisotropic 3D.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from autoseg.core.errors import PlanError
from autoseg.core.geometry import STRICT

Shortcut = Literal["none", "residual"]
Norm = Literal["instance"]
Activation = Literal["leaky_relu"]


def _counts(value: tuple[int, ...], what: str) -> None:
    if not value or min(value) < 1:
        raise PlanError(f"network: {what} {value} must name at least one stage, each at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """How one stage of the network is built: ``repeat`` blocks of ``n`` convolution units."""

    __pydantic_config__: ClassVar = STRICT

    shortcut: Shortcut = "none"
    """``residual``: the block's input is added before its last activation."""
    n: tuple[int, ...] = (2,)
    """Convolutions per block, by stage; the last entry holds for all further stages."""
    repeat: tuple[int, ...] = (1,)
    """Blocks per stage, by stage; the last entry holds for all further stages."""

    def __post_init__(self) -> None:
        _counts(self.n, "n")
        _counts(self.repeat, "repeat")

    def convolutions(self, stage: int) -> int:
        """Convolutions per block of a stage."""
        return self.n[min(stage, len(self.n) - 1)]

    def blocks(self, stage: int) -> int:
        """Blocks of a stage."""
        return self.repeat[min(stage, len(self.repeat) - 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arch:
    """An encoder-decoder network with concatenating skips and strided-convolution downsampling."""

    __pydantic_config__: ClassVar = STRICT

    encoder: Block = Block()
    """Stages of the encoder."""
    decoder: Block = Block()
    """Stages of the decoder."""
    stem: bool = False
    """Whether one more convolution precedes the first encoder stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """Normalization, activation and supervision, apart from structure."""

    __pydantic_config__: ClassVar = STRICT

    norm: Norm = "instance"
    """Normalization: instance, affine, epsilon 1e-5."""
    activation: Activation = "leaky_relu"
    """Activation: leaky ReLU, slope 0.01."""
