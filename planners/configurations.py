"""Which configurations a dataset gets, and each one's grid, patch and batch."""

from dataclasses import dataclass, replace
from math import prod
from typing import Final

from autoseg.core.errors import PlanError
from autoseg.core.plan import Configuration, ConfigurationName, Decision
from planners.candidate import Candidate
from planners.configuration_decisions import cascade_decisions, configuration_decisions
from planners.decisions import Numbers, percent, sizes
from planners.patch import Fit, Workload, fit_patch
from planners.spacing import Grid
from planners.topology import FIRST_FEATURES

LOWRES_COVERAGE: Final = 0.25
"""A ``3d_lowres`` is sought if the full-resolution patch covers less of the median image."""
COARSENING: Final = 1.03
"""Factor by which the search for a ``3d_lowres`` coarsens the grid at a time."""
LARGEST_RATIO: Final = 2
"""Axes finer than the coarsest by more than this factor are coarsened first."""
LEAST_REDUCTION: Final = 2
"""A ``3d_lowres`` is made only if it has fewer voxels by at least this factor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """Configurations and the decisions behind them."""

    configurations: tuple[Configuration, ...] = ()
    """In the order in which they are listed to the user."""
    decisions: tuple[Decision, ...] = ()
    """Why."""

    def __add__(self, other: "Planned") -> "Planned":
        return Planned(
            configurations=self.configurations + other.configurations,
            decisions=self.decisions + other.decisions,
        )


def plan_configurations(grid: Grid, cases: int, load: Workload) -> Planned:
    """Return every configuration that a dataset gets.

    Parameters
    ----------
    grid : Grid
        Target spacing and shapes, in plan order.
    cases : int
        Cases in the dataset.
    load : Workload
        Memory, network, labels, and what the user sets.

    Returns
    -------
    Planned
        ``2d``; in 3D also ``3d_fullres``, and, where its patch covers too little of the image,
        ``3d_lowres`` and ``3d_cascade_fullres``; of these, those that the user names.

    Raises
    ------
    PlanError
        If the memory does not hold even the smallest patch, or the user names a configuration
        that the dataset does not get.

    Notes
    -----
    The share of the dataset that bounds a ``2d`` batch is a share of voxels, as in 3D.
    """
    chosen = load.overrides.configurations
    volumes = grid.ndim == 3 and grid.median_shape[0] != 1
    planned = Planned()
    if chosen is None or "2d" in chosen:
        planned += _flat(grid, cases, load)
    if not volumes:
        rule = "the images have two axes" if grid.ndim == 2 else "the median image has one slice"
        planned += _not_made("3d_fullres", rule)
    elif chosen is None or set(chosen) - {"2d"}:
        planned += _volumes(grid, cases, load)
    _check_patch_axes(load, grid.ndim)
    return planned if chosen is None else _only(planned, chosen)


def _check_patch_axes(load: Workload, ndim: int) -> None:
    """Refuse a patch of axes that nothing planned has."""
    patch, chosen = load.overrides.patch_size, load.overrides.configurations
    if patch is None:
        return
    axes = {2} if ndim == 2 else {2, 3}
    if chosen is not None:
        axes = {2 if name == "2d" else 3 for name in chosen}
    if len(patch) not in axes:
        raise PlanError(
            f"--patch-size {' x '.join(map(str, patch))} has {len(patch)} axes; no planned "
            f"configuration has as many, allowed are {' or '.join(map(str, sorted(axes)))}",
            hint="give one size per axis, as the plan prints them",
        )


def holds_whole(grid: Grid, load: Workload) -> bool:
    """Tell whether the memory holds the main configuration with its patch and all its channels.

    Parameters
    ----------
    grid : Grid
        Target spacing and shapes, in plan order.
    load : Workload
        Memory and network.

    Returns
    -------
    bool
        True where nothing predicts the memory of a step.
    """
    name: ConfigurationName = "3d_fullres"
    if grid.ndim == 2 or grid.median_shape[0] == 1:
        name, grid = "2d", grid if grid.ndim == 2 else grid.permuted((1, 2))
    # The batch does not matter: the dataset is taken to be too small for more than the least.
    fit = fit_patch(grid, 1.0, load, where=name)
    spent = Candidate(name=name, grid=grid, dataset_voxels=1.0, fit=fit).bought(load).spent
    width = load.overrides.width or FIRST_FEATURES
    return spent is None or (spent.cut_from is None and spent.width >= width)


def _only(planned: Planned, chosen: tuple[ConfigurationName, ...]) -> Planned:
    """Return the configurations that the user names, and why there are no others."""
    made = tuple(each for each in planned.configurations if each.name in chosen)
    names = [each.name for each in made]
    for name in chosen:
        if name not in names:
            why = {decision.subject: decision.rule for decision in planned.decisions}
            reason = why.get(name) or why.get("3d_lowres") or why.get("3d_fullres", "")
            raise PlanError(
                f"--configurations names {name}, which this dataset does not get: {reason}",
                hint=f"name others: {', '.join(c.name for c in planned.configurations)}",
            )
    kept = tuple(d for d in planned.decisions if d.subject.partition(".")[0] in names)
    override = Decision(
        subject="configurations",
        value=", ".join(names),
        rule="they were given with --configurations",
        changed_by="leaving --configurations out",
        is_override=True,
    )
    return Planned(configurations=made, decisions=(override, *kept))


def _flat(grid: Grid, cases: int, load: Workload) -> Planned:
    """Return the configuration of single slices."""
    in_plane = grid if grid.ndim == 2 else grid.permuted((1, 2))
    voxels = prod(grid.median_shape) * cases
    candidate = Candidate(
        name="2d",
        grid=in_plane,
        dataset_voxels=voxels,
        fit=fit_patch(in_plane, voxels, load, where="2d"),
        batch_dice=True,
    )
    two_axes = grid.ndim == 2
    rule = "the images have two axes" if two_axes else "every volume can be segmented by slices"
    return _made("2d", rule) + _configured(candidate.bought(load), load)


def _volumes(grid: Grid, cases: int, load: Workload) -> Planned:
    """Return the 3D configurations."""
    voxels = prod(grid.median_shape) * cases
    fit = fit_patch(grid, voxels, load, where="3d_fullres")
    full = Candidate(name="3d_fullres", grid=grid, dataset_voxels=voxels, fit=fit).bought(load)
    coarse, why = _lowres(full, cases, load)
    full = replace(full, batch_dice=coarse is not None)
    planned = _made("3d_fullres", "the images are volumes") + _configured(full, load)
    if coarse is None:
        return _presence("3d_lowres", "not made", *why) + planned
    refined = _made(
        "3d_cascade_fullres",
        "where there is a 3d_lowres, its prediction can guide a network at full resolution, "
        "which has the grid and patch of 3d_fullres",
    )
    return (
        _presence("3d_lowres", "made", *why)
        + _configured(coarse.bought(load), load)
        + planned
        + refined
        + _cascade(full, load)
    )


def _cascade(full: Candidate, load: Workload) -> Planned:
    """Return the second stage of a cascade, which reads one more channel for each label."""
    stage = replace(full, name="3d_cascade_fullres", previous_stage="3d_lowres", spent=None)
    stage = stage.bought(load)
    configuration = stage.configured(load)
    return Planned(
        configurations=(configuration,),
        decisions=cascade_decisions(configuration, full.configured(load), stage, load),
    )


Why = tuple[str, Numbers]
"""A rule and the numbers that it looked at."""


def _lowres(full: Candidate, cases: int, load: Workload) -> tuple[Candidate | None, Why]:
    """Return the ``3d_lowres`` configuration, if it is worth it, and why."""
    grid, fit = full.grid, full.fit
    covered = prod(fit.patch_size) / prod(grid.median_shape)
    numbers: Numbers = (("covered by the 3d_fullres patch", percent(covered)),)
    if covered >= LOWRES_COVERAGE:
        rule = f"the patch covers at least {percent(LOWRES_COVERAGE)} of the median image"
        return None, (rule, numbers)
    coarse, coarse_fit, voxels = _coarsened(grid, fit, cases, load)
    reduction = prod(grid.median_shape) / voxels
    numbers = (*numbers, ("fewer voxels than 3d_fullres", f"{reduction:.3g} times"))
    if reduction < LEAST_REDUCTION:
        rule = (
            f"a grid on which the patch covers {percent(LOWRES_COVERAGE)} of the median image has "
            f"less than {LEAST_REDUCTION} times fewer voxels"
        )
        return None, (rule, numbers)
    rule = (
        f"the patch covers less than {percent(LOWRES_COVERAGE)} of the median image, and the "
        f"spacing was coarsened by {percent(COARSENING - 1)} at a time, finer axes first, until a "
        "newly planned patch covered that much"
    )
    numbers = (*numbers, ("spacing", sizes(coarse.spacing, "mm")))
    candidate = Candidate(
        name="3d_lowres", grid=coarse, dataset_voxels=voxels * cases, fit=coarse_fit
    )
    return candidate, (rule, numbers)


def _coarsened(grid: Grid, fit: Fit, cases: int, load: Workload) -> tuple[Grid, Fit, float]:
    """Return the first coarser grid whose patch covers enough, its fit and its voxels."""
    coarse, voxels = grid, prod(grid.median_shape)
    while prod(fit.patch_size) / voxels < LOWRES_COVERAGE:
        spacing = _coarser(coarse.spacing)
        shape = [
            fine / edge * n
            for n, fine, edge in zip(grid.median_shape, grid.spacing, spacing, strict=True)
        ]
        voxels = prod(shape)
        coarse = Grid(spacing=spacing, median_shape=tuple(float(max(1, round(n))) for n in shape))
        fit = fit_patch(coarse, voxels * cases, load, where="3d_lowres")
    return coarse, fit, voxels


def _coarser(spacing: tuple[float, ...]) -> tuple[float, ...]:
    """Return a spacing one step coarser: on the fine axes as long as some are much finer."""
    coarsest = max(spacing)
    fine = [coarsest / edge > LARGEST_RATIO for edge in spacing]
    return tuple(
        edge * COARSENING if is_fine or not any(fine) else edge
        for edge, is_fine in zip(spacing, fine, strict=True)
    )


def _configured(candidate: Candidate, load: Workload) -> Planned:
    configuration = candidate.configured(load)
    return Planned(
        configurations=(configuration,),
        decisions=configuration_decisions(configuration, candidate, load),
    )


def _made(name: ConfigurationName, rule: str) -> Planned:
    return _presence(name, "made", rule)


def _not_made(name: ConfigurationName, rule: str) -> Planned:
    return _presence(name, "not made", rule)


def _presence(name: ConfigurationName, value: str, rule: str, numbers: Numbers = ()) -> Planned:
    return Planned(decisions=(Decision(subject=name, value=value, rule=rule, numbers=numbers),))
