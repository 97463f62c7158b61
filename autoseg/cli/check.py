"""The verb ``check``."""

from pathlib import Path

import click

from autoseg.cli.console import make_progress
from autoseg.cli.options import (
    PATH,
    accept_option,
    common_options,
    data_option,
    dataset_option,
    emit,
    workers_option,
)
from autoseg.cli.planning_options import exclude_option
from autoseg.core.acceptance import Accepted
from autoseg.core.errors import InputError


@click.command("check")
@dataset_option
@data_option
@exclude_option
@accept_option
@click.option(
    "--repair",
    type=PATH,
    default=None,
    metavar="FOLDER",
    help="Write a mended copy of what can be mended there.",
)
@click.option(
    "--overlays",
    type=PATH,
    default=None,
    metavar="FOLDER",
    help="Where report and pictures go.  [default: check in the dataset's folder of the workspace]",
)
@workers_option
@common_options
def command(
    dataset: str,
    data: Path | None,
    exclude: tuple[str, ...],
    accepted: Accepted,
    repair: Path | None,
    overlays: Path | None,
    workers: int | None,
    workspace: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    r"""Find every fault of a raw dataset, and what looks wrong, with a picture of each such case.

    Leaves with 3 if anything is refused, else with 0.

    \b
    Example: autoseg check -d Task04_Hippocampus
    """
    from autoseg.io.documents import to_json
    from autoseg.io.workspace import find_raw_dataset, find_workspace
    from autoseg.pipeline.check import check_dataset
    from autoseg.pipeline.repair import check_output, repair_dataset
    from autoseg.reporting.check_page import check_page, repair_lines

    place = find_workspace(workspace)
    raw = find_raw_dataset(dataset, data=data, workspace=place)
    progress = make_progress(quiet=quiet)
    if repair is not None:
        written = (place.path, *(() if overlays is None else (overlays,)))
        check_output(raw, repair, exclude=exclude, others=written)
    report, folder = check_dataset(
        raw,
        place,
        exclude=exclude,
        accepted=accepted,
        pictures=overlays,
        workers=workers,
        progress=progress,
    )
    result = to_json(report)
    text = check_page(report, folder, workspace=workspace, repair=repair)
    if repair is not None and report.read:
        if not as_json:
            click.echo(text)
        repaired = repair_dataset(
            raw, repair, exclude=exclude, accepted=accepted, workers=workers, progress=progress
        )
        result["repair"], text = to_json(repaired), repair_lines(repaired, repair, workspace)
    emit(result, text, as_json=as_json)
    if report.refused:
        click.get_current_context().exit(InputError.exit_code)
