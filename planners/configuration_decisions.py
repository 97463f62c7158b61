"""The words for what was decided about one configuration: one `Decision` per value."""

from typing import Final

from autoseg.core.plan import Configuration, Decision
from planners.candidate import Candidate
from planners.device_memory import memory_for
from planners.patch import LEAST_BATCH, Workload
from planners.spending import WIDEST, Spent
from planners.topology import FIRST_FEATURES, MOST_FEATURES, SMALLEST_EDGE, SPACING_RATIO
from planners.words import Numbers, gib, millions, percent, sizes


def configuration_decisions(
    configuration: Configuration, candidate: Candidate, load: Workload
) -> tuple[Decision, ...]:
    """Say why patch, network and batch of a configuration are what they are.

    Parameters
    ----------
    configuration : Configuration
        What was decided.
    candidate : Candidate
        What it rests on.
    load : Workload
        Memory, network, and what the user sets.
    """
    name = configuration.name
    memory = () if candidate.spent is None else (_memory_decision(name, candidate.spent),)
    return (
        _spacing_decision(configuration, load),
        _patch_decision(configuration, candidate, load),
        _topology_decision(configuration),
        _width_decision(configuration, candidate, load),
        _batch_decision(configuration, candidate, load),
        *memory,
        Decision(
            subject=f"{name}.batch_dice",
            value="over the batch" if configuration.batch_dice else "per patch",
            rule=_batch_dice_rule(configuration),
        ),
    )


def _spacing_decision(configuration: Configuration, load: Workload) -> Decision:
    is_given = load.overrides.spacing is not None and configuration.name != "3d_lowres"
    rule, changed_by = "it is the target spacing", "--spacing"
    if configuration.name == "3d_lowres":
        rule = "it is the first, as the grid is coarsened, at which the patch covers enough"
        changed_by = "a larger patch, which covers enough of the image at a finer spacing"
    elif configuration.name == "2d":
        rule = "it is the target spacing of the axes in plane"
    return Decision(
        subject=f"{configuration.name}.spacing",
        value=sizes(configuration.spacing, "mm"),
        rule="it was given with --spacing" if is_given else rule,
        numbers=(("median image", sizes(configuration.median_shape, "voxels")),),
        changed_by=changed_by,
        is_override=is_given,
    )


def _patch_decision(configuration: Configuration, candidate: Candidate, load: Workload) -> Decision:
    fit = candidate.fit
    is_given = fit.is_given
    rule, changed_by = _patch_rule(candidate, load)
    if is_given:
        rule, changed_by = "it was given with --patch-size", "leaving --patch-size out"
    numbers: Numbers = (
        ("first patch", sizes(fit.first_patch, "voxels")),
        ("cuts", f"{fit.steps}"),
        ("estimate of one patch", millions(fit.elements)),
        ("allowed for one patch", millions(fit.patch_limit)),
    )
    return Decision(
        subject=f"{configuration.name}.patch_size",
        value=sizes(configuration.patch_size, "voxels"),
        rule=rule,
        numbers=() if is_given else numbers,
        changed_by=changed_by,
        is_override=is_given,
    )


WIDER: Final[Numbers] = (
    ("Dice of twice the channels after as many steps", "0.853 against 0.851"),
    ("their time on a CPU", "3.4 times as long"),
)
"""``benchmarks/plan_variants.py``: Task04_Hippocampus, fold 0, preset ``fast``, 400 steps."""
Reason = tuple[str, str]
"""A rule, and what would change its outcome."""


def _patch_rule(candidate: Candidate, load: Workload) -> Reason:
    fit, spent = candidate.fit, candidate.spent
    if spent is not None and spent.cut_from is not None:
        return (
            f"the patch of nnU-Net's search, {sizes(spent.cut_from.patch_size, 'voxels')}, is "
            f"predicted not to fit{'' if load.overrides.width else ' whatever the channels'}, so "
            "the axis on which it covered most of the median image was cut further, until a step "
            "fitted",
            "more --gpu-memory-gib",
        )
    if fit.steps:
        return (
            "the axis on which the patch covered most of the median image was cut, step by step, "
            f"until the estimate of {load.reference.least_batch(len(fit.patch_size))} patches came "
            "down to that of the reference network at this memory",
            "more or less --gpu-memory-gib, or --patch-size",
        )
    return (
        "the patch that the search begins with, of equal extent in mm on all axes and no larger "
        "than the median image, fits the memory as it is",
        "larger images, or --patch-size",
    )


def _topology_decision(configuration: Configuration) -> Decision:
    divisor = configuration.topology.divisor
    bottleneck = [n // by for n, by in zip(configuration.patch_size, divisor, strict=True)]
    return Decision(
        subject=f"{configuration.name}.topology",
        value=f"{len(configuration.topology.strides)} stages",
        rule=f"each further stage halves the axes that keep at least {SMALLEST_EDGE} voxels and "
        f"are less than {SPACING_RATIO} times as coarse as the finest of them; an axis that is "
        f"{SPACING_RATIO} times as coarse as the finest is convolved only once halving has "
        "brought it level, or at the bottleneck",
        numbers=(
            ("patch is a multiple of", sizes(divisor, "voxels")),
            ("bottleneck", sizes(bottleneck, "voxels")),
        ),
        changed_by="a larger or smaller patch, or another spacing",
    )


def _width_decision(configuration: Configuration, candidate: Candidate, load: Workload) -> Decision:
    features = configuration.topology.features
    is_given = load.overrides.width is not None
    rule, changed_by = _width_rule(features[0], candidate, load)
    if is_given:
        rule, changed_by = "it was given with --width", "leaving --width out"
    return Decision(
        subject=f"{configuration.name}.width",
        value=f"{features[0]} channels in the first stage",
        rule=rule,
        numbers=(
            ("by stage", ", ".join(map(str, features))),
            *(WIDER if features[0] > FIRST_FEATURES and not is_given else ()),
        ),
        changed_by=changed_by,
        is_override=is_given,
    )


def _width_rule(width: int, candidate: Candidate, load: Workload) -> Reason:
    if width < FIRST_FEATURES:
        return (
            f"a step of {load.overrides.batch_size or LEAST_BATCH} of these patches at "
            f"{FIRST_FEATURES} channels is predicted not to fit; patch and batch are worth more "
            "than channels",
            "more --gpu-memory-gib, or --width with a smaller --patch-size",
        )
    if width > FIRST_FEATURES:
        return (
            "memory is left over once patch and batch are decided"
            + (f", and more than {WIDEST} channels are not taken" if width == WIDEST else ""),
            "other --gpu-memory-gib, or --width",
        )
    most = MOST_FEATURES[len(candidate.fit.patch_size)]
    widens = candidate.spent is not None and load.may_widen
    return (
        f"it is nnU-Net's; channels double by stage up to {most}",
        "more --gpu-memory-gib, or --width" if widens else "--width",
    )


def _batch_decision(configuration: Configuration, candidate: Candidate, load: Workload) -> Decision:
    fit, spent = candidate.fit, candidate.spent
    share, batch = percent(load.dataset_share), configuration.batch_size
    is_given = load.overrides.batch_size is not None
    held = ("the memory holds", f"{fit.memory_batch} patches")
    filled = (f"{share} of the dataset fills", f"{fit.dataset_batch} patches")
    rule, changed_by = f"a batch may hold at most {share} of the dataset's voxels", "more cases"
    if is_given:
        rule, changed_by = "it was given with --batch-size", "leaving --batch-size out"
    elif batch < fit.useful_batch:
        rule = f"this many fit the memory, and they hold at most {share} of the dataset's voxels"
        changed_by = "more --gpu-memory-gib, or --batch-size"
        if batch == LEAST_BATCH:
            rule = f"a step takes at least {LEAST_BATCH} patches, and the memory holds no more"
    elif batch == LEAST_BATCH > fit.dataset_batch:
        rule = f"a step takes at least {LEAST_BATCH} patches, whatever the size of the dataset"
        changed_by = "more cases, or --batch-size"
    elif batch == fit.most_patches:
        rule = (
            f"more than {batch} patches add little that is new to a step, and fewer steps are made "
            "in the same time"
        )
        changed_by = "--batch-size"
    return Decision(
        subject=f"{configuration.name}.batch_size",
        value=f"{batch} patches",
        rule=rule,
        numbers=(filled,) if spent else (held, filled),
        changed_by=changed_by,
        is_override=is_given,
    )


def _memory_decision(name: str, spent: Spent) -> Decision:
    return Decision(
        subject=f"{name}.step_bytes",
        value=gib(spent.step_bytes),
        rule="a step of this network, patch and batch in 16-bit precision was traced without "
        "running it, and its memory at every moment counted; no GPU has confirmed the figure yet",
        numbers=(
            ("a step may take", gib(spent.usable_bytes)),
            ("smallest device that holds it", f"{memory_for(spent.step_bytes):.3g} GiB"),
        ),
        changed_by="--gpu-memory-gib, --patch-size, --batch-size or --width",
    )


def _batch_dice_rule(configuration: Configuration) -> str:
    if configuration.name == "2d":
        return "a flat patch often lacks a label, for which a ratio of its own would be noise"
    if configuration.name == "3d_lowres":
        return "a patch shows much of the image, and so most labels"
    if configuration.batch_dice:
        return "a patch shows so little of the image that it may lack a label"
    return "a patch shows enough of the image to hold most labels"
