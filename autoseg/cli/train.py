"""The verb ``train``."""

import time
from pathlib import Path

import click

from autoseg.cli.console import make_progress
from autoseg.cli.options import (
    common_options,
    device_option,
    emit,
    plan_option,
    planned_option,
    run_option,
    workers_option,
)
from autoseg.cli.training_options import training_options
from autoseg.core.training_config import TrainingConfig


@click.command("train")
@click.argument("configuration")
@click.argument("folds", nargs=-1, required=True, type=int, metavar="FOLD...")
@planned_option
@plan_option
@run_option
@training_options
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
    from autoseg.evaluation.summary import as_table
    from autoseg.io.documents import to_json
    from autoseg.io.workspace import find_planned_dataset, find_workspace
    from autoseg.pipeline.train import Training, train

    progress = make_progress(quiet=quiet)
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
    )
    summaries = train(training, folds, progress=progress, started=started)
    emit(
        {
            "model": str(training.model_folder),
            "folds": {str(fold): to_json(summary) for fold, summary in summaries.items()},
        },
        "\n\n".join(
            f"fold {fold}, validation\n{as_table(summary)}" for fold, summary in summaries.items()
        )
        + f"\n\nmodel: {training.model_folder}",
        as_json=as_json,
    )
