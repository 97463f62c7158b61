"""The plan for going on from a trained model: its grids, patches and network, on other data."""

from dataclasses import replace

from autoseg.core.dataset import DatasetDescription
from autoseg.core.errors import PlanError
from autoseg.core.fingerprint import Fingerprint
from autoseg.core.model import ModelDescription
from autoseg.core.plan import Configuration, Decision, Plan
from autoseg.core.version import __version__
from planners.doubts import doubts
from planners.fingerprint_check import check_fingerprint
from planners.mirroring import choose_mirroring
from planners.spacing import plan_grid
from planners.words import sizes


def plan_like(
    model: ModelDescription,
    fingerprint: Fingerprint,
    description: DatasetDescription,
    *,
    name: str = "default",
) -> Plan:
    """Plan a dataset so that the weights of a model can be trained further on it.

    Parameters
    ----------
    model : ModelDescription
        The model whose weights will be the start.
    fingerprint : Fingerprint
        What was measured of the new dataset.
    description : DatasetDescription
        Channels and labels of the new dataset; the labels may differ from the model's.
    name : str
        Name of the plan, a folder name.

    Returns
    -------
    Plan
        The model's plan with all its configurations. Intensities are normalized with the model's
        statistics, because the weights expect those. The median shapes are measured anew, and
        mirroring is off where the model's plan or the new labels want it off.

    Raises
    ------
    PlanError
        E-MODEL-60 if the images have another number of axes or channels than the model's; else
        as `planners.planner.plan_dataset`.
    """
    check_fingerprint(fingerprint, description)
    _check_alike(model, fingerprint, description)
    plan, source = model.plan, f"model {model.dataset.name!r}, plan {model.plan.name!r}"
    allowed = choose_mirroring(
        fingerprint, description, order=plan.axis_order, orientation=plan.orientation
    )
    axes = tuple(axis for axis in plan.mirror_axes if axis in allowed.axes)
    configurations = tuple(_measured_anew(each, plan, fingerprint) for each in plan.configurations)
    return replace(
        plan,
        name=name,
        dataset=description.name,
        autoseg_version=__version__,
        mirror_axes=axes,
        configurations=configurations,
        notes=doubts(fingerprint, description),
        decisions=(
            *_taken(plan, source),
            _mirror_decision(axes, plan, allowed.decision, source),
            *_channel_decisions(model, description),
            *(_median_decision(each, plan, fingerprint) for each in configurations),
        ),
    )


def _check_alike(
    model: ModelDescription, fingerprint: Fingerprint, description: DatasetDescription
) -> None:
    expected = (len(model.plan.axis_order), len(model.dataset.channels))
    found = (fingerprint.ndim, len(description.channels))
    for what, wanted, has in zip(("axes", "channels"), expected, found, strict=True):
        if wanted != has:
            raise PlanError(
                f"dataset {description.name!r}: its images have {has} {what}; those of model "
                f"{model.dataset.name!r} have {wanted}, and only as many fit its weights",
                rule="E-MODEL-60",
                hint="plan without --like, or name a model that was trained on such images",
            )


def _measured_anew(
    configuration: Configuration, plan: Plan, fingerprint: Fingerprint
) -> Configuration:
    """Return a configuration with the median shape that the new cases have on its grid."""
    if plan.orientation == "stored":  # the fingerprint's axes are canonical: they need not match
        return replace(configuration, step_bytes=None)
    grid = plan_grid(fingerprint, configuration.spacing, plan.axis_order)
    return replace(configuration, step_bytes=None, median_shape=grid.median_shape)


def _taken(plan: Plan, source: str) -> tuple[Decision, ...]:
    """Return the decisions on the values that are the model's."""
    own = {"mirror_axes", "median_shape", "channels"}
    return tuple(
        Decision(
            subject=decision.subject,
            value=decision.value,
            rule=f"it is taken from {source}, for fine-tuning",
        )
        for decision in plan.decisions
        if decision.subject not in own and not decision.subject.endswith(".median_shape")
    )


def _mirror_decision(axes: tuple[int, ...], plan: Plan, allowed: Decision, source: str) -> Decision:
    """Say along which axes mirroring stays on; `allowed` looks at the new labels only."""
    rule = f"the axes are taken from {source}, for fine-tuning"
    if axes == plan.mirror_axes:
        return Decision(subject="mirror_axes", value=_axes(axes), rule=rule)
    return Decision(
        subject="mirror_axes",
        value=_axes(axes),
        rule=f"{rule}, as far as the labels allow: {allowed.rule}",
        numbers=allowed.numbers,
    )


def _axes(axes: tuple[int, ...]) -> str:
    return f"plan axes {', '.join(map(str, axes))}" if axes else "no axis"


def _channel_decisions(
    model: ModelDescription, description: DatasetDescription
) -> tuple[Decision, ...]:
    """Note channels that are called otherwise: they are taken in their order."""
    if description.channels == model.dataset.channels:
        return ()
    return (
        Decision(
            subject="channels",
            value=", ".join(description.channels),
            rule="channels are matched by their order, and normalized as the model's are, though "
            f"the model's are called {', '.join(model.dataset.channels)}",
        ),
    )


def _median_decision(
    configuration: Configuration, plan: Plan, fingerprint: Fingerprint
) -> Decision:
    rule = "it is the median of this dataset's cases, cropped to nonzero, on the model's grid"
    if plan.orientation == "stored":
        rule = "it is the model's: this dataset was measured along other axes than the model reads"
    return Decision(
        subject=f"{configuration.name}.median_shape",
        value=sizes(configuration.median_shape, "voxels"),
        rule=rule,
        numbers=(("cases", f"{len(fingerprint.cases)}"),),
    )
