"""The verb ``explain``."""

from pathlib import Path

import click

from autoseg.cli.options import common_options, emit, plan_option, planned_option


@click.command("explain")
@planned_option
@plan_option
@common_options
def command(
    dataset: str | None, plan: str, workspace: Path | None, as_json: bool, quiet: bool
) -> None:
    r"""Print a plan as a page: every decision, its rule and its numbers.

    \b
    Example: autoseg explain -d Task04
    """
    from autoseg.io.documents import to_json
    from autoseg.io.workspace import find_planned_dataset, find_workspace
    from autoseg.pipeline.plan import explain

    folder = find_planned_dataset(find_workspace(workspace), dataset)
    emit(to_json(folder.read_plan(plan)), explain(folder, plan), as_json=as_json)
