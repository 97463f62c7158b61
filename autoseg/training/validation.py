"""Final validation of a fold: every validation case segmented on its own grid and scored."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from autoseg.core.dataset import Case, Dataset
from autoseg.core.errors import AutosegError
from autoseg.core.geometry import STRICT, Geometry, Orientation
from autoseg.core.labels import LabelMap
from autoseg.evaluation.scoring import CaseScores, score_case
from autoseg.evaluation.summary import Summary, summarize
from autoseg.inference.model import Model
from autoseg.io import documents, files, images
from autoseg.io.formats.image_digest import stored_digest
from autoseg.io.references import read_reference
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
    place = ValidationPlace(
        folder=folder,
        dataset=dataset,
        raw=raw,
        weights_digests=model.digests,
        previous_key=case.previous_key,
    )
    if done := place.finished():
        return done
    plan, geometry = model.description.plan, case.record.geometry
    grid = raw_grid(geometry.shape, geometry.spacing, case.record.crop, plan)
    previous = None if case.previous is None else case.previous[...]
    predicted = model.segment(case.arrays.image[...], grid, previous)
    return place.keep(predicted, geometry, plan.orientation)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationPlace:
    """Where the prediction and the scores of one validation case lie, and what they belong to."""

    folder: Path
    """Folder of predictions; the scores are in ``cases`` in it."""
    dataset: Dataset
    """Tells where the reference lies."""
    raw: Case
    """The case."""
    weights_digests: tuple[str, ...]
    """SHA-256 of the weights that predict."""
    previous_key: str = ""
    """Digest of what the previous stage's prediction was made from, in a cascade."""

    @property
    def prediction(self) -> Path:
        """File of the prediction."""
        return self.folder / f"{self.raw.name}{self.dataset.description.file_ending}"

    @property
    def reference(self) -> Path:
        """File of the reference."""
        return Path(self.dataset.folder) / str(self.raw.segmentation)

    @property
    def record(self) -> Path:
        """File of the scores."""
        return self.folder / "cases" / f"{self.raw.name}.json"

    def finished(self) -> CaseScores | None:
        """Return the scores, if they are of these weights and of the files that lie there."""
        try:
            record = documents.read(self.record, ValidatedCase)
            intact = (
                record.weights_digests == self.weights_digests
                and record.previous_key == self.previous_key
                and record.prediction_digest == files.digest_file(self.prediction)
                and record.reference_digest == stored_digest(self.reference)
            )
        except (AutosegError, OSError):
            return None
        return record.scores if intact else None

    def keep(self, predicted: LabelMap, geometry: Geometry, orientation: Orientation) -> CaseScores:
        """Write a prediction, score it, and write the scores."""
        labels = self.dataset.description.labels
        images.write_segmentation(self.prediction, labels.to_file(predicted), geometry)
        expected = read_reference(
            self.raw,
            Path(self.dataset.folder),
            self.dataset.description,
            geometry,
            orientation,
        )
        scored = score_case(self.raw.name, expected.voxels, predicted, labels, geometry.spacing)
        record = ValidatedCase(
            scores=scored,
            weights_digests=self.weights_digests,
            prediction_digest=files.digest_file(self.prediction),
            reference_digest=expected.digest,
            previous_key=self.previous_key,
        )
        documents.write(self.record, record)
        return scored
