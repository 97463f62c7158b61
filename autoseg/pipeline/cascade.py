"""Between the stages of a cascade: out-of-fold predictions of the first become input of the second.

A case's prediction comes from the fold that validated it, whose network never saw it; so the second
stage trains on predictions as faulty as those that it will meet.
"""

from dataclasses import replace
from pathlib import Path

from autoseg.core.errors import DamagedError, UsageError
from autoseg.core.folds import Splits
from autoseg.core.model import MODEL_FILE, RECORD_FILE, FoldRecord, ModelDescription, PreviousStage
from autoseg.core.plan import Plan
from autoseg.execution.progress import Progress
from autoseg.io import documents
from autoseg.pipeline.fold import Training
from autoseg.pipeline.preprocess import estimate
from autoseg.pipeline.stage import failed, run_stage
from preprocessing.previous import PreviousTask, prepare_previous
from preprocessing.runner import grid_key


def previous_training(training: Training, plan: Plan) -> Training | None:
    """Return the training of the previous stage, of the same run; None if there is none."""
    stage = plan.configuration(training.configuration).previous_stage
    return None if stage is None else replace(training, configuration=stage, init=None)


def missing_folds(training: Training, plan: Plan, splits: Splits) -> tuple[int, ...]:
    """Return the folds of the previous stage that are not trained and validated yet."""
    previous = previous_training(training, plan)
    if previous is None:
        return ()
    numbers = range(len(splits.folds))
    return tuple(number for number in numbers if previous.finished_summary(number) is None)


def find_previous_stage(training: Training, plan: Plan, splits: Splits) -> PreviousStage | None:
    """Return which models the second stage builds on; None where there is no previous stage.

    Raises
    ------
    UsageError
        If folds of the previous stage are missing, or were trained with another plan or splits.
    """
    previous = previous_training(training, plan)
    if previous is None:
        return None
    if missing := missing_folds(training, plan, splits):
        folds = " ".join(map(str, missing))
        raise UsageError(
            f"configuration {training.configuration!r} needs the predictions of all folds of "
            f"{previous.configuration!r}; not trained and validated are: {folds} "
            f"(run {previous.run!r})",
            rule="E-MODEL-61",
            hint=f"train them: autoseg train {previous.configuration} {folds}; or add "
            "--with-previous",
        )
    path = previous.model_folder / MODEL_FILE
    trained = documents.read_stored(path, ModelDescription, rule="E-MODEL-59")
    if (trained.plan, trained.dataset) != (plan, training.folder.read_dataset().description):
        raise UsageError(
            f"{path}: was trained with another plan or on other channels or labels; both stages of "
            "a cascade share them",
            rule="E-RUN-78",
            hint="train both stages in another --run NAME",
        )
    previous.check_folds(splits)
    records = (previous.fold_folder(n) / RECORD_FILE for n in range(len(splits.folds)))
    return PreviousStage(
        configuration=plan.configuration(previous.configuration).name,
        run=previous.run,
        weights_digests=tuple(
            documents.read_stored(record, FoldRecord).weights_digest for record in records
        ),
    )


def prepare_predictions(
    training: Training, description: ModelDescription, splits: Splits, *, progress: Progress
) -> None:
    """Bring the previous stage's out-of-fold prediction of every case onto the second's grid.

    Parameters
    ----------
    training : Training
        Of the second stage; its cases are preprocessed.
    description : ModelDescription
        The same, with everything that was decided.
    splits : Splits
        Tells which fold of the previous stage validated a case.
    progress : Progress
        Told about every case.

    Raises
    ------
    DamagedError
        If a prediction is not the one that was validated.
    """
    previous = previous_training(training, description.plan)
    assert previous is not None  # the description says that there is one
    cases = training.folder.store(grid_key(description.plan, description.configuration))
    # A case that several folds validate takes the prediction of the first of them.
    folds = {
        name: number
        for number, fold in reversed(list(enumerate(splits.folds)))
        for name in fold.validation
    }
    tasks = [
        PreviousTask(
            name=name,
            fold=number,
            prediction=_validation_folder(previous, number)
            / f"{name}{description.dataset.file_ending}",
            digest=_prediction_digest(previous, number, name),
            labels=description.dataset.labels,
            plan=description.plan,
            configuration=description.configuration,
            cases=cases,
            output=training.previous_folder,
        )
        for name, number in sorted(folds.items())
    ]
    stores = ((training.configuration, training.previous_folder),)
    needed = estimate(training.folder.read_fingerprint(), description.plan, stores, 1)
    outcomes = run_stage(
        f"{previous.configuration} predictions",
        prepare_previous,
        tasks,
        name=lambda task: f"case {task.name!r}",
        workers=training.workers,
        guessed_bytes=lambda task: needed.memory_bytes,
        progress=progress,
    )
    for problem in failed(outcomes):
        raise problem


def _validation_folder(training: Training, number: int) -> Path:
    return training.fold_folder(number) / "validation"


def _prediction_digest(training: Training, number: int, name: str) -> str:
    from autoseg.training.validation import ValidatedCase

    path = _validation_folder(training, number) / "cases" / f"{name}.json"
    try:
        return documents.read_stored(path, ValidatedCase).prediction_digest
    except DamagedError as error:
        raise DamagedError(
            str(error),
            rule=error.rule,
            hint=f"validate that fold again: autoseg train {training.configuration} {number} "
            "--validate-only",
        ) from error
