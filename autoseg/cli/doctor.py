"""The verb ``doctor``."""

from pathlib import Path

import click

from autoseg.cli.options import common_options, device_option, emit


@click.command("doctor")
@device_option
@common_options
def command(device: str, workspace: Path | None, as_json: bool, quiet: bool) -> None:
    r"""Print what autoseg sees of this machine and what it would choose.

    \b
    Example: autoseg doctor
    """
    from autoseg.io.workspace import find_workspace
    from autoseg.pipeline.doctor import examine

    facts = examine(find_workspace(workspace), device)
    width = max(len(name) for name in facts)
    emit(
        dict(facts),
        "\n".join(f"{name:<{width}}  {value}" for name, value in facts.items()),
        as_json=as_json,
    )
