"""Which configurations a dataset gets, and each one's grid, patch and batch."""

from dataclasses import dataclass, replace
from math import prod
from typing import Final

from autoseg.core.network_presets import preset
from autoseg.core.network_spec import Style
from autoseg.core.plan import Configuration, ConfigurationName, Decision
from planners.decisions import Numbers, configuration_decisions, percent, sizes
from planners.patch import Fit, Workload, fit_patch
from planners.spacing import Grid

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
        Target spacing and median shape, in plan order.
    cases : int
        Cases in the dataset.
    load : Workload
        Memory, network and labels.

    Returns
    -------
    Planned
        ``2d``; in 3D also ``3d_fullres``, and, where its patch covers too little of the image,
        ``3d_lowres`` and ``3d_cascade_fullres``.

    Raises
    ------
    PlanError
        If the memory does not hold even the smallest patch.

    Notes
    -----
    The share of the dataset that bounds a ``2d`` batch is a share of voxels, as in 3D.
    """
    dataset_voxels = prod(grid.median_shape) * cases
    in_plane = grid if grid.ndim == 2 else grid.permuted((1, 2))
    flat = _configured("2d", in_plane, fit_patch(in_plane, dataset_voxels, load, where="2d"), load)
    if grid.ndim == 2:
        flat = _made("2d", "the images have two axes") + flat
        return flat + _not_made("3d_fullres", "the images have two axes")
    flat = _made("2d", "every volume can be segmented slice by slice") + flat
    if grid.median_shape[0] == 1:
        return flat + _not_made("3d_fullres", "the median image has one slice")
    return flat + _volumes(grid, cases, load)


def _volumes(grid: Grid, cases: int, load: Workload) -> Planned:
    """Return the 3D configurations."""
    fit = fit_patch(grid, prod(grid.median_shape) * cases, load, where="3d_fullres")
    coarse, why = _lowres(grid, fit, cases, load)
    full = _configured("3d_fullres", grid, fit, load, batch_dice=bool(coarse.configurations))
    full = _made("3d_fullres", "the images are volumes") + full
    if not coarse.configurations:
        return _presence("3d_lowres", "not made", *why) + full
    cascade = replace(full.configurations[0], name="3d_cascade_fullres", previous_stage="3d_lowres")
    refined = _made(
        "3d_cascade_fullres",
        "where there is a 3d_lowres, its prediction can guide a network at full resolution, "
        "which has the grid, patch and batch of 3d_fullres",
    )
    return (
        _presence("3d_lowres", "made", *why)
        + coarse
        + full
        + refined
        + Planned(configurations=(cascade,))
    )


Why = tuple[str, Numbers]
"""A rule and the numbers that it looked at."""


def _lowres(grid: Grid, fit: Fit, cases: int, load: Workload) -> tuple[Planned, Why]:
    """Return the ``3d_lowres`` configuration, or nothing, and why."""
    covered = prod(fit.patch_size) / prod(grid.median_shape)
    numbers: Numbers = (("covered by the 3d_fullres patch", percent(covered)),)
    if covered >= LOWRES_COVERAGE:
        rule = f"the patch covers at least {percent(LOWRES_COVERAGE)} of the median image"
        return Planned(), (rule, numbers)
    coarse, coarse_fit, voxels = _coarsened(grid, fit, cases, load)
    reduction = prod(grid.median_shape) / voxels
    numbers = (*numbers, ("fewer voxels than 3d_fullres", f"{reduction:.3g} times"))
    if reduction < LEAST_REDUCTION:
        rule = (
            f"a grid on which the patch covers {percent(LOWRES_COVERAGE)} of the median image has "
            f"less than {LEAST_REDUCTION} times fewer voxels"
        )
        return Planned(), (rule, numbers)
    rule = (
        f"the patch covers less than {percent(LOWRES_COVERAGE)} of the median image, and the "
        f"spacing was coarsened by {percent(COARSENING - 1)} at a time, finer axes first, until a "
        "newly planned patch covered that much"
    )
    numbers = (*numbers, ("spacing", sizes(coarse.spacing, "mm")))
    return _configured("3d_lowres", coarse, coarse_fit, load), (rule, numbers)


def _coarsened(grid: Grid, fit: Fit, cases: int, load: Workload) -> tuple[Grid, Fit, float]:
    """Return the first coarser grid whose patch covers enough, its fit and its voxels."""
    coarse, voxels = grid, prod(grid.median_shape)
    while prod(fit.patch_size) / voxels < LOWRES_COVERAGE:
        spacing = _coarser(coarse.spacing)
        shape = [
            n * fine / edge
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


def _configured(
    name: ConfigurationName, grid: Grid, fit: Fit, load: Workload, *, batch_dice: bool = False
) -> Planned:
    configuration = Configuration(
        name=name,
        spacing=grid.spacing,
        median_shape=grid.median_shape,
        patch_size=fit.patch_size,
        batch_size=fit.batch_size,
        batch_dice=batch_dice or name == "2d",
        network=load.reference.network,
        arch=preset(load.reference.network),
        style=Style(),
        topology=fit.topology,
    )
    return Planned(
        configurations=(configuration,),
        decisions=configuration_decisions(configuration, fit, load),
    )


def _made(name: ConfigurationName, rule: str) -> Planned:
    return _presence(name, "made", rule)


def _not_made(name: ConfigurationName, rule: str) -> Planned:
    return _presence(name, "not made", rule)


def _presence(name: ConfigurationName, value: str, rule: str, numbers: Numbers = ()) -> Planned:
    return Planned(decisions=(Decision(subject=name, value=value, rule=rule, numbers=numbers),))
