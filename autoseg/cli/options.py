"""Options that several verbs share, and how a verb prints its result."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from autoseg.core.acceptance import Accepted, parse_accepted
from autoseg.core.errors import UsageError

Function = TypeVar("Function", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)


def dataset_option(function: Function) -> Function:
    """Add ``-d``: a raw dataset, by path or by name."""
    return click.option(
        "-d",
        "--dataset",
        required=True,
        metavar="DATASET",
        help="Folder of a raw dataset, or a name such as Task04, Dataset004_Hippocampus or 4.",
    )(function)


def planned_option(function: Function) -> Function:
    """Add ``-d``: a planned dataset, by name; the current one if left out."""
    return click.option(
        "-d",
        "--dataset",
        default=None,
        metavar="DATASET",
        help="Name of a planned dataset.  [default: the one planned last]",
    )(function)


def data_option(function: Function) -> Function:
    """Add ``--data``: where raw datasets are looked up by name."""
    return click.option(
        "--data", type=PATH, default=None, help="Folder in which -d NAME is looked up first."
    )(function)


def common_options(function: Function) -> Function:
    """Add ``--workspace``, ``--json`` and ``--quiet``, which every verb has."""
    for option in (
        click.option("--quiet", is_flag=True, help="Print results and errors only."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON document."),
        click.option(
            "--workspace",
            type=PATH,
            default=None,
            envvar="AUTOSEG_WORKSPACE",
            help="Where autoseg writes.  [default: autoseg_workspace, here or above]",
        ),
    ):
        function = option(function)
    return function


def workers_option(function: Function) -> Function:
    """Add ``--workers``: processes for work on many cases."""
    return click.option(
        "--workers",
        default="auto",
        show_default=True,
        callback=_parse_workers,
        help="Worker processes; 0 works in this process.",
    )(function)


def accept_option(function: Function) -> Function:
    """Add ``--accept``: what to do where a rule would refuse."""
    return click.option(
        "--accept",
        "accepted",
        metavar="RULE[=CHOICE]",
        multiple=True,
        callback=_parse_accepted,
        help="Accept what a rule refuses, such as E-GEO-13=sform; may be repeated.",
    )(function)


def plan_option(function: Function) -> Function:
    """Add ``--plan``: name of the plan."""
    return click.option(
        "--plan",
        default="default",
        show_default=True,
        callback=_check_name,
        help="Name of the plan.",
    )(function)


def run_option(function: Function) -> Function:
    """Add ``--run``: name of the training run."""
    return click.option(
        "--run",
        default="default",
        show_default=True,
        callback=_check_name,
        help="Name of the training run.",
    )(function)


def device_option(function: Function) -> Function:
    """Add ``--device``: where networks run."""
    return click.option(
        "--device",
        default="auto",
        show_default=True,
        help="auto, cpu, cuda, cuda:N or mps; cpu/float32 and the like avoid half precision. Folds "
        "train side by side on several, such as cuda:0,cuda:1.",
    )(function)


def emit(result: dict[str, object], text: str, *, as_json: bool) -> None:
    """Print a result on stdout: as one JSON document, or as text."""
    click.echo(json.dumps(result, indent=1, allow_nan=False) if as_json else text)


def _parse_workers(_: click.Context, __: click.Parameter, value: str) -> int | None:
    if value == "auto":
        return None
    if not value.isdigit():
        raise click.BadParameter(f"{value!r} must be a whole number from 0 on, or auto")
    return int(value)


def _parse_accepted(_: click.Context, __: click.Parameter, value: tuple[str, ...]) -> Accepted:
    return parse_accepted(value)


def _check_name(_: click.Context, parameter: click.Parameter, value: str) -> str:
    plain = value.replace("-", "").replace("_", "").replace(".", "")
    if not plain.isalnum() or value.startswith("."):
        raise UsageError(
            f"--{parameter.name} {value!r}: must be a plain folder name of letters, digits, "
            "'-', '_' and '.'",
            hint="choose such a name, e.g. second",
        )
    return value
