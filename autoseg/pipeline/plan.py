"""``autoseg plan`` and ``autoseg explain``: decide, and say why."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from autoseg.core.dataset import DatasetDescription
from autoseg.core.errors import UsageError
from autoseg.core.fingerprint import Fingerprint
from autoseg.core.folds import Splits
from autoseg.core.model import MODEL_FILE, ModelDescription
from autoseg.core.plan import Plan
from autoseg.execution.progress import Progress
from autoseg.execution.workers import WorkerPool
from autoseg.io import documents
from autoseg.io.workspace import DatasetFolder, Workspace
from autoseg.pipeline.cpu_schedule import CpuSchedule, cpu_schedule
from autoseg.pipeline.fingerprint import Measured
from autoseg.pipeline.splits import SplitRequest, decide_splits
from autoseg.pipeline.stored_types import storage_decisions
from autoseg.pipeline.traced_steps import RememberedTracer
from autoseg.reporting.explanation import explain_plan
from planners.budget import PlannerBudget
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


def decide_plan(
    measured: Measured, request: PlanRequest, *, tracing: int | WorkerPool = 0
) -> tuple[Plan, Splits]:
    """Decide on a plan and on folds without writing anything but a cache.

    Parameters
    ----------
    measured : Measured
        A dataset that was measured.
    request : PlanRequest
        What the plan shall be.
    tracing : int or WorkerPool
        Worker that traces training steps; 0 for this process.

    Raises
    ------
    UsageError
        If another plan of this name, or other folds, exist and may not be replaced.
    """
    folder, dataset, fingerprint = measured.folder, measured.dataset, measured.fingerprint
    tracer = RememberedTracer(dataset.description, folder.traced_steps_file, worker=tracing)
    plan = _decide(request, fingerprint, dataset.description, tracer)
    tracer.keep()
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
    request: PlanRequest,
    fingerprint: Fingerprint,
    description: DatasetDescription,
    tracer: RememberedTracer,
) -> Plan:
    if request.like is None:
        return plan_dataset(
            fingerprint,
            description,
            budget=request.budget,
            name=request.name,
            step_bytes=tracer,
        )
    if request.budget != PlannerBudget():
        raise UsageError(
            "--like takes memory, network, mirroring and all else over from the model; they cannot "
            "be given",
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
    """Return the page that explains a plan, its stored cases, and the folds that plans share."""
    decided = folder.read_plan(plan)
    together = (
        *decided.decisions,
        *storage_decisions(folder, decided),
        *folder.read_splits().decisions,
    )
    return explain_plan(replace(decided, decisions=together))


def plan_lines(plan: Plan) -> tuple[str, ...]:
    """Return one line per configuration: its sizes and its network; then the plan's notes."""
    lines = (
        f"{c.name}: patch {'x'.join(map(str, c.patch_size))}, batch {c.batch_size}, "
        f"spacing {' x '.join(f'{edge:g}' for edge in c.spacing)} mm, "
        f"{c.network} network of {len(c.topology.features)} stages, "
        f"{c.topology.features[0]} channels in the first"
        for c in plan.configurations
    )
    return (*lines, *(f"note: {note}" for note in plan.notes))


def fold_lines(folder: DatasetFolder) -> tuple[str, ...]:
    """Return one line for each decision about the folds."""
    return tuple(
        f"{decision.subject.partition('.')[2].replace('_', ' ')}: {decision.value}, {decision.rule}"
        for decision in folder.read_splits().decisions
    )


def cpu_outlook(
    folder: DatasetFolder,
    workspace: Workspace,
    plan: Plan,
    *,
    is_meant: bool,
    max_hours: float | None,
    progress: Progress,
) -> CpuSchedule | None:
    """Return what this machine's CPU can train of a plan.

    Parameters
    ----------
    folder : DatasetFolder
        The planned dataset.
    workspace : Workspace
        Keeps the times of steps.
    plan : Plan
        Its plan.
    is_meant : bool
        Whether the plan is for this machine.
    max_hours : float, optional
        Time that one fold may take, hours; asks for it even where there is a GPU.
    progress : Progress
        Told before a step is measured.

    Returns
    -------
    CpuSchedule or None
        None where the plan is for another machine, or for a GPU that this one has.
    """
    if not is_meant:
        return None
    import torch

    has_gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    if has_gpu and max_hours is None:
        return None
    return cpu_schedule(
        plan,
        folder.read_dataset().description,
        workspace,
        max_hours=max_hours,
        folds=len(folder.read_splits().folds),
        progress=progress,
    )


def suggested(plan: Plan, prepared: Sequence[str] = ()) -> str:
    """Return the configuration to train first, of those that are prepared; of all if none is."""
    names = prepared or plan.names
    return "3d_fullres" if "3d_fullres" in names else names[0]


def _same_plan(present: Plan, plan: Plan) -> bool:
    """Tell whether two plans decide the same, whichever version made them."""
    return replace(present, autoseg_version=plan.autoseg_version) == plan
