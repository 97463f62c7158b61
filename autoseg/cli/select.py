"""The verb ``select``."""

from pathlib import Path

import click

from autoseg.cli.console import make_progress
from autoseg.cli.options import (
    common_options,
    device_option,
    emit,
    plan_option,
    planned_option,
)


@click.command("select")
@planned_option
@plan_option
@click.option("--run", "runs", multiple=True, help="Only models of this run; may be repeated.")
@click.option("--pairs/--no-pairs", default=True, help="Try averages of two models, or not.")
@click.option("--rules/--no-rules", default=True, help="Try post-processing, or not.")
@device_option
@common_options
def command(
    dataset: str | None,
    plan: str,
    runs: tuple[str, ...],
    pairs: bool,
    rules: bool,
    device: str,
    workspace: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    r"""Choose the model, or the pair of models, that segments new images.

    \b
    Example: autoseg select -d Task04
    """
    from autoseg.io.documents import to_json
    from autoseg.io.workspace import find_planned_dataset, find_workspace
    from autoseg.pipeline.select import SelectionRequest, select
    from autoseg.pipeline.selection_files import selection_text, write_figure

    folder = find_planned_dataset(find_workspace(workspace), dataset)
    progress = make_progress(quiet=quiet)
    request = SelectionRequest(
        folder=folder, plan=plan, runs=runs, pairs=pairs, rules=rules, device=device
    )
    selection = select(request, progress=progress)
    figure = write_figure(folder, selection)
    emit(to_json(selection), f"{selection_text(selection)}\n\nfigure: {figure}", as_json=as_json)
