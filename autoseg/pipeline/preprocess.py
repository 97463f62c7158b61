"""``autoseg preprocess``: every case onto every grid that will be trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from autoseg.core.errors import ResourceError
from autoseg.core.fingerprint import Fingerprint
from autoseg.core.geometry import Box
from autoseg.core.plan import Plan
from autoseg.execution.executor import run_tasks
from autoseg.execution.machine import free_disk_bytes, worker_count
from autoseg.execution.progress import Progress
from autoseg.io import files
from autoseg.io.store import has_record
from autoseg.io.workspace import DatasetFolder
from autoseg.pipeline.fingerprint import refuse_problems
from preprocessing.case import plan_resampling, raw_grid
from preprocessing.runner import BYTES_PER_VOXEL, PreprocessingTask, grid_key, preprocess_case


def preprocess_cases(
    folder: DatasetFolder,
    plan: Plan,
    *,
    configurations: Sequence[str] | None = None,
    workers: int | None,
    progress: Progress,
) -> int:
    """Preprocess every case of a planned dataset that is not stored yet.

    Parameters
    ----------
    folder : DatasetFolder
        The dataset.
    plan : Plan
        Its plan.
    configurations : sequence of str, optional
        Names of the configurations to prepare; all if left out.
    workers : int or None
        Worker processes; None lets the machine decide.
    progress : Progress
        Told about every case.

    Returns
    -------
    int
        Cases that had to be made.

    Raises
    ------
    RefusedCasesError
        If a case is refused: lists all problems; the other cases are kept.
    ResourceError
        If the disk is too small for what is to be made.
    """
    dataset, fingerprint = folder.read_dataset(), folder.read_fingerprint()
    names = tuple(configurations or plan.names)
    stores = _stores(folder, plan, names)
    with files.lock(folder.path / "preprocessed", f"preprocessing of {folder.name}"):
        needed = estimate(fingerprint, plan, stores, len(dataset.description.channels))
        count = worker_count(workers, task_bytes=needed.memory_bytes, tasks=len(dataset.cases))
        progress.note(_announce(needed, folder, names, count))
        tasks = [
            PreprocessingTask(
                case=case,
                folder=Path(dataset.folder),
                description=dataset.description,
                plan=plan,
                stores=stores,
            )
            for case in dataset.cases
        ]
        made, problems = 0, []
        progress.start("preprocessing", len(tasks))
        for outcome in run_tasks(
            preprocess_case, tasks, workers=count, name=lambda task: task.case.name
        ):
            progress.advance(outcome.item.case.name)
            made += bool(outcome.value)
            if outcome.error is not None:
                problems.append(outcome.error)
        progress.finish()
    refuse_problems(folder.name, problems, len(tasks))
    return made


def _stores(
    folder: DatasetFolder, plan: Plan, names: Sequence[str]
) -> tuple[tuple[str, Path], ...]:
    """Return one configuration for each store: those of equal grid and normalization share it."""
    by_folder = {
        folder.store(grid_key(plan, plan.configuration(name))): name for name in reversed(names)
    }
    return tuple((name, place) for place, name in reversed(by_folder.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What preprocessing will take at most."""

    memory_bytes: int
    """Memory of the process that works on the largest case."""
    disk_bytes: int
    """Disk that is still to be filled."""


def estimate(
    fingerprint: Fingerprint, plan: Plan, stores: Sequence[tuple[str, Path]], channels: int
) -> Estimate:
    """Estimate from shapes and spacings what preprocessing will take.

    Parameters
    ----------
    fingerprint : Fingerprint
        Shapes and spacings of all cases.
    plan : Plan
        What was decided.
    stores : sequence of (configuration, folder)
        What is to be made; cases that have a record there already need no more disk.
    channels : int
        Image channels.
    """
    largest = disk_voxels = 0
    for case in fingerprint.cases:
        largest = max(largest, prod(case.shape))
        cut = Box(start=(0,) * len(case.shape), stop=case.shape_after_crop)
        grid = raw_grid(case.shape, case.spacing, cut.permuted(plan.axis_order), plan)
        for name, folder in stores:
            voxels = prod(plan_resampling(grid, plan.configuration(name)).shape)
            largest = max(largest, voxels)
            disk_voxels += 0 if has_record(folder, case.name) else voxels
    return Estimate(
        memory_bytes=largest * channels * BYTES_PER_VOXEL,
        disk_bytes=disk_voxels * (4 * channels + 1),
    )


def _announce(needed: Estimate, folder: DatasetFolder, names: Sequence[str], count: int) -> str:
    """Say what the work will take; refuse what the disk cannot hold."""
    free = free_disk_bytes(folder.path)
    if needed.disk_bytes > free:
        raise ResourceError(
            f"{folder.path}: preprocessing needs up to {needed.disk_bytes / 2**30:.1f} GiB of "
            f"disk, {free / 2**30:.1f} GiB are free",
            rule="E-RES-63",
            hint="free some space, or choose a --workspace on another disk",
        )
    return (
        f"preprocessing {', '.join(names)} with {count or 1} worker(s), "
        f"up to {needed.memory_bytes / 2**20:.0f} MiB each, "
        f"at most {needed.disk_bytes / 2**20:.0f} MiB of disk"
    )
