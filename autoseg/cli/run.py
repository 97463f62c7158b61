"""The verb ``run``."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autoseg.cli.console import make_progress
from autoseg.cli.options import (
    accept_option,
    common_options,
    data_option,
    dataset_option,
    device_option,
    emit,
    run_option,
    workers_option,
)
from autoseg.cli.planning_options import exclude_option, planning_options
from autoseg.cli.training_options import training_options
from autoseg.core.training_config import TrainingConfig

if TYPE_CHECKING:
    from autoseg.core.acceptance import Accepted
    from autoseg.pipeline.plan import PlanRequest
    from autoseg.pipeline.run import RunResult


@click.command("run")
@dataset_option
@data_option
@click.option(
    "-c", "--configuration", "configurations", multiple=True, help="Only this; may be repeated."
)
@click.option("-f", "--fold", "folds", type=int, multiple=True, help="Only this; may be repeated.")
@exclude_option
@accept_option
@planning_options
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
    exclude: tuple[str, ...],
    accepted: "Accepted",
    planning: "PlanRequest",
    run: str,
    config: TrainingConfig,
    device: str,
    workers: int | None,
    workspace: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    r"""Check, measure, plan, preprocess, train and select; a stopped run carries on.

    \b
    Example: autoseg run -d Task04 -c 3d_fullres -f 0 --preset fast --max-minutes 12
    """
    started = time.monotonic()
    from autoseg.io.documents import to_json
    from autoseg.io.workspace import find_raw_dataset, find_workspace
    from autoseg.pipeline.run import RunRequest
    from autoseg.pipeline.run import run as run_all

    place = find_workspace(workspace)
    result = run_all(
        RunRequest(
            raw=find_raw_dataset(dataset, data=data, workspace=place),
            workspace=place,
            planning=planning,
            config=config,
            configurations=configurations,
            folds=folds,
            exclude=exclude,
            accepted=accepted,
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
            "selection": result.selection and to_json(result.selection),
        },
        _text(result),
        as_json=as_json,
    )


def _text(result: "RunResult") -> str:
    """Return the score of every fold, and what was chosen."""
    from autoseg.pipeline.run import fold_table
    from autoseg.pipeline.selection_files import selection_text

    chosen = [selection_text(result.selection)] if result.selection else []
    models = f"models: {result.dataset.path / 'models'}"
    return "\n".join([*fold_table(result.summaries), "", *chosen, models])
