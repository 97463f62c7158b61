"""The verb ``plan``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from autoseg.cli.options import common_options, emit, planned_option
from autoseg.cli.planning_options import planning_options

if TYPE_CHECKING:
    from autoseg.pipeline.plan import PlanRequest


@click.command("plan")
@planned_option
@planning_options
@common_options
def command(
    dataset: str | None,
    planning: "PlanRequest",
    workspace: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    r"""Decide on patches, networks and batches for a measured dataset.

    \b
    Example: autoseg plan -d Task04 --gpu-memory-gib 11 --plan eleven
    """
    from autoseg.io.workspace import find_planned_dataset, find_workspace
    from autoseg.pipeline.plan import fold_lines, make_plan, plan_lines

    place = find_workspace(workspace)
    folder = find_planned_dataset(place, dataset)
    made = make_plan(folder, place, planning)
    emit(
        {"dataset": folder.name, "plan": made.name, "file": str(folder.plan_file(made.name))},
        "\n".join(
            [
                *plan_lines(made),
                *fold_lines(folder),
                f"explained by: autoseg explain -d {folder.name}",
            ]
        ),
        as_json=as_json,
    )
