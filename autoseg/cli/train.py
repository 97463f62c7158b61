"""The verb ``train``."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from autoseg.cli.console import make_progress
from autoseg.cli.options import (
    PATH,
    common_options,
    device_option,
    emit,
    plan_option,
    planned_option,
    run_option,
    workers_option,
)
from autoseg.cli.repeated import options_given
from autoseg.cli.training_options import TRAINING_OPTIONS, training_options
from autoseg.core.errors import UsageError
from autoseg.core.training_config import TrainingConfig
from autoseg.execution.progress import Progress

if TYPE_CHECKING:
    from autoseg.evaluation.summary import Summary
    from autoseg.pipeline.fold import Training


@click.command("train")
@click.argument("configuration")
@click.argument("folds", nargs=-1, required=True, type=int, metavar="FOLD...")
@planned_option
@plan_option
@run_option
@training_options
@click.option(
    "--with-previous/--without-previous",
    default=None,
    help="Train missing folds of a cascade's previous stage first, or not.  [default: ask]",
)
@click.option(
    "--save-minutes",
    type=float,
    default=1.0,
    show_default=True,
    help="Time between checkpoints: what a sudden end costs at most.",
)
@click.option(
    "--tensorboard", is_flag=True, help="Write the figures for TensorBoard too: autoseg[track]."
)
@click.option(
    "--init",
    type=PATH,
    default=None,
    metavar="MODEL",
    help="Start from a trained model's weights: its folder, a fold's, or DATASET/CONFIGURATION.",
)
@click.option("--validate-only", is_flag=True, help="Validate the trained folds anew.")
@device_option
@workers_option
@common_options
def command(
    configuration: str,
    folds: tuple[int, ...],
    dataset: str | None,
    plan: str,
    run: str,
    config: TrainingConfig,
    with_previous: bool | None,
    save_minutes: float,
    tensorboard: bool,
    init: Path | None,
    validate_only: bool,
    device: str,
    workers: int | None,
    workspace: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    r"""Train FOLDs of a CONFIGURATION and validate them; a stopped training carries on.

    \b
    Example: autoseg train 3d_fullres 0 --preset fast --max-minutes 12
    """
    started = time.monotonic()
    from autoseg.io.workspace import find_planned_dataset, find_workspace
    from autoseg.pipeline.fold import Training
    from autoseg.pipeline.train import train, validate_again

    is_first = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun started
    progress = make_progress(quiet=quiet or not is_first)
    folder = find_planned_dataset(find_workspace(workspace), dataset)
    progress.note(f"dataset {folder.name}, plan {plan}, run {run}")
    training = Training(
        folder=folder,
        plan=plan,
        configuration=configuration,
        run=run,
        config=config,
        device=device,
        workers=workers,
        save_minutes=save_minutes,
        tensorboard=tensorboard,
        init=init,
    )
    if "," in device:
        result = _train_side_by_side(training, folds, with_previous, progress)
        emit(result, f"model: {result['model']}", as_json=as_json)
        return
    if validate_only:
        _refuse_training_options()
        summaries = validate_again(training, folds, progress=progress)
    else:
        if with_previous is None and not as_json and "RANK" not in os.environ:
            with_previous = _offer_previous(training, folds)
        summaries = train(
            training,
            folds,
            with_previous=bool(with_previous),
            progress=progress,
            started=started,
        )
    if is_first:
        _emit_summaries(training, summaries, as_json=as_json)


def _emit_summaries(
    training: "Training", summaries: "Mapping[int, Summary]", *, as_json: bool
) -> None:
    """Print the scores of all folds, and where the model is."""
    from autoseg.evaluation.layout import as_table
    from autoseg.io.documents import to_json

    tables = (
        f"fold {fold}, validation\n{as_table(summary)}\n\n" for fold, summary in summaries.items()
    )
    emit(
        {
            "model": str(training.model_folder),
            "folds": {str(fold): to_json(summary) for fold, summary in summaries.items()},
        },
        f"{''.join(tables)}model: {training.model_folder}",
        as_json=as_json,
    )


def _train_side_by_side(
    training: "Training", folds: Sequence[int], with_previous: bool | None, progress: Progress
) -> dict[str, object]:
    """Train folds on several devices, missing ones of a cascade's previous stage first."""
    from autoseg.io.documents import to_json
    from autoseg.pipeline.cascade import missing_folds
    from autoseg.pipeline.fold import check_request
    from autoseg.pipeline.side_by_side import train_side_by_side

    devices = training.device.split(",")
    if len(folds) == 1:
        raise UsageError(
            f"--device {training.device}: one fold takes one device",
            hint="several GPUs share a fold by torchrun: see docs/how-to/use-several-devices.md",
        )
    plan, splits = training.folder.read_plan(training.plan), training.folder.read_splits()
    check_request(training.configuration, folds, plan, splits)
    left_out = ("device", "as_json", "quiet", "with_previous")
    options = options_given(click.get_current_context(), without=left_out)
    if with_previous and (needed := missing_folds(training, plan, splits)):
        stage = str(plan.configuration(training.configuration).previous_stage)
        first = options_given(click.get_current_context(), without=(*left_out, "init"))
        train_side_by_side(["train", stage, *first], needed, devices, progress=progress)
    finished = {fold: training.finished_summary(fold) for fold in folds}
    line = ["train", training.configuration, *options]
    missing = [fold for fold, summary in finished.items() if summary is None]
    if not missing:
        raise training.already_trained(folds)
    result = train_side_by_side(line, missing, devices, progress=progress)
    kept = {str(fold): to_json(summary) for fold, summary in finished.items() if summary}
    return {**result, "folds": {**kept, **result["folds"]}}


def _refuse_training_options() -> None:
    """Refuse options that say how to train where nothing is trained."""
    context = click.get_current_context()
    given = [
        max(parameter.opts, key=len)
        for parameter in context.command.params
        if parameter.name in (*TRAINING_OPTIONS, "with_previous", "init")
        and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise UsageError(
            f"--validate-only trains nothing; {', '.join(given)} cannot be given with it",
            hint="leave one of them out",
        )


def _offer_previous(training: "Training", folds: Sequence[int]) -> bool:
    """Ask a person at a terminal whether to train what is missing of the previous stage."""
    from autoseg.pipeline.cascade import missing_folds
    from autoseg.pipeline.fold import check_request

    if not sys.stdin.isatty():
        return False
    plan, splits = training.folder.read_plan(training.plan), training.folder.read_splits()
    check_request(training.configuration, folds, plan, splits)
    missing = missing_folds(training, plan, splits)
    if not missing or all(training.finished_summary(fold) for fold in folds):
        return False
    stage = plan.configuration(training.configuration).previous_stage
    listed = ", ".join(map(str, missing))
    return click.confirm(
        f"{training.configuration} needs {stage} fold {listed}, not trained yet; train first?",
        default=True,
        err=True,
    )
