"""What a previous stage predicted for a case, brought onto the grid of the next stage."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from autoseg.core.errors import AutosegError, DamagedError
from autoseg.core.labels import Labels
from autoseg.core.plan import Configuration, Plan
from autoseg.io import files, images, store
from preprocessing.case import raw_grid, resample_reference

STAGE_VERSION: Final = 1
"""Raised when the code of this stage makes other arrays, so that old ones are made again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviousTask:
    """The prediction of one case to prepare."""

    name: str
    """Case name."""
    fold: int
    """Fold of the previous stage that validated the case."""
    prediction: Path
    """Segmentation of the previous stage, on the grid of the case's image."""
    digest: str
    """SHA-256 of that file."""
    labels: Labels
    """What its values mean."""
    plan: Plan
    """What was decided."""
    configuration: Configuration
    """The next stage."""
    cases: Path
    """Folder of the next stage's preprocessed cases."""
    output: Path
    """Folder for the prepared predictions."""


def prepare_previous(task: PreviousTask) -> bool:
    """Resample a prediction as a reference is, unless it is there; return whether it was made.

    Raises
    ------
    DamagedError
        If the prediction is missing or not the one that was validated, or the preprocessed case is
        damaged.
    """
    record = store.read_record(task.cases, task.name)
    key = store.content_key(STAGE_VERSION, task.digest, record.key, record.shape)
    if _is_there(task, key):
        return False
    if not task.prediction.is_file() or files.digest_file(task.prediction) != task.digest:
        raise DamagedError(
            f"{task.prediction}: is missing, or is not the prediction that was validated",
            rule="E-RES-76",
            hint="validate the previous stage again: autoseg train "
            f"{task.configuration.previous_stage} {task.fold} --validate-only",
        )
    predicted = images.read_segmentation(
        task.prediction, task.labels, orientation=task.plan.orientation
    )
    geometry = record.geometry
    grid = raw_grid(geometry.shape, geometry.spacing, record.crop, task.plan)
    resampled = resample_reference(predicted.voxels, grid, task.plan, task.configuration)
    store.write_prediction(task.output, task.name, key, resampled)
    return True


def _is_there(task: PreviousTask, key: str) -> bool:
    try:
        return store.open_prediction(task.output, task.name)[0] == key
    except AutosegError:
        return False
