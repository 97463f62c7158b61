"""Which configurations a dataset gets, and each one's grid, patch and batch."""

from dataclasses import dataclass, replace
from math import prod
from typing import Final

from autoseg.core.errors import PlanError
from autoseg.core.plan import Configuration, ConfigurationName, Decision
from planners.budget import NetworkReference
from planners.candidate import Candidate
from planners.configuration_decisions import configuration_decisions
from planners.lowres import find_lowres
from planners.patch import Fit, Workload, fit_patch, given_patch
from planners.spacing import Grid
from planners.topology import FIRST_FEATURES
from planners.words import Numbers, sizes, times

VOLUMES: Final[tuple[ConfigurationName, ...]] = ("3d_lowres", "3d_fullres", "3d_cascade_fullres")
"""Configurations of volumes."""


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
        If the memory does not hold even the smallest patch, if the user names a configuration that
        the dataset does not get, or gives a patch that none of them can have.

    Notes
    -----
    The share of the dataset that bounds a ``2d`` batch is a share of voxels, as in 3D.
    """
    planned = _flat(grid, cases, load) + _volumes(grid, cases, load)
    chosen = load.overrides.configurations
    if chosen is not None:
        planned = _only(planned, chosen)
    if not planned.configurations:
        raise PlanError(
            f"the median image, {sizes(grid.median_shape, 'voxels')}, is too small: no axis has "
            "enough voxels for a network to halve it once",
            hint="take a finer --spacing, or images of more voxels",
        )
    axes = {each.ndim for each in planned.configurations}
    patch = load.overrides.patch_size
    if patch is not None and len(patch) not in axes:
        raise PlanError(
            f"--patch-size {times(patch)} has {len(patch)} axes; no planned configuration has as "
            f"many, allowed are {' or '.join(map(str, sorted(axes)))}",
            hint="give one size per axis, as the plan prints them",
        )
    return planned


def holds_whole(grid: Grid, load: Workload, least: NetworkReference) -> bool:
    """Tell whether the memory holds the main configuration with all its channels.

    Parameters
    ----------
    grid : Grid
        Target spacing and shapes, in plan order.
    load : Workload
        Memory and network.
    least : NetworkReference
        Another network, than whose patch this one's must not be smaller.

    Returns
    -------
    bool
        By the patch alone where nothing predicts the memory of a step.
    """
    chosen = load.overrides.configurations
    name: ConfigurationName = "3d_fullres"
    if not _has_volumes(grid) or (chosen is not None and set(chosen) == {"2d"}):
        name, grid = "2d", _in_plane(grid)
    load = replace(load, may_widen=False)
    try:
        given = given_patch(grid, load.overrides, where=name)
        # The batch does not matter: the dataset is taken to be too small for more than the least.
        fit = fit_patch(grid, 1.0, load, where=name, given=given)
        other = fit_patch(grid, 1.0, replace(load, reference=least), where=name, given=given)
        spent = Candidate(name=name, grid=grid, dataset_voxels=1.0, fit=fit).bought(load).spent
    except PlanError:
        return False
    if prod(fit.patch_size) < prod(other.patch_size):
        return False
    width = load.overrides.width or FIRST_FEATURES
    return spent is None or (spent.cut_from is None and spent.width >= width)


def _only(planned: Planned, chosen: tuple[ConfigurationName, ...]) -> Planned:
    """Return the configurations that the user names, and why there are no others."""
    why = {decision.subject: decision.rule for decision in planned.decisions}
    names = [each.name for each in planned.configurations]
    for name in chosen:
        if name not in names:
            reason = why.get(name) or why.get("3d_lowres") or why.get("3d_fullres", "")
            raise PlanError(
                f"--configurations names {name}, which this dataset does not get: {reason}",
                hint="leave --configurations out to take all that it gets",
            )
    kept = tuple(d for d in planned.decisions if d.subject.partition(".")[0] in names)
    override = Decision(
        subject="configurations",
        value=", ".join(names),
        rule="they were given with --configurations",
        changed_by="leaving --configurations out",
        is_override=True,
    )
    return Planned(configurations=planned.configurations, decisions=(override, *kept))


def _is_wanted(name: ConfigurationName, load: Workload) -> bool:
    chosen = load.overrides.configurations
    return chosen is None or name in chosen


def _is_too_small(fit: Fit, load: Workload) -> bool:
    return load.rules.refuses_single_stages and len(fit.topology.strides) == 1


def _has_volumes(grid: Grid) -> bool:
    return grid.ndim == 3 and grid.median_shape[0] != 1


def _in_plane(grid: Grid) -> Grid:
    return grid if grid.ndim == 2 else grid.permuted((1, 2))


def _flat(grid: Grid, cases: int, load: Workload) -> Planned:
    """Return the configuration of single slices."""
    if not _is_wanted("2d", load):
        return Planned()
    in_plane = _in_plane(grid)
    voxels = prod(grid.median_shape) * cases
    given = given_patch(in_plane, load.overrides, where="2d")
    fit = fit_patch(in_plane, voxels, load, where="2d", given=given)
    if _is_too_small(fit, load):
        return _not_made("2d", "no axis in plane has enough voxels for a network to halve it")
    candidate = Candidate(name="2d", grid=in_plane, dataset_voxels=voxels, fit=fit, batch_dice=True)
    two_axes = grid.ndim == 2
    rule = "the images have two axes" if two_axes else "every volume can be segmented by slices"
    return _made("2d", rule) + _configured(candidate.bought(load), load)


def _volumes(grid: Grid, cases: int, load: Workload) -> Planned:
    """Return the 3D configurations."""
    wanted = [name for name in VOLUMES if _is_wanted(name, load)]
    if not wanted:
        return Planned()
    if not _has_volumes(grid):
        rule = "the images have two axes" if grid.ndim == 2 else "the median image has one slice"
        return _not_made("3d_fullres", rule)
    voxels = prod(grid.median_shape) * cases
    given = given_patch(grid, load.overrides, where="3d_fullres")
    fit = fit_patch(grid, voxels, load, where="3d_fullres", given=given)
    if _is_too_small(fit, load):
        return _not_made("3d_fullres", "no axis has enough voxels for a network to halve it")
    full = Candidate(name="3d_fullres", grid=grid, dataset_voxels=voxels, fit=fit)
    if "3d_fullres" in wanted or "3d_cascade_fullres" in wanted:
        full = full.bought(load)
    coarse, why = find_lowres(full, cases, load)
    full = replace(full, batch_dice=coarse is not None)
    planned = Planned()
    if "3d_fullres" in wanted:
        planned += _made("3d_fullres", "the images are volumes") + _configured(full, load)
    if coarse is None:
        return _presence("3d_lowres", "not made", *why) + planned
    if "3d_lowres" in wanted:
        lowres = _presence("3d_lowres", "made", *why) + _configured(coarse.bought(load), load)
        planned = lowres + planned
    if "3d_cascade_fullres" in wanted:
        planned += _cascade(full, load)
    return planned


def _cascade(full: Candidate, load: Workload) -> Planned:
    """Return the second stage of a cascade, which reads one more channel for each label."""
    stage = replace(full, name="3d_cascade_fullres", previous_stage="3d_lowres", spent=None)
    rule = (
        "where there is a 3d_lowres, its prediction can guide a network on the grid of 3d_fullres, "
        "at the price of one more channel for each label"
    )
    return _made("3d_cascade_fullres", rule) + _configured(stage.bought(load), load)


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
