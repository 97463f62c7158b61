"""``autoseg fingerprint``: read a raw dataset and measure every case."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autoseg.core.dataset import Dataset
from autoseg.core.errors import AutosegError, DatasetError, RefusedCasesError, UsageError
from autoseg.core.fingerprint import CaseMeasurement, Fingerprint
from autoseg.execution.executor import run_tasks
from autoseg.execution.machine import worker_count
from autoseg.execution.progress import Progress
from autoseg.io import documents, files
from autoseg.io.datasets import read_dataset
from autoseg.io.workspace import DatasetFolder, Workspace
from autoseg.pipeline.changes import measurement_tasks
from autoseg.pipeline.splits import SplitRequest, with_patients
from preprocessing.findings import dataset_notes, equal_images
from preprocessing.fingerprint import measure_case, summarize

SMALL_TASK_BYTES = 2**30
"""Memory that is set aside for measuring one case before anything is known of its size."""


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
    workers: int | None,
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
    workers : int or None
        Worker processes; None lets the machine decide.
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
    dataset = read_dataset(raw, exclude=exclude)
    dataset = dataset if splits is None else with_patients(dataset, splits)
    folder = workspace.dataset(dataset.description.name)
    files.ensure_writable(folder.path)
    with files.lock(folder.path, f"fingerprint of {dataset.description.name}"):
        _check_origin(dataset, folder)
        measured, problems = _measure_cases(dataset, folder, workers=workers, progress=progress)
        copies, copy_notes = _copies(dataset, measured)
        refuse_problems(folder.name, [*problems, *copies], len(dataset.cases))
        fingerprint = summarize(measured, dataset.description.name, cache=folder.measured)
        notes = (*dataset_notes(measured, dataset.description), *copy_notes, *fingerprint.notes)
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


def _tell_returned(folder: DatasetFolder, dataset: Dataset, progress: Progress) -> None:
    """Say which cases were left out before and are not any more."""
    if folder.dataset_file.exists():
        back = set(folder.read_dataset().excluded).difference(dataset.excluded)
        if back := back.intersection(case.name for case in dataset.cases):
            progress.note(f"note: excluded before and back again: {', '.join(sorted(back))}")


def _check_origin(dataset: Dataset, folder: DatasetFolder) -> None:
    """Refuse to mix two datasets of one name; a dataset that was moved is the same."""
    if not folder.dataset_file.exists():
        return
    known = folder.read_dataset().folder
    if known != dataset.folder and Path(known).is_dir():
        raise UsageError(
            f"dataset {folder.name!r}: {dataset.folder} has the name of {known}, which is in "
            f"{folder.path}",
            hint="rename one of the folders, or choose another --workspace",
        )


def _measure_cases(
    dataset: Dataset, folder: DatasetFolder, *, workers: int | None, progress: Progress
) -> tuple[list[CaseMeasurement], list[AutosegError]]:
    tasks = measurement_tasks(dataset, folder)
    measured: list[CaseMeasurement] = []
    problems: list[AutosegError] = []
    progress.start("measuring", len(tasks))
    count = worker_count(workers, task_bytes=SMALL_TASK_BYTES, tasks=len(tasks))
    for outcome in run_tasks(measure_case, tasks, workers=count, name=lambda task: task.case.name):
        progress.advance(outcome.item.case.name)
        if outcome.value is not None:
            measured.append(outcome.value)
        elif outcome.error is not None:
            problems.append(outcome.error)
    progress.finish()
    return measured, problems


def _copies(
    dataset: Dataset, measured: Sequence[CaseMeasurement]
) -> tuple[list[AutosegError], list[str]]:
    """Return a problem or, among cases of one patient, a note for each copy of another case."""
    patients = dataset.patients or {}
    problems: list[AutosegError] = []
    notes = []
    for first, *others in equal_images(measured):
        for name in others:
            what = f"case {name!r}: its image files are byte by byte those of case {first!r}"
            if name in patients and patients[name] == patients.get(first):
                notes.append(f"{what}; both are of patient {patients[name]!r}, so of one fold")
                continue
            problems.append(
                DatasetError(
                    f"{what}; allowed are copies of one patient only: others would train on what "
                    "they validate",
                    rule="E-SET-44",
                    hint="remove one of the two, or name both as one patient under 'patients' in "
                    "dataset.json",
                )
            )
    return problems, notes


def refuse_problems(dataset: str, problems: Sequence[AutosegError], cases: int) -> None:
    """Raise one `RefusedCasesError` for all problems, if there are any."""
    if problems:
        raise RefusedCasesError(
            f"dataset {dataset!r}: {len(problems)} of {cases} cases are refused; no plan was made",
            tuple(problems),
            hint="mend or remove these cases, then run the same command again: "
            "the others need not be read again",
        )
