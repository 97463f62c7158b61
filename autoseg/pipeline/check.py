"""``autoseg check``: every fault of a raw dataset at once, and what looks wrong though allowed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from autoseg.core.acceptance import Accepted
from autoseg.core.check_report import CheckReport, Refusal
from autoseg.core.dataset import Dataset
from autoseg.core.errors import AutosegError, InputError, UsageError
from autoseg.core.fingerprint import CaseMeasurement
from autoseg.core.version import __version__
from autoseg.execution.executor import Outcome
from autoseg.execution.progress import Progress
from autoseg.io import documents, files
from autoseg.io.datasets import Found, find_dataset
from autoseg.io.workspace import DatasetFolder, Workspace
from autoseg.pipeline.check_pictures import draw_pictures, picture_tasks, remove_pictures
from autoseg.pipeline.copies import Copies, settle_copies
from autoseg.pipeline.fingerprint import accept, check_origin, measure_cases
from autoseg.pipeline.stage import finished
from preprocessing.findings import equal_images, extent_notes, intensity_notes
from preprocessing.fingerprint import MeasurementTask, summarize
from preprocessing.outliers import LEAST_CASES, most_rare
from preprocessing.plausibility import suspicious_cases

REPORT: Final = "check.json"
"""Name of the report."""


def check_dataset(
    raw: Path,
    workspace: Workspace,
    *,
    exclude: Sequence[str] = (),
    accepted: Accepted = (),
    pictures: Path | None = None,
    workers: int | None = None,
    progress: Progress,
) -> tuple[CheckReport, Path]:
    """Check a raw dataset; what is measured is kept, so that planning need not measure again.

    Parameters
    ----------
    raw : Path
        Folder or manifest of the raw dataset.
    workspace : Workspace
        Where to keep measurements, report and pictures.
    exclude : sequence of str
        Cases to leave out.
    accepted : tuple of Acceptance
        What is accepted although a rule refuses it.
    pictures : Path, optional
        Folder for report and pictures; ``check`` in the dataset's folder if left out.
    workers : int or None
        Worker processes; None lets the machine decide.
    progress : Progress
        Told about every case.

    Returns
    -------
    CheckReport
        Everything found. It was written to ``check.json``.
    Path
        Folder of the report and of the pictures.

    Raises
    ------
    UsageError
        If the workspace has a dataset of this name from another folder, a case to leave out is
        not in the dataset, or the folder for pictures holds something else.
    InputError
        If the dataset's description cannot be read.
    """
    found = find_dataset(raw, exclude=exclude)
    if found.dataset is None:
        return _nothing_read(raw, found, workspace, pictures)
    dataset = accept(found.dataset, accepted)
    folder = workspace.dataset(dataset.description.name)
    place = pictures or folder.path / "check"
    files.ensure_writable(folder.path)
    with files.lock(folder.path, f"check of {folder.name}"):
        check_origin(dataset, folder)
        before = _earlier_report(place)
        outcomes = measure_cases("checking", dataset, folder, workers=workers, progress=progress)
        measured = finished(outcomes)
        copies = settle_copies(dataset, equal_images(measured))
        dataset = copies.dataset
        problems = [*found.problems, *_case_problems(outcomes, copies), *_no_sum(measured, folder)]
        report = CheckReport(
            autoseg_version=__version__,
            dataset=folder.name,
            origin=str(raw),
            accepted=tuple(each.text for each in accepted),
            cases=len(dataset.cases) + len(found.at_fault),
            read=len(measured),
            refused=tuple(map(_refusal, problems)),
            suspicious=suspicious_cases(measured, dataset.description, patients=dataset.patients),
            notes=(*_notes(dataset, measured), *copies.notes),
        )
        remove_pictures(before, place)
        documents.write(place / REPORT, report)  # marks the folder as a check's, if stopped now
        tasks = picture_tasks(report, dataset, measured, place)
        report = draw_pictures(report, tasks, workers=workers, progress=progress)
        documents.write(place / REPORT, report)
    return report, place


def _nothing_read(
    raw: Path, found: Found, workspace: Workspace, pictures: Path | None
) -> tuple[CheckReport, Path]:
    """Write and return the report on a layout that leaves no case to read."""
    name = raw.stem if raw.is_file() else raw.resolve().name
    place = pictures or workspace.dataset(name).path / "check"
    remove_pictures(_earlier_report(place), place)
    report = CheckReport(
        autoseg_version=__version__,
        dataset=name,
        origin=str(raw),
        cases=len(found.at_fault),
        read=0,
        refused=tuple(map(_refusal, found.problems)),
        suspicious=(),
        notes=("no image was read: the faults of the layout must be mended first",),
    )
    documents.write(place / REPORT, report)
    return report, place


def _refusal(error: AutosegError) -> Refusal:
    return Refusal(
        rule=error.rule,
        case=error.case,
        file=error.file,
        problem=str(error.args[0]),
        fix=error.hint,
    )


def _case_problems(
    outcomes: Sequence[Outcome[MeasurementTask, CaseMeasurement]], copies: Copies
) -> list[AutosegError]:
    """Return why cases are refused: on their own, or as copies of others."""
    alone = [
        outcome.error.about(outcome.item.case.name)
        for outcome in outcomes
        if outcome.error is not None
    ]
    return [*alone, *copies.problems]


def _no_sum(measured: Sequence[CaseMeasurement], folder: DatasetFolder) -> list[AutosegError]:
    """Return why no fingerprint can be made of cases that are fine on their own, if it cannot."""
    try:
        if measured:
            summarize(measured, folder.name, cache=folder.measured)
    except InputError as error:
        return [error]
    return []


def _notes(dataset: Dataset, measured: Sequence[CaseMeasurement]) -> tuple[str, ...]:
    most = most_rare(len(measured)) if len(measured) >= LEAST_CASES else 0
    return (
        *dataset.notes,
        *extent_notes(measured, dataset.description.labels),
        *intensity_notes(measured, dataset.description, most=most),
        *(f"{each.name}: {note}" for each in measured for note in each.notes),
    )


def _earlier_report(place: Path) -> CheckReport | None:
    """Return the report that the folder holds; refuse a folder that holds something else."""
    try:
        return documents.read(place / REPORT, CheckReport)
    except AutosegError:
        held = place.exists() and (not place.is_dir() or files.visible(place))
        if held and not (place / REPORT).exists():
            raise UsageError(
                f"{place}: is not empty and holds no {REPORT}; report and pictures go into a new "
                "or empty folder, or one of an earlier check",
                hint="name another folder",
            ) from None
        return None
