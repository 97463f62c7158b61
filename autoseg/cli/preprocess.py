"""The verb ``preprocess``."""

from pathlib import Path

import click

from autoseg.cli.console import make_progress
from autoseg.cli.options import common_options, emit, plan_option, planned_option, workers_option


@click.command("preprocess")
@planned_option
@plan_option
@click.option(
    "-c", "--configuration", "configurations", multiple=True, help="Only this; may be repeated."
)
@workers_option
@common_options
def command(
    dataset: str | None,
    plan: str,
    configurations: tuple[str, ...],
    workers: int | None,
    workspace: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    r"""Put every case onto the plan's grids; what is done already is kept.

    \b
    Example: autoseg preprocess -d Task04 -c 3d_fullres
    """
    from autoseg.io.workspace import find_planned_dataset, find_workspace
    from autoseg.pipeline.preprocess import preprocess_cases

    folder = find_planned_dataset(find_workspace(workspace), dataset)
    made = preprocess_cases(
        folder,
        folder.read_plan(plan),
        configurations=configurations or None,
        workers=workers,
        progress=make_progress(quiet=quiet),
    )
    emit(
        {"dataset": folder.name, "made": made},
        f"{folder.name}: {made} cases preprocessed, the others were there",
        as_json=as_json,
    )
