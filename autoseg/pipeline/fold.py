"""One fold of a training: from preprocessed cases to weights and their validation."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autoseg.core.errors import AutosegError, DamagedError, UsageError
from autoseg.core.folds import Fold, Splits
from autoseg.core.model import RECORD_FILE, WEIGHTS_FILE, FoldRecord, ModelDescription
from autoseg.core.training_config import TrainingConfig
from autoseg.core.version import __version__
from autoseg.evaluation.summary import Summary
from autoseg.execution.progress import Progress
from autoseg.io import documents, files
from autoseg.io.journal import Journal
from autoseg.io.workspace import DatasetFolder
from autoseg.pipeline.preprocess import preprocess_cases
from autoseg.pipeline.training_progress import make_listener, tell_start
from preprocessing.runner import grid_key

if TYPE_CHECKING:
    from torch import Tensor

    from autoseg.networks.device import Device
    from autoseg.training.setup import FoldSetup


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
    """Worker processes for preprocessing, should anything be missing."""

    @property
    def model_folder(self) -> Path:
        """Where the model goes."""
        return self.folder.run(self.plan, self.configuration, self.run)

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


def train_one(
    training: Training,
    description: ModelDescription,
    number: int,
    fold: Fold,
    *,
    progress: Progress,
    started: float,
) -> Summary:
    """Train a fold, unless its weights are there, and validate it.

    Parameters
    ----------
    training : Training
        What to train.
    description : ModelDescription
        The same, with everything that was decided.
    number : int
        Number of the fold.
    fold : Fold
        Its cases.
    progress : Progress
        Told about every step.
    started : float
        `time.monotonic` from which a time budget counts.

    Returns
    -------
    Summary
        Of the final validation.
    """
    from autoseg.networks.device import choose_device
    from autoseg.training.loop import train_fold

    device = choose_device(training.device)
    setup = _gather(training, description, number, fold, device, progress)
    journal = Journal(path=setup.folder / "run.jsonl")
    if not (setup.folder / RECORD_FILE).exists():
        tell_start(setup, progress)
        journal.record("start", device=str(setup.device), fold=number, version=__version__)
        listener = make_listener(setup, journal, progress)
        state = train_fold(setup, started=started, listener=listener)
        progress.finish()
        _keep_weights(setup, state.step, state.elapsed_s, state.network.state_dict())
        journal.record("trained", steps=state.step, minutes=round(state.elapsed_s / 60, 3))
        progress.note(f"trained {state.step} steps in {state.elapsed_s / 60:.1f} minutes")
    summary = _validate(training, setup, device, progress)
    journal.record("validated", mean_dice=summary.mean_dice)
    return summary


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
            )
    raise AssertionError("unreachable")


def _keep_weights(
    setup: "FoldSetup", steps: int, elapsed_s: float, weights: "dict[str, Tensor]"
) -> None:
    from safetensors.torch import save as encode

    from autoseg.training import checkpoint

    data = encode({name: value.detach().cpu().contiguous() for name, value in weights.items()})
    files.write_atomically(setup.folder / WEIGHTS_FILE, data)
    record = FoldRecord(
        fold=setup.fold,
        weights_digest=files.digest(data),
        steps=steps,
        minutes=elapsed_s / 60,
        device=str(setup.device),
    )
    documents.write(setup.folder / RECORD_FILE, record)
    checkpoint.clear(setup.folder)


def _validate(
    training: Training, setup: "FoldSetup", device: "Device", progress: Progress
) -> Summary:
    from autoseg.inference.stored import read_model
    from autoseg.training.validation import validate

    model = read_model(training.model_folder, device, folds=[setup.number], with_previous=False)
    progress.start("validating", len(setup.validation_cases))
    summary = validate(
        model,
        setup.validation_cases,
        training.folder.read_dataset(),
        setup.folder / "validation",
        on_case=progress.advance,
    )
    progress.finish()
    return summary
