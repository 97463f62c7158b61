"""``autoseg plan`` and ``autoseg explain``: decide, and say why."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from autoseg.core.dataset import DatasetDescription
from autoseg.core.errors import UsageError
from autoseg.core.fingerprint import Fingerprint
from autoseg.core.folds import Splits
from autoseg.core.model import MODEL_FILE, ModelDescription
from autoseg.core.plan import Plan
from autoseg.io import documents
from autoseg.io.workspace import DatasetFolder, Workspace
from autoseg.pipeline.fingerprint import Measured
from autoseg.pipeline.splits import SplitRequest, decide_splits
from autoseg.reporting.explanation import explain_plan
from planners.budget import Mirroring, NetworkName, PlannerBudget, budget_of_preset
from planners.like import plan_like
from planners.planner import plan_dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """What a plan is asked to be."""

    name: str = "default"
    """Name of the plan, a folder name."""
    budget: PlannerBudget = field(default_factory=PlannerBudget)
    """What the user allows."""
    like: Path | None = None
    """Model folder whose grids, patches and network the plan takes over, for fine-tuning."""
    splits: SplitRequest = field(default_factory=SplitRequest)
    """How the cases are split into folds."""
    overwrite: bool = False
    """Whether a differing plan of this name, or differing folds, may be replaced."""


def make_plan(folder: DatasetFolder, workspace: Workspace, request: PlanRequest) -> Plan:
    """Decide on a plan for a measured dataset, write it, and make the dataset the current one.

    Parameters
    ----------
    folder : DatasetFolder
        A dataset that was measured.
    workspace : Workspace
        Where the current dataset is remembered.
    request : PlanRequest
        What the plan shall be.

    Returns
    -------
    Plan

    Raises
    ------
    UsageError
        If another plan of this name, or other folds, exist and may not be replaced.
    """
    measured = Measured(
        folder=folder, dataset=folder.read_dataset(), fingerprint=folder.read_fingerprint()
    )
    plan, splits = decide_plan(measured, request)
    keep_plan(folder, workspace, plan, splits)
    return plan


def decide_plan(measured: Measured, request: PlanRequest) -> tuple[Plan, Splits]:
    """Decide on a plan and on folds without writing anything.

    Parameters
    ----------
    measured : Measured
        A dataset that was measured.
    request : PlanRequest
        What the plan shall be.

    Raises
    ------
    UsageError
        If another plan of this name, or other folds, exist and may not be replaced.
    """
    folder, dataset, fingerprint = measured.folder, measured.dataset, measured.fingerprint
    plan = _decide(request, fingerprint, dataset.description)
    splits = decide_splits(
        folder, fingerprint, dataset, request.splits, overwrite=request.overwrite
    )
    path = folder.plan_file(request.name)
    if path.exists() and not request.overwrite:
        present = folder.read_plan(request.name)
        if not _same_plan(present, plan):
            raise UsageError(
                f"{path}: holds another plan, made for other data or with other options",
                hint="choose another --plan NAME, or --overwrite to replace it",
            )
    return plan, splits


def keep_plan(folder: DatasetFolder, workspace: Workspace, plan: Plan, splits: Splits) -> None:
    """Write a plan and the folds, and make the dataset the current one."""
    documents.write(folder.plan_file(plan.name), plan)
    documents.write(folder.splits_file, splits)
    workspace.set_current(folder.name)


def _decide(
    request: PlanRequest, fingerprint: Fingerprint, description: DatasetDescription
) -> Plan:
    if request.like is None:
        return plan_dataset(fingerprint, description, budget=request.budget, name=request.name)
    if request.budget != PlannerBudget():
        raise UsageError(
            "--like takes memory, network and mirroring over from the model; they cannot be given",
            hint="leave --like or those options out",
        )
    path = request.like / MODEL_FILE
    if not path.is_file():
        raise UsageError(
            f"{request.like}: is no model folder; it has no {MODEL_FILE}",
            hint="name a folder such as <workspace>/<dataset>/models/<plan>/<configuration>/<run>",
        )
    model = documents.read_stored(path, ModelDescription, rule="E-MODEL-59")
    return plan_like(model, fingerprint, description, name=request.name)


def explain(folder: DatasetFolder, plan: str = "default") -> str:
    """Return the page that explains a plan, and the folds that all plans of a dataset share."""
    decided = folder.read_plan(plan)
    together = (*decided.decisions, *folder.read_splits().decisions)
    return explain_plan(replace(decided, decisions=together))


def plan_lines(plan: Plan) -> tuple[str, ...]:
    """Return one line per configuration: spacing, patch and batch."""
    return tuple(
        f"{c.name}: patch {'x'.join(map(str, c.patch_size))}, batch {c.batch_size}, "
        f"spacing {' x '.join(f'{edge:g}' for edge in c.spacing)} mm, "
        f"{len(c.topology.features)} stages"
        for c in plan.configurations
    )


def fold_lines(folder: DatasetFolder) -> tuple[str, ...]:
    """Return one line for each decision about the folds."""
    return tuple(
        f"{decision.subject.partition('.')[2].replace('_', ' ')}: {decision.value}, {decision.rule}"
        for decision in folder.read_splits().decisions
    )


def suggested(plan: Plan) -> str:
    """Return the configuration to train first."""
    return "3d_fullres" if "3d_fullres" in plan.names else plan.names[0]


def budget_for(
    gpu_memory: str | None, *, network: str = "auto", mirroring: str = "auto"
) -> PlannerBudget:
    """Return the budget that the options of planning ask for.

    Parameters
    ----------
    gpu_memory : str or None
        A number of GiB, ``auto`` for the memory of the visible card, or None for the usual.
    network : str
        ``auto``, ``plain``, ``resenc``, or ``resenc-m``, ``resenc-l``, ``resenc-xl``, which stand
        for a memory as well.
    mirroring : str
        ``auto``, ``all`` or ``none``.

    Raises
    ------
    UsageError
        If the memory is neither, or ``auto`` finds no card, or the network names another memory.
    """
    name, _, size = network.partition("-")
    if size and gpu_memory is not None:
        raise UsageError(
            f"--network {network} and --gpu-memory-gib {gpu_memory} both set the memory",
            hint=f"leave one of them out, or take --network {name}",
        )
    budget = budget_of_preset(size.upper()) if size else PlannerBudget()
    return replace(
        budget,
        gpu_memory_gib=budget.gpu_memory_gib if gpu_memory is None else _memory_gib(gpu_memory),
        network=cast("NetworkName", name),
        mirroring=cast("Mirroring", mirroring),
    )


def _memory_gib(gpu_memory: str) -> float:
    if gpu_memory == "auto":
        import torch

        if not torch.cuda.is_available():
            raise UsageError(
                "--gpu-memory-gib auto: this machine shows no CUDA card",
                hint="name the memory of the card that will train, e.g. --gpu-memory-gib 8",
            )
        return float(torch.cuda.get_device_properties(0).total_memory) / 2**30
    try:
        return float(gpu_memory)
    except ValueError as error:
        raise UsageError(
            f"--gpu-memory-gib {gpu_memory!r}: must be a number of GiB, or auto",
            hint="e.g. --gpu-memory-gib 8",
        ) from error


def _same_plan(present: Plan, plan: Plan) -> bool:
    """Tell whether two plans decide the same, whichever version made them."""
    return replace(present, autoseg_version=plan.autoseg_version) == plan
