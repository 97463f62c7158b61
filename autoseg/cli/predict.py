"""The verb ``predict``."""

from pathlib import Path

import click

from autoseg.cli.console import make_progress
from autoseg.cli.options import (
    PATH,
    accept_option,
    common_options,
    device_option,
    emit,
    plan_option,
    planned_option,
    workers_option,
)
from autoseg.core.acceptance import Accepted


@click.command("predict")
@click.option("-i", "--input", "source", type=PATH, required=True, help="Image or folder.")
@click.option("-o", "--output", type=PATH, required=True, help="Folder for segmentations.")
@click.option("-m", "--model", type=PATH, default=None, help="Model folder.")
@click.option("-f", "--fold", "folds", type=int, multiple=True, help="Only this; may be repeated.")
@click.option("--mirror/--no-mirror", default=None, help="Average over mirrored views, or not.")
@click.option("--overwrite", is_flag=True, help="Replace files that autoseg did not write.")
@click.option("--parts", type=click.IntRange(1), default=1, help="Share the cases among so many.")
@click.option("--part", type=click.IntRange(1), default=1, help="Which of the parts to do, from 1.")
@accept_option
@planned_option
@plan_option
@workers_option
@device_option
@common_options
def command(
    source: Path,
    output: Path,
    model: Path | None,
    folds: tuple[int, ...],
    mirror: bool | None,
    overwrite: bool,
    parts: int,
    part: int,
    accepted: Accepted,
    dataset: str | None,
    plan: str,
    workers: int | None,
    device: str,
    workspace: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    r"""Segment images with a trained model; finished cases are kept.

    \b
    Example: autoseg predict -i imgs -o masks
    """
    from autoseg.io.documents import to_json
    from autoseg.io.workspace import find_planned_dataset, find_workspace
    from autoseg.pipeline.best_model import best_model
    from autoseg.pipeline.predict import predict
    from autoseg.pipeline.prediction import Part, Prediction

    progress = make_progress(quiet=quiet)
    if model is None:
        folder = find_planned_dataset(find_workspace(workspace), dataset)
        model, reason = best_model(folder, plan)
        progress.note(f"dataset {folder.name}, model {model} ({reason})")
    manifest = predict(
        Prediction(
            source=source,
            output=output,
            model=model,
            folds=folds,
            device=device,
            mirror=mirror,
            overwrite=overwrite,
            accepted=accepted,
            part=Part(number=part, of=parts),
            workers=workers,
        ),
        progress=progress,
    )
    emit(to_json(manifest), f"{len(manifest.cases)} segmentations in {output}", as_json=as_json)
