"""``autoseg check``: every fault of a raw dataset at once, and what looks wrong though allowed."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from autoseg.core.acceptance import Accepted
from autoseg.core.check_report import CheckReport, Finding, Refusal
from autoseg.core.dataset import Dataset
from autoseg.core.errors import AutosegError, InputError, ResourceError, UsageError
from autoseg.core.fingerprint import CaseMeasurement
from autoseg.core.version import __version__
from autoseg.execution.executor import Outcome
from autoseg.execution.progress import Progress
from autoseg.io import documents, files, locks
from autoseg.io.datasets import Found, find_dataset
from autoseg.io.guard import is_series
from autoseg.io.raw.channel_files import PICTURE_ENDINGS
from autoseg.io.workspace import DatasetFolder, Workspace
from autoseg.pipeline.check_pictures import (
    draw_pictures,
    named_once,
    picture_tasks,
    remove_pictures,
)
from autoseg.pipeline.copies import Copies, settle_copies
from autoseg.pipeline.fingerprint import accept, check_origin, measure_cases
from autoseg.pipeline.stage import finished
from preprocessing.findings import equal_images, extent_notes, intensity_notes
from preprocessing.fingerprint import MeasurementTask, summarize
from preprocessing.outliers import LEAST_CASES, most_rare
from preprocessing.plausibility import suspicious_cases

REPORT: Final = "check.json"
"""Name of the report."""
CONSTANT: Final = " in every voxel"
"""How the note on a constant image ends (`autoseg.io.voxels.constant_notes`)."""


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
        not in the dataset, or the folder for pictures holds something else, is a file or lies in
        the dataset.
    ResourceError
        If the workspace or the folder for pictures cannot be written to.
    InputError
        If the dataset's description cannot be read.
    """
    found = find_dataset(raw, exclude=exclude)
    if pictures is not None:
        check_target(pictures, raw, found.dataset, use="checked")
    if found.dataset is None:
        report, place = _nothing_read(raw, found, workspace, pictures)
        report = replace(report, excluded=tuple(sorted(set(exclude))), accepted=_texts(accepted))
        documents.write(place / REPORT, report)
        return report, place
    dataset = accept(found.dataset, accepted)
    folder = workspace.dataset(dataset.description.name)
    place = pictures or folder.path / "check"
    files.ensure_writable(folder.path)
    with locks.hold(folder.path, f"check of {folder.name}"):
        check_origin(dataset, folder)
        before = _earlier_report(place)
        outcomes = measure_cases("checking", dataset, folder, workers=workers, progress=progress)
        measured = finished(outcomes)
        copies = settle_copies(dataset, equal_images(measured))
        report = _report(raw, found, copies, outcomes, folder)
        remove_pictures(before, place)
        documents.write(place / REPORT, report)  # marks the folder as a check's, if stopped now
        tasks = picture_tasks(report, copies.dataset, measured, place)
        report = draw_pictures(report, tasks, workers=workers, progress=progress)
        documents.write(place / REPORT, report)
    return report, place


def check_target(folder: Path, raw: Path, dataset: Dataset | None, *, use: str) -> None:
    """Refuse a folder that nothing can be written to; nothing is left there.

    Parameters
    ----------
    folder : Path
        Where something is to be written; need not exist.
    raw : Path
        Folder or manifest of the raw dataset.
    dataset : Dataset or None
        What was found there; None if no case is whole.
    use : str
        What is done with the dataset, such as ``"copied"``.

    Raises
    ------
    UsageError
        If it is a file, lies below one, or lies in the dataset.
    ResourceError
        E-RES-62 or E-RES-63 if it, or the nearest folder that exists, cannot be written to.
    """
    place = folder.absolute()
    there = next((path for path in (place, *place.parents) if os.path.lexists(path)), place)
    if not there.is_dir():
        what = "is no folder" if there == place else f"lies below {there}, which is no folder"
        raise UsageError(f"{folder}: {what}", hint="name another folder")
    if any(folder.resolve().is_relative_to(source) for source in _source_folders(raw, dataset)):
        raise UsageError(
            f"{folder}: lies in the dataset that is to be {use}, which is never written to",
            hint="choose a folder beside it",
        )
    try:
        files.ensure_writable(there)
    except ResourceError as error:
        message = f"{folder}: cannot be used: {error.args[0]}"
        raise ResourceError(message, rule=error.rule, hint=error.hint) from error


def _source_folders(raw: Path, dataset: Dataset | None) -> set[Path]:
    """Return the folders that belong to a dataset: a manifest may lie anywhere."""
    if dataset is None:
        return {raw.resolve()}  # of a manifest, its own path, which is no folder
    folder = Path(dataset.folder)
    if not dataset.manifest:
        return {folder.resolve()}
    paths = (folder / image for case in dataset.cases for image in case.images)
    return {path.resolve() for path in paths if is_series(path)}


def _texts(accepted: Accepted) -> tuple[str, ...]:
    return tuple(each.text for each in accepted)


def _report(
    raw: Path,
    found: Found,
    copies: Copies,
    outcomes: Sequence[Outcome[MeasurementTask, CaseMeasurement]],
    folder: DatasetFolder,
) -> CheckReport:
    """Return the report on cases that were measured, without pictures."""
    dataset, measured = copies.dataset, finished(outcomes)
    description, no_sum = dataset.description, _no_sum(measured, folder)
    problems = [*found.problems, *_case_problems(outcomes, copies), *no_sum]
    suspicious = suspicious_cases(measured, description, patients=dataset.patients)
    can_mend = not no_sum and description.file_ending not in PICTURE_ENDINGS
    return CheckReport(
        autoseg_version=__version__,
        dataset=folder.name,
        origin=str(raw),
        accepted=_texts(description.accepted),
        excluded=dataset.excluded,
        cases=len(dataset.cases) + len(found.at_fault),
        read=len(measured),
        mendable=len(measured) - len(copies.problems) if can_mend else 0,
        refused=tuple(map(_refusal, problems)),
        suspicious=suspicious,
        notes=(*_notes(dataset, measured, suspicious), *copies.notes),
    )


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


def _notes(
    dataset: Dataset, measured: Sequence[CaseMeasurement], suspicious: Sequence[Finding]
) -> tuple[str, ...]:
    """Return what is worth knowing and said by no finding."""
    most = most_rare(len(measured)) if len(measured) >= LEAST_CASES else 0
    found = {(finding.kind, finding.case) for finding in suspicious}
    is_empty_found = any(kind == "no foreground" for kind, _ in found)
    return (
        *dataset.notes,
        *extent_notes(measured, dataset.description.labels, also_empty=not is_empty_found),
        *intensity_notes(measured, dataset.description, most=most),
        *(
            named_once(each.name, note)
            for each in measured
            for note in _case_notes(each, ("constant image", each.name) in found)
        ),
    )


def _case_notes(measured: CaseMeasurement, is_constant_found: bool) -> list[str]:
    """Return the notes on a case, without the only one on a constant image that is a finding."""
    constant = [note for note in measured.notes if note.endswith(CONSTANT)]
    left_out = constant if is_constant_found and len(constant) == 1 else []
    return [note for note in measured.notes if note not in left_out]


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
