"""``autoseg evaluate``: score a folder of segmentations against references."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autoseg.core.dataset import DatasetDescription
from autoseg.core.errors import AutosegError, DatasetError, PartialError, RefusedCasesError
from autoseg.evaluation.layout import as_csv
from autoseg.evaluation.scoring import CaseScores, score_case
from autoseg.evaluation.summary import Summary, summarize
from autoseg.execution.progress import Progress
from autoseg.io import documents, files, images
from autoseg.io.guard import FILE_ENDINGS
from autoseg.io.workspace import find_planned_dataset, find_workspace
from autoseg.pipeline.prediction import PredictionManifest, manifests
from autoseg.pipeline.stage import failed, finished, run_stage
from preprocessing.footprint import unpacking_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The expert segmentation of a case."""

    path: Path
    """The file."""
    label_values: tuple[int, ...] = ()
    """Values in it where they are not the dataset's; see `autoseg.core.dataset.Case`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringTask:
    """One pair of files to compare."""

    name: str
    """Case name."""
    prediction: Path
    """Segmentation to score."""
    reference: Reference
    """Expert segmentation."""
    description: DatasetDescription
    """Meaning of the values, and what is accepted of references."""
    tolerance_mm: float | None = None
    """Distance of surfaces that counts as agreement, mm; None takes the median voxel edge."""


def evaluate(
    predictions: Path,
    references: dict[str, Reference],
    description: DatasetDescription,
    *,
    output: Path | None = None,
    tolerance_mm: float | None = None,
    workers: int | None = None,
    progress: Progress,
) -> Summary:
    """Score every segmentation of a folder that has a reference.

    Parameters
    ----------
    predictions : Path
        Folder of segmentations, named by case.
    references : dict
        Reference file by case name; references without a prediction are told and left out.
    description : DatasetDescription
        Labels and the name for the report.
    output : Path, optional
        Folder for ``summary.json`` and ``summary.csv``; that of the predictions if left out.
    tolerance_mm : float, optional
        Distance of surfaces that counts as agreement, mm; the median voxel edge of each case if
        left out.
    workers : int or None
        Worker processes; None lets the machine decide.
    progress : Progress
        Told about every case.

    Returns
    -------
    Summary

    Raises
    ------
    DatasetError
        If nothing can be compared.
    PartialError
        If some pairs were refused; the summary of the others is written.
    """
    found = segmentations_by_case(predictions)
    tasks = [
        ScoringTask(
            name=name,
            prediction=found[name],
            reference=references[name],
            description=description,
            tolerance_mm=tolerance_mm,
        )
        for name in sorted(set(found) & set(references))
    ]
    if not tasks:
        raise DatasetError(
            f"{predictions}: none of its {len(found)} segmentations has the name of one of the "
            f"{len(references)} references",
            rule="E-SET-42",
            hint="name both files by case: masks/case_01.nii.gz and references/case_01.nii.gz",
        )
    for name in sorted(set(found) - set(references)):
        progress.note(f"note: {found[name].name} has no reference and is left out")
    if len(tasks) < len(references):
        progress.note(f"note: {len(references) - len(tasks)} references have no prediction")
    scores, problems = _score(tasks, workers, progress)
    if not scores:
        raise RefusedCasesError(
            f"all {len(tasks)} pairs are refused; nothing was written",
            tuple(problems),
            hint="mend these files, then run the same command again",
        )
    summary = summarize(scores, description.labels, description.name)
    place = output or predictions
    files.sweep(place, is_deep=False)  # no lock covers it
    documents.write(place / "summary.json", summary)
    files.write_atomically(place / "summary.csv", as_csv(summary).encode())
    if problems:
        raise PartialError(
            f"{len(problems)} of {len(tasks)} pairs are refused; the others are in "
            f"{place / 'summary.json'}",
            tuple(problems),
            hint="mend these files, then run the same command again",
            result=documents.to_json(summary),
        )
    return summary


def score_pair(task: ScoringTask) -> CaseScores:
    """Compare one segmentation with its reference; both must lie on the same grid."""
    values, labels = task.reference.label_values, task.description.labels
    accepted = task.description.accepted
    in_file = labels.in_file(values) if values else labels
    reference = images.read_segmentation(task.reference.path, in_file, accepted=accepted)
    # A prediction that holds the ignore label is refused by the name of its file.
    prediction = images.read_segmentation(task.prediction, replace(labels, ignore=None))
    if accepted:
        reference = images.on_grid_of(prediction.geometry, reference, task.name, accepted=accepted)
    images.check_same_grid(reference, prediction, task.name)
    return score_case(
        task.name,
        reference.voxels,
        prediction.voxels,
        labels,
        reference.geometry.spacing,
        tolerance_mm=task.tolerance_mm,
    )


def segmentations_by_case(folder: Path) -> dict[str, Path]:
    """Return the segmentation files of a folder by case name; hidden files are left out.

    Raises
    ------
    DatasetError
        If the folder does not exist.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: is no folder", rule="E-SET-42", hint="check the path")
    return {
        path.name.removesuffix(ending): path
        for path in sorted(folder.iterdir())
        for ending in FILE_ENDINGS
        if path.name.endswith(ending) and not path.name.startswith(".")
    }


def references_in(folder: Path) -> dict[str, Reference]:
    """Return the segmentations of a folder by case name, as references; see `find_references`."""
    return {name: Reference(path=path) for name, path in segmentations_by_case(folder).items()}


def find_references(
    predictions: Path,
    references: Path | None,
    *,
    dataset: str | None = None,
    workspace: Path | None = None,
) -> tuple[dict[str, Reference], DatasetDescription]:
    """Return the reference of each case, and what the labels mean.

    Parameters
    ----------
    predictions : Path
        Folder of segmentations; its manifest tells the labels, if ``predict`` wrote it.
    references : Path, optional
        Folder of references; those of the dataset if left out.
    dataset : str, optional
        Name of a planned dataset; the current one if left out and needed.
    workspace : Path, optional
        The workspace; see `autoseg.io.workspace.find_workspace`.
    """
    written = manifests(predictions)
    stored = documents.read_stored(written[0], PredictionManifest) if written else None
    described = stored.dataset if stored and dataset is None else None
    if references is not None and described is not None:
        return references_in(references), described
    asked = described.name if described else dataset
    folder = find_planned_dataset(find_workspace(workspace), asked)
    raw = folder.read_dataset()
    if references is not None:
        return references_in(references), raw.description
    known = {
        case.name: Reference(
            path=Path(raw.folder) / case.segmentation, label_values=case.label_values
        )
        for case in raw.cases
        if case.segmentation
    }
    return known, raw.description


def _score(
    tasks: Sequence[ScoringTask], workers: int | None, progress: Progress
) -> tuple[list[CaseScores], list[AutosegError]]:
    small = workers is None and len(tasks) < 50  # a pool takes longer to start than they take
    outcomes = run_stage(
        "evaluating",
        score_pair,
        tasks,
        name=lambda task: task.name,
        workers=0 if small else workers,
        guessed_bytes=lambda task: unpacking_bytes((task.prediction, task.reference.path)),
        progress=progress,
    )
    return finished(outcomes), failed(outcomes)
