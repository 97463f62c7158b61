"""What a fold reads: its preprocessed cases, made where they are missing, and a cascade's input."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from autoseg.core.errors import DamagedError
from autoseg.core.folds import Fold, Splits
from autoseg.core.model import ModelDescription
from autoseg.execution.progress import Progress
from autoseg.io import locks
from autoseg.io.store import read_record
from autoseg.pipeline.cascade import prepare_predictions
from autoseg.pipeline.fold import Training
from autoseg.pipeline.preprocess import preprocess_cases
from preprocessing.runner import grid_key

if TYPE_CHECKING:
    from autoseg.networks.device import Device
    from autoseg.training.place import Place
    from autoseg.training.setup import FoldSetup


def prepare_cascade(
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
            wait=True,
        )
    purpose = "preparing of the previous stage's predictions"
    with locks.hold(training.previous_folder, purpose, wait=True):
        prepare_predictions(training, description, splits, progress=progress)


def _are_stored(cases: Path, names: Collection[str]) -> bool:
    try:
        for name in names:
            read_record(cases, name)
    except DamagedError:
        return False
    return True


def gather_together(
    training: Training,
    description: ModelDescription,
    number: int,
    splits: Splits,
    place: "Place",
    progress: Progress,
) -> "FoldSetup":
    """Let the first process mend what is missing before the others open it."""
    if not place.ranks.is_first:
        place.ranks.barrier()
    fold = splits.folds[number]
    setup = _gather(training, description, number, fold, place.device, progress)
    if place.ranks.is_first:
        place.ranks.barrier()
    return setup


def _gather(
    training: Training,
    description: ModelDescription,
    number: int,
    fold: Fold,
    device: "Device",
    progress: Progress,
) -> "FoldSetup":
    """Open the fold's cases; those that are missing or damaged are preprocessed first."""
    from autoseg.training.setup import gather_fold

    configuration = description.configuration
    cases = training.folder.store(grid_key(description.plan, configuration))
    for attempt in (0, 1):
        try:
            return gather_fold(
                training.model_folder,
                number,
                fold,
                description,
                cases=cases,
                device=device,
                previous=training.previous_folder if description.previous else None,
            )
        except DamagedError as error:
            if attempt:
                raise
            progress.note(f"{error}; preprocessing what is missing")
            preprocess_cases(
                training.folder,
                description.plan,
                configurations=[configuration.name],
                workers=training.workers,
                progress=progress,
                wait=True,
            )
    raise AssertionError("unreachable")
