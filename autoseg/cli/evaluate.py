"""The verb ``evaluate``."""

from pathlib import Path

import click

from autoseg.cli.console import make_progress
from autoseg.cli.options import PATH, common_options, emit, planned_option, workers_option


@click.command("evaluate")
@click.option("-i", "--input", "predictions", type=PATH, required=True, help="Segmentations.")
@click.option(
    "-r",
    "--references",
    type=PATH,
    default=None,
    help="Folder of references, named like the segmentations.  [default: those of the dataset]",
)
@click.option("-o", "--output", type=PATH, default=None, help="Folder for the report.")
@click.option(
    "--tolerance-mm",
    type=click.FloatRange(0, 1000),
    default=None,
    help="Distance of surfaces that counts as agreement.  [default: the median voxel edge]",
)
@click.option("--cases", "per_case", is_flag=True, help="List every case, the worst first.")
@planned_option
@workers_option
@common_options
def command(
    predictions: Path,
    references: Path | None,
    output: Path | None,
    tolerance_mm: float | None,
    per_case: bool,
    dataset: str | None,
    workers: int | None,
    workspace: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    r"""Score segmentations against references: overlap, distances, lesions and volumes.

    \b
    Example: autoseg evaluate -i masks -r Task04_Hippocampus/labelsTr
    """
    from autoseg.core.errors import PartialError
    from autoseg.evaluation.layout import as_table
    from autoseg.evaluation.summary import Summary
    from autoseg.io.documents import read_stored, to_json
    from autoseg.pipeline.evaluate import evaluate, find_references

    found, description = find_references(
        predictions, references, dataset=dataset, workspace=workspace
    )
    progress = make_progress(quiet=quiet)
    progress.note(f"dataset {description.name}: {len(found)} references")
    place = (output or predictions) / "summary.json"

    def show(summary: Summary) -> None:
        table = as_table(summary, worst=len(summary.cases) if per_case else 0)
        text = f"{table}\n\nreport: {place}, {place.with_suffix('.csv').name}"
        emit(to_json(summary), text, as_json=as_json)

    try:
        show(
            evaluate(
                predictions,
                found,
                description,
                output=output,
                tolerance_mm=tolerance_mm,
                workers=workers,
                progress=progress,
            )
        )
    except PartialError:
        if not as_json:
            show(read_stored(place, Summary))
        raise
