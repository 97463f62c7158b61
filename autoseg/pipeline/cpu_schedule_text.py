"""What a CPU can train of a plan, in words."""

from typing import Final

from autoseg.pipeline.cpu_schedule import (
    LEAST_STEPS,
    ConfigurationSchedule,
    CpuSchedule,
    Proposal,
)

DISTURBED: Final = (
    "other processes were at work during the measurement: with the machine to itself training is "
    "faster; plan again then, and it is measured again"
)
"""What is said of times that cannot be trusted."""


def schedule_lines(schedule: CpuSchedule) -> tuple[str, ...]:
    """Say what a CPU can train of a plan, in lines to print.

    Parameters
    ----------
    schedule : CpuSchedule
        From `autoseg.pipeline.cpu_schedule.cpu_schedule`.

    Returns
    -------
    tuple of str
        A heading; whether it can be trusted; a line per configuration about the presets and, where
        a time was given, one about what to train in it; and one about what is left out.
    """
    heading = (
        f"training on this CPU ({schedule.machine}), without the validation of whole cases that "
        "follows it:"
    )
    lines = [heading]
    if schedule.is_disturbed:
        lines.append(DISTURBED)
    for configuration in schedule.configurations:
        lines.append(_recipes_line(configuration, schedule.folds))
        if configuration.proposal is not None and schedule.max_hours is not None:
            time = (
                f"{schedule.max_hours:g} h per fold{_for_all(schedule.max_hours, schedule.folds)}"
            )
            lines.append(
                f"{configuration.configuration} in {time}: {_proposal_text(configuration.proposal)}"
            )
    for name in schedule.left_out:
        lines.append(f"{name}: not measured; it can only follow all folds of its first stage")
    return tuple(lines)


def _recipes_line(configuration: ConfigurationSchedule, folds: int) -> str:
    """Say what each preset takes for its own schedule, and one step."""
    wholes = [
        f"{recipe.preset} {duration(recipe.fold_hours)}{_for_all(recipe.fold_hours, folds)}"
        for recipe in configuration.recipes
    ]
    steps = [f"{_digits(recipe.step_s)} s with {recipe.preset}" for recipe in configuration.recipes]
    return (
        f"{configuration.configuration}: the whole schedule of a preset would take, per fold, "
        f"{', '.join(wholes)}; a step takes about {', '.join(steps)}"
    )


def _proposal_text(proposal: Proposal) -> str:
    """Say what to type, or that nothing is worth it."""
    if not proposal.is_enough:
        return (
            f"this CPU makes only about {proposal.steps} steps, even at "
            f"{proposal.channels} channels; no useful model can be expected of fewer than "
            f"{LEAST_STEPS}, which take about {duration(proposal.needed_hours)}: "
            f"{proposal.command}"
        )
    steps = f"about {_digits(proposal.steps)} steps at {proposal.channels} channels"
    return f"{proposal.command}   ({steps})"


def _for_all(hours: float, folds: int) -> str:
    return f" ({duration(folds * hours)} for all {folds})" if folds > 1 else ""


def duration(hours: float) -> str:
    """Return a time in the unit that suits it, with two digits.

    Examples
    --------
    >>> [duration(hours) for hours in (0.01, 0.25, 1.5, 33.3, 132, 8760)]
    ['36 s', '15 min', '1.5 h', '33 h', '5.5 days', '360 days']
    """
    for least, length, unit in ((48.0, 24.0, "days"), (1.0, 1.0, "h"), (1 / 60, 1 / 60, "min")):
        if hours >= least:
            return f"{_digits(hours / length)} {unit}"
    return f"{_digits(hours * 3600)} s"


def _digits(value: float) -> str:
    """Return a number with two digits."""
    return f"{float(f'{value:.2g}'):.10g}"
