"""``autoseg run``: everything from raw data to validated models, resumable at any point."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from autoseg.core.acceptance import Accepted
from autoseg.core.errors import UsageError
from autoseg.core.plan import Plan
from autoseg.core.training_config import TrainingConfig
from autoseg.evaluation.summary import Summary
from autoseg.execution.progress import Progress
from autoseg.io.workspace import DatasetFolder, Workspace
from autoseg.pipeline.fold import Training, check_request
from autoseg.pipeline.plan import PlanRequest
from autoseg.pipeline.plan_and_preprocess import plan_raw
from autoseg.pipeline.preprocess import preprocess_cases
from autoseg.pipeline.select import SelectionRequest, select
from autoseg.pipeline.selection_files import write_figure
from autoseg.pipeline.train import train
from autoseg.selection import Selection


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What to run."""

    raw: Path
    """Folder of the raw dataset."""
    workspace: Workspace
    """Where everything goes."""
    planning: PlanRequest = field(default_factory=PlanRequest)
    """What the plan shall be."""
    config: TrainingConfig
    """How to train."""
    configurations: tuple[str, ...] = ()
    """Configurations to train; empty for all that the plan has."""
    folds: tuple[int, ...] = ()
    """Folds to train; empty for all."""
    exclude: tuple[str, ...] = ()
    """Cases to leave out."""
    accepted: Accepted = ()
    """What is accepted although a rule refuses it."""
    run: str = "default"
    """Name of the run."""
    device: str = "auto"
    """Device to train on."""
    workers: int | None = None
    """Worker processes; None lets the machine decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What was made."""

    dataset: DatasetFolder
    """The dataset in the workspace."""
    summaries: dict[tuple[str, int], Summary]
    """Final validation by configuration and fold."""
    selection: Selection | None
    """Which of the models segment new images; None where they share no validated case."""


def run(request: RunRequest, *, progress: Progress, started: float | None = None) -> RunResult:
    """Check, measure, plan, preprocess, train, validate and select; what is done is kept.

    Parameters
    ----------
    request : RunRequest
        What to run.
    progress : Progress
        Told about all work.
    started : float, optional
        `time.monotonic` at the start of the command.

    Returns
    -------
    RunResult
    """
    folder, plan = plan_raw(
        request.raw,
        request.workspace,
        request.planning,
        exclude=request.exclude,
        accepted=request.accepted,
        workers=request.workers,
        progress=progress,
    )
    splits = folder.read_splits()
    folds = request.folds or tuple(range(len(splits.folds)))
    for configuration in request.configurations or plan.names:
        check_request(configuration, folds, plan, splits)
    work = order_work(plan, request.configurations, folds, len(splits.folds))
    configurations = list(dict(work))
    preprocess_cases(
        folder, plan, configurations=configurations, workers=request.workers, progress=progress
    )
    started = monotonic() if started is None else started
    summaries = {}
    for configuration, numbers in work:
        training = Training(
            folder=folder,
            plan=request.planning.name,
            configuration=configuration,
            run=request.run,
            config=request.config,
            device=request.device,
            workers=request.workers,
        )
        for fold in numbers:
            done = train(training, [fold], keep_finished=True, progress=progress, started=started)
            summaries[configuration, fold] = done[fold]
            started = monotonic()
    selection = _select(folder, request, progress)
    return RunResult(dataset=folder, summaries=summaries, selection=selection)


def _select(folder: DatasetFolder, request: RunRequest, progress: Progress) -> Selection | None:
    """Choose among all that is trained; None, with a note, where it cannot be compared."""
    choice = SelectionRequest(folder=folder, plan=request.planning.name, device=request.device)
    try:
        selection = select(choice, progress=progress)
    except UsageError as error:
        progress.note(f"nothing was selected: {error.text}")
        return None
    write_figure(folder, selection)
    return selection


def order_work(
    plan: Plan, configurations: Sequence[str], folds: Sequence[int], fold_count: int
) -> list[tuple[str, tuple[int, ...]]]:
    """Return what to train, in order: each configuration with its folds.

    The previous stage of a cascade comes before it, with all its folds, whether asked for or not.

    Parameters
    ----------
    plan : Plan
        Which configurations there are.
    configurations : sequence of str
        Those to train; empty for all.
    folds : sequence of int
        Folds to train.
    fold_count : int
        Number of folds that there are.
    """
    work: dict[str, tuple[int, ...]] = {}
    for name in configurations or plan.names:
        previous = plan.configuration(name).previous_stage
        if previous is not None:
            work[previous] = tuple(range(fold_count))
        work.setdefault(name, tuple(folds))
    # A dict keeps the place of its first entry, so a stage may stand behind the one that needs it.
    ranked = sorted(work, key=lambda name: plan.configuration(name).previous_stage is not None)
    return [(name, work[name]) for name in ranked]


def fold_table(summaries: dict[tuple[str, int], Summary]) -> Sequence[str]:
    """Return one line per trained fold: configuration, fold, mean Dice, Dice of each label."""
    lines = []
    for (configuration, fold), summary in summaries.items():
        labels = "  ".join(
            f"{label.label} {label.mean_dice:.4f}"
            for label in summary.labels
            if label.mean_dice is not None
        )
        mean = "-" if summary.mean_dice is None else f"{summary.mean_dice:.4f}"
        lines.append(f"{configuration} fold {fold}: mean Dice {mean}  ({labels})")
    return lines
