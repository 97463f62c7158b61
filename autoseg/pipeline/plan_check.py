"""``autoseg plan --check``: whether a plan that was edited by hand can be trained."""

from dataclasses import dataclass
from pathlib import Path

from autoseg.core.dataset import DatasetDescription
from autoseg.core.errors import PlanError, RefusedCasesError
from autoseg.core.fingerprint import Fingerprint
from autoseg.core.plan import Configuration, Plan
from autoseg.io import documents
from autoseg.io.workspace import DatasetFolder
from planners.decisions import sizes
from planners.device_memory import GIB, memory_for, usable_bytes
from planners.patch import StepBytes
from planners.rules import RULES
from planners.spacing import grid_of
from planners.stored import as_stored
from planners.topology import plan_topology


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
    RefusedCasesError
        If values are impossible for this dataset or this memory; lists all of them.
    """
    plan = documents.read(file, Plan)
    problems = (
        *_misfits(plan, folder.read_dataset().description, folder.read_fingerprint()),
        *_too_large(plan, step_bytes),
    )
    if problems:
        raise RefusedCasesError(
            f"{file}: {len(problems)} values cannot be trained with",
            tuple(PlanError(problem) for problem in problems),
            hint=f"edit them, or make the plan anew: autoseg plan -d {folder.name} --overwrite",
        )
    return CheckedPlan(plan=plan, edited=_edited(plan))


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
    large = (_beyond(each, plan, fingerprint) for each in plan.configurations)
    return [*problems, *filter(None, large)]


def _beyond(configuration: Configuration, plan: Plan, fingerprint: Fingerprint) -> str:
    """Say that a patch is larger than every image, or nothing."""
    axes = plan.axis_order[len(plan.axis_order) - configuration.ndim :]
    spacing = [1.0] * len(plan.axis_order)  # of an axis across 2D slices any will do
    for axis, edge in zip(axes, configuration.spacing, strict=True):
        spacing[axis] = edge
    largest = [grid_of(fingerprint, tuple(spacing)).largest_shape[axis] for axis in axes]
    _, allowed = plan_topology(configuration.spacing, largest)
    sizes_allowed = zip(configuration.patch_size, allowed, strict=True)
    if all(n <= most for n, most in sizes_allowed):
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


def _edited(plan: Plan) -> tuple[str, ...]:
    """Return the values that differ from what their decisions say."""
    said = {decision.subject: decision.value for decision in plan.decisions}
    lines = []
    for each in plan.configurations:
        values = {
            "spacing": sizes(each.spacing, "mm"),
            "patch_size": sizes(each.patch_size, "voxels"),
            "topology": f"{len(each.topology.strides)} stages",
            "width": f"{each.topology.features[0]} channels in the first stage",
            "batch_size": f"{each.batch_size} patches",
        }
        for field, value in values.items():
            decided = said.get(f"{each.name}.{field}", value)
            if decided != value:
                lines.append(f"{each.name}.{field}: {value}; the decision was {decided}")
    return tuple(lines)
