"""What the memory of a device buys: first the patch, then the batch, then the width.

The patch is nnU-Net's at the same budget. Where a step with it is predicted to need more than the
device has, the network is narrowed, and only where that does not help, the patch is cut.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Final

from autoseg.core.errors import PlanError
from planners.budget import MOST_MEMORY_GIB
from planners.device_memory import memory_for, usable_bytes
from planners.overrides import NO_OVERRIDES
from planners.patch import LEAST_BATCH, Fit, Workload
from planners.topology import FIRST_FEATURES
from planners.words import gib, times

Measure = Callable[[Fit, int, int], int]
"""Predicts the bytes of a step of a patch, a batch and a width."""
Refit = Callable[[float], Fit]
"""Returns the largest patch of at most so many elements."""
Tried = tuple[Fit, int, int]
"""A patch, the bytes of a step and its width."""

NARROWEST: Final = 16
"""Fewest channels of the first stage that memory may force."""
WIDEST: Final = 64
"""Most channels of the first stage that left-over memory may buy."""
WIDTH_STEP: Final = 4
"""Channels of the first stage come in multiples of this."""
SHORTEST_EDGE: Final = 16
"""Voxels that memory leaves a patch on every axis that had more."""
MOST_CUTS: Final = 8
"""Smaller patches that are tried; each prediction brings the next closer to the memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What the memory was spent on."""

    fit: Fit
    """Patch and network geometry."""
    batch_size: int
    """Patches per step."""
    width: int
    """Channels of the first stage."""
    step_bytes: int
    """Predicted peak of a step."""
    usable_bytes: int
    """What a step may take."""
    cut_from: Fit | None = None
    """The patch that did not fit at any width, where the patch was cut."""


def spend(fit: Fit, load: Workload, measure: Measure, refit: Refit, *, where: str) -> Spent:
    """Return what a device's memory is spent on.

    Parameters
    ----------
    fit : Fit
        The patch to begin with.
    load : Workload
        Memory and what the user sets.
    measure : callable
        Predicts the bytes of a step; they must not grow slower with batch or width than linearly.
    refit : callable
        Returns smaller patches.
    where : str
        Name of the configuration, for the error.

    Raises
    ------
    PlanError
        If nothing fits that the rules or the user allow; says by how much.

    Notes
    -----
    Between two predictions the bytes are taken to lie on a line. They grow with batch and width
    at least in proportion, so that a line overestimates what lies between its ends.
    """
    limit, overrides = usable_bytes(load.gpu_memory_gib), load.overrides
    width = overrides.width or FIRST_FEATURES
    least = overrides.batch_size or LEAST_BATCH
    needed = measure(fit, least, width)
    if needed <= limit:
        return _rich(fit, load, measure, (least, width, needed), limit)
    cheapest = (fit, needed, width)
    if overrides.width is None:
        narrow = measure(fit, least, NARROWEST)
        if narrow <= limit:
            width, needed = _between(
                lambda channels: measure(fit, least, channels),
                (NARROWEST, narrow),
                (width, needed),
                limit,
                step=WIDTH_STEP,
            )
            return Spent(
                fit=fit,
                batch_size=least,
                width=width,
                step_bytes=needed,
                usable_bytes=limit,
            )
        cheapest = (fit, narrow, NARROWEST)
    spent, smallest = _cut(fit, load, lambda smaller: measure(smaller, least, width), refit)
    if spent is None:
        raise _too_small(min(cheapest, smallest, key=lambda tried: tried[1]), least, load, where)
    return spent


def _rich(
    fit: Fit, load: Workload, measure: Measure, least: tuple[int, int, int], limit: int
) -> Spent:
    """Return the batch, then the width, that memory is left for."""
    batch, width, needed = least
    overrides = load.overrides
    most = batch if overrides.batch_size is not None else fit.useful_batch
    if most > batch:
        batch, needed = _between(
            lambda patches: measure(fit, patches, width),
            (batch, needed),
            (most, measure(fit, most, width)),
            limit,
        )
    if load.may_widen and overrides.width is None and batch == most:
        width, needed = _between(
            lambda channels: measure(fit, batch, channels),
            (width, needed),
            (WIDEST, measure(fit, batch, WIDEST)),
            limit,
            step=WIDTH_STEP,
        )
    return Spent(
        fit=fit,
        batch_size=batch,
        width=width,
        step_bytes=needed,
        usable_bytes=limit,
    )


def _between(
    predict: Callable[[int], int],
    low: tuple[int, int],
    high: tuple[int, int],
    limit: int,
    *,
    step: int = 1,
) -> tuple[int, int]:
    """Return a size that fits, in steps from the lower, and its bytes: the largest on a line."""
    (least, needed), (most, full) = low, high
    if full <= limit:
        return high
    steps = int((limit - needed) * (most - least) // ((full - needed) * step))
    while steps > 0:
        size = least + steps * step
        predicted = predict(size)
        if predicted <= limit:
            return size, predicted
        steps -= 1
    return low


def _cut(
    fit: Fit, load: Workload, measure: Callable[[Fit], int], refit: Refit
) -> tuple[Spent | None, Tried]:
    """Return the largest smaller patch that fits at full width, if any, and the smallest tried."""
    overrides = load.overrides
    limit, width = usable_bytes(load.gpu_memory_gib), overrides.width or FIRST_FEATURES
    least = overrides.batch_size or LEAST_BATCH
    shortest = [min(SHORTEST_EDGE, n) for n in fit.patch_size]
    tried = [(fit, measure(fit))]
    for _ in range(MOST_CUTS):
        smaller = _next_patch(tried, limit, refit)
        if smaller is None or any(
            n < edge for n, edge in zip(smaller.patch_size, shortest, strict=True)
        ):
            break
        tried.append((smaller, measure(smaller)))
        if tried[-1][1] <= limit:
            spent = Spent(
                fit=smaller,
                batch_size=least,
                width=width,
                step_bytes=tried[-1][1],
                usable_bytes=limit,
                cut_from=fit,
            )
            return spent, (*tried[-1], width)
    return None, (*tried[-1], width)


def _next_patch(tried: list[tuple[Fit, int]], limit: int, refit: Refit) -> Fit | None:
    """Return the patch at which the bytes of those tried, continued as a line, meet the limit."""
    last, needed = tried[-1]
    per_element = needed / last.elements
    if len(tried) > 1:
        before, more = tried[-2]
        per_element = max((more - needed) / (before.elements - last.elements), per_element / 2)
    elements = min(last.elements - (needed - limit) / per_element, last.elements - 1)
    try:
        smaller = refit(max(elements, 1.0))
    except PlanError:
        return None
    return smaller if smaller.elements < last.elements else None


def _too_small(smallest: Tried, batch: int, load: Workload, where: str) -> PlanError:
    fit, needed, width = smallest
    memory = memory_for(needed)
    hint = f"grant --gpu-memory-gib {ceil(memory * 10) / 10:.1f}"
    if memory > MOST_MEMORY_GIB or load.overrides != NO_OVERRIDES:
        hint = "take less of --patch-size, --batch-size or --width"
    return PlanError(
        f"configuration {where!r}: a budget of {load.gpu_memory_gib:.3g} GiB is too small by "
        f"{memory - load.gpu_memory_gib:.3g} GiB; a step of {batch} patches of "
        f"{times(fit.patch_size)} voxels at {width} channels takes {gib(needed)} besides what is "
        "left free",
        hint=f"{hint}, or leave the configuration out with --configurations",
    )
