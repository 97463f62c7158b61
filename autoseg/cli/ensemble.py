"""The verb ``ensemble``."""

from pathlib import Path

import click

from autoseg.cli.console import make_progress
from autoseg.cli.options import PATH, common_options, emit


@click.command("ensemble")
@click.option(
    "-i",
    "--input",
    "sources",
    type=PATH,
    required=True,
    multiple=True,
    help="Folder that `autoseg predict --probabilities` wrote; once for each model.",
)
@click.option("-o", "--output", type=PATH, required=True, help="Folder for segmentations.")
@click.option("--overwrite", is_flag=True, help="Replace files that lie there.")
@common_options
def command(
    sources: tuple[Path, ...],
    output: Path,
    overwrite: bool,
    workspace: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    r"""Average the probabilities of several predictions.

    \b
    Example: autoseg ensemble -i masks_2d -i masks_3d -o masks
    """
    from autoseg.io.documents import to_json
    from autoseg.pipeline.ensemble import ensemble

    manifest = ensemble(sources, output, overwrite=overwrite, progress=make_progress(quiet=quiet))
    emit(to_json(manifest), f"{len(manifest.cases)} segmentations in {output}", as_json=as_json)
