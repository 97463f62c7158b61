"""From a fingerprint to a plan: every value that the data decide, and why."""

from math import isfinite

from autoseg.core.dataset import DatasetDescription
from autoseg.core.errors import PlanError
from autoseg.core.fingerprint import CaseGrid, Fingerprint
from autoseg.core.plan import Plan
from autoseg.core.version import __version__
from planners.budget import PlannerBudget
from planners.configurations import plan_configurations
from planners.decisions import (
    axis_decisions,
    grid_decisions,
    memory_decision,
    network_decisions,
    normalization_decisions,
)
from planners.mirroring import choose_mirroring
from planners.network import choose_network
from planners.normalization import choose_normalization
from planners.patch import Workload
from planners.spacing import Grid, axis_order, median_shape, target_spacing


def plan_dataset(
    fingerprint: Fingerprint,
    description: DatasetDescription,
    *,
    budget: PlannerBudget,
    name: str = "default",
) -> Plan:
    """Decide how a dataset is prepared and what is trained on it.

    Parameters
    ----------
    fingerprint : Fingerprint
        What was measured of the training cases.
    description : DatasetDescription
        Channels and labels.
    budget : PlannerBudget
        Memory, network and mirroring.
    name : str
        Name of the plan, a folder name.

    Returns
    -------
    Plan
        Every value with the decision that led to it. All per-axis values are in plan order.

    Raises
    ------
    PlanError
        If there is no case, if the fingerprint does not fit the description or holds numbers
        that cannot be planned with, or if the budget holds not even the smallest patch.

    References
    ----------
    Isensee et al. 2021, doi:10.1038/s41592-020-01008-z; residual networks: Isensee et al. 2024,
    arXiv:2404.09556, but with the batch bounded by a share of the dataset for them as well.
    """
    check_fingerprint(fingerprint, description)
    reference, why, numbers = choose_network(budget)
    load = Workload(
        reference=reference,
        gpu_memory_gib=budget.memory_gib,
        labels=description.labels.entries,
    )
    spacing = target_spacing(fingerprint)
    stored = Grid(spacing=spacing, median_shape=median_shape(fingerprint, spacing))
    order = axis_order(spacing, stored.median_shape)
    grid = stored.permuted(order)
    mirror = choose_mirroring(fingerprint, description, order=order, mirroring=budget.mirroring)
    normalization = choose_normalization(fingerprint, description)
    planned = plan_configurations(grid, len(fingerprint.cases), load)
    return Plan(
        name=name,
        dataset=description.name,
        autoseg_version=__version__,
        gpu_memory_gib=budget.memory_gib,
        orientation="canonical",
        axis_order=order,
        mirror_axes=mirror.axes,
        normalization=normalization,
        configurations=planned.configurations,
        decisions=(
            memory_decision(budget),
            *network_decisions(load, why, numbers),
            *axis_decisions(order, grid),
            mirror.decision,
            *grid_decisions(fingerprint, order, grid),
            *normalization_decisions(normalization, fingerprint, description),
            *planned.decisions,
        ),
    )


def check_fingerprint(fingerprint: Fingerprint, description: DatasetDescription) -> None:
    """Raise `PlanError` if the fingerprint cannot be planned with.

    Parameters
    ----------
    fingerprint : Fingerprint
        What was measured.
    description : DatasetDescription
        What it must fit.
    """
    where = f"dataset {description.name!r}"
    if not fingerprint.cases:
        raise PlanError(
            f"{where}: the fingerprint has 0 cases; planning needs at least 1",
            rule="E-SET-47",
            hint="run `autoseg fingerprint` to see which cases are refused, and why",
        )
    for case in fingerprint.cases:
        _check_case(case, fingerprint.ndim, where)
    if len(fingerprint.channels) != len(description.channels):
        raise PlanError(
            f"{where}: the fingerprint has statistics of {len(fingerprint.channels)} channels; "
            f"the description names {len(description.channels)}: {', '.join(description.channels)}",
            hint="measure the fingerprint again; statistics need at least one foreground voxel",
        )
    for channel, statistics in zip(description.channels, fingerprint.channels, strict=True):
        for field in statistics.__slots__:
            value = getattr(statistics, field)
            if not isfinite(value):
                raise PlanError(
                    f"{where}, channel {channel!r}: the foreground's {field} is {value}; "
                    "it must be finite",
                    hint="look for infinite or missing intensities with `autoseg check`",
                )


def _check_case(case: CaseGrid, ndim: int, where: str) -> None:
    axes = {len(case.spacing), len(case.shape), len(case.shape_after_crop)}
    if axes != {ndim} or ndim not in (2, 3):
        raise PlanError(
            f"{where}, case {case.name!r}: shape {case.shape}, after cropping "
            f"{case.shape_after_crop}, spacing {case.spacing} mm; every case must have the same "
            f"2 or 3 axes, the first has {ndim}"
        )
    if min(case.shape_after_crop) < 1 or not all(
        isfinite(edge) and edge > 0 for edge in case.spacing
    ):
        raise PlanError(
            f"{where}, case {case.name!r}: shape after cropping {case.shape_after_crop}, spacing "
            f"{case.spacing} mm; voxels and spacings must be positive and finite"
        )
