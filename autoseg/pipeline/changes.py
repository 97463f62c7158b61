"""Whether the cases of a dataset are still those that it was planned with."""

from collections.abc import Collection, Sequence
from pathlib import Path

from autoseg.core.dataset import Dataset, near_misses
from autoseg.core.errors import AutosegError, UsageError
from autoseg.core.folds import Splits
from autoseg.io.datasets import read_dataset
from autoseg.io.workspace import DatasetFolder
from preprocessing.fingerprint import MeasurementTask, has_changed


def measurement_tasks(dataset: Dataset, folder: DatasetFolder) -> list[MeasurementTask]:
    """Return one task to measure each case of a dataset."""
    return [
        MeasurementTask(
            case=case,
            folder=Path(dataset.folder),
            description=dataset.description,
            cache=folder.measured,
        )
        for case in dataset.cases
    ]


def changed_cases(folder: DatasetFolder, splits: Splits) -> tuple[str, ...]:
    """Return what a training leaves out of account because it came after planning.

    Parameters
    ----------
    folder : DatasetFolder
        A planned dataset.
    splits : Splits
        Its folds.

    Returns
    -------
    tuple of str
        A note each for cases that came, went or changed. Nothing is said of a raw dataset that is
        out of reach: training needs its segmentations only.

    Raises
    ------
    UsageError
        E-SET-49 if folds name cases that the dataset has lost.
    """
    dataset = folder.read_dataset()
    known = {case.name for case in dataset.cases}
    planned = {name for fold in splits.folds for name in (*fold.training, *fold.validation)}
    again = f"autoseg plan_and_preprocess -d {folder.name} --overwrite"
    if lost := planned - known:
        raise UsageError(
            f"{folder.splits_file}: {len(lost)} cases of the folds are not in the dataset any "
            f"more: {near_misses(lost, ())}",
            rule="E-SET-49",
            hint=f"plan again: {again}; or put the cases back",
        )
    found = [("are in no fold", known - planned), *_changes_on_disk(dataset, folder)]
    return tuple(
        f"note: {len(names)} cases {what}: {near_misses(names, ())}; to take them into account: "
        f"{again}"
        for what, names in found
        if names
    )


def _changes_on_disk(
    dataset: Dataset, folder: DatasetFolder
) -> Sequence[tuple[str, Collection[str]]]:
    """Return what became of the raw cases since they were measured."""
    raw = Path(dataset.origin)
    if not raw.exists():
        return ()
    known = {case.name for case in dataset.cases}
    try:
        present = {case.name for case in read_dataset(raw, exclude=dataset.excluded).cases}
    except AutosegError:
        present = known  # its files say themselves what is wrong, once they are read
    changed = [task.case.name for task in measurement_tasks(dataset, folder) if has_changed(task)]
    return (
        (f"were added to {raw}", present - known),
        (f"were removed from {raw}", known - present),
        (f"changed in {raw}", changed),
    )
