"""The words for what the rules decided: one `Decision` per value, with the numbers it rests on.

A rule is written as a clause, so that "VALUE, because RULE" reads as a sentence.
"""

from collections.abc import Iterable

import numpy as np

from autoseg.core.dataset import DatasetDescription
from autoseg.core.fingerprint import Fingerprint
from autoseg.core.plan import Configuration, Decision, Normalization
from planners.budget import PlannerBudget
from planners.normalization import MASKED_BELOW, SCHEMES, kept_fraction
from planners.patch import LEAST_BATCH, Fit, Workload
from planners.spacing import ANISOTROPY, FINE_PERCENTILE, Grid, low_resolution_axis
from planners.topology import FIRST_FEATURES, MOST_FEATURES, SMALLEST_EDGE, SPACING_RATIO

Numbers = tuple[tuple[str, str], ...]
"""Named numbers, as `Decision.numbers` holds them."""


def sizes(values: Iterable[float], unit: str) -> str:
    """Return one number per axis as a person writes it: ``5 x 0.79 x 0.79 mm``."""
    return f"{' x '.join(f'{value:.4g}' for value in values)} {unit}"


def percent(fraction: float) -> str:
    """Return a fraction in percent."""
    return f"{fraction * 100:.3g} %"


def millions(elements: float) -> str:
    """Return a number of elements in millions."""
    return f"{elements / 1e6:.4g} million elements"


def memory_decision(budget: PlannerBudget) -> Decision:
    """Say where the memory to plan for comes from."""
    rule = "it was given as the budget"
    if budget.gpu_memory_gib is None:
        rule = "none was given; this is what nnU-Net plans for"
    return Decision(subject="gpu_memory_gib", value=f"{budget.memory_gib:.4g} GiB", rule=rule)


def network_decisions(load: Workload, why: str, numbers: Numbers) -> tuple[Decision, ...]:
    """Say why memory and network are what they are.

    Parameters
    ----------
    load : Workload
        Memory and network.
    why : str
        Why this network, as a clause.
    numbers : tuple
        What that rule looked at.
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
        ),
        Decision(
            subject="style",
            value="instance normalization and leaky ReLU",
            rule="instance normalization works at batches of two, which large patches enforce",
        ),
    )


def axis_decisions(order: tuple[int, ...], grid: Grid) -> tuple[Decision, ...]:
    """Say why the axes lie as they do; `grid` is in plan order."""
    is_flat = grid.ndim == 2
    return (
        Decision(
            subject="orientation",
            value="canonical",
            rule="images are turned to RAS+ axes, so that the position of the patient in the "
            "scanner and the order of the file do not matter",
        ),
        Decision(
            subject="axis_order",
            value=str(order),
            rule="both axes of an image lie in its plane"
            if is_flat
            else "the axis of a single slice, or else of the coarsest target spacing, comes first "
            "and the others keep their order",
            numbers=() if is_flat else (("coarsest spacing", f"{grid.spacing[0]:.4g} mm"),),
        ),
    )


def grid_decisions(
    fingerprint: Fingerprint, order: tuple[int, ...], grid: Grid
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
    """
    return (
        _spacing_decision(fingerprint, order, grid),
        Decision(
            subject="median_shape",
            value=sizes(grid.median_shape, "voxels"),
            rule="it is the median of the case shapes after cropping to nonzero and resampling to "
            "the target spacing",
            numbers=(
                ("cases", f"{len(fingerprint.cases)}"),
                ("kept by cropping, median", percent(kept_fraction(fingerprint))),
            ),
        ),
        Decision(
            subject="resampling",
            value="images by cubic splines, segmentations and logits linearly",
            rule="cubic splines keep the detail of images, and linear weights never overshoot "
            "between labels",
        ),
    )


def _spacing_decision(fingerprint: Fingerprint, order: tuple[int, ...], grid: Grid) -> Decision:
    measured = np.array([case.spacing for case in fingerprint.cases])[:, order]
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
        subject="target_spacing", value=sizes(grid.spacing, "mm"), rule=rule, numbers=numbers
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
    return Decision(subject=f"normalization.{index}", value=value, rule=rule, numbers=numbers)


def configuration_decisions(
    configuration: Configuration, fit: Fit, load: Workload
) -> tuple[Decision, ...]:
    """Say why patch, network and batch of a configuration are what they are."""
    name = configuration.name
    return (
        Decision(
            subject=f"{name}.spacing",
            value=sizes(configuration.spacing, "mm"),
            rule=_spacing_rule(configuration),
            numbers=(("median image", sizes(configuration.median_shape, "voxels")),),
        ),
        _patch_decision(name, fit, load),
        _topology_decision(name, fit),
        _batch_decision(name, fit, load),
        Decision(
            subject=f"{name}.batch_dice",
            value="over the batch" if configuration.batch_dice else "per patch",
            rule=_batch_dice_rule(configuration),
        ),
    )


def _patch_decision(name: str, fit: Fit, load: Workload) -> Decision:
    d = len(fit.patch_size)
    least = load.reference.least_batch(d)
    rule = (
        "the patch that the search begins with, of equal extent in mm on all axes and no larger "
        "than the median image, fits the memory as it is"
    )
    if fit.steps:
        rule = (
            "the axis on which the patch covered most of the median image was cut, step by "
            f"step, until {least} patches fitted the memory"
        )
    return Decision(
        subject=f"{name}.patch_size",
        value=sizes(fit.patch_size, "voxels"),
        rule=rule,
        numbers=(
            ("first patch", sizes(fit.first_patch, "voxels")),
            ("cuts", f"{fit.steps}"),
            ("estimate of one patch", millions(fit.elements)),
            ("allowed for one patch", millions(fit.patch_limit)),
        ),
    )


def _topology_decision(name: str, fit: Fit) -> Decision:
    divisor = fit.topology.divisor
    bottleneck = [n // by for n, by in zip(fit.patch_size, divisor, strict=True)]
    return Decision(
        subject=f"{name}.topology",
        value=f"{len(fit.topology.strides)} stages",
        rule=f"each further stage halves the axes that keep at least {SMALLEST_EDGE} voxels and "
        f"are less than {SPACING_RATIO} times as coarse as the finest of them; the channels "
        f"double from {FIRST_FEATURES} up to {MOST_FEATURES[len(divisor)]}, and an axis that is "
        f"{SPACING_RATIO} times as coarse as the finest is convolved only once halving has "
        "brought it level, or at the bottleneck",
        numbers=(
            ("patch is a multiple of", sizes(divisor, "voxels")),
            ("bottleneck", sizes(bottleneck, "voxels")),
        ),
    )


def _batch_decision(name: str, fit: Fit, load: Workload) -> Decision:
    share = percent(load.reference.dataset_share)
    if fit.batch_size > min(fit.memory_batch, fit.dataset_batch):
        rule = f"a step takes at least {LEAST_BATCH} patches"
    elif fit.batch_size == fit.memory_batch:
        rule = f"this many fit the memory, and they hold at most {share} of the dataset's voxels"
    else:
        rule = f"a batch may hold at most {share} of the dataset's voxels"
    return Decision(
        subject=f"{name}.batch_size",
        value=f"{fit.batch_size} patches",
        rule=rule,
        numbers=(
            ("the memory holds", f"{fit.memory_batch} patches"),
            (f"{share} of the dataset fills", f"{fit.dataset_batch} patches"),
        ),
    )


def _spacing_rule(configuration: Configuration) -> str:
    if configuration.name == "3d_lowres":
        return "it is the first, as the grid is coarsened, at which the patch covers enough"
    if configuration.name == "2d":
        return "it is the target spacing of the axes in plane"
    return "it is the target spacing"


def _batch_dice_rule(configuration: Configuration) -> str:
    if configuration.name == "2d":
        return "a flat patch often lacks a label, for which a ratio of its own would be noise"
    if configuration.name == "3d_lowres":
        return "a patch shows much of the image, and so most labels"
    if configuration.batch_dice:
        return "a patch shows so little of the image that a 3d_lowres is made, and may lack a label"
    return "no 3d_lowres is made, so a patch is taken to show most labels"
