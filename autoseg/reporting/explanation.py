"""A plan as a page of plain text: what was decided, and why, in the order of a methods section."""

from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap
from typing import Final, get_args

from autoseg.core.network_spec import Block
from autoseg.core.plan import Configuration, ConfigurationName, Decision, Plan

WIDTH: Final = 92
"""Characters per line."""
STAGE_COLUMNS: Final = ("stage", "stride", "kernel", "voxels", "channels", "encoder", "decoder")
"""Headings of the table of stages."""


def explain_plan(plan: Plan) -> str:
    """Write a plan for a person to read.

    Parameters
    ----------
    plan : Plan
        Any plan, whoever made it.

    Returns
    -------
    str
        Lines of at most 92 characters, unless a single word is longer; ends with a line break.
        First what all configurations share, then each configuration, then why every value is
        what it is.
    """
    sections = [
        _heading(plan),
        *(_configuration(configuration) for configuration in plan.configurations),
        _reasons(plan.decisions),
    ]
    return "\n\n".join("\n".join(line.rstrip() for line in lines) for lines in sections) + "\n"


def _heading(plan: Plan) -> list[str]:
    networks = sorted({configuration.network for configuration in plan.configurations})
    schemes = (
        f"{channel.scheme} inside the nonzero mask"
        if channel.inside_nonzero_only
        else channel.scheme
        for channel in plan.normalization
    )
    return [
        *_title(f"Plan {plan.name!r} for {plan.dataset}", "="),
        *_values(
            ("GPU memory", f"{plan.gpu_memory_gib:.4g} GiB"),
            ("network", ", ".join(networks)),
            ("orientation", f"{plan.orientation}, array axes in the order {plan.axis_order}"),
            ("mirrored axes", ", ".join(str(axis) for axis in plan.mirror_axes) or "none"),
            ("normalization", "; ".join(schemes)),
            ("made by", f"autoseg {plan.autoseg_version}"),
        ),
    ]


def _configuration(configuration: Configuration) -> list[str]:
    extent = (n * s for n, s in zip(configuration.patch_size, configuration.spacing, strict=True))
    inputs = "image"
    if configuration.previous_stage:
        inputs += f" and the prediction of {configuration.previous_stage}"
    pooled = "the whole batch" if configuration.batch_dice else "each patch"
    network = f"{configuration.network}, {_count(len(configuration.topology.strides), 'stage')}"
    if configuration.arch.stem:
        network += " behind a stem of 1 convolution"
    return [
        *_title(f"Configuration {configuration.name}", "-"),
        *_values(
            ("input", inputs),
            ("spacing", f"{_by(configuration.spacing)} mm"),
            ("median image", f"{_by(configuration.median_shape)} voxels"),
            ("patch", f"{_by(configuration.patch_size)} voxels, {_by(extent)} mm"),
            ("batch", _count(configuration.batch_size, "patch", "patches")),
            ("Dice loss", f"overlaps summed over {pooled}"),
            ("network", network),
        ),
        "",
        *_table(STAGE_COLUMNS, _stages(configuration)),
    ]


def _stages(configuration: Configuration) -> Iterator[tuple[str, ...]]:
    """Give one row per stage of the network, full resolution first."""
    topology, arch = configuration.topology, configuration.arch
    size = configuration.patch_size
    for stage, (stride, kernel, channels) in enumerate(
        zip(topology.strides, topology.kernels, topology.features, strict=True)
    ):
        size = tuple(n // by for n, by in zip(size, stride, strict=True))
        is_bottleneck = stage == len(topology.strides) - 1
        yield (
            f"{stage + 1}",
            _by(stride),
            _by(kernel),
            _by(size),
            f"{channels}",
            _blocks(arch.encoder, stage),
            "" if is_bottleneck else _blocks(arch.decoder, stage),
        )


def _blocks(block: Block, stage: int) -> str:
    if block.shortcut == "residual":
        return _count(block.blocks(stage), "residual block")
    return _count(block.blocks(stage) * block.convolutions(stage), "convolution")


def _reasons(decisions: Sequence[Decision]) -> list[str]:
    """Write the decisions, grouped by the configuration that they concern."""
    groups: dict[str, list[str]] = {}
    for decision in decisions:
        first, _, rest = decision.subject.partition(".")
        concerns_one = first in get_args(ConfigurationName)
        group = first if concerns_one else "All configurations"
        what = (rest or "configuration") if concerns_one else decision.subject.removesuffix("_gib")
        groups.setdefault(group, []).extend(_sentence(what, decision))
    lines = _title("Why", "-")
    for name, sentences in groups.items():
        lines += ["", name, *sentences] if len(lines) > 2 else [name, *sentences]
    return lines


def _sentence(what: str, decision: Decision) -> list[str]:
    numbers = "; ".join(f"{name}: {value}" for name, value in decision.numbers)
    text = f"{what.replace('_', ' ')}: {decision.value} \N{EM DASH} because {decision.rule}"
    text += f" ({numbers})." if numbers else "."
    return wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)


def _title(text: str, line: str) -> list[str]:
    return [text, line * len(text)]


def _values(*rows: tuple[str, str]) -> list[str]:
    """Write names in one column and values, wrapped, in the next."""
    indent = max(len(name) for name, _ in rows) + 2
    lines = []
    for name, value in rows:
        lines += wrap(
            value, WIDTH, initial_indent=name.ljust(indent), subsequent_indent=" " * indent
        )
    return lines


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Write columns, each as wide as its widest cell."""
    cells = [header, *rows]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in cells
    ]


def _by(values: Iterable[float]) -> str:
    return " x ".join(f"{value:.4g}" for value in values)


def _count(number: int, noun: str, plural: str = "") -> str:
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
