"""``autoseg train``: one or several folds of a configuration, to a validated model."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING

from autoseg.core.differences import differences
from autoseg.core.errors import UsageError
from autoseg.core.folds import Splits
from autoseg.core.model import MODEL_FILE, RECORD_FILE, ModelDescription
from autoseg.core.plan import Plan
from autoseg.core.training_config import training_decisions
from autoseg.core.version import __version__
from autoseg.evaluation.summary import Summary
from autoseg.execution.progress import Progress, Silence
from autoseg.io import documents, files, locks
from autoseg.pipeline.cascade import (
    find_previous_stage,
    missing_folds,
    previous_training,
)
from autoseg.pipeline.changes import changed_cases
from autoseg.pipeline.fold import (
    Training,
    check_request,
    forget_validation,
    remember_validation,
    require_trained,
)
from autoseg.pipeline.fold_training import bring_fold
from autoseg.pipeline.initial_model import describe_initial, find_initial
from autoseg.pipeline.tensorboard import require_tensorboard
from autoseg.pipeline.training_progress import JOURNAL_FILE

if TYPE_CHECKING:
    from autoseg.training.place import Place


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
    from autoseg.training.place import open_place

    started = monotonic() if started is None else started
    if training.tensorboard:
        require_tensorboard()
    plan, splits = training.folder.read_plan(training.plan), training.folder.read_splits()
    check_request(training.configuration, folds, plan, splits)
    with open_place(training.device) as place:  # refuse a wrong one before anything is written
        progress = progress if place.ranks.is_first else Silence()
        for note in changed_cases(training.folder, splits):
            progress.note(note)
        if with_previous:
            _train_previous(training, plan, splits, progress, place)
            started = monotonic()
        return _train_folds(
            training,
            folds,
            plan,
            splits,
            keep_finished=keep_finished,
            progress=progress,
            started=started,
            place=place,
        )


def _train_folds(
    training: Training,
    folds: Sequence[int],
    plan: Plan,
    splits: Splits,
    *,
    keep_finished: bool,
    progress: Progress,
    started: float,
    place: "Place",
) -> dict[int, Summary]:
    description = _describe(training, plan, splits)
    _check_run(training, description)
    training.check_folds(splits)
    finished = {number: training.finished_summary(number) for number in folds}
    if all(finished.values()) and not keep_finished:
        raise training.already_trained(folds)
    files.ensure_writable(training.model_folder)
    files.sweep(training.model_folder, is_deep=False)  # locks cover the folders of folds
    place.ranks.barrier()
    summaries = {}
    for number, summary in finished.items():
        if summary is not None:
            if not keep_finished:
                progress.note(f"fold {number} is trained and validated already")
            summaries[number] = summary
            continue
        with _held(training, number, place):
            if place.ranks.is_first and not _check_run(training, description):
                documents.write(training.model_folder / MODEL_FILE, description)
            place.ranks.barrier()
            made = bring_fold(
                training,
                description,
                number,
                splits,
                progress=progress,
                started=started,
                place=place,
            )
            if made is not None:
                summaries[number] = made
        started = monotonic()
    place.ranks.barrier()  # others must not look for what the first has still to write
    return summaries


def _held(training: Training, number: int, place: "Place") -> AbstractContextManager[object]:
    """Hold a fold's folder; of several processes, the first one does."""
    if not place.ranks.is_first:
        return nullcontext()
    return locks.hold(
        training.fold_folder(number), f"training of fold {number}", instead="choose another --run"
    )


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
    from autoseg.training.place import alone

    plan, splits = training.folder.read_plan(training.plan), training.folder.read_splits()
    check_request(training.configuration, folds, plan, splits)
    for number in folds:
        require_trained(training, number)
    place = alone(training.device)
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
        with locks.hold(training.fold_folder(number), f"validation of fold {number}"):
            forget_validation(training, number)
            made = bring_fold(
                training,
                description,
                number,
                splits,
                progress=progress,
                started=monotonic(),
                place=place,
            )
            remember_validation(training, number)
            if made is not None:
                summaries[number] = made
    return summaries


def _train_previous(
    training: Training, plan: Plan, splits: Splits, progress: Progress, place: "Place"
) -> None:
    previous = previous_training(training, plan)
    missing = missing_folds(training, plan, splits)
    if previous is not None and missing:
        progress.note(
            f"{training.configuration} needs {previous.configuration} fold "
            f"{', '.join(map(str, missing))} first"
        )
        _train_folds(
            previous,
            missing,
            plan,
            splits,
            keep_finished=False,
            progress=progress,
            started=monotonic(),
            place=place,
        )


def _describe(training: Training, plan: Plan, splits: Splits) -> ModelDescription:
    description = ModelDescription(
        autoseg_version=__version__,
        dataset=training.folder.read_dataset().description,
        plan=plan,
        configuration_name=training.configuration,
        training=training.config,
        decisions=training_decisions(training.config, plan.configuration(training.configuration)),
        previous=find_previous_stage(training, plan, splits),
    )
    if training.init is None:
        return description
    found = find_initial(training.init, 0, training.workspace, besides=training.model_folder)
    return replace(description, initial=describe_initial(found, description))


def _check_run(training: Training, description: ModelDescription) -> bool:
    """Tell whether a run has begun; refuse to go on with one that began with something else."""
    path = training.model_folder / MODEL_FILE
    begun = [
        file
        for name in (RECORD_FILE, JOURNAL_FILE)
        for file in training.model_folder.glob(f"fold_*/{name}")
    ]
    if not begun or not path.exists():
        return False
    present = documents.read_stored(path, ModelDescription, rule="E-MODEL-59")
    differing = differences(
        *(replace(each, autoseg_version="", decisions=()) for each in (present, description))
    )
    if differing:
        raise UsageError(
            f"{training.model_folder}: was started with another {'; '.join(differing)}",
            rule="E-RUN-78",
            hint="give the options that it was started with, or choose another --run NAME",
        )
    return True
