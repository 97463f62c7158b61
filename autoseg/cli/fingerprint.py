"""The verb ``fingerprint``."""

from pathlib import Path

import click

from autoseg.cli.console import make_progress
from autoseg.cli.options import (
    accept_option,
    common_options,
    data_option,
    dataset_option,
    emit,
    workers_option,
)
from autoseg.cli.planning_options import exclude_option
from autoseg.core.acceptance import Accepted


@click.command("fingerprint")
@dataset_option
@data_option
@exclude_option
@accept_option
@workers_option
@common_options
def command(
    dataset: str,
    data: Path | None,
    exclude: tuple[str, ...],
    accepted: Accepted,
    workers: int | None,
    workspace: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    r"""Measure a raw dataset: spacings, shapes, intensities, label volumes.

    \b
    Example: autoseg fingerprint -d Task04_Hippocampus
    """
    from autoseg.io.workspace import find_raw_dataset, find_workspace
    from autoseg.pipeline.fingerprint import keep_measured, measure_dataset

    place = find_workspace(workspace)
    measured = measure_dataset(
        find_raw_dataset(dataset, data=data, workspace=place),
        place,
        exclude=exclude,
        accepted=accepted,
        workers=workers,
        progress=make_progress(quiet=quiet),
    )
    keep_measured(measured)
    folder, fingerprint = measured.folder, measured.fingerprint
    emit(
        {
            "dataset": folder.name,
            "cases": len(fingerprint.cases),
            "file": str(folder.fingerprint_file),
        },
        f"{folder.name}: {len(fingerprint.cases)} cases measured, see {folder.fingerprint_file}",
        as_json=as_json,
    )
