"""The trained models of a dataset with what their cross-validation found."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autoseg.core.dataset import Dataset
from autoseg.core.errors import DamagedError, UsageError
from autoseg.core.model import MODEL_FILE, RECORD_FILE, FoldRecord, ModelDescription
from autoseg.evaluation.scoring import CaseScores
from autoseg.evaluation.summary import Summary
from autoseg.io import documents
from autoseg.io.workspace import DatasetFolder
from autoseg.selection import Member


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidatedModel:
    """A model whose folds, or some of them, are validated."""

    folder: Path
    """Model folder."""
    description: ModelDescription
    """How it was made."""
    run: str
    """Name of its run."""
    weights: dict[int, str]
    """SHA-256 of the weights of each validated fold."""
    scores: dict[str, CaseScores]
    """Scores of each validated case, out of fold."""
    folds: dict[str, int]
    """Fold that validated each case; of several the first."""

    @property
    def member(self) -> Member:
        """The same as a selection names it."""
        return Member(
            configuration=self.description.configuration_name,
            run=self.run,
            folds=tuple(self.weights),
            weights_digests=tuple(self.weights.values()),
        )

    @property
    def networks(self) -> int:
        """Networks per fold that an image passes through."""
        return 1 if self.description.previous is None else 2

    def prediction(self, case: str) -> Path:
        """Return the file of a case's out-of-fold prediction."""
        name = f"{case}{self.description.dataset.file_ending}"
        return self.folder / f"fold_{self.folds[case]}" / "validation" / name


def validated_models(
    folder: DatasetFolder, plan: str, *, runs: Sequence[str] = ()
) -> tuple[ValidatedModel, ...]:
    """Return all models of a plan that have a validated fold, in the order of their names.

    Models of an older plan of that name, or of other channels or labels, are left out.

    Parameters
    ----------
    folder : DatasetFolder
        The dataset.
    plan : str
        Name of the plan.
    runs : sequence of str
        Names of the runs to look at; empty for all.

    Raises
    ------
    UsageError
        If there is none.
    DamagedError
        If a document of one cannot be read.
    """
    found = sorted((folder.path / "models" / plan).glob(f"*/*/{MODEL_FILE}"))
    models = [_read(path.parent) for path in found if not runs or path.parent.name in runs]
    now = (folder.read_plan(plan), folder.read_dataset().description)
    validated = tuple(
        model
        for model in models
        if model.scores and (model.description.plan, model.description.dataset) == now
    )
    if not validated:
        of_runs = f" in run {', '.join(runs)}" if runs else ""
        raise UsageError(
            f"dataset {folder.name!r}: no configuration of plan {plan!r} is trained and "
            f"validated{of_runs}",
            hint="train one: autoseg train 3d_fullres 0",
        )
    return validated


def common_cases(models: Sequence[ValidatedModel], dataset: Dataset) -> tuple[str, ...]:
    """Return the cases of a dataset that every model has validated, sorted."""
    validated = set.intersection(*(set(model.scores) for model in models))
    return tuple(sorted(validated & {case.name for case in dataset.cases}))


def check_predictions(model: ValidatedModel, cases: Sequence[str]) -> None:
    """Refuse a model whose out-of-fold predictions are gone.

    Raises
    ------
    DamagedError
        Naming the first file that is missing, and how to make it again.
    """
    for case in cases:
        if not model.prediction(case).is_file():
            raise DamagedError(
                f"{model.prediction(case)}: is missing; a selection reads the predictions of the "
                "validation",
                rule="E-RES-76",
                hint=f"validate again: autoseg train {model.description.configuration_name} "
                f"{model.folds[case]} --run {model.run} --validate-only",
            )


def _read(folder: Path) -> ValidatedModel:
    from autoseg.inference.stored import finished_folds

    weights: dict[int, str] = {}
    scores: dict[str, CaseScores] = {}
    folds: dict[str, int] = {}
    for number in finished_folds(folder):
        summary = folder / f"fold_{number}" / "validation" / "summary.json"
        if not summary.exists():
            continue
        record = documents.read_stored(folder / f"fold_{number}" / RECORD_FILE, FoldRecord)
        weights[number] = record.weights_digest
        for scored in documents.read_stored(summary, Summary).cases:
            scores.setdefault(scored.case, scored)
            folds.setdefault(scored.case, number)
    return ValidatedModel(
        folder=folder,
        description=documents.read_stored(folder / MODEL_FILE, ModelDescription),
        run=folder.name,
        weights=weights,
        scores=scores,
        folds=folds,
    )
