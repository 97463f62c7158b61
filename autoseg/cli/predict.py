"""The verb ``predict``."""

from dataclasses import replace
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
@click.option(
    "-i", "--input", "source", type=PATH, required=True, help="Image, folder, or list of images."
)
@click.option("-o", "--output", type=PATH, required=True, help="Folder for segmentations.")
@click.option(
    "-m",
    "--model",
    "models",
    type=PATH,
    multiple=True,
    help="Model folder; several are averaged.  [default: what `autoseg select` chose]",
)
@click.option("-f", "--fold", "folds", type=int, multiple=True, help="Only this; may be repeated.")
@click.option("--mirror/--no-mirror", default=None, help="Average over mirrored views, or not.")
@click.option("--rules/--no-rules", default=True, help="Apply selected post-processing, or not.")
@click.option("--probabilities", is_flag=True, help="Write probabilities too, as float16.")
@click.option("--uncertainty", is_flag=True, help="Write entropy and disagreement of folds too.")
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
    models: tuple[Path, ...],
    folds: tuple[int, ...],
    mirror: bool | None,
    rules: bool,
    probabilities: bool,
    uncertainty: bool,
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
    from autoseg.pipeline.chosen_models import Chosen, chosen_models
    from autoseg.pipeline.predict import predict
    from autoseg.pipeline.prediction import ModelChoice, Part, Prediction

    progress = make_progress(quiet=quiet)
    if models:
        chosen = Chosen(models=tuple(ModelChoice(folder=each) for each in models), rules=())
    else:
        folder = find_planned_dataset(find_workspace(workspace), dataset)
        chosen = chosen_models(folder, plan, folds)
        names = " and ".join(str(each.folder) for each in chosen.models)
        progress.note(f"dataset {folder.name}, model {names} ({chosen.reason})")
    manifest = predict(
        Prediction(
            source=source,
            output=output,
            models=tuple(replace(each, folds=folds or each.folds) for each in chosen.models),
            rules=chosen.rules if rules else (),
            probabilities=probabilities,
            uncertainty=uncertainty,
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
