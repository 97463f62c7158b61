"""``autoseg plan_and_preprocess``: from a raw dataset to a plan and preprocessed cases."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from autoseg.core.acceptance import Accepted
from autoseg.core.dataset import Dataset
from autoseg.core.errors import PlanError
from autoseg.core.folds import Splits
from autoseg.core.plan import Plan
from autoseg.execution.progress import Progress
from autoseg.execution.workers import WorkerPool
from autoseg.io.datasets import read_dataset
from autoseg.io.workspace import DatasetFolder, Workspace
from autoseg.pipeline.fingerprint import Measured, keep_measured, measure_listed
from autoseg.pipeline.plan import PlanRequest, decide_plan, keep_plan
from autoseg.pipeline.preprocess import Prepared, prepare_cases, preprocess_cases, store_places
from autoseg.pipeline.stage import Workers, count_workers, open_case_workers
from autoseg.pipeline.traced_steps import open_tracing_worker
from planners.planner import plan_dataset
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
        with _open_tracing(dataset, workspace, planning, pool) as tracing:
            measured = measure_listed(
                dataset,
                workspace,
                splits=planning.splits,
                accepted=accepted,
                workers=pool,
                progress=progress,
            )
            draft = _draft(measured, planning) if tracing.count else None
            if draft is None:
                early, decided = None, decide_plan(measured, planning, tracing=tracing)
            else:
                names = configurations or draft.names
                early, decided = _decide_beside(
                    measured, planning, tracing, draft, names, workers=pool, progress=progress
                )
        folder, plan = _keep(measured, workspace, *decided)
        names = configurations or plan.names
        if early and early.places == store_places(folder, plan, names):
            return folder, plan, early.count_made()
        made = preprocess_cases(folder, plan, configurations=names, workers=pool, progress=progress)
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
    dataset = read_dataset(raw, exclude=exclude)
    with _open_tracing(dataset, workspace, planning, workers) as tracing:
        measured = measure_listed(
            dataset,
            workspace,
            splits=planning.splits,
            accepted=accepted,
            workers=workers,
            progress=progress,
        )
        decided = decide_plan(measured, planning, tracing=tracing)
    return _keep(measured, workspace, *decided)


def _open_tracing(
    dataset: Dataset, workspace: Workspace, planning: PlanRequest, workers: Workers
) -> WorkerPool:
    """Start the worker that traces steps where the plan needs it."""
    file = workspace.dataset(dataset.description.name).traced_steps_file
    traces = planning.like is None and RULES[planning.budget.rules].plans_bytes
    has_workers = count_workers(workers, tasks=len(dataset.cases)) > 0
    return open_tracing_worker(file, is_wanted=traces and has_workers)


def _keep(
    measured: Measured, workspace: Workspace, plan: Plan, splits: Splits
) -> tuple[DatasetFolder, Plan]:
    keep_measured(measured)
    keep_plan(measured.folder, workspace, plan, splits)
    return measured.folder, plan


def _draft(measured: Measured, planning: PlanRequest) -> Plan | None:
    """Return a plan by nnU-Net's count of memory if its grids are certain and nothing is there yet.

    The grids of 2d and 3d_fullres follow from the data, those of 3d_lowres from the memory too. All
    grids of a case are made in one reading: where one is uncertain, none is made early.
    """
    if measured.folder.plan_file(planning.name).exists() or measured.folder.splits_file.exists():
        return None
    try:
        draft = plan_dataset(
            measured.fingerprint,
            measured.dataset.description,
            budget=planning.budget,
            name=planning.name,
        )
    except PlanError:
        return None  # the true plan says why
    return None if "3d_lowres" in draft.names else draft


def _decide_beside(
    measured: Measured,
    planning: PlanRequest,
    tracing: WorkerPool,
    draft: Plan,
    names: Sequence[str],
    *,
    workers: WorkerPool,
    progress: Progress,
) -> tuple[Prepared, tuple[Plan, Splits]]:
    """Decide on a plan while cases are preprocessed onto the grids of a draft.

    Raises
    ------
    AutosegError
        As soon as there can be no plan.
    """
    with ThreadPoolExecutor(1) as thread:
        deciding = thread.submit(decide_plan, measured, planning, tracing=tracing)

        def end_without_plan(_: object) -> None:
            if deciding.done() and (error := deciding.exception()):
                raise error

        early = prepare_cases(
            measured,
            draft,
            [name for name in names if name in draft.names],
            workers=workers,
            progress=progress,
            when_done=end_without_plan,
        )
        return early, deciding.result()
