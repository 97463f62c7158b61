"""The verb ``plan_and_preprocess``."""

from pathlib import Path

import click

from autoseg.cli.console import make_progress
from autoseg.cli.options import (
    common_options,
    data_option,
    dataset_option,
    emit,
    memory_option,
    plan_option,
    workers_option,
)


@click.command("plan_and_preprocess")
@dataset_option
@data_option
@memory_option
@plan_option
@click.option(
    "-c", "--configuration", "configurations", multiple=True, help="Only this; may be repeated."
)
@click.option("--overwrite", is_flag=True, help="Replace a differing plan of this name.")
@workers_option
@common_options
def command(
    dataset: str,
    data: Path | None,
    gpu_memory_gib: str,
    plan: str,
    configurations: tuple[str, ...],
    overwrite: bool,
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
    from autoseg.pipeline.plan import budget_for, plan_lines, suggested
    from autoseg.pipeline.plan_and_preprocess import plan_and_preprocess

    place = find_workspace(workspace)
    folder, made, count = plan_and_preprocess(
        find_raw_dataset(dataset, data=data, workspace=place),
        place,
        budget=budget_for(gpu_memory_gib),
        name=plan,
        configurations=configurations or None,
        overwrite=overwrite,
        workers=workers,
        progress=make_progress(quiet=quiet),
    )
    emit(
        {
            "dataset": folder.name,
            "folder": str(folder.path),
            "plan": plan,
            "configurations": [c.name for c in made.configurations],
            "preprocessed": count,
        },
        "\n".join([*plan_lines(made), f"next: autoseg train {suggested(made)} 0"]),
        as_json=as_json,
    )
