"""The verb ``explain``."""

from pathlib import Path

import click

from autoseg.cli.options import PATH, common_options, emit, plan_option, planned_option


@click.command("explain")
@planned_option
@plan_option
@click.option(
    "--figures",
    type=PATH,
    default=None,
    metavar="FOLDER",
    help="Where the networks are drawn.  [default: beside the plan; with --json nowhere]",
)
@common_options
def command(
    dataset: str | None,
    plan: str,
    figures: Path | None,
    workspace: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    r"""Print a plan as a page: every decision, its rule and its numbers.

    Each configuration's network is drawn into a file PLAN_CONFIGURATION.svg.

    \b
    Example: autoseg explain -d Task04
    """
    from autoseg.io.documents import to_json
    from autoseg.io.workspace import find_planned_dataset, find_workspace
    from autoseg.pipeline.explain import write_figures
    from autoseg.pipeline.plan import explain

    folder = find_planned_dataset(find_workspace(workspace), dataset)
    emit(to_json(folder.read_plan(plan)), explain(folder, plan), as_json=as_json)
    if as_json and figures is None:
        return
    written = write_figures(folder, plan, into=figures)
    if not as_json:  # after the page, which a workspace that cannot be written to has as well
        click.echo("\n".join(["Figures", "-------", *(f"  {path}" for path in written)]))
