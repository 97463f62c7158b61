"""The verb ``plan``."""

from pathlib import Path

import click

from autoseg.cli.options import common_options, emit, memory_option, plan_option, planned_option


@click.command("plan")
@planned_option
@memory_option
@plan_option
@click.option("--overwrite", is_flag=True, help="Replace a differing plan of this name.")
@common_options
def command(
    dataset: str | None,
    gpu_memory_gib: str,
    plan: str,
    overwrite: bool,
    workspace: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    r"""Decide on patches, networks and batches for a measured dataset.

    \b
    Example: autoseg plan -d Task04 --gpu-memory-gib 11 --plan eleven
    """
    from autoseg.io.workspace import find_planned_dataset, find_workspace
    from autoseg.pipeline.plan import budget_for, make_plan, plan_lines

    place = find_workspace(workspace)
    folder = find_planned_dataset(place, dataset)
    made = make_plan(
        folder, place, budget=budget_for(gpu_memory_gib), name=plan, overwrite=overwrite
    )
    emit(
        {"dataset": folder.name, "plan": plan, "file": str(folder.plan_file(plan))},
        "\n".join([*plan_lines(made), f"explained by: autoseg explain -d {folder.name}"]),
        as_json=as_json,
    )
