"""``autoseg plan`` and ``autoseg explain``: decide, and say why."""

from dataclasses import replace

from autoseg.core.errors import UsageError
from autoseg.core.folds import split_cases
from autoseg.core.plan import Plan
from autoseg.io import documents
from autoseg.io.workspace import DatasetFolder, Workspace
from autoseg.reporting.explanation import explain_plan
from planners.budget import PlannerBudget
from planners.planner import plan_dataset


def make_plan(
    folder: DatasetFolder,
    workspace: Workspace,
    *,
    budget: PlannerBudget,
    name: str = "default",
    overwrite: bool = False,
) -> Plan:
    """Decide on a plan for a measured dataset, write it, and make the dataset the current one.

    Parameters
    ----------
    folder : DatasetFolder
        A dataset that was measured.
    workspace : Workspace
        Where the current dataset is remembered.
    budget : PlannerBudget
        What the user allows.
    name : str
        Name of the plan.
    overwrite : bool
        Whether a plan of this name that differs may be replaced.

    Returns
    -------
    Plan

    Raises
    ------
    UsageError
        If another plan of this name exists and may not be replaced.
    """
    fingerprint, dataset = folder.read_fingerprint(), folder.read_dataset()
    splits = split_cases([case.name for case in dataset.cases])
    plan = plan_dataset(fingerprint, dataset.description, budget=budget, name=name)
    path = folder.plan_file(name)
    if path.exists() and not overwrite and not _same_plan(folder.read_plan(name), plan):
        raise UsageError(
            f"{path}: holds another plan, made for other data or with other options",
            hint="choose another --plan NAME, or --overwrite to replace it",
        )
    documents.write(path, plan)
    documents.write(folder.splits_file, splits)
    workspace.set_current(folder.name)
    return plan


def explain(folder: DatasetFolder, plan: str = "default") -> str:
    """Return the page that explains a plan."""
    return explain_plan(folder.read_plan(plan))


def plan_lines(plan: Plan) -> tuple[str, ...]:
    """Return one line per configuration: spacing, patch and batch."""
    return tuple(
        f"{c.name}: patch {'x'.join(map(str, c.patch_size))}, batch {c.batch_size}, "
        f"spacing {' x '.join(f'{edge:g}' for edge in c.spacing)} mm, "
        f"{len(c.topology.features)} stages"
        for c in plan.configurations
    )


def suggested(plan: Plan) -> str:
    """Return the configuration to train first."""
    return "3d_fullres" if "3d_fullres" in plan.names else plan.names[0]


def budget_for(gpu_memory: str) -> PlannerBudget:
    """Return the budget that the option ``--gpu-memory-gib`` asks for.

    Parameters
    ----------
    gpu_memory : str
        A number, or ``auto`` for the memory of the visible card.

    Raises
    ------
    UsageError
        If it is neither, or ``auto`` finds no card.
    """
    if gpu_memory == "auto":
        import torch

        if not torch.cuda.is_available():
            raise UsageError(
                "--gpu-memory-gib auto: this machine shows no CUDA card",
                hint="name the memory of the card that will train, e.g. --gpu-memory-gib 8",
            )
        card = torch.cuda.get_device_properties(0).total_memory
        return PlannerBudget(gpu_memory_gib=float(card) / 2**30)
    try:
        gib = float(gpu_memory)
    except ValueError as error:
        raise UsageError(
            f"--gpu-memory-gib {gpu_memory!r}: must be a number of GiB, or auto",
            hint="e.g. --gpu-memory-gib 8",
        ) from error
    return PlannerBudget(gpu_memory_gib=gib)


def _same_plan(present: Plan, plan: Plan) -> bool:
    """Tell whether two plans decide the same, whichever version made them."""
    return replace(present, autoseg_version=plan.autoseg_version) == plan
