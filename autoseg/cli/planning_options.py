"""Options that choose how to plan, and the request that they become."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from autoseg.cli.options import PATH, plan_option

NETWORKS = ("auto", "plain", "resenc", "resenc-m", "resenc-l", "resenc-xl")


_OPTIONS = (
    click.option(
        "--gpu-memory-gib",
        default=None,
        help="Memory that a training may use on its device, GiB; auto takes the visible card's.  "
        "[default: 8]",
    ),
    click.option(
        "--network",
        type=click.Choice(NETWORKS),
        default="auto",
        show_default=True,
        help="Plain or residual network; resenc-m, -l, -xl also set the memory: 8, 24, 40 GiB.",
    ),
    click.option(
        "--mirroring",
        type=click.Choice(["auto", "all", "none"]),
        default="auto",
        show_default=True,
        help="Axes to mirror along; auto spares those whose sides the labels tell apart.",
    ),
    click.option("--like", type=PATH, default=None, help="Model folder whose grid to share."),
    click.option("--splits", type=PATH, default=None, help="JSON file of folds of your own."),
    click.option(
        "--patients",
        type=PATH,
        default=None,
        help='JSON file {"case": "patient"}; the cases of a patient stay in one fold.',
    ),
    click.option(
        "--patient-pattern",
        default=None,
        help="Regular expression whose group names the patient in a case's name.",
    ),
    plan_option,
    click.option(
        "--overwrite",
        is_flag=True,
        help="Replace a differing plan of this name, and folds where others are asked for.",
    ),
)


def planning_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of planning; the function gets them as one ``planning`` request."""

    @wraps(function)
    def with_request(
        *,
        gpu_memory_gib: str | None,
        network: str,
        mirroring: str,
        like: Path | None,
        splits: Path | None,
        patients: Path | None,
        patient_pattern: str | None,
        plan: str,
        overwrite: bool,
        **others: Any,
    ) -> Any:
        from autoseg.pipeline.plan import PlanRequest, budget_for
        from autoseg.pipeline.splits import SplitRequest

        request = PlanRequest(
            name=plan,
            budget=budget_for(gpu_memory_gib, network=network, mirroring=mirroring),
            like=like,
            splits=SplitRequest(file=splits, patients=patients, pattern=patient_pattern or ""),
            overwrite=overwrite,
        )
        return function(planning=request, **others)

    decorated: Callable[..., Any] = with_request
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def exclude_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--exclude``: cases to leave out."""
    return click.option(
        "--exclude",
        multiple=True,
        metavar="CASE",
        help="Leave this case out of everything; may be repeated.",
    )(function)
