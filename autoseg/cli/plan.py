"""The verb ``plan``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from autoseg.cli.console import make_progress
from autoseg.cli.options import PATH, common_options, emit, planned_option
from autoseg.cli.planning_options import planning_options
from autoseg.core.errors import UsageError

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
@click.option(
    "--max-hours",
    type=float,
    default=None,
    help="Propose what this machine's CPU can train in so many hours per fold.",
)
@common_options
def command(
    dataset: str | None,
    planning: "PlanRequest",
    file: Path | None,
    max_hours: float | None,
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
    from autoseg.pipeline.cpu_schedule_text import schedule_lines
    from autoseg.pipeline.plan import cpu_outlook, fold_lines, make_plan, plan_lines

    if file is not None:
        _refuse_options(file, planning, max_hours)
    place = find_workspace(workspace)
    folder = find_planned_dataset(place, dataset)
    if file is not None:
        _check(file, folder, as_json=as_json)
        return
    made = make_plan(folder, place, planning)
    outlook = cpu_outlook(
        folder,
        place,
        made,
        is_meant=planning.budget.gpu_memory_gib is None or max_hours is not None,
        max_hours=max_hours,
        progress=make_progress(quiet=quiet),
    )
    explained = f"explained by: autoseg explain -d {folder.name}"
    emit(
        {
            "dataset": folder.name,
            "file": str(folder.plan_file(made.name)),
            "plan": to_json(made),
            "cpu": None if outlook is None else to_json(outlook),
        },
        "\n".join(
            [
                *plan_lines(made),
                *fold_lines(folder),
                *(() if outlook is None else schedule_lines(outlook)),
                explained if made.name == "default" else f"{explained} --plan {made.name}",
            ]
        ),
        as_json=as_json,
    )


def _refuse_options(file: Path, planning: "PlanRequest", max_hours: float | None) -> None:
    """Refuse what would be left out of account."""
    from autoseg.pipeline.plan import PlanRequest

    if planning != PlanRequest() or max_hours is not None:
        raise UsageError(
            f"--check {file}: takes no other option of planning; the plan is checked as it is",
            hint="leave the other options out, or leave --check out to make a plan with them",
        )


def _check(file: Path, folder: "DatasetFolder", *, as_json: bool) -> None:
    """Print what is to be said of a plan that was edited."""
    from autoseg.pipeline.plan import plan_lines
    from autoseg.pipeline.plan_check import check_plan
    from autoseg.pipeline.traced_steps import RememberedTracer

    description = folder.read_dataset().description
    tracer = RememberedTracer(description, folder.traced_steps_file)
    checked = check_plan(file, folder, step_bytes=tracer)
    tracer.keep()
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
