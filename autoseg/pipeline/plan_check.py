"""``autoseg plan --check``: whether a plan that was edited by hand can be trained."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from statistics import median
from typing import Final, get_args

from autoseg.core.dataset import DatasetDescription
from autoseg.core.errors import PlanError, RefusedCasesError
from autoseg.core.fingerprint import Fingerprint
from autoseg.core.network_presets import PRESETS
from autoseg.core.plan import Configuration, ConfigurationName, Normalization, Plan
from autoseg.io import documents
from autoseg.io.workspace import DatasetFolder
from planners.budget import MOST_MEMORY_GIB
from planners.device_memory import GIB, memory_for, usable_bytes
from planners.fingerprint_check import check_fingerprint
from planners.mirroring import AXIS_NAMES
from planners.patch import StepBytes
from planners.rules import RULES
from planners.spacing import plan_grid
from planners.stored import as_stored
from planners.topology import plan_topology
from planners.words import Numbers, gib, sizes

MOST_VOXELS: Final = 2**31
"""Voxels beyond which no median image is resampled: the spacing is meant in another unit."""
LEAST_EDGE: Final = 8
"""Voxels that the median image must keep on one axis at least, for a network to halve it once."""

Value = tuple[str, str, Numbers]
"""Subject of a decision, its value in words, and those of its numbers that a plan holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedPlan:
    """A plan that can be trained, and what stands out."""

    plan: Plan
    """The plan."""
    edited: tuple[str, ...]
    """Values that are not those of the decision behind them, in words."""


def check_plan(file: Path, folder: DatasetFolder, *, step_bytes: StepBytes) -> CheckedPlan:
    """Read a plan and say whether it goes with a dataset and with its own memory.

    Parameters
    ----------
    file : Path
        The plan.
    folder : DatasetFolder
        The dataset in the workspace, measured.
    step_bytes : callable
        Predicts the peak bytes of a training step.

    Returns
    -------
    CheckedPlan

    Raises
    ------
    DocumentError
        If the file is no plan, has unknown keys, or breaks one of its rules.
    PlanError
        If the dataset's fingerprint cannot be planned with.
    RefusedCasesError
        If values are impossible for this dataset or this memory; lists all of them.

    Notes
    -----
    Values are compared with decisions as these are written, to four digits: a smaller edit is not
    told.
    """
    plan = documents.read(file, Plan)
    description, fingerprint = folder.read_dataset().description, folder.read_fingerprint()
    check_fingerprint(fingerprint, description)
    problems = (
        *_contradictions(plan, file),
        *_misfits(plan, description, fingerprint),
        *_too_large(plan, step_bytes),
    )
    if problems:
        values = "1 value" if len(problems) == 1 else f"{len(problems)} values"
        raise RefusedCasesError(
            f"{file}: {values} cannot be trained with",
            tuple(PlanError(problem) for problem in problems),
            hint="edit them, or make the plan anew: "
            f"autoseg plan -d {folder.name} --plan {file.stem} --overwrite",
        )
    return CheckedPlan(plan=plan, edited=tuple(_edited(plan)))


def _contradictions(plan: Plan, file: Path) -> Iterator[str]:
    """Yield what is wrong with a plan whatever the dataset."""
    if plan.name != file.stem:
        yield f"name {plan.name!r} must be that of the file, {file.stem!r}"
    if plan.gpu_memory_gib > MOST_MEMORY_GIB:
        yield (
            f"gpu_memory_gib {plan.gpu_memory_gib:.10g} must be at most {MOST_MEMORY_GIB:g}, which "
            "no device exceeds"
        )
    for each in plan.configurations:
        if each.network not in PRESETS:
            yield f"{each.name}.network {each.network!r} is unknown; known are {', '.join(PRESETS)}"
        elif each.arch != PRESETS[each.network]:
            others = (f"{name!r}" for name, arch in PRESETS.items() if arch == each.arch)
            yield (
                f"{each.name}.arch is that of {next(others, 'no network')}; network is "
                f"{each.network!r}, and both must go together"
            )


def _misfits(plan: Plan, description: DatasetDescription, fingerprint: Fingerprint) -> list[str]:
    """Return what does not go with the dataset."""
    problems = []
    if plan.dataset != description.name:
        problems.append(f"dataset {plan.dataset!r} must be {description.name!r}")
    if not plan.configurations:
        problems.append("configurations are none; at least one must be there")
    if len(plan.normalization) != len(description.channels):
        problems.append(
            f"normalization has {len(plan.normalization)} entries; the dataset has "
            f"{len(description.channels)} channels: {', '.join(description.channels)}"
        )
    if len(plan.axis_order) != fingerprint.ndim:
        problems.append(
            f"axis_order {plan.axis_order} has {len(plan.axis_order)} axes; the images have "
            f"{fingerprint.ndim}"
        )
        return problems
    if plan.orientation == "stored":
        fingerprint = as_stored(fingerprint)
    found = (
        _off_grid(each, plan, fingerprint) or _beyond(each, plan, fingerprint)
        for each in plan.configurations
    )
    return [*problems, *filter(None, found)]


def _off_grid(configuration: Configuration, plan: Plan, fingerprint: Fingerprint) -> str:
    """Say that a spacing leaves far too many or too few voxels, or nothing."""
    across = len(plan.axis_order) - configuration.ndim
    shape = [
        median(case.shape_after_crop[axis] for case in fingerprint.cases)
        for axis in plan.axis_order
    ]
    native = max(shape[across:])
    for place, edge in enumerate(configuration.spacing, across):
        axis = plan.axis_order[place]
        # In decimals, because whole numbers would overflow at the spacings that are refused here.
        shape[place] = median(
            case.shape_after_crop[axis] * case.spacing[axis] / edge for case in fingerprint.cases
        )
    least = min(LEAST_EDGE, native)  # of images that are smaller as they are, nothing more is asked
    if prod(max(n, 1.0) for n in shape) > MOST_VOXELS:
        allowed = f"at most {MOST_VOXELS} voxels"
    elif all(round(n) < least for n in shape[across:]):
        allowed = f"at least {least:g} voxels on one axis"
    else:
        return ""
    return (
        f"{configuration.name}.spacing {sizes(configuration.spacing, 'mm')} makes the median image "
        f"{sizes(shape[across:], 'voxels')}; it must have {allowed}"
    )


def _beyond(configuration: Configuration, plan: Plan, fingerprint: Fingerprint) -> str:
    """Say that a patch is larger than every image, or nothing."""
    largest = plan_grid(fingerprint, configuration.spacing, plan.axis_order).largest_shape
    _, allowed = plan_topology(configuration.spacing, largest)
    if all(n <= most for n, most in zip(configuration.patch_size, allowed, strict=True)):
        return ""
    return (
        f"{configuration.name}.patch_size {sizes(configuration.patch_size, 'voxels')} is larger "
        f"than every image; allowed are up to {sizes(allowed, 'voxels')}"
    )


def _too_large(plan: Plan, step_bytes: StepBytes) -> list[str]:
    """Return the configurations whose step does not fit the memory of the plan."""
    if not RULES[plan.rules].plans_bytes:
        return []
    problems = []
    for configuration in plan.configurations:
        needed = step_bytes(configuration)
        if needed > usable_bytes(plan.gpu_memory_gib):
            problems.append(
                f"{configuration.name}: a step takes {needed / GIB:.3g} GiB, for which "
                f"gpu_memory_gib must be at least {memory_for(needed):.3g}; it is "
                f"{plan.gpu_memory_gib:.4g}"
            )
    return problems


def _edited(plan: Plan) -> Iterator[str]:
    """Yield the values that differ from what their decisions say."""
    said = {decision.subject: decision for decision in plan.decisions}
    for subject, value, numbers in (*_shared_values(plan), *_own_values(plan)):
        field = subject.rpartition(".")[2]
        decision = said.get(field if field in ("network", "resampling") else subject)
        if decision is None:
            continue
        if decision.value not in (value, _axes_by_number(plan) if field == "mirror_axes" else ""):
            yield f"{subject}: {value}; the decision was {decision.value}"
        decided = dict(decision.numbers)
        for number, text in numbers:
            if decided.get(number, text) != text:
                yield f"{subject}, {number}: {text}; the decision was {decided[number]}"
    for each in plan.configurations:
        yield from _unlike_rules(each, plan)


def _shared_values(plan: Plan) -> Iterator[Value]:
    """Yield what all configurations share, in the words of its decisions."""
    yield "rules", plan.rules, ()
    yield "gpu_memory_gib", f"{plan.gpu_memory_gib:.4g} GiB", ()
    yield "orientation", plan.orientation, ()
    yield "axis_order", str(plan.axis_order), ()
    turned = {plan.axis_order[axis] for axis in plan.mirror_axes}
    named = [name for axis, name in AXIS_NAMES.items() if "zyx".index(axis) in turned]
    every = (
        f"all {len(plan.axis_order)} spatial axes" if len(turned) == len(plan.axis_order) else ""
    )
    yield "mirror_axes", every or " and ".join(named) or "no axis", ()
    for index, channel in enumerate(plan.normalization):
        yield f"normalization.{index}", *_normalization(channel)
    yield "configurations", ", ".join(plan.names), ()
    for name in get_args(ConfigurationName):
        yield name, "made" if name in plan.names else "not made", ()


def _axes_by_number(plan: Plan) -> str:
    """Return the mirrored axes as a plan made for fine-tuning writes them."""
    return f"plan axes {', '.join(map(str, plan.mirror_axes))}" if plan.mirror_axes else "no axis"


def _normalization(channel: Normalization) -> tuple[str, Numbers]:
    value: str = channel.scheme
    if channel.inside_nonzero_only:
        value += ", inside the nonzero mask"
    elif channel.scheme == "zscore":
        value += ", everywhere"
    measured = channel.statistics
    return value, (
        ("clipped from", f"{measured.percentile_00_5:.4g}"),
        ("to", f"{measured.percentile_99_5:.4g}"),
        ("mean", f"{measured.mean:.4g}"),
        ("standard deviation", f"{measured.std:.4g}"),
    )


def _own_values(plan: Plan) -> Iterator[Value]:
    """Yield what each configuration has for itself, in the words of its decisions."""
    for each in plan.configurations:
        name, features = each.name, each.topology.features
        median_image = sizes(each.median_shape, "voxels")
        yield f"{name}.network", each.network, ()
        yield f"{name}.resampling", _resampling(each), ()
        yield f"{name}.spacing", sizes(each.spacing, "mm"), (("median image", median_image),)
        yield f"{name}.median_shape", median_image, ()
        yield f"{name}.patch_size", sizes(each.patch_size, "voxels"), ()
        divisor = ("patch is a multiple of", sizes(each.topology.divisor, "voxels"))
        yield f"{name}.topology", f"{len(features)} stages", (divisor,)
        stages = ("by stage", ", ".join(map(str, features)))
        yield f"{name}.width", f"{features[0]} channels in the first stage", (stages,)
        yield f"{name}.batch_size", f"{each.batch_size} patches", ()
        yield f"{name}.batch_dice", "over the batch" if each.batch_dice else "per patch", ()
        if each.step_bytes is not None:
            yield f"{name}.step_bytes", gib(each.step_bytes), ()


def _resampling(each: Configuration) -> str:
    orders = (each.image_order, each.segmentation_order, each.logits_order)
    if orders == (3, 1, 1):
        return "images by cubic splines, segmentations and logits linearly"
    return "images, segmentations and logits by splines of order {}, {} and {}".format(*orders)


def _unlike_rules(configuration: Configuration, plan: Plan) -> Iterator[str]:
    """Yield what a configuration's decisions do not say in so many words, yet the rules fix."""
    is_smoothed, usual = configuration.anti_aliasing, RULES[plan.rules].anti_aliasing
    if is_smoothed != usual:
        yield f"{configuration.name}.anti_aliasing: {is_smoothed}; the rules make it {usual}"
    topology, _ = plan_topology(configuration.spacing, configuration.patch_size)
    found = configuration.topology
    if found.strides == topology.strides and found.kernels != topology.kernels:
        yield (
            f"{configuration.name}.topology.kernels: {found.kernels}; the rules make "
            f"{topology.kernels} of this spacing"
        )
