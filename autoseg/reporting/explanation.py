"""A plan as a page of plain text: what was decided, and why, in the order of a methods section."""

from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap
from typing import Final, get_args

from autoseg.core.plan import Configuration, ConfigurationName, Decision, Plan, RuleSet
from autoseg.reporting.wording import count, operations, per_axis
from planners.words import gib

WIDTH: Final = 92
"""Characters per line."""
STAGE_COLUMNS: Final = ("stage", "stride", "kernel", "voxels", "channels", "encoder", "decoder")
"""Headings of the table of stages."""
RULES: Final[dict[RuleSet, str]] = {"autoseg": "autoseg's own", "nnunet": "nnU-Net's"}
"""Whose rules made a plan, in words."""
MARK: Final = "*"
"""Stands before a decision that the user took."""


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
            ("rules", RULES[plan.rules]),
            ("GPU memory", f"{plan.gpu_memory_gib:.4g} GiB"),
            ("network", ", ".join(networks)),
            ("orientation", f"{plan.orientation}, array axes in the order {plan.axis_order}"),
            ("mirrored axes", ", ".join(str(axis) for axis in plan.mirror_axes) or "none"),
            ("normalization", "; ".join(schemes)),
            ("made by", f"autoseg {plan.autoseg_version}"),
        ),
        *_overrides(plan.decisions),
        *_notes(plan.notes),
    ]


def _notes(notes: Sequence[str]) -> list[str]:
    """List what makes a good model doubtful."""
    lines = ["", "Note:"] if notes else []
    for note in notes:
        lines += _hanging(note, first="  ")
    return lines


def _overrides(decisions: Sequence[Decision]) -> list[str]:
    """List what the user set, one per line."""
    overrides = [decision for decision in decisions if decision.is_override]
    lines = ["", f"Set by you, marked {MARK} below:"] if overrides else []
    for decision in overrides:
        configuration, what = _subject(decision)
        name = f"{configuration} {what}" if configuration else what
        lines += _hanging(f"{name}: {decision.value}", first="  ")
    return lines


def _configuration(configuration: Configuration) -> list[str]:
    extent = (n * s for n, s in zip(configuration.patch_size, configuration.spacing, strict=True))
    inputs = "image"
    if configuration.previous_stage:
        inputs += f" and the prediction of {configuration.previous_stage}"
    smoothed = "along axes that resampling shrinks to under half"
    pooled = "the whole batch" if configuration.batch_dice else "each patch"
    network = f"{configuration.network}, {count(len(configuration.topology.strides), 'stage')}"
    if configuration.arch.stem:
        network += " behind a stem of 1 convolution"
    return [
        *_title(f"Configuration {configuration.name}", "-"),
        *_values(
            ("input", inputs),
            ("spacing", f"{per_axis(configuration.spacing)} mm"),
            ("median image", f"{per_axis(configuration.median_shape)} voxels"),
            ("anti-aliasing", smoothed if configuration.anti_aliasing else "none"),
            ("patch", f"{per_axis(configuration.patch_size)} voxels, {per_axis(extent)} mm"),
            ("batch", count(configuration.batch_size, "patch", "patches")),
            ("Dice loss", f"overlaps summed over {pooled}"),
            ("network", network),
            *_memory(configuration),
        ),
        "",
        *_table(STAGE_COLUMNS, _stages(configuration)),
    ]


def _memory(configuration: Configuration) -> Iterator[tuple[str, str]]:
    """Give the row of the predicted memory, if it was predicted."""
    if configuration.step_bytes is not None:
        peak = gib(configuration.step_bytes)
        yield "memory", f"{peak} on the device at the peak of a training step, predicted"


def _stages(configuration: Configuration) -> Iterator[tuple[str, ...]]:
    """Give one row per stage of the network, full resolution first."""
    topology, arch = configuration.topology, configuration.arch
    size = configuration.patch_size
    for stage, (stride, kernel, channels) in enumerate(
        zip(topology.strides, topology.kernels, topology.features, strict=True)
    ):
        size = tuple(n // step for n, step in zip(size, stride, strict=True))
        is_bottleneck = stage == len(topology.strides) - 1
        yield (
            f"{stage + 1}",
            per_axis(stride),
            per_axis(kernel),
            per_axis(size),
            f"{channels}",
            operations(arch.encoder, stage),
            "" if is_bottleneck else operations(arch.decoder, stage),
        )


def _reasons(decisions: Sequence[Decision]) -> list[str]:
    """Write the decisions, grouped by the configuration that they concern."""
    groups: dict[str, list[str]] = {}
    for decision in decisions:
        configuration, what = _subject(decision)
        sentences = groups.setdefault(configuration or "All configurations", [])
        sentences += _sentence(what, decision)
    lines = _title("Why", "-")
    for name, sentences in groups.items():
        lines += ["", name, *sentences] if len(lines) > 2 else [name, *sentences]
    return lines


def _subject(decision: Decision) -> tuple[str, str]:
    """Return the configuration that a decision concerns, empty for all, and what it decides.

    Units of a name are left to the value: ``gpu_memory_gib`` is the gpu memory.
    """
    first, _, rest = decision.subject.partition(".")
    concerns_one = first in get_args(ConfigurationName)
    what = (rest or "configuration") if concerns_one else decision.subject
    words = what.removesuffix("_gib").replace("_bytes", "_memory").replace("_", " ")
    return (first if concerns_one else "", words)


def _sentence(what: str, decision: Decision) -> list[str]:
    numbers = "; ".join(f"{name}: {value}" for name, value in decision.numbers)
    text = f"{what}: {decision.value} \N{EM DASH} because {decision.rule}"
    text += f" ({numbers})." if numbers else "."
    lines = _hanging(text, first=f"{MARK} " if decision.is_override else "  ")
    if decision.changed_by:
        lines += _hanging(f"would change: {decision.changed_by}.", first="    ")
    return lines


def _hanging(text: str, *, first: str) -> list[str]:
    """Wrap a paragraph whose further lines are indented more than its first."""
    rest = " " * (len(first) + 2)
    return wrap(text, WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)


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
