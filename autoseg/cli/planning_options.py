"""Options that choose how to plan, and the request that they become."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autoseg.cli.options import PATH, plan_option

if TYPE_CHECKING:
    from autoseg.core.plan import ConfigurationName

CONFIGURATIONS = ("2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres")
NETWORKS = ("auto", "plain", "resenc", "resenc-m", "resenc-l", "resenc-xl")


def _numbers(kind: type[int] | type[float]) -> Callable[..., tuple[int | float, ...] | None]:
    """Return a callback that reads ``3,0.8,0.8`` as one number per axis."""

    def read(
        _: click.Context, __: click.Parameter, value: str | None
    ) -> tuple[int | float, ...] | None:
        if value is None:
            return None
        try:
            numbers = tuple(kind(part) for part in value.split(","))
        except ValueError as error:
            raise click.BadParameter(f"{value!r} must be numbers with commas between") from error
        if len(numbers) not in (2, 3):
            raise click.BadParameter(f"{value!r} must be 2 or 3 numbers, one per axis")
        return numbers

    return read


def _names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Read ``2d,3d_fullres`` as names of configurations."""
    if value is None:
        return None
    names = tuple(value.replace(" ", "").split(","))
    for name in names:
        if name not in CONFIGURATIONS:
            raise click.BadParameter(f"{name!r} is none of {', '.join(CONFIGURATIONS)}")
    return names


_OVERRIDES = (
    click.option(
        "--spacing",
        metavar="MM,MM,MM",
        callback=_numbers(float),
        help="Target spacing; one edge per axis, in the order in which plan prints them.",
    ),
    click.option(
        "--patch-size",
        metavar="N,N,N",
        callback=_numbers(int),
        help="Voxels of a patch; two numbers for 2d, three for the configurations of volumes.",
    ),
    click.option("--batch-size", type=int, default=None, help="Patches per training step."),
    click.option("--width", type=int, default=None, help="Channels of the network's first stage."),
    click.option(
        "--configurations",
        "only",
        metavar="NAME,NAME",
        callback=_names,
        help="Plan these configurations only.",
    ),
)
"""Options that take a single decision over from the rules; `Overrides` has a field for each."""
_OPTIONS = (
    click.option(
        "--rules",
        type=click.Choice(["autoseg", "nnunet"]),
        default="autoseg",
        show_default=True,
        help="nnunet decides every value as nnU-Net does.",
    ),
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
    *_OVERRIDES,
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
        rules: str,
        gpu_memory_gib: str | None,
        network: str,
        mirroring: str,
        spacing: tuple[float, ...] | None,
        patch_size: tuple[int, ...] | None,
        batch_size: int | None,
        width: int | None,
        only: "tuple[ConfigurationName, ...] | None",
        like: Path | None,
        splits: Path | None,
        patients: Path | None,
        patient_pattern: str | None,
        plan: str,
        overwrite: bool,
        **others: Any,
    ) -> Any:
        from autoseg.pipeline.budget import BudgetRequest, budget_for
        from autoseg.pipeline.plan import PlanRequest
        from autoseg.pipeline.splits import SplitRequest
        from planners.overrides import Overrides

        overrides = Overrides(
            spacing=spacing,
            patch_size=patch_size,
            batch_size=batch_size,
            width=width,
            configurations=only,
        )
        budget = BudgetRequest(
            gpu_memory=gpu_memory_gib,
            network=network,
            mirroring=mirroring,
            rules=rules,
            overrides=overrides,
        )
        request = PlanRequest(
            name=plan,
            budget=budget_for(budget),
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
