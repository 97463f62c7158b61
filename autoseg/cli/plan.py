"""The verb ``plan``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from autoseg.cli.options import PATH, common_options, emit, planned_option
from autoseg.cli.planning_options import planning_options

if TYPE_CHECKING:
    from autoseg.io.workspace import DatasetFolder
    from autoseg.pipeline.plan import PlanRequest


@click.command("plan")
@planned_option
@planning_options
@click.option(
    "--check",
    "file",
    type=PATH,
    default=None,
    help="Decide nothing; say whether this plan, edited by hand, can be trained.",
)
@common_options
def command(
    dataset: str | None,
    planning: "PlanRequest",
    file: Path | None,
    workspace: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    r"""Decide on patches, networks and batches for a measured dataset.

    \b
    Example: autoseg plan -d Task04 --gpu-memory-gib 11 --plan eleven
    """
    from autoseg.io.documents import to_json
    from autoseg.io.workspace import find_planned_dataset, find_workspace
    from autoseg.pipeline.plan import fold_lines, make_plan, plan_lines

    place = find_workspace(workspace)
    folder = find_planned_dataset(place, dataset)
    if file is not None:
        _check(file, folder, as_json=as_json)
        return
    made = make_plan(folder, place, planning)
    emit(
        {
            "dataset": folder.name,
            "file": str(folder.plan_file(made.name)),
            "plan": to_json(made),
        },
        "\n".join(
            [
                *plan_lines(made),
                *fold_lines(folder),
                f"explained by: autoseg explain -d {folder.name}",
            ]
        ),
        as_json=as_json,
    )


def _check(file: Path, folder: "DatasetFolder", *, as_json: bool) -> None:
    """Print what is to be said of a plan that was edited."""
    from autoseg.pipeline.plan import plan_lines, tracer
    from autoseg.pipeline.plan_check import check_plan

    description = folder.read_dataset().description
    checked = check_plan(file, folder, step_bytes=tracer(description))
    emit(
        {"dataset": folder.name, "file": str(file), "edited": list(checked.edited)},
        "\n".join(
            [
                *plan_lines(checked.plan),
                *(f"edited: {line}" for line in checked.edited),
                f"{file}: can be trained",
            ]
        ),
        as_json=as_json,
    )
