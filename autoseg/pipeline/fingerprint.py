"""``autoseg fingerprint``: read a raw dataset and measure every case."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autoseg.core.acceptance import Accepted
from autoseg.core.dataset import Dataset
from autoseg.core.errors import AutosegError, RefusedCasesError, UsageError
from autoseg.core.fingerprint import CaseMeasurement, Fingerprint
from autoseg.execution.executor import Outcome
from autoseg.execution.progress import Progress
from autoseg.io import documents, files, locks
from autoseg.io.datasets import read_dataset
from autoseg.io.workspace import DatasetFolder, Workspace
from autoseg.pipeline.changes import measurement_tasks
from autoseg.pipeline.copies import settle_copies
from autoseg.pipeline.splits import SplitRequest, with_patients
from autoseg.pipeline.stage import Workers, failed, finished, run_stage
from preprocessing.findings import dataset_notes, equal_images
from preprocessing.fingerprint import MeasurementTask, measure_case, summarize
from preprocessing.footprint import reading_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A dataset, and what was measured of it."""

    folder: DatasetFolder
    """Its folder in the workspace."""
    dataset: Dataset
    """Its description and cases."""
    fingerprint: Fingerprint
    """What was measured."""


def measure_dataset(
    raw: Path,
    workspace: Workspace,
    *,
    exclude: Sequence[str] = (),
    splits: SplitRequest | None = None,
    accepted: Accepted = (),
    workers: Workers,
    progress: Progress,
) -> Measured:
    """Measure a raw dataset; what was measured of single cases is kept as a cache.

    Parameters
    ----------
    raw : Path
        Folder of the raw dataset.
    workspace : Workspace
        Where to keep what was measured. Cases measured before are not read again.
    exclude : sequence of str
        Cases to leave out of everything.
    splits : SplitRequest, optional
        Tells the patient of each case, which may have several images.
    accepted : tuple of Acceptance
        What is accepted although a rule refuses it; goes into the dataset's description. Cases that
        were read with other choices are read again.
    workers : int, WorkerPool or None
        Worker processes, or those that are open; None lets the machine decide.
    progress : Progress
        Told about every case.

    Returns
    -------
    Measured
        For `keep_measured`, once nothing speaks against it.

    Raises
    ------
    UsageError
        If the workspace has a dataset of this name from another folder, or a case to leave out is
        not in the dataset.
    RefusedCasesError
        If any case is refused, or has the image files of another one (E-SET-44): lists all
        problems. What was measured of the good cases is kept.
    """
    return measure_listed(
        read_dataset(raw, exclude=exclude),
        workspace,
        splits=splits,
        accepted=accepted,
        workers=workers,
        progress=progress,
    )


def measure_listed(
    dataset: Dataset,
    workspace: Workspace,
    *,
    splits: SplitRequest | None = None,
    accepted: Accepted = (),
    workers: Workers,
    progress: Progress,
) -> Measured:
    """Measure a dataset whose cases are listed already; see `measure_dataset`."""
    dataset = accept(dataset, accepted)
    dataset = dataset if splits is None else with_patients(dataset, splits)
    folder = workspace.dataset(dataset.description.name)
    files.ensure_writable(folder.path)
    with locks.hold(folder.path, f"fingerprint of {dataset.description.name}"):
        check_origin(dataset, folder)
        outcomes = measure_cases("measuring", dataset, folder, workers=workers, progress=progress)
        measured = finished(outcomes)
        names_patients = splits is not None and bool(splits.patients or splits.pattern)
        copies = settle_copies(dataset, equal_images(measured), may_group=not names_patients)
        refuse_problems(folder.name, [*failed(outcomes), *copies.problems], len(dataset.cases))
        dataset = copies.dataset
        fingerprint = summarize(measured, dataset.description.name, cache=folder.measured)
        notes = (
            *dataset.notes,
            *dataset_notes(measured, dataset.description),
            *copies.notes,
            *fingerprint.notes,
        )
        fingerprint = replace(fingerprint, notes=notes)
    _tell_returned(folder, dataset, progress)
    for note in fingerprint.notes[:10]:
        progress.note(f"note: {note}")
    if len(fingerprint.notes) > 10:
        progress.note(f"note: and {len(fingerprint.notes) - 10} more in {folder.fingerprint_file}")
    return Measured(folder=folder, dataset=dataset, fingerprint=fingerprint)


def keep_measured(measured: Measured) -> None:
    """Write the dataset's description and fingerprint into the workspace."""
    documents.write(measured.folder.dataset_file, measured.dataset)
    documents.write(measured.folder.fingerprint_file, measured.fingerprint)


def accept(dataset: Dataset, accepted: Accepted) -> Dataset:
    """Return the dataset with what is accepted of its cases in its description."""
    return replace(dataset, description=replace(dataset.description, accepted=accepted))


def _tell_returned(folder: DatasetFolder, dataset: Dataset, progress: Progress) -> None:
    """Say which cases were left out before and are not any more."""
    if folder.dataset_file.exists():
        back = set(folder.read_dataset().excluded).difference(dataset.excluded)
        if back := back.intersection(case.name for case in dataset.cases):
            progress.note(f"note: excluded before and back again: {', '.join(sorted(back))}")


def check_origin(dataset: Dataset, folder: DatasetFolder) -> None:
    """Refuse to mix two datasets of one name; a dataset that was moved is the same."""
    if not folder.dataset_file.exists():
        return
    known = folder.read_dataset().origin
    if known != dataset.origin and Path(known).exists():
        raise UsageError(
            f"dataset {folder.name!r}: {dataset.origin} has the name of {known}, which is in "
            f"{folder.path}",
            hint="rename one of the folders, or choose another --workspace",
        )


def measure_cases(
    stage: str, dataset: Dataset, folder: DatasetFolder, *, workers: Workers, progress: Progress
) -> list[Outcome[MeasurementTask, CaseMeasurement]]:
    """Measure every case of a dataset; those that were measured before are not read again.

    Parameters
    ----------
    stage : str
        What the progress calls it.
    dataset : Dataset
        The cases.
    folder : DatasetFolder
        Keeps what was measured of each case.
    workers, progress
        As in `measure_dataset`.
    """
    return run_stage(
        stage,
        measure_case,
        measurement_tasks(dataset, folder),
        name=lambda task: f"case {task.case.name!r}",
        workers=workers,
        guessed_bytes=lambda task: reading_bytes(task.case, task.folder),
        progress=progress,
    )


def refuse_problems(dataset: str, problems: Sequence[AutosegError], cases: int) -> None:
    """Raise one `RefusedCasesError` for all problems, if there are any."""
    if problems:
        raise RefusedCasesError(
            f"dataset {dataset!r}: {len(problems)} of {cases} cases are refused; no plan was made",
            tuple(problems),
            hint="mend or remove these cases, then run the same command again: "
            "the others need not be read again",
        )
