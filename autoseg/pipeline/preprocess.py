"""``autoseg preprocess``: every case onto every grid that will be trained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from autoseg.core.errors import AutosegError, PartialError, RefusedCasesError, ResourceError
from autoseg.core.fingerprint import Fingerprint
from autoseg.core.plan import Plan
from autoseg.execution.executor import Outcome
from autoseg.execution.machine import free_disk_bytes, inspect_machine, size_text
from autoseg.execution.progress import Progress
from autoseg.execution.workers import WorkerPool
from autoseg.io import locks
from autoseg.io.store import has_record
from autoseg.io.workspace import DatasetFolder
from autoseg.pipeline.fingerprint import Measured
from autoseg.pipeline.stage import Workers, count_workers, failed, finished, run_stage
from preprocessing.footprint import footprint
from preprocessing.runner import PreprocessingTask, grid_key, preprocess_case

LEAST_STORED: Final = 0.05
"""Share of the uncompressed size that stored arrays take at least. Measured: 9 % of a phantom of
CT, 15 % of Task04_Hippocampus."""


def preprocess_cases(
    folder: DatasetFolder,
    plan: Plan,
    *,
    configurations: Sequence[str] | None = None,
    workers: Workers,
    progress: Progress,
    wait: bool = False,
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
    workers : int, WorkerPool or None
        Worker processes, or those that are open; None lets the machine decide.
    progress : Progress
        Told about every case.
    wait : bool
        Whether to wait for another command that preprocesses the dataset.

    Returns
    -------
    int
        Cases that had to be made.

    Raises
    ------
    PartialError
        If some cases are refused, or are too large for the memory: lists all; the others are kept.
    RefusedCasesError
        If all are.
    ResourceError
        If the disk is too small for what is to be made.
    """
    measured = Measured(
        folder=folder, dataset=folder.read_dataset(), fingerprint=folder.read_fingerprint()
    )
    names = tuple(configurations or plan.names)
    prepared = prepare_cases(measured, plan, names, workers=workers, progress=progress, wait=wait)
    return prepared.count_made()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What became of the cases of a dataset on some grids."""

    dataset: str
    """Name of the dataset."""
    places: frozenset[Path]
    """Folders of the grids."""
    outcomes: Sequence[Outcome[PreprocessingTask, bool]]
    """Whether each case had to be made, or why it could not."""

    def count_made(self) -> int:
        """Return how many cases had to be made; raise one error if any could not be."""
        made = sum(finished(self.outcomes))
        _refuse(self.dataset, failed(self.outcomes), len(self.outcomes), made)
        return made


def prepare_cases(
    measured: Measured,
    plan: Plan,
    names: Sequence[str],
    *,
    workers: Workers,
    progress: Progress,
    wait: bool = False,
    when_done: Callable[[Outcome[PreprocessingTask, bool]], None] | None = None,
) -> Prepared:
    """Preprocess every case that is not stored yet; which could not be is in what is returned.

    Parameters
    ----------
    measured : Measured
        The dataset; its folder need not hold it yet.
    plan : Plan
        A plan for it; of a draft, only the grids of ``names`` need be those of the plan.
    names : sequence of str
        Names of the configurations to prepare.
    workers, progress, wait
        As in `preprocess_cases`.
    when_done : callable, optional
        Called with what became of each case, in any order; an error that it raises ends the work.
    """
    folder, dataset = measured.folder, measured.dataset
    stores = _stores(folder, plan, names)
    purpose = f"preprocessing of {folder.name}"
    with locks.hold(folder.path / "preprocessed", purpose, wait=wait):
        channels = len(dataset.description.channels)
        needed = estimate(measured.fingerprint, plan, stores, channels)
        count = count_workers(workers, tasks=len(dataset.cases), task_bytes=needed.memory_bytes)
        progress.note(_announce(needed, folder, names, count))
        tasks = [
            PreprocessingTask(
                case=case,
                folder=Path(dataset.folder),
                description=dataset.description,
                plan=plan,
                stores=stores,
                threads=max(1, inspect_machine().cores // max(count, 1)),
            )
            for case in dataset.cases
        ]
        outcomes = run_stage(
            "preprocessing",
            preprocess_case,
            tasks,
            name=lambda task: f"case {task.case.name!r}",
            workers=workers if isinstance(workers, WorkerPool) else count,
            memory_bytes=lambda task: needed.by_case.get(task.case.name, 0),
            progress=progress,
            when_done=when_done,
        )
    places = frozenset(place for _, place in stores)
    return Prepared(dataset=folder.name, places=places, outcomes=outcomes)


def store_places(folder: DatasetFolder, plan: Plan, names: Sequence[str]) -> frozenset[Path]:
    """Return the folders of the grids of some configurations."""
    return frozenset(place for _, place in _stores(folder, plan, names))


def _refuse(name: str, problems: Sequence[AutosegError], cases: int, made: int) -> None:
    """Raise one error for all cases that could not be preprocessed, if there are any."""
    if len(problems) == cases > 0:
        raise RefusedCasesError(
            f"dataset {name!r}: all {cases} cases are refused; nothing was preprocessed",
            tuple(problems),
            hint="mend them, then run the same command again",
        )
    if problems:
        raise PartialError(
            f"dataset {name!r}: {len(problems)} of {cases} cases could not be preprocessed; the "
            "others are done and kept",
            tuple(problems),
            hint="mend these cases, or leave them out by --exclude when planning, then run the "
            "same command again",
            result={"dataset": name, "made": made},
        )


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

    by_case: dict[str, int]
    """Memory of the process that works on each case, by name."""
    disk_bytes: int
    """Disk that is still to be filled, before compression."""

    @property
    def memory_bytes(self) -> int:
        """Memory that the largest case takes."""
        return max(self.by_case.values(), default=0)


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
    names = [name for name, _ in stores]
    by_case, disk = {}, 0
    for case in fingerprint.cases:
        needed = footprint(case, plan, names, channels)
        by_case[case.name] = needed.memory_bytes
        for on_grid, (_, place) in zip(needed.disk_bytes, stores, strict=True):
            disk += 0 if has_record(place, case.name) else on_grid
    return Estimate(by_case=by_case, disk_bytes=disk)


def _announce(needed: Estimate, folder: DatasetFolder, names: Sequence[str], count: int) -> str:
    """Say what the work will take; refuse what the disk certainly cannot hold."""
    free = free_disk_bytes(folder.path)
    if needed.disk_bytes * LEAST_STORED > free:
        raise ResourceError(
            f"{folder.path}: preprocessing needs {size_text(needed.disk_bytes * LEAST_STORED)} to "
            f"{size_text(needed.disk_bytes)} of disk, {size_text(free)} are free",
            rule="E-RES-63",
            hint="free some space, or choose a --workspace on another disk",
        )
    memory = inspect_machine().budget_bytes
    return (
        f"preprocessing {', '.join(names)} with {count or 1} worker(s), up to "
        f"{size_text(needed.memory_bytes)} each of the {size_text(memory)} that may be used, at "
        f"most {size_text(needed.disk_bytes)} of {size_text(free)} of disk"
    )
