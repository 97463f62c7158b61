"""The verb ``demo``."""

from pathlib import Path

import click

from autoseg.cli.console import make_progress
from autoseg.cli.options import PATH, device_option, emit, workers_option


@click.command("demo")
@click.option(
    "-o",
    "--output",
    type=PATH,
    default=Path("autoseg_demo"),
    show_default=True,
    help="Folder for everything the demo makes.",
)
@click.option(
    "--minutes", type=float, default=4.0, show_default=True, help="Training time of the one fold."
)
@device_option
@workers_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--quiet", is_flag=True, help="Print results and errors only.")
def command(
    output: Path, minutes: float, device: str, workers: int | None, as_json: bool, quiet: bool
) -> None:
    r"""Do everything on a small generated dataset, in under eight minutes on two cores.

    \b
    Example: autoseg demo
    """
    from autoseg.evaluation.layout import as_table
    from autoseg.io.documents import to_json
    from autoseg.pipeline.demo import demo

    result = demo(
        output,
        minutes=minutes,
        device=device,
        workers=workers,
        progress=make_progress(quiet=quiet),
    )
    emit(
        {
            "raw": str(result.raw),
            "model": str(result.model),
            "predictions": str(result.predictions),
            "validation": to_json(result.validation),
            "held_out": to_json(result.held_out),
        },
        "\n".join(
            [
                f"held-out cases\n{as_table(result.held_out, worst=len(result.held_out.cases))}",
                "",
                f"images and references  {result.raw}",
                f"plan and model         {result.model}",
                f"segmentations          {result.predictions}",
            ]
        ),
        as_json=as_json,
    )
