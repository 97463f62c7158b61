"""The verb ``run``."""

import time
from pathlib import Path

import click

from autoseg.cli.console import make_progress
from autoseg.cli.options import (
    common_options,
    data_option,
    dataset_option,
    device_option,
    emit,
    memory_option,
    plan_option,
    run_option,
    workers_option,
)
from autoseg.cli.training_options import training_options
from autoseg.core.training_config import TrainingConfig


@click.command("run")
@dataset_option
@data_option
@click.option(
    "-c", "--configuration", "configurations", multiple=True, help="Only this; may be repeated."
)
@click.option("-f", "--fold", "folds", type=int, multiple=True, help="Only this; may be repeated.")
@memory_option
@plan_option
@click.option("--overwrite", is_flag=True, help="Replace a differing plan of this name.")
@run_option
@training_options
@device_option
@workers_option
@common_options
def command(
    dataset: str,
    data: Path | None,
    configurations: tuple[str, ...],
    folds: tuple[int, ...],
    gpu_memory_gib: str,
    plan: str,
    overwrite: bool,
    run: str,
    config: TrainingConfig,
    device: str,
    workers: int | None,
    workspace: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    r"""Check, measure, plan, preprocess, train and validate; a stopped run carries on.

    \b
    Example: autoseg run -d Task04 -c 3d_fullres -f 0 --preset fast --max-minutes 12
    """
    started = time.monotonic()
    from autoseg.io.documents import to_json
    from autoseg.io.workspace import find_raw_dataset, find_workspace
    from autoseg.pipeline.plan import budget_for
    from autoseg.pipeline.run import RunRequest, fold_table
    from autoseg.pipeline.run import run as run_all

    place = find_workspace(workspace)
    result = run_all(
        RunRequest(
            raw=find_raw_dataset(dataset, data=data, workspace=place),
            workspace=place,
            budget=budget_for(gpu_memory_gib),
            config=config,
            configurations=configurations,
            folds=folds,
            plan=plan,
            overwrite=overwrite,
            run=run,
            device=device,
            workers=workers,
        ),
        progress=make_progress(quiet=quiet),
        started=started,
    )
    emit(
        {
            "dataset": result.dataset.name,
            "folds": {
                f"{name}/{fold}": to_json(summary)
                for (name, fold), summary in result.summaries.items()
            },
        },
        "\n".join([*fold_table(result.summaries), f"models: {result.dataset.path / 'models'}"]),
        as_json=as_json,
    )
