"""Whether volumes get a coarser grid as well, on which a patch covers enough of the image."""

from math import prod
from typing import Final

from autoseg.core.errors import PlanError
from planners.candidate import Candidate
from planners.patch import Fit, Workload, fit_patch, given_patch
from planners.spacing import Grid
from planners.words import Numbers, percent, sizes

LOWRES_COVERAGE: Final = 0.25
"""A ``3d_lowres`` is sought if the full-resolution patch covers less of the median image."""
COARSENING: Final = 1.03
"""Factor by which the search for a ``3d_lowres`` coarsens the grid at a time."""
LARGEST_RATIO: Final = 2
"""Axes finer than the coarsest by more than this factor are coarsened first."""
LEAST_REDUCTION: Final = 2
"""A ``3d_lowres`` is made only if it has fewer voxels by at least this factor."""


Why = tuple[str, Numbers]
"""A rule and the numbers that it looked at."""


def find_lowres(full: Candidate, cases: int, load: Workload) -> tuple[Candidate | None, Why]:
    """Return the ``3d_lowres`` configuration, if it is worth it, and why.

    Parameters
    ----------
    full : Candidate
        ``3d_fullres``, with the patch that the memory leaves it.
    cases : int
        Cases in the dataset.
    load : Workload
        Memory, network, and what the user sets.
    """
    grid, fit = full.grid, full.fit
    covered = prod(fit.patch_size) / prod(grid.median_shape)
    numbers: Numbers = (("covered by the 3d_fullres patch", percent(covered)),)
    if covered >= LOWRES_COVERAGE:
        rule = f"the patch covers at least {percent(LOWRES_COVERAGE)} of the median image"
        return None, (rule, numbers)
    coarse, coarse_fit, voxels = _coarsened(full, cases, load)
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


def _coarsened(full: Candidate, cases: int, load: Workload) -> tuple[Grid, Fit, float]:
    """Return the first coarser grid whose patch covers enough, its fit and its voxels."""
    grid, fit = full.grid, full.fit
    coarse, voxels = grid, prod(grid.median_shape)
    # Where the memory cut the patch of 3d_fullres, it would cut that of 3d_lowres as much.
    is_cut = full.spent is not None and full.spent.cut_from is not None
    most_elements = fit.elements if is_cut else None
    while prod(fit.patch_size) / voxels < LOWRES_COVERAGE:
        spacing = _coarser(coarse.spacing)
        shape = [
            fine / edge * n
            for n, fine, edge in zip(grid.median_shape, grid.spacing, spacing, strict=True)
        ]
        voxels = prod(shape)
        coarse = Grid(spacing=spacing, median_shape=tuple(float(max(1, round(n))) for n in shape))
        fit = fit_patch(
            coarse,
            voxels * cases,
            load,
            where="3d_lowres",
            most_elements=most_elements,
            given=_given_if_possible(coarse, load),
        )
    return coarse, fit, voxels


def _given_if_possible(coarse: Grid, load: Workload) -> tuple[int, ...] | None:
    """Return the patch of the user where a network on the coarse grid can have it."""
    try:
        return given_patch(coarse, load.overrides, where="3d_lowres")
    except PlanError:
        return None


def _coarser(spacing: tuple[float, ...]) -> tuple[float, ...]:
    """Return a spacing one step coarser: on the fine axes as long as some are much finer."""
    coarsest = max(spacing)
    fine = [coarsest / edge > LARGEST_RATIO for edge in spacing]
    return tuple(
        edge * COARSENING if is_fine or not any(fine) else edge
        for edge, is_fine in zip(spacing, fine, strict=True)
    )
