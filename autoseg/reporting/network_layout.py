"""Where the stages of a network lie in its drawing, and what is written beside them.

It says what `autoseg.networks.assembler` builds from the same configuration. Lengths are in pixels.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from math import log, prod
from operator import floordiv
from typing import Final

from autoseg.core.network_spec import Block
from autoseg.core.plan import Configuration
from autoseg.reporting.drawing import Box, Point
from autoseg.reporting.wording import operations, per_axis

CONVOLUTION: Final = "#56B4E9"
"""Sky blue. It and the other colors are those that Okabe and Ito chose for the color-blind as well
(https://jfly.uni-koeln.de/color)."""
RESIDUAL: Final = "#0072B2"
"""Blue."""
STRIDED: Final = "#D55E00"
"""Vermilion."""

WIDTHS: Final = (24.0, 100.0)
"""Width of a block without channels, and with the most channels of its network."""
HEIGHTS: Final = (12.0, 78.0)
"""Height of a block of one voxel, and of as many as the patch has."""
BAR: Final = 6.0
"""Least width of an operation's bar, with the gap to the next."""
LINE: Final = 15.0
"""From one line of text to the next."""
ROW_GAP: Final = 36.0
"""Between the rows of stages, where arrows carry strides."""
STAIR: Final = 22.0
"""How much further inward each stage lies than the one above."""
TOUCH: Final = 3.0
"""Between an arrow and a block or its edge."""
SKIP_HALVES: Final = (16.0, 32.0)
"""Least and most of half the gap between the blocks above the bottleneck: as far as an upright
arrow from them still meets the bottleneck."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What the encoder, or the decoder, does at a stage."""

    bars: tuple[str, ...]
    """Color of each operation, in order."""
    lines: tuple[str, ...]
    """What is written beside the block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stage in words and colors."""

    number: int
    """1 at full resolution."""
    size: tuple[int, ...]
    """Voxels per axis behind the stride."""
    stride: tuple[int, ...]
    """Stride into the stage per axis."""
    channels: int
    """Channels of every feature map."""
    encoder: Side
    """The way down, and the bottleneck."""
    decoder: Side | None
    """The way up; None at the bottleneck."""
    has_silent_head: bool
    """Whether the loss gives the stage's logits no weight: the coarsest of several."""

    @property
    def sides(self) -> tuple[Side, ...]:
        """The encoder's side and the decoder's, if there is one."""
        return (self.encoder, self.decoder) if self.decoder else (self.encoder,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A stage and where its blocks lie: the encoder's on the left, the decoder's mirrored."""

    stage: Stage
    """What is shown."""
    center: Point
    """Center of the encoder's block."""
    width: float
    """Width of its blocks."""
    height: float
    """Height of its blocks."""
    row_height: float
    """Height of its blocks or of its texts, whichever is more; centered on the blocks."""

    def box(self, side: int) -> Box:
        """Return the box of a block: with -1 the encoder's, with 1 the decoder's."""
        x, y = -side * self.center[0], self.center[1]
        return x - self.width / 2, y - self.height / 2, x + self.width / 2, y + self.height / 2


def describe_stages(configuration: Configuration, *, outputs: int) -> tuple[Stage, ...]:
    """Say what the stages of a configuration's network are, full resolution first.

    Parameters
    ----------
    configuration : Configuration
        What is described.
    outputs : int
        Logits channels.
    """
    topology = configuration.topology
    sizes = accumulate(
        topology.strides,
        lambda size, stride: tuple(map(floordiv, size, stride)),
        initial=configuration.patch_size,
    )
    next(sizes)  # the patch, which the first stage has once more
    return tuple(
        Stage(
            number=stage + 1,
            size=size,
            stride=topology.strides[stage],
            channels=topology.features[stage],
            encoder=_encoder(configuration, stage, size),
            decoder=_decoder(configuration, stage, size, outputs),
            has_silent_head=_has_silent_head(configuration, stage),
        )
        for stage, size in enumerate(sizes)
    )


def lay_out(stages: tuple[Stage, ...]) -> tuple[Level, ...]:
    """Lay stages out row by row, the bottleneck around x = 0 and the first row from y = 0."""
    most_channels = max(stage.channels for stage in stages)
    most_voxels = max(2, prod(stages[0].size))
    widths = [
        max(
            _between(WIDTHS, stage.channels / most_channels),
            *(BAR * len(side.bars) for side in stage.sides),
        )
        for stage in stages
    ]
    levels: list[Level] = []
    top = 0.0
    for stage, width in zip(stages, widths, strict=True):
        height = _between(HEIGHTS, log(prod(stage.size)) / log(most_voxels))
        row_height = max(height, *(LINE * len(side.lines) for side in stage.sides))
        levels.append(
            Level(
                stage=stage,
                center=(_center_x(stage.number, widths), top + row_height / 2),
                width=width,
                height=height,
                row_height=row_height,
            )
        )
        top += row_height + ROW_GAP
    return tuple(levels)


def times(values: Iterable[float]) -> str:
    """Write one number per axis with multiplication signs."""
    return per_axis(values, sign="\N{MULTIPLICATION SIGN}")


def _encoder(configuration: Configuration, stage: int, size: tuple[int, ...]) -> Side:
    topology, arch = configuration.topology, configuration.arch
    has_stem = arch.stem and stage == 0
    bars = list(_bars(arch.encoder, stage))
    if any(stride > 1 for stride in topology.strides[stage]):
        bars[0] = STRIDED
    return Side(
        bars=(*[CONVOLUTION] * has_stem, *bars),
        lines=(
            f"{topology.features[stage]} ch",
            times(size),
            *["stem of 1 convolution"] * has_stem,
            f"{operations(arch.encoder, stage)}, {times(topology.kernels[stage])}",
        ),
    )


def _decoder(
    configuration: Configuration, stage: int, size: tuple[int, ...], outputs: int
) -> Side | None:
    topology, block = configuration.topology, configuration.arch.decoder
    if stage == len(topology.features) - 1:
        return None
    head = "output" if stage == 0 else "deep supervision"
    weight = ", weight 0" if _has_silent_head(configuration, stage) else ""
    return Side(
        bars=tuple(_bars(block, stage)),
        lines=(
            f"{topology.features[stage]} ch",
            times(size),
            f"{operations(block, stage)}, {times(topology.kernels[stage])}",
            f"{head}: {outputs} ch{weight}",
        ),
    )


def _has_silent_head(configuration: Configuration, stage: int) -> bool:
    return 0 < stage == len(configuration.topology.features) - 2


def _bars(block: Block, stage: int) -> Iterator[str]:
    is_residual = block.shortcut == "residual"
    units = 1 if is_residual else block.convolutions(stage)
    for _ in range(block.blocks(stage) * units):
        yield RESIDUAL if is_residual else CONVOLUTION


def _center_x(number: int, widths: list[float]) -> float:
    """Return where the encoder's block of a stage is centered."""
    if number == len(widths):
        return 0.0
    least, most = SKIP_HALVES
    gap = min(most, max(least, widths[-2] / 2 - 2 * TOUCH))
    return -(max(widths[:-1]) / 2 + gap + (len(widths) - 1 - number) * STAIR)


def _between(limits: tuple[float, float], share: float) -> float:
    return limits[0] + share * (limits[1] - limits[0])
