"""Final validation of a fold: every validation case segmented on its own grid and scored."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from autoseg.core.dataset import Case, Dataset
from autoseg.core.errors import AutosegError
from autoseg.core.geometry import STRICT
from autoseg.evaluation.scoring import CaseScores, score_case
from autoseg.evaluation.summary import Summary, summarize
from autoseg.inference.model import Model
from autoseg.io import documents, files, images
from autoseg.io.formats.image_digest import stored_digest
from autoseg.training.sampling import OpenCase
from preprocessing.case import raw_grid


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidatedCase:
    """Scores of a case and which files they belong to."""

    __pydantic_config__: ClassVar = STRICT

    schema_version: int = 1
    """Version of this document."""
    scores: CaseScores
    """The scores."""
    weights_digests: tuple[str, ...]
    """SHA-256 of the weights that predicted."""
    prediction_digest: str
    """SHA-256 of the prediction's file."""
    reference_digest: str
    """SHA-256 of the reference's file."""
    previous_key: str = ""
    """Digest of what the previous stage's prediction was made from, in a cascade."""


def validate(
    model: Model,
    cases: tuple[OpenCase, ...],
    dataset: Dataset,
    folder: Path,
    *,
    on_case: Callable[[str], None],
) -> Summary:
    """Segment preprocessed cases with a model, score them, and keep both.

    Parameters
    ----------
    model : Model
        The trained fold.
    cases : tuple of OpenCase
        Validation cases.
    dataset : Dataset
        Tells where the references lie.
    folder : Path
        Where predictions, scores and ``summary.json`` go. A case whose prediction is there
        unchanged, made by the same weights, is not predicted again.
    on_case : callable
        Told the name of every finished case.

    Returns
    -------
    Summary
    """
    raw = {case.name: case for case in dataset.cases}
    scores = []
    for case in cases:
        scores.append(_validate_case(model, case, raw[case.record.name], dataset, folder))
        on_case(case.record.name)
    summary = summarize(scores, dataset.description.labels, dataset.description.name)
    documents.write(folder / "summary.json", summary)
    return summary


def _validate_case(
    model: Model, case: OpenCase, raw: Case, dataset: Dataset, folder: Path
) -> CaseScores:
    prediction = folder / f"{raw.name}{dataset.description.file_ending}"
    reference = Path(dataset.folder) / str(raw.segmentation)
    done = _finished(folder / "cases" / f"{raw.name}.json", model, prediction, reference)
    if done is not None and done.previous_key == case.previous_key:
        return done.scores
    plan, labels = model.description.plan, dataset.description.labels
    geometry, accepted = case.record.geometry, dataset.description.accepted
    grid = raw_grid(geometry.shape, geometry.spacing, case.record.crop, plan)
    previous = None if case.previous is None else case.previous[...]
    predicted = model.segment(case.arrays.image[...], grid, previous)
    images.write_segmentation(prediction, labels.to_file(predicted), geometry)
    expected = images.read_segmentation(
        reference,
        raw.labels_in_file(labels),
        orientation=plan.orientation,
        accepted=accepted,
    )
    expected = images.on_grid_of(geometry, expected, raw.name, accepted=accepted)
    scored = score_case(raw.name, expected.voxels, predicted, labels, geometry.spacing)
    record = ValidatedCase(
        scores=scored,
        weights_digests=model.digests,
        prediction_digest=files.digest_file(prediction),
        reference_digest=expected.digest,
        previous_key=case.previous_key,
    )
    documents.write(folder / "cases" / f"{raw.name}.json", record)
    return scored


def _finished(path: Path, model: Model, prediction: Path, reference: Path) -> ValidatedCase | None:
    try:
        record = documents.read(path, ValidatedCase)
        intact = (
            record.weights_digests == model.digests
            and record.prediction_digest == files.digest_file(prediction)
            and record.reference_digest == stored_digest(reference)
        )
    except (AutosegError, OSError):
        return None
    return record if intact else None
