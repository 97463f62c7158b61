"""``autoseg train``: one or several folds of a configuration, to a validated model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from autoseg.core.errors import AutosegError, DamagedError, UsageError
from autoseg.core.folds import Fold, Splits
from autoseg.core.model import (
    MODEL_FILE,
    RECORD_FILE,
    WEIGHTS_FILE,
    FoldRecord,
    ModelDescription,
)
from autoseg.core.plan import Plan
from autoseg.core.training_config import TrainingConfig, training_decisions
from autoseg.core.version import __version__
from autoseg.evaluation.summary import Summary
from autoseg.execution.progress import Progress
from autoseg.io import documents, files
from autoseg.io.journal import Journal
from autoseg.io.workspace import DatasetFolder
from autoseg.pipeline.preprocess import TRAINABLE, preprocess_cases
from preprocessing.runner import grid_key

if TYPE_CHECKING:
    from torch import Tensor

    from autoseg.networks.device import Device
    from autoseg.training.loop import Listener, Report
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


def train(
    training: Training, folds: Sequence[int], *, progress: Progress, started: float | None = None
) -> dict[int, Summary]:
    """Train folds one after the other, each to its final validation.

    Parameters
    ----------
    training : Training
        What to train.
    folds : sequence of int
        Numbers of the folds.
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
        If a fold or configuration does not exist, or the run is finished or was started otherwise.
    InterruptedRun
        If a stop was asked for: the state is saved and the same call carries on.
    """
    from autoseg.networks.device import choose_device

    started = monotonic() if started is None else started
    plan, splits = training.folder.read_plan(training.plan), training.folder.read_splits()
    check_request(training.configuration, folds, plan, splits)
    finished = {number: finished_summary(training.model_folder, number) for number in folds}
    if all(finished.values()):
        raise UsageError(
            f"{training.model_folder}: fold {', '.join(map(str, folds))} is trained and validated "
            "already",
            hint="train another --run NAME, or go on: autoseg predict -i imgs -o masks",
        )
    choose_device(training.device)  # refuse a wrong one before anything is written
    description = _describe(training, plan)
    files.ensure_writable(training.model_folder)
    summaries = {}
    for number, summary in finished.items():
        if summary is not None:
            progress.note(f"fold {number} is trained and validated already")
            summaries[number] = summary
            continue
        folder = training.model_folder / f"fold_{number}"
        with files.lock(folder, f"training of fold {number}"):
            _start_run(training, description)
            summaries[number] = _train_fold(
                training, description, number, splits.folds[number], progress, started
            )
        started = monotonic()
    return summaries


def finished_summary(model_folder: Path, fold: int) -> Summary | None:
    """Return the validation of a fold that is trained and validated, else None.

    Finished means that the weights are those that the fold's record names, and that the summary
    of the validation can be read.
    """
    folder = model_folder / f"fold_{fold}"
    try:
        record = documents.read(folder / RECORD_FILE, FoldRecord)
        intact = files.digest_file(folder / WEIGHTS_FILE) == record.weights_digest
        return documents.read(folder / "validation" / "summary.json", Summary) if intact else None
    except AutosegError:
        return None


def check_request(configuration: str, folds: Sequence[int], plan: Plan, splits: Splits) -> None:
    """Refuse a configuration or a fold that cannot be trained.

    Raises
    ------
    UsageError
        Naming what there is instead.
    """
    plan.configuration(configuration)
    if configuration not in TRAINABLE:
        raise UsageError(
            f"configuration {configuration!r} cannot be trained by this version yet; "
            f"it trains {' and '.join(TRAINABLE)}",
            hint=f"train one of those: autoseg train {TRAINABLE[-1]} 0",
        )
    for number in folds:
        if not 0 <= number < len(splits.folds):
            raise UsageError(
                f"fold {number} does not exist; dataset {plan.dataset!r} has folds 0 to "
                f"{len(splits.folds) - 1}",
                hint="choose one of those",
            )


def _describe(training: Training, plan: Plan) -> ModelDescription:
    return ModelDescription(
        autoseg_version=__version__,
        dataset=training.folder.read_dataset().description,
        plan=plan,
        configuration_name=training.configuration,
        training=training.config,
        decisions=training_decisions(training.config, plan.configuration(training.configuration)),
    )


def _start_run(training: Training, description: ModelDescription) -> None:
    """Write the model's description, or check that the run was started with the same."""
    path = training.model_folder / MODEL_FILE
    begun = [
        file
        for name in (RECORD_FILE, "checkpoint.json")
        for file in training.model_folder.glob(f"fold_*/{name}")
    ]
    if not begun or not path.exists():
        documents.write(path, description)
        return
    present = documents.read_stored(path, ModelDescription)
    differing = [
        name
        for name in ("dataset", "plan", "training")
        if getattr(present, name) != getattr(description, name)
    ]
    if differing:
        raise UsageError(
            f"{training.model_folder}: was started with another {' and '.join(differing)}",
            rule="E-RUN-78",
            hint="give the options that it was started with, or choose another --run NAME",
        )


def _train_fold(
    training: Training,
    description: ModelDescription,
    number: int,
    fold: Fold,
    progress: Progress,
    started: float,
) -> Summary:
    from autoseg.networks.device import choose_device
    from autoseg.training.loop import train_fold

    device = choose_device(training.device)
    setup = _gather(training, description, number, fold, device, progress)
    journal = Journal(path=setup.folder / "run.jsonl")
    _check_fold_record(setup)
    if not (setup.folder / RECORD_FILE).exists():
        _tell_start(setup, progress)
        journal.record("start", device=str(setup.device), fold=number, version=__version__)
        state = train_fold(setup, started=started, listener=_listener(setup, journal, progress))
        progress.finish()
        _keep_weights(setup, state.step, state.elapsed_s, state.network.state_dict())
        journal.record("trained", steps=state.step, minutes=round(state.elapsed_s / 60, 3))
        progress.note(f"trained {state.step} steps in {state.elapsed_s / 60:.1f} minutes")
    summary = _validate(training, setup, device, progress)
    journal.record("validated", mean_dice=summary.mean_dice)
    return summary


def _check_fold_record(setup: "FoldSetup") -> None:
    """Refuse to validate a trained fold on other cases than those it was kept away from."""
    path = setup.folder / RECORD_FILE
    if path.exists() and documents.read_stored(path, FoldRecord).fold != setup.fold:
        raise UsageError(
            f"{setup.folder}: was trained before the dataset's cases changed",
            rule="E-RUN-78",
            hint="train another --run NAME",
        )


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
                training.model_folder, number, fold, description, cases=cases, device=device
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


def _tell_start(setup: "FoldSetup", progress: Progress) -> None:
    description = setup.description
    config, configuration = description.training, description.configuration
    length = f"{config.epochs} epochs" if config.epochs else f"{config.max_minutes:g} minutes"
    progress.note(
        f"training {configuration.name} fold {setup.number} on {setup.device}: "
        f"{len(setup.cases)} cases, patch {'x'.join(map(str, configuration.patch_size))}, "
        f"batch {config.batch_size(configuration)}, {length}, preset {config.preset}"
    )
    changed = [f"{d.subject.rpartition('.')[2]} {d.value}" for d in description.decisions]
    if changed:
        progress.note(f"other than nnU-Net's recipe: {', '.join(changed)}; model.json says why")


def _listener(setup: "FoldSetup", journal: Journal, progress: Progress) -> "Listener":
    config = setup.description.training
    last: dict[str, float] = {}
    progress.start(f"fold {setup.number}", 1000)
    told = 0

    def listen(report: "Report") -> None:
        nonlocal told
        if report.epoch_is_complete:
            last.update(report.values)
            journal.record("epoch", epoch=report.epoch, **report.values)
        line = _progress_line(report, last, config.epochs)
        progress.status(line)
        while told < int(report.fraction * 1000):
            told += 1
            progress.advance("")
        if report.epoch_is_complete:
            progress.note(line)

    return listen


def _progress_line(report: "Report", last: dict[str, float], epochs: int | None) -> str:
    """Say where a training stands; losses and Dice are those of the last whole epoch."""
    minutes, seconds = divmod(int(report.remaining_s), 60)
    parts = [f"epoch {report.epoch + 1}" + (f"/{epochs}" if epochs else "")]
    if "train_loss" in last:
        parts.append(f"loss {last['train_loss']:.3f}")
    if "validation_loss" in last:
        parts.append(f"validation {last['validation_loss']:.3f}")
    if "pseudo_dice" in last:
        parts.append(f"Dice {last['pseudo_dice']:.3f}")
    parts += [f"wait {report.values['wait_fraction']:.0%}", f"ETA {minutes}:{seconds:02d}"]
    return "  ".join(parts)


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
    from autoseg.inference.model import read_model
    from autoseg.training.validation import validate

    model = read_model(training.model_folder, device, folds=[setup.number])
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
