"""What a training of folds is, and where its results lie."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

from autoseg.core.errors import AutosegError, UsageError
from autoseg.core.folds import Fold, Splits
from autoseg.core.model import RECORD_FILE, WEIGHTS_FILE, FoldRecord
from autoseg.core.plan import Plan
from autoseg.core.training_config import TrainingConfig
from autoseg.evaluation.summary import Summary
from autoseg.io import documents, files
from autoseg.io.workspace import DatasetFolder, Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What to train and where it goes."""

    folder: DatasetFolder
    """The dataset."""
    plan: str = "default"
    """Name of the plan."""
    configuration: str
    """Name of the configuration."""
    run: str = "default"
    """Name of the run, a folder name."""
    config: TrainingConfig
    """How to train."""
    device: str = "auto"
    """Device; see `autoseg.networks.device.choose_device`."""
    workers: int | None = None
    """Workers that prepare patches, and cases should any be missing; None lets autoseg decide."""
    save_minutes: float = 1.0
    """Time between checkpoints."""
    tensorboard: bool = False
    """Whether to write the figures of each epoch for TensorBoard too."""
    init: Path | None = None
    """Model whose weights are the start; see `autoseg.pipeline.initial_model.find_initial`."""

    def __post_init__(self) -> None:
        if not 0 <= self.save_minutes < inf:
            raise UsageError(
                f"--save-minutes is {self.save_minutes:g}; it must be 0 or more",
                hint="e.g. --save-minutes 5; 0 saves after every step",
            )

    @property
    def model_folder(self) -> Path:
        """Where the model goes."""
        return self.folder.run(self.plan, self.configuration, self.run)

    @property
    def workspace(self) -> Workspace:
        """Where the dataset lies."""
        return Workspace(path=self.folder.path.parent)

    @property
    def previous_folder(self) -> Path:
        """Where a cascade keeps what the previous stage predicted, on its own grid."""
        return self.model_folder / "previous_predictions"

    def fold_folder(self, number: int) -> Path:
        """Where a fold goes."""
        return self.model_folder / f"fold_{number}"

    def finished_summary(self, number: int) -> Summary | None:
        """Return the validation of a fold that is trained and validated, else None.

        Finished means that the weights are those that the fold's record names, and that the
        summary of the validation can be read. Whether it was trained on the present folds,
        `check_folds` tells.
        """
        folder = self.fold_folder(number)
        try:
            record = documents.read(folder / RECORD_FILE, FoldRecord)
            intact = files.digest_file(folder / WEIGHTS_FILE) == record.weights_digest
            return documents.read(_summary_file(folder), Summary) if intact else None
        except AutosegError:
            return None

    def already_trained(self, folds: Sequence[int]) -> UsageError:
        """Return the error of training folds of which all are finished."""
        return UsageError(
            f"{self.model_folder}: fold {', '.join(map(str, folds))} is trained and validated "
            "already",
            hint="train another --run NAME, or go on: autoseg predict -i imgs -o masks",
        )

    def check_folds(self, splits: Splits) -> None:
        """Refuse to mix folds of different splits in one model.

        Raises
        ------
        UsageError
            E-RUN-78 if some fold of the run was trained on other cases than the splits say now.
        """
        for path in sorted(self.model_folder.glob(f"fold_*/{RECORD_FILE}")):
            name = path.parent.name.removeprefix("fold_")
            number = int(name) if name.isdigit() else len(splits.folds)
            record = documents.read_stored(path, FoldRecord)
            if number >= len(splits.folds) or record.fold != splits.folds[number]:
                raise UsageError(
                    f"{path}: fold {name} was trained on other cases than the dataset's folds "
                    "have now",
                    rule="E-RUN-78",
                    hint="train another --run NAME, or plan with the folds that it was trained on",
                )


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


def require_trained(training: Training, number: int) -> None:
    """Refuse to go on with a fold that is not trained.

    Raises
    ------
    UsageError
        Naming the fold.
    """
    folder = training.fold_folder(number)
    if not (folder / RECORD_FILE).exists():
        raise UsageError(
            f"{folder}: fold {number} is not trained; there is nothing to validate",
            rule="E-MODEL-61",
            hint=f"train it: autoseg train {training.configuration} {number}",
        )


def forget_validation(training: Training, number: int) -> None:
    """Remove the scores of a fold's cases, so that they are validated anew.

    Once only: killed in between, the same call carries on, until `remember_validation`.
    """
    folder = training.fold_folder(number)
    if not _anew_file(folder).exists():
        for record in (folder / "validation" / "cases").glob("*.json"):
            files.remove(record)
        files.write_atomically(_anew_file(folder), b"")


def remember_validation(training: Training, number: int) -> None:
    """Say that a fold is validated anew."""
    files.remove(_anew_file(training.fold_folder(number)))


def _anew_file(folder: Path) -> Path:
    return folder / "validation" / ".anew"


def _summary_file(folder: Path) -> Path:
    return folder / "validation" / "summary.json"
