"""The verb ``plan_and_preprocess``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from autoseg.cli.console import make_progress
from autoseg.cli.options import (
    accept_option,
    common_options,
    data_option,
    dataset_option,
    emit,
    workers_option,
)
from autoseg.cli.planning_options import exclude_option, planning_options

if TYPE_CHECKING:
    from autoseg.core.acceptance import Accepted
    from autoseg.pipeline.plan import PlanRequest


@click.command("plan_and_preprocess")
@dataset_option
@data_option
@exclude_option
@accept_option
@planning_options
@click.option(
    "-c", "--configuration", "configurations", multiple=True, help="Only this; may be repeated."
)
@workers_option
@common_options
def command(
    dataset: str,
    data: Path | None,
    exclude: tuple[str, ...],
    accepted: "Accepted",
    planning: "PlanRequest",
    configurations: tuple[str, ...],
    workers: int | None,
    workspace: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    r"""Measure, plan and preprocess a raw dataset, and make it the current one.

    \b
    Example: autoseg plan_and_preprocess -d data/Task04_Hippocampus
    """
    from autoseg.io.workspace import find_raw_dataset, find_workspace
    from autoseg.pipeline.plan import fold_lines, plan_lines, suggested
    from autoseg.pipeline.plan_and_preprocess import plan_and_preprocess

    place = find_workspace(workspace)
    folder, made, count = plan_and_preprocess(
        find_raw_dataset(dataset, data=data, workspace=place),
        place,
        planning,
        configurations=configurations or None,
        exclude=exclude,
        accepted=accepted,
        workers=workers,
        progress=make_progress(quiet=quiet),
    )
    emit(
        {
            "dataset": folder.name,
            "folder": str(folder.path),
            "plan": made.name,
            "configurations": [c.name for c in made.configurations],
            "preprocessed": count,
        },
        "\n".join(
            [
                *plan_lines(made),
                *fold_lines(folder),
                f"next: autoseg train {suggested(made, configurations)} 0",
            ]
        ),
        as_json=as_json,
    )
