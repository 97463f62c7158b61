"""From a fingerprint to a plan: every value that the data decide, and why."""

from dataclasses import replace

from autoseg.core.dataset import DatasetDescription
from autoseg.core.errors import PlanError
from autoseg.core.fingerprint import Fingerprint
from autoseg.core.plan import Plan
from autoseg.core.version import __version__
from planners.budget import PLAIN, PlannerBudget
from planners.configurations import holds_whole, plan_configurations
from planners.decisions import (
    axis_decisions,
    budget_decisions,
    grid_decisions,
    network_decisions,
    normalization_decisions,
)
from planners.doubts import doubts
from planners.fingerprint_check import check_fingerprint
from planners.mirroring import choose_mirroring
from planners.network import choose_network
from planners.normalization import choose_normalization
from planners.overrides import Overrides
from planners.patch import StepBytes, Workload
from planners.rules import RULES, Rules
from planners.spacing import Grid, axis_order, check_voxels, grid_of, plan_grid, target_spacing
from planners.stored import as_stored
from planners.words import times


def plan_dataset(
    fingerprint: Fingerprint,
    description: DatasetDescription,
    *,
    budget: PlannerBudget,
    name: str = "default",
    step_bytes: StepBytes | None = None,
) -> Plan:
    """Decide how a dataset is prepared and what is trained on it.

    Parameters
    ----------
    fingerprint : Fingerprint
        What was measured of the training cases.
    description : DatasetDescription
        Channels and labels.
    budget : PlannerBudget
        Memory, network, mirroring, rules and what the user sets.
    name : str
        Name of the plan, a folder name.
    step_bytes : callable, optional
        Predicts the peak bytes of a training step of a configuration, as the rules ``autoseg`` ask
        for; without it batches follow nnU-Net's count of elements, as they do by ``nnunet``.

    Returns
    -------
    Plan
        Every value with the decision that led to it. All per-axis values are in plan order.

    Raises
    ------
    PlanError
        If there is no case, if the fingerprint does not fit the description or holds numbers
        that cannot be planned with, or if the budget holds not even the smallest patch, or if
        what the user sets is impossible or contradicts itself.

    References
    ----------
    Isensee et al. 2021, doi:10.1038/s41592-020-01008-z; residual networks: Isensee et al. 2024,
    arXiv:2404.09556. Whose rules decide: `planners.rules`.
    """
    check_fingerprint(fingerprint, description)
    rules = RULES[budget.rules]
    if rules.orientation == "stored":
        fingerprint = as_stored(fingerprint)
    order, grid = _plan_grid(fingerprint, rules, budget.overrides)
    load = Workload(
        reference=PLAIN,
        gpu_memory_gib=budget.memory_gib,
        labels=description.labels.entries,
        rules=rules,
        overrides=budget.overrides,
        step_bytes=step_bytes if rules.plans_bytes else None,
        may_widen=budget.gpu_memory_gib is not None,
    )
    network = choose_network(
        budget, lambda reference: holds_whole(grid, replace(load, reference=reference), PLAIN)
    )
    load = replace(load, reference=network.reference)
    mirror = choose_mirroring(
        fingerprint,
        description,
        order=order,
        mirroring=budget.mirroring,
        orientation=rules.orientation,
    )
    normalization = choose_normalization(fingerprint, description)
    planned = plan_configurations(grid, len(fingerprint.cases), load)
    return Plan(
        name=name,
        dataset=description.name,
        autoseg_version=__version__,
        rules=rules.name,
        gpu_memory_gib=budget.memory_gib,
        orientation=rules.orientation,
        axis_order=order,
        mirror_axes=mirror.axes,
        normalization=normalization,
        configurations=planned.configurations,
        decisions=(
            *budget_decisions(budget),
            *network_decisions(
                load, network.rule, network.numbers, is_given=budget.network != "auto"
            ),
            *axis_decisions(order, grid, load),
            mirror.decision,
            *grid_decisions(fingerprint, order, grid, load),
            *normalization_decisions(normalization, fingerprint, description),
            *planned.decisions,
        ),
        notes=doubts(fingerprint, description),
    )


def _plan_grid(
    fingerprint: Fingerprint, rules: Rules, overrides: Overrides
) -> tuple[tuple[int, ...], Grid]:
    """Return the order of the axes, and the grid in that order with the user's spacing."""
    least = rules.least_voxels
    measured = grid_of(fingerprint, target_spacing(fingerprint), least=least)
    order = axis_order(measured.spacing, measured.median_shape if rules.single_slice_first else ())
    if overrides.spacing is None:
        return order, measured.permuted(order)
    if len(overrides.spacing) != len(order):
        raise PlanError(
            f"--spacing {times(overrides.spacing)} mm has "
            f"{len(overrides.spacing)} axes; the images have {len(order)}",
            hint="give one edge in mm per axis, as the plan prints them: "
            f"{','.join(f'{edge:.4g}' for edge in measured.permuted(order).spacing)}",
        )
    grid = plan_grid(fingerprint, overrides.spacing, order, least=least)
    check_voxels(grid, f"--spacing {times(overrides.spacing)} mm")
    return order, grid
