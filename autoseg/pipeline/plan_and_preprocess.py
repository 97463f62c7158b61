"""``autoseg plan_and_preprocess``: from a raw dataset to a plan and preprocessed cases."""

from collections.abc import Sequence
from pathlib import Path

from autoseg.core.acceptance import Accepted
from autoseg.core.dataset import Dataset
from autoseg.core.plan import Plan
from autoseg.execution.progress import Progress
from autoseg.io.datasets import read_dataset
from autoseg.io.workspace import DatasetFolder, Workspace
from autoseg.pipeline.fingerprint import keep_measured, measure_listed
from autoseg.pipeline.plan import PlanRequest, decide_plan, keep_plan
from autoseg.pipeline.preprocess import preprocess_cases
from autoseg.pipeline.stage import Workers, count_workers, open_case_workers
from autoseg.pipeline.traced_steps import open_tracing_worker
from planners.rules import RULES


def plan_and_preprocess(
    raw: Path,
    workspace: Workspace,
    planning: PlanRequest,
    *,
    configurations: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    accepted: Accepted = (),
    workers: int | None = None,
    progress: Progress,
) -> tuple[DatasetFolder, Plan, int]:
    """Measure, plan and preprocess a raw dataset; what is done already is kept.

    Parameters
    ----------
    raw, workspace, exclude, accepted, workers, progress
        As in `autoseg.pipeline.fingerprint.measure_dataset`.
    planning : PlanRequest
        What the plan shall be.
    configurations : sequence of str, optional
        Names of the configurations to prepare; all if left out.

    Returns
    -------
    DatasetFolder
        The dataset in the workspace.
    Plan
        The plan.
    int
        Cases that had to be preprocessed.
    """
    dataset = read_dataset(raw, exclude=exclude)
    with open_case_workers(workers, len(dataset.cases)) as pool:
        folder, plan = _plan_listed(
            dataset, workspace, planning, accepted=accepted, workers=pool, progress=progress
        )
        made = preprocess_cases(
            folder, plan, configurations=configurations, workers=pool, progress=progress
        )
    return folder, plan, made


def plan_raw(
    raw: Path,
    workspace: Workspace,
    planning: PlanRequest,
    *,
    exclude: Sequence[str] = (),
    accepted: Accepted = (),
    workers: Workers = None,
    progress: Progress,
) -> tuple[DatasetFolder, Plan]:
    """Measure and plan a raw dataset; nothing is written until nothing speaks against the plan.

    Parameters
    ----------
    raw, workspace, planning, exclude, accepted, workers, progress
        As in `plan_and_preprocess`.

    Returns
    -------
    DatasetFolder
        The dataset in the workspace.
    Plan
        The plan.
    """
    return _plan_listed(
        read_dataset(raw, exclude=exclude),
        workspace,
        planning,
        accepted=accepted,
        workers=workers,
        progress=progress,
    )


def _plan_listed(
    dataset: Dataset,
    workspace: Workspace,
    planning: PlanRequest,
    *,
    accepted: Accepted,
    workers: Workers,
    progress: Progress,
) -> tuple[DatasetFolder, Plan]:
    file = workspace.dataset(dataset.description.name).traced_steps_file
    traces = planning.like is None and RULES[planning.budget.rules].plans_bytes
    has_workers = count_workers(workers, tasks=len(dataset.cases)) > 0
    with open_tracing_worker(file, is_wanted=traces and has_workers) as tracing:
        measured = measure_listed(
            dataset,
            workspace,
            splits=planning.splits,
            accepted=accepted,
            workers=workers,
            progress=progress,
        )
        plan, splits = decide_plan(measured, planning, tracing=tracing)
    keep_measured(measured)
    keep_plan(measured.folder, workspace, plan, splits)
    return measured.folder, plan
