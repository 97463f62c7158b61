"""``autoseg preprocess``: every case onto every grid that will be trained."""

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Final

from autoseg.core.dataset import Dataset
from autoseg.core.errors import ResourceError
from autoseg.core.fingerprint import Fingerprint
from autoseg.core.plan import Plan
from autoseg.execution.executor import run_tasks
from autoseg.execution.machine import free_disk_bytes, inspect_machine, worker_count
from autoseg.execution.progress import Progress
from autoseg.io import files
from autoseg.io.workspace import DatasetFolder
from autoseg.pipeline.fingerprint import refuse_problems
from preprocessing.runner import BYTES_PER_VOXEL, PreprocessingTask, grid_key, preprocess_case

TRAINABLE: Final = ("2d", "3d_fullres")
"""Configurations that this version trains."""


def trainable(plan: Plan) -> tuple[str, ...]:
    """Return the names of the plan's configurations that this version trains."""
    return tuple(c.name for c in plan.configurations if c.name in TRAINABLE)


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
        Names of the configurations to prepare; all that can be trained if left out.
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
    names = configurations or trainable(plan)
    stores = tuple((name, folder.store(grid_key(plan, plan.configuration(name)))) for name in names)
    with files.lock(folder.path / "preprocessed", f"preprocessing of {folder.name}"):
        count = _announce(folder, dataset, fingerprint, plan, stores, workers, progress)
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


def _announce(
    folder: DatasetFolder,
    dataset: Dataset,
    fingerprint: Fingerprint,
    plan: Plan,
    stores: Sequence[tuple[str, Path]],
    workers: int | None,
    progress: Progress,
) -> int:
    """Say what the work will take, refuse what cannot fit, and return the worker count."""
    channels = len(dataset.description.channels)
    grown = {
        name: [
            prod(case.shape_after_crop)
            * prod(case.spacing[-plan.configuration(name).ndim :])
            / prod(plan.configuration(name).spacing)
            for case in fingerprint.cases
        ]
        for name, _ in stores
    }
    raw = max(prod(case.shape) for case in fingerprint.cases)
    largest = max(raw, *(max(voxels) for voxels in grown.values()))
    memory = int(largest * channels * BYTES_PER_VOXEL)
    disk = int(sum(sum(voxels) for voxels in grown.values()) * (4 * channels + 1))
    free = free_disk_bytes(folder.path)
    if disk > free:
        raise ResourceError(
            f"{folder.path}: preprocessing needs up to {disk / 2**30:.1f} GiB of disk, "
            f"{free / 2**30:.1f} GiB are free",
            rule="E-RES-63",
            hint="free some space, or choose a --workspace on another disk",
        )
    machine = inspect_machine()
    count = worker_count(workers, task_bytes=memory, tasks=len(fingerprint.cases), machine=machine)
    progress.note(
        f"preprocessing {', '.join(name for name, _ in stores)} with {count or 1} worker(s), "
        f"up to {memory / 2**20:.0f} MiB each, at most {disk / 2**20:.0f} MiB of disk"
    )
    return count
