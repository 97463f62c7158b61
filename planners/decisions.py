"""The words for what the rules decided: one `Decision` per value, with the numbers it rests on.

A rule is written as a clause, so that "VALUE, because RULE" reads as a sentence.
"""

import numpy as np

from autoseg.core.dataset import DatasetDescription
from autoseg.core.fingerprint import Fingerprint
from autoseg.core.geometry import Orientation
from autoseg.core.plan import Decision, Normalization
from planners.budget import PlannerBudget
from planners.device_memory import (
    CONTEXT_BYTES,
    RESERVED_BYTES,
    RESERVED_FRACTION,
    usable_bytes,
)
from planners.normalization import MASKED_BELOW, SCHEMES, kept_fraction
from planners.patch import Workload
from planners.rules import RULES
from planners.spacing import ANISOTROPY, FINE_PERCENTILE, Grid, low_resolution_axis
from planners.words import Numbers, gib, percent, sizes


def budget_decisions(budget: PlannerBudget) -> tuple[Decision, ...]:
    """Say whose rules decide, and where the memory to plan for comes from."""
    rules = "memory counts in bytes and the known mistakes of nnU-Net are mended"
    if budget.rules == "nnunet":
        rules = "--rules nnunet was given: what you do not set is as nnU-Net decides it"
    memory = "it was given as the budget"
    if budget.gpu_memory_gib is None:
        memory = "none was given; this is what nnU-Net plans for"
    if not RULES[budget.rules].plans_bytes:
        return (
            _rules_decision(budget, rules),
            Decision(
                subject="gpu_memory_gib",
                value=f"{budget.memory_gib:.4g} GiB",
                rule=memory,
                changed_by="--gpu-memory-gib",
            ),
        )
    free = f"{percent(RESERVED_FRACTION)} and {gib(RESERVED_BYTES)}"
    libraries = f"{gib(CONTEXT_BYTES)} more are set aside for the libraries of a GPU"
    return (
        _rules_decision(budget, rules),
        Decision(
            subject="gpu_memory_gib",
            value=f"{budget.memory_gib:.4g} GiB",
            rule=f"{memory}; {free} of it are left free until a GPU has confirmed the predictions, "
            f"and {libraries}",
            numbers=(("a step may take", gib(usable_bytes(budget.memory_gib))),),
            changed_by="--gpu-memory-gib, which takes auto for the GPU of this machine",
        ),
    )


def _rules_decision(budget: PlannerBudget, rule: str) -> Decision:
    is_given = budget.rules == "nnunet"
    return Decision(
        subject="rules",
        value=budget.rules,
        rule=rule,
        changed_by="leaving --rules out" if is_given else "--rules nnunet",
        is_override=is_given,
    )


def network_decisions(
    load: Workload, why: str, numbers: Numbers, *, is_given: bool = False
) -> tuple[Decision, ...]:
    """Say why memory and network are what they are.

    Parameters
    ----------
    load : Workload
        Memory and network.
    why : str
        Why this network, as a clause.
    numbers : tuple
        What that rule looked at.
    is_given : bool
        Whether the user chose it.
    """
    reference = load.reference
    return (
        Decision(
            subject="network",
            value=reference.network,
            rule=f"{why}; patches are sized in proportion to the memory of the reference "
            f"{reference.name}, whose training is known to fit",
            numbers=(
                *numbers,
                ("memory of the reference", f"{reference.gpu_memory_gib:.4g} GiB"),
                ("entries of the labels", f"{load.labels}"),
            ),
            changed_by="leaving --network out" if is_given else "--network",
            is_override=is_given,
        ),
        Decision(
            subject="style",
            value="instance normalization and leaky ReLU",
            rule="instance normalization works at batches of two, which large patches enforce",
        ),
    )


def axis_decisions(order: tuple[int, ...], grid: Grid, load: Workload) -> tuple[Decision, ...]:
    """Say why the axes lie as they do; `grid` is in plan order."""
    orientation: Orientation = load.rules.orientation
    turned = (
        "images are turned to RAS+ axes, so that the position of the patient in the scanner and "
        "the order of the file do not matter"
    )
    if orientation == "stored":
        turned = "nnU-Net reads images as they lie in the file"
    return (
        Decision(
            subject="orientation",
            value=orientation,
            rule=turned,
            changed_by="--rules",
        ),
        Decision(
            subject="axis_order",
            value=str(order),
            rule=_order_rule(grid, load),
            numbers=(("spacing of the first axis", f"{grid.spacing[0]:.4g} mm"),),
            changed_by="" if grid.ndim == 2 else "cases that are coarser along another axis",
        ),
    )


def _order_rule(grid: Grid, load: Workload) -> str:
    if grid.ndim == 2:
        return "both axes of an image lie in its plane"
    single = "the axis of a single slice, or else that of"
    first = single if load.rules.single_slice_first else "the axis of"
    measured = "measured" if load.overrides.spacing is not None else "target"
    return f"{first} the coarsest {measured} spacing, comes first and the others keep their order"


def grid_decisions(
    fingerprint: Fingerprint, order: tuple[int, ...], grid: Grid, load: Workload
) -> tuple[Decision, ...]:
    """Say why all configurations share the grid that they start from.

    Parameters
    ----------
    fingerprint : Fingerprint
        What was measured.
    order : tuple of int
        Plan axis to array axis.
    grid : Grid
        Target spacing and median shape, in plan order.
    load : Workload
        Whose rules decide, and what the user sets.
    """
    smoothed = (
        "; along axes that shrink to under half, images are smoothed first, lest detail that the "
        "coarser grid cannot hold shows up as something else"
    )
    return (
        _spacing_decision(fingerprint, order, grid, is_given=load.overrides.spacing is not None),
        Decision(
            subject="median_shape",
            value=sizes(grid.median_shape, "voxels"),
            rule="it is the median of the case shapes after cropping to nonzero and resampling to "
            "the target spacing",
            numbers=(
                ("cases", f"{len(fingerprint.cases)}"),
                ("kept by cropping, median", percent(kept_fraction(fingerprint))),
            ),
            changed_by="--spacing, or other cases",
        ),
        Decision(
            subject="resampling",
            value="images by cubic splines, segmentations and logits linearly",
            rule="cubic splines keep the detail of images, and linear weights never overshoot "
            "between labels" + (smoothed if load.rules.anti_aliasing else ""),
            changed_by="--rules" if load.rules.anti_aliasing else "",
        ),
    )


def _spacing_decision(
    fingerprint: Fingerprint, order: tuple[int, ...], grid: Grid, *, is_given: bool
) -> Decision:
    measured = np.array([case.spacing for case in fingerprint.cases])[:, list(order)]
    median = np.median(measured, axis=0)
    rule = "it is the median spacing of the cases on every axis"
    numbers: Numbers = (
        ("smallest spacing", sizes(measured.min(axis=0), "mm")),
        ("largest spacing", sizes(measured.max(axis=0), "mm")),
    )
    if low_resolution_axis(fingerprint) is not None:
        rule = (
            f"it is the median spacing of the cases, but the {FINE_PERCENTILE}th percentile, no "
            f"finer than in plane, on the first axis, which is over {ANISOTROPY} times coarser and "
            "shorter than the others, so that cases with thin slices keep their detail"
        )
        numbers = (("median spacing", sizes(median, "mm")), *numbers)
    return Decision(
        subject="target_spacing",
        value=sizes(grid.spacing, "mm"),
        rule="it was given with --spacing" if is_given else rule,
        numbers=numbers,
        changed_by="leaving --spacing out" if is_given else "--spacing",
        is_override=is_given,
    )


def normalization_decisions(
    chosen: tuple[Normalization, ...], fingerprint: Fingerprint, description: DatasetDescription
) -> tuple[Decision, ...]:
    """Say why each channel is normalized as it is."""
    return tuple(
        _normalization_decision(index, name, channel, kept_fraction(fingerprint))
        for index, (name, channel) in enumerate(zip(description.channels, chosen, strict=True))
    )


def _normalization_decision(index: int, name: str, channel: Normalization, kept: float) -> Decision:
    value: str = channel.scheme
    rule = f"the channel is called {name!r}"
    numbers: Numbers = ()
    if name.casefold() not in SCHEMES:
        rule += ", which names no scheme of its own"
    if channel.scheme == "zscore":
        value += ", inside the nonzero mask" if channel.inside_nonzero_only else ", everywhere"
        side = "less than" if kept < MASKED_BELOW else "at least"
        rule += f", and cropping keeps {side} {percent(MASKED_BELOW)} of the voxels"
        numbers = (("kept by cropping, median", percent(kept)),)
    if channel.scheme == "ct":
        measured = channel.statistics
        numbers = (
            ("clipped from", f"{measured.percentile_00_5:.4g}"),
            ("to", f"{measured.percentile_99_5:.4g}"),
            ("mean", f"{measured.mean:.4g}"),
            ("standard deviation", f"{measured.std:.4g}"),
        )
    return Decision(
        subject=f"normalization.{index}",
        value=value,
        rule=rule,
        numbers=numbers,
        changed_by=f"the channel's name in dataset.json: {', '.join(SCHEMES)}",
    )
