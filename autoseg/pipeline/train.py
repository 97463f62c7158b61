"""``autoseg train``: one or several folds of a configuration, to a validated model."""

from collections.abc import Collection, Sequence
from pathlib import Path
from time import monotonic

from autoseg.core.errors import DamagedError, UsageError
from autoseg.core.folds import Fold, Splits
from autoseg.core.model import MODEL_FILE, RECORD_FILE, ModelDescription
from autoseg.core.plan import Plan
from autoseg.core.training_config import training_decisions
from autoseg.core.version import __version__
from autoseg.evaluation.summary import Summary
from autoseg.execution.progress import Progress
from autoseg.io import documents, files
from autoseg.io.store import read_record
from autoseg.pipeline.cascade import (
    find_previous_stage,
    missing_folds,
    prepare_predictions,
    previous_training,
)
from autoseg.pipeline.changes import changed_cases
from autoseg.pipeline.fold import (
    Training,
    forget_validation,
    remember_validation,
    require_trained,
    train_one,
)
from autoseg.pipeline.preprocess import preprocess_cases
from preprocessing.runner import grid_key


def train(
    training: Training,
    folds: Sequence[int],
    *,
    with_previous: bool = False,
    keep_finished: bool = False,
    progress: Progress,
    started: float | None = None,
) -> dict[int, Summary]:
    """Train folds one after the other, each to its final validation.

    Parameters
    ----------
    training : Training
        What to train.
    folds : sequence of int
        Numbers of the folds.
    with_previous : bool
        Whether the missing folds of a cascade's previous stage are trained first.
    keep_finished : bool
        Whether it is fine that all folds are finished; their summaries are returned then.
    progress : Progress
        Told about every step.
    started : float, optional
        `time.monotonic` at the start of the command, from which the first fold's time budget
        counts; now if left out.

    Returns
    -------
    dict
        Summary of the final validation by fold.

    Raises
    ------
    UsageError
        If a fold or configuration does not exist, the run is finished or was started otherwise, or
        folds of the previous stage are missing.
    InterruptedRun
        If a stop was asked for: the state is saved and the same call carries on.
    """
    from autoseg.networks.device import choose_device

    started = monotonic() if started is None else started
    plan, splits = training.folder.read_plan(training.plan), training.folder.read_splits()
    check_request(training.configuration, folds, plan, splits)
    choose_device(training.device)  # refuse a wrong one before anything is written
    for note in changed_cases(training.folder, splits):
        progress.note(note)
    if with_previous:
        _train_previous(training, plan, splits, progress)
        started = monotonic()
    description = _describe(training, plan, splits)
    _check_run(training, description)
    training.check_folds(splits)
    finished = {number: training.finished_summary(number) for number in folds}
    if all(finished.values()) and not keep_finished:
        raise UsageError(
            f"{training.model_folder}: fold {', '.join(map(str, folds))} is trained and validated "
            "already",
            hint="train another --run NAME, or go on: autoseg predict -i imgs -o masks",
        )
    files.ensure_writable(training.model_folder)
    summaries = {}
    for number, summary in finished.items():
        if summary is not None:
            if not keep_finished:
                progress.note(f"fold {number} is trained and validated already")
            summaries[number] = summary
            continue
        with files.lock(training.fold_folder(number), f"training of fold {number}"):
            if not _check_run(training, description):
                documents.write(training.model_folder / MODEL_FILE, description)
            summaries[number] = _bring(training, description, number, splits, progress, started)
        started = monotonic()
    return summaries


def validate_again(
    training: Training, folds: Sequence[int], *, progress: Progress
) -> dict[int, Summary]:
    """Validate trained folds anew, whatever scores there are.

    Parameters
    ----------
    training : Training
        What was trained; how is read from the model.
    folds : sequence of int
        Numbers of the folds.
    progress : Progress
        Told about every case.

    Returns
    -------
    dict
        Summary of the validation by fold.

    Raises
    ------
    UsageError
        If a fold does not exist, is not trained, or was trained on other labels or cases than the
        dataset has now.
    """
    from autoseg.networks.device import choose_device

    plan, splits = training.folder.read_plan(training.plan), training.folder.read_splits()
    check_request(training.configuration, folds, plan, splits)
    for number in folds:
        require_trained(training, number)
    choose_device(training.device)
    path = training.model_folder / MODEL_FILE
    description = documents.read_stored(path, ModelDescription, rule="E-MODEL-59")
    if description.dataset != training.folder.read_dataset().description:
        raise UsageError(
            f"{path}: was trained on other channels or labels than the dataset has now",
            rule="E-RUN-78",
            hint="train another --run NAME",
        )
    training.check_folds(splits)
    summaries = {}
    for number in folds:
        with files.lock(training.fold_folder(number), f"validation of fold {number}"):
            forget_validation(training, number)
            summaries[number] = _bring(
                training, description, number, splits, progress, started=monotonic()
            )
            remember_validation(training, number)
    return summaries


def check_request(configuration: str, folds: Sequence[int], plan: Plan, splits: Splits) -> None:
    """Refuse a configuration or a fold that cannot be trained.

    Raises
    ------
    UsageError
        Naming what there is instead.
    """
    plan.configuration(configuration)
    for number in folds:
        if not 0 <= number < len(splits.folds):
            raise UsageError(
                f"fold {number} does not exist; dataset {plan.dataset!r} has folds 0 to "
                f"{len(splits.folds) - 1}",
                hint="choose one of those",
            )
    if plan.configuration(configuration).previous_stage is not None:
        _check_all_validated(configuration, [splits.folds[number] for number in folds], splits)


def _check_all_validated(configuration: str, folds: Sequence[Fold], splits: Splits) -> None:
    """Refuse a cascade whose folds need predictions that no fold of the first stage makes."""
    validated = {name for fold in splits.folds for name in fold.validation}
    needed = {name for fold in folds for name in (*fold.training, *fold.validation)}
    if missing := sorted(needed - validated):
        raise UsageError(
            f"configuration {configuration!r} needs an out-of-fold prediction of every case; no "
            f"fold validates {len(missing)} of them: {', '.join(missing[:10])}",
            rule="E-SET-48",
            hint="take folds in which every case validates once, or another configuration",
        )


def _train_previous(training: Training, plan: Plan, splits: Splits, progress: Progress) -> None:
    previous = previous_training(training, plan)
    missing = missing_folds(training, plan, splits)
    if previous is not None and missing:
        progress.note(
            f"{training.configuration} needs {previous.configuration} fold "
            f"{', '.join(map(str, missing))} first"
        )
        train(previous, missing, progress=progress)


def _bring(
    training: Training,
    description: ModelDescription,
    number: int,
    splits: Splits,
    progress: Progress,
    started: float,
) -> Summary:
    """Bring a fold, whose folder is held, to its validation."""
    _prepare_cascade(training, description, splits, progress)
    fold = splits.folds[number]
    return train_one(training, description, number, fold, progress=progress, started=started)


def _prepare_cascade(
    training: Training, description: ModelDescription, splits: Splits, progress: Progress
) -> None:
    """Prepare the previous stage's predictions; missing preprocessed cases are made first."""
    if description.previous is None:
        return
    cases = training.folder.store(grid_key(description.plan, description.configuration))
    if not _are_stored(cases, {name for fold in splits.folds for name in fold.validation}):
        preprocess_cases(
            training.folder,
            description.plan,
            configurations=[training.configuration],
            workers=training.workers,
            progress=progress,
        )
    purpose = "preparing of the previous stage's predictions"
    with files.lock(training.previous_folder, purpose, wait=True):
        prepare_predictions(training, description, splits, progress=progress)


def _are_stored(cases: Path, names: Collection[str]) -> bool:
    try:
        for name in names:
            read_record(cases, name)
    except DamagedError:
        return False
    return True


def _describe(training: Training, plan: Plan, splits: Splits) -> ModelDescription:
    return ModelDescription(
        autoseg_version=__version__,
        dataset=training.folder.read_dataset().description,
        plan=plan,
        configuration_name=training.configuration,
        training=training.config,
        decisions=training_decisions(training.config, plan.configuration(training.configuration)),
        previous=find_previous_stage(training, plan, splits),
    )


def _check_run(training: Training, description: ModelDescription) -> bool:
    """Tell whether a run has begun; refuse to go on with one that began with something else."""
    path = training.model_folder / MODEL_FILE
    begun = [
        file
        for name in (RECORD_FILE, "checkpoint.json")
        for file in training.model_folder.glob(f"fold_*/{name}")
    ]
    if not begun or not path.exists():
        return False
    present = documents.read_stored(path, ModelDescription, rule="E-MODEL-59")
    differing = [
        name
        for name in ("dataset", "plan", "training", "previous")
        if getattr(present, name) != getattr(description, name)
    ]
    if differing:
        raise UsageError(
            f"{training.model_folder}: was started with another {' and '.join(differing)}",
            rule="E-RUN-78",
            hint="give the options that it was started with, or choose another --run NAME",
        )
    return True
