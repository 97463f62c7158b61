"""The drawing of a configuration's network: the U that every reader of the field knows."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from autoseg.core.dataset import DatasetDescription
from autoseg.core.plan import Configuration
from autoseg.reporting.drawing import (
    Mark,
    Point,
    bounds,
    draw_arrow,
    draw_rectangle,
    group,
    svg_document,
    write_text,
)
from autoseg.reporting.network_layout import (
    CONVOLUTION,
    LINE,
    RESIDUAL,
    ROW_GAP,
    STRIDED,
    TOUCH,
    Level,
    Side,
    describe_stages,
    lay_out,
    times,
)
from autoseg.reporting.wording import count

TRANSPOSED: Final = "#009E73"
"""Bluish green, of the same palette as the colors of operations."""
HEAD: Final = "#CC79A7"
"""Reddish purple, of the same palette."""
SKIP: Final = "#595959"
"""Dark grey."""

BAR_GAP: Final = 1.5
"""Between the bars of a block, pixels."""
ARROW: Final = 22.0
"""Length of the arrows from the input and to the heads, with the gaps at both ends, pixels."""
HEAD_WIDTH: Final = 6.0
"""Width of a head's bar, pixels."""
PAD: Final = 10.0
"""Between a block or an arrow and its text, pixels."""
STRIDE_PX: Final = 11.0
"""Font size of strides."""
SAMPLE: Final = 24.0
"""Room for a sample in the legend, pixels."""
LEGEND_LINE: Final = 24.0
"""From one line of the legend to the next, pixels."""


def draw_network(configuration: Configuration, description: DatasetDescription) -> str:
    """Draw the network of a configuration.

    Parameters
    ----------
    configuration : Configuration
        Any configuration, of slices or of volumes, with at least one stage.
    description : DatasetDescription
        Names the dataset, and knows the channels of its images and of its labels.

    Returns
    -------
    str
        An SVG document: encoder stages go down on the left, decoder stages up on the right. A
        block's height goes with the logarithm of its voxels and its width with its channels; it
        has one bar per operation. The same arguments give the same bytes.
    """
    stages = describe_stages(configuration, outputs=description.labels.channels)
    levels = lay_out(stages)
    inputs = _inputs(configuration, description)
    marks = [
        *_input_arrow(levels[0], inputs),
        *(_block(level, level.stage.encoder, -1) for level in levels),
        *(_block(level, side, 1) for level in levels if (side := level.stage.decoder)),
        *(_head(level) for level in levels if level.stage.decoder),
        *(mark for upper, lower in pairwise(levels) for mark in _passages(upper, lower)),
    ]
    left, _, right, bottom = bounds(marks)
    marks += _legend(configuration, levels, (left, bottom + 36), right)
    top = bounds(marks)[1]
    title = f"{description.name} {configuration.name}: {_network(configuration)}"
    patch, spacing = times(configuration.patch_size), times(configuration.spacing)
    marks.append(write_text(title, (left, top - 46), size=16, is_bold=True))
    marks.append(write_text(f"patch of {patch} voxels, {spacing} mm each", (left, top - 24)))
    return svg_document(marks, title=title, description="; ".join(_in_words(inputs, levels)))


def _network(configuration: Configuration) -> str:
    stages = count(len(configuration.topology.features), "stage")
    return f"{configuration.network} U-Net, {stages}, batch {configuration.batch_size}"


def _inputs(configuration: Configuration, description: DatasetDescription) -> tuple[str, ...]:
    images = len(description.channels)
    if configuration.previous_stage is None:
        return (f"input: {images} ch",)
    labels = len(description.labels.foreground)
    return (f"input: {images} + {labels} ch", f"image + labels of {configuration.previous_stage}")


def _in_words(inputs: Sequence[str], levels: Sequence[Level]) -> Iterator[str]:
    yield ", ".join(inputs)
    for level in levels:
        yield _tooltip(level, level.stage.encoder)
    for level in levels[-2::-1]:
        if level.stage.decoder:
            yield _tooltip(level, level.stage.decoder)


def _tooltip(level: Level, side: Side) -> str:
    stage = level.stage
    is_encoder = side is stage.encoder
    where = "decoder" if not is_encoder else "encoder" if stage.decoder else "bottleneck"
    stride = [f"stride {times(stage.stride)}"] * (is_encoder and stage.number > 1)
    return f"{where} stage {stage.number}: {', '.join((*side.lines, *stride))}"


def _input_arrow(first: Level, lines: Sequence[str]) -> Iterator[Mark]:
    left, top, right, _ = first.box(-1)
    x, end = (left + right) / 2, top - TOUCH
    yield draw_arrow((x, end - ARROW), (x, end), color=SKIP)
    for place, line in enumerate(reversed(lines)):
        yield write_text(line, (x, end - ARROW - PAD - place * LINE), anchor="middle")


def _block(level: Level, side: Side, where: int) -> Mark:
    """Draw the bars of a stage's operations, and write beside them."""
    left, top, right, bottom = level.box(where)
    pitch = (right - left + BAR_GAP) / len(side.bars)
    marks = [
        draw_rectangle(
            (left + place * pitch, top, left + (place + 1) * pitch - BAR_GAP, bottom), fill=color
        )
        for place, color in enumerate(side.bars)
    ]
    x = left - PAD if where < 0 else right + ARROW + HEAD_WIDTH + PAD
    for place, line in enumerate(side.lines):
        y = level.center[1] + (place - (len(side.lines) - 1) / 2) * LINE
        marks.append(
            write_text(line, (x, y), anchor="end" if where < 0 else "start", is_bold=place == 0)
        )
    kind = "encoder" if where < 0 else "decoder"
    return group(marks, kind=kind, tooltip=_tooltip(level, side))


def _head(level: Level) -> Mark:
    """Draw the head of a decoder stage; hollow, if the loss gives its logits no weight."""
    _, top, right, bottom = level.box(1)
    y, start = level.center[1], right + ARROW
    marks = [
        draw_arrow((right + TOUCH, y), (start - TOUCH, y), color=HEAD),
        draw_rectangle(
            (start, top, start + HEAD_WIDTH, bottom),
            fill="#ffffff" if level.stage.has_silent_head else HEAD,
            stroke=HEAD,
        ),
    ]
    return group(marks, kind="head", tooltip=f"head of decoder stage {level.stage.number}")


def _passages(upper: Level, lower: Level) -> Iterator[Mark]:
    """Draw the skip of a stage, and the ways down to the next and back up, with strides."""
    skip_from, skip_to = upper.box(-1)[2] + TOUCH, upper.box(1)[0] - TOUCH
    y = upper.center[1]
    yield draw_arrow((skip_from, y), (skip_to, y), color=SKIP)
    gap_y = upper.center[1] + upper.row_height / 2 + ROW_GAP / 2
    start, end = _way_down(upper, lower)
    for side, kind in ((-1, "down"), (1, "up")):
        tail, tip = ((-side * x, y) for x, y in ((start, end) if side < 0 else (end, start)))
        x = min(tail[0], tip[0]) - PAD if side < 0 else max(tail[0], tip[0]) + PAD
        stride = times(lower.stage.stride)
        label = write_text(
            stride, (x, gap_y), anchor="end" if side < 0 else "start", size=STRIDE_PX
        )
        color = lower.stage.encoder.bars[0] if side < 0 else TRANSPOSED
        arrow = draw_arrow(tail, tip, color=color)
        yield group([arrow, label], kind=kind, tooltip=f"stride {stride}")


def _way_down(upper: Level, lower: Level) -> tuple[Point, Point]:
    """Return the ends of the encoder's arrow, which is upright where the blocks overlap."""
    middle = (upper.center[0] + lower.center[0]) / 2
    above, below = upper.box(-1), lower.box(-1)
    start = min(max(middle, above[0] + TOUCH), above[2] - TOUCH)
    end = min(max(middle, below[0] + TOUCH), below[2] - TOUCH)
    return (start, above[3] + TOUCH), (end, below[1] - TOUCH)


def _legend(
    configuration: Configuration, levels: Sequence[Level], at: Point, right: float
) -> Iterator[Mark]:
    """Name the colors in columns, as many as fit between `at` and `right`, at least one."""
    meanings = tuple(_meanings(configuration, levels))
    texts = [write_text(meaning, (0, 0)) for _, _, meaning in meanings]
    pitch = max(text.box[2] for text in texts) + SAMPLE + 3 * PAD
    columns = max(1, int((right - at[0]) / pitch))
    for place, (is_arrow, color, meaning) in enumerate(meanings):
        x, y = at[0] + place % columns * pitch, at[1] + place // columns * LEGEND_LINE
        if is_arrow:
            yield draw_arrow((x + 1, y), (x + SAMPLE - 1, y), color=color)
        else:
            middle = x + SAMPLE / 2
            yield draw_rectangle((middle - 6, y - 7, middle + 6, y + 7), fill=color)
        yield write_text(meaning, (x + SAMPLE + PAD, y))


def _meanings(
    configuration: Configuration, levels: Sequence[Level]
) -> Iterator[tuple[bool, str, str]]:
    """Give what the drawing uses: whether it is an arrow, its color and what it means."""
    bars = {bar for level in levels for side in level.stage.sides for bar in side.bars}
    is_residual = configuration.arch.encoder.shortcut == "residual"
    meanings = {
        CONVOLUTION: "convolution",
        RESIDUAL: "residual block of 2 convolutions",
        STRIDED: "strided residual block" if is_residual else "strided convolution",
    }
    yield from ((False, color, what) for color, what in meanings.items() if color in bars)
    if len(levels) > 1:
        ones = times((1,) * configuration.ndim)
        yield True, TRANSPOSED, "transposed convolution"
        yield True, SKIP, "skip, concatenated"
        yield True, HEAD, f"head: {ones} convolution"
