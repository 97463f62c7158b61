"""Patch and batch: the largest part of the image that the memory holds, then as many as fit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Final

from autoseg.core.errors import PlanError
from autoseg.core.network_presets import preset
from autoseg.core.plan import Configuration, Topology
from planners.budget import NetworkReference
from planners.memory import convolution_outputs
from planners.overrides import NO_OVERRIDES, Overrides
from planners.rules import AUTOSEG, Rules
from planners.spacing import Grid
from planners.topology import SMALLEST_EDGE, plan_topology, stage_features
from planners.words import times

FIRST_PATCH_VOXELS: Final = {2: 2048**2, 3: 256**3}
"""Voxels of the patch, of equal extent in mm on all axes, that the search begins with."""
LEAST_BATCH: Final = 2
"""Fewest patches per step; it takes precedence over the share of the dataset."""

StepBytes = Callable[[Configuration], int]
"""Predicts the peak bytes of one training step of a configuration on its device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What all configurations of a dataset have in common when patches are fitted."""

    reference: NetworkReference
    """The yardstick."""
    gpu_memory_gib: float
    """Memory that a training may use, GiB."""
    labels: int
    """What nnU-Net takes for the output channels of the network: `Labels.entries`."""
    rules: Rules = AUTOSEG
    """Whose rules decide."""
    overrides: Overrides = NO_OVERRIDES
    """Decisions of the user."""
    step_bytes: StepBytes | None = None
    """Predicts the memory of a step; None plans by the count of elements alone."""
    may_widen: bool = False
    """Whether memory that is left over may go into more channels."""

    @property
    def dataset_share(self) -> float:
        """Largest fraction of the dataset's voxels in one batch, 0 to 1."""
        share = self.rules.dataset_share
        return self.reference.dataset_share if share is None else share

    def elements(self, topology: Topology, patch_size: Sequence[int]) -> int:
        """Return the estimate of one patch, in elements."""
        return convolution_outputs(
            preset(self.reference.network), topology, patch_size, self.labels
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A patch and batch that fit, with the numbers that led to them."""

    first_patch: tuple[int, ...]
    """Patch that the search began with, padded, in voxels."""
    steps: int
    """How often the patch was cut."""
    patch_size: tuple[int, ...]
    """Voxels per axis."""
    topology: Topology
    """Geometry of the network for this patch."""
    elements: int
    """Estimate of one patch."""
    patch_limit: float
    """Estimate of one patch that the memory allows, with as many more as must fit."""
    memory_batch: int
    """Patches that the memory holds."""
    dataset_batch: int
    """Patches that the allowed share of the dataset fills."""
    most_patches: int | None
    """Most patches per step by rule, None for no limit."""
    is_given: bool = False
    """Whether the user gave the patch."""

    @property
    def useful_batch(self) -> int:
        """Patches per step that the dataset is good for."""
        most = self.dataset_batch
        if self.most_patches is not None:
            most = min(most, self.most_patches)
        return max(most, LEAST_BATCH)

    @property
    def batch_size(self) -> int:
        """Patches per step, by the count of elements."""
        return max(min(self.memory_batch, self.useful_batch), LEAST_BATCH)


def fit_patch(
    grid: Grid,
    dataset_voxels: float,
    load: Workload,
    *,
    where: str,
    most_elements: float | None = None,
    given: tuple[int, ...] | None = None,
) -> Fit:
    """Return the largest patch that fits the memory, and the batch that then fits.

    Parameters
    ----------
    grid : Grid
        Spacing and median shape of the images.
    dataset_voxels : float
        Voxels of all cases together; a batch may hold a share of them.
    load : Workload
        Memory, network and labels.
    where : str
        Name of the configuration, for the error.
    most_elements : float, optional
        Allowed estimate of one patch, in elements, instead of what the reference allows.
    given : tuple of int, optional
        A patch to take as it is, whatever its elements; see `given_patch`.

    Raises
    ------
    PlanError
        If even a patch of one voxel does not fit.

    Notes
    -----
    While the patch is too large, the axis on which it covers the largest share of the median
    image loses one step of the network's divisor; of equal shares the last axis loses it. All
    rounding is half to even.
    """
    reference = load.reference
    batch, least = reference.batch(grid.ndim), reference.least_batch(grid.ndim)
    allowed = reference.elements(grid.ndim, load.gpu_memory_gib)
    if most_elements is not None:
        allowed = most_elements * least / batch
    topology, patch = plan_topology(grid.spacing, given or _first_patch(grid))
    first, seen = patch, {patch}
    while (elements := load.elements(topology, patch)) * least / batch > allowed and not given:
        shorter = _cut(grid, patch, topology)
        if shorter is not None:
            topology, shorter = plan_topology(grid.spacing, shorter)
        if shorter is None or shorter in seen:
            raise _too_small(where, patch, elements * least / batch, load)
        patch = shorter
        seen.add(patch)
    return Fit(
        first_patch=first,
        steps=len(seen) - 1,
        patch_size=patch,
        topology=topology,
        elements=elements,
        patch_limit=allowed * batch / least,
        memory_batch=round(allowed / elements * batch),
        dataset_batch=round(dataset_voxels * load.dataset_share / prod(patch)),
        most_patches=load.rules.most_patches(grid.ndim),
        is_given=given is not None,
    )


def with_width(topology: Topology, width: int) -> Topology:
    """Return a network of the same geometry with another number of channels."""
    features = stage_features(len(topology.divisor), len(topology.features), width)
    return replace(topology, features=features)


def given_patch(grid: Grid, overrides: Overrides, *, where: str) -> tuple[int, ...] | None:
    """Return the patch that the user gave for as many axes as a grid has, or None.

    Parameters
    ----------
    grid : Grid
        Spacing and shapes of the images.
    overrides : Overrides
        What the user sets.
    where : str
        Name of the configuration, for the error.

    Raises
    ------
    PlanError
        If no network divides the patch, it is too small for one, or larger than every image.
    """
    given = overrides.patch_size
    if given is None or len(given) != grid.ndim:
        return None
    what = f"configuration {where!r}: --patch-size {times(given)} voxels"
    _, largest = plan_topology(grid.spacing, grid.largest_shape or grid.median_shape)
    _, nearest = plan_topology(grid.spacing, _at_most(given, largest))
    _, nearest = plan_topology(grid.spacing, _at_most(nearest, largest))
    hint = f"take --patch-size {','.join(map(str, nearest))}"
    if len(plan_topology(grid.spacing, given)[0].strides) == 1:
        raise PlanError(
            f"{what}: no axis has enough voxels for a network to halve it; at least two must have "
            f"{2 * SMALLEST_EDGE}, or one {3 * SMALLEST_EDGE}",
            hint="leave --patch-size out to take what fits",
        )
    if _at_most(given, largest) != given:
        raise PlanError(
            f"{what} is larger than every image; allowed are up to {times(largest)}", hint=hint
        )
    if plan_topology(grid.spacing, given)[1] != given:
        raise PlanError(f"{what} is not a multiple of what a network for it divides by", hint=hint)
    return given


def _at_most(sizes: tuple[int, ...], largest: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(min(n, most) for n, most in zip(sizes, largest, strict=True))


def _first_patch(grid: Grid) -> tuple[float, ...]:
    """Return a patch of equal extent on all axes, cut to the median image."""
    per_mm = [1 / edge for edge in grid.spacing]
    extent = (FIRST_PATCH_VOXELS[grid.ndim] / prod(per_mm)) ** (1 / grid.ndim)
    return tuple(
        min(max(1, round(n * extent)), median)
        for n, median in zip(per_mm, grid.median_shape, strict=True)
    )


def _cut(grid: Grid, patch: tuple[int, ...], topology: Topology) -> tuple[int, ...] | None:
    """Return the patch one step shorter, or None if it is one voxel on every axis."""
    by_share = sorted(
        range(grid.ndim), key=lambda axis: (patch[axis] / grid.median_shape[axis], axis)
    )
    for axis in reversed(by_share):
        if patch[axis] > topology.divisor[axis]:
            shorter = _less(patch, axis, topology.divisor[axis])
            # The shorter patch may have a shallower network, which allows a smaller step.
            step = plan_topology(grid.spacing, shorter)[0].divisor[axis]
            return _less(patch, axis, step)
    return None


def _less(patch: tuple[int, ...], axis: int, step: int) -> tuple[int, ...]:
    return (*patch[:axis], patch[axis] - step, *patch[axis + 1 :])


def _too_small(where: str, patch: tuple[int, ...], elements: float, load: Workload) -> PlanError:
    reference = load.reference
    per_gib = reference.elements(len(patch), 1.0)
    needed = elements / per_gib
    return PlanError(
        f"configuration {where!r}: a budget of {load.gpu_memory_gib:.3g} GiB is too small by "
        f"{needed - load.gpu_memory_gib:.3g} GiB; the smallest patch, "
        f"{times(patch)} voxels, needs {needed:.3g} GiB",
        hint=f"grant at least {needed:.3g} GiB; training useful networks takes some GiB",
    )
