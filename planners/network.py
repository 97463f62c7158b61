"""Which network a budget pays for, and why."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from planners.budget import NetworkReference, PlannerBudget, reference_for
from planners.words import Numbers

RESENC_FROM_GIB: Final = 8.5
"""Memory from which ``auto`` thinks of the residual network, GiB: the 9.1 GB (10^9 bytes) that its
smallest reference is published to need, where nnU-Net plans it for 8."""
PUBLISHED: Final[Numbers] = (
    ("mean Dice of six datasets, resenc M and plain", "87.1 and 86.8"),
    ("memory, resenc M and plain", "9.1 and 7.7 GB"),
    ("training, resenc M and plain", "12 and 9 h on an A100"),
)
"""Isensee et al. 2024, arXiv:2404.09556, and nnU-Net's documentation of its residual presets."""

MEASURED: Final[Numbers] = (
    ("Dice on Task04_Hippocampus after 6 minutes, plain and residual", "0.864 and 0.858"),
    ("steps in that time", "727 and 406"),
)
"""``benchmarks/plan_variants.py``, fold 0 with the preset ``fast`` on 2 cores."""

Holds = Callable[[NetworkReference], bool]
"""Tells whether the device holds a network with all its channels and a patch like the plain's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenNetwork:
    """The network to train, and why."""

    reference: NetworkReference
    """Yardstick of patch and batch."""
    rule: str
    """Why this network, as a clause."""
    numbers: Numbers = ()
    """What the rule looked at."""


def choose_network(budget: PlannerBudget, holds: Holds = lambda _: True) -> ChosenNetwork:
    """Return the network to train, with the rule and the numbers that led to it.

    Parameters
    ----------
    budget : PlannerBudget
        What the user grants. ``auto`` takes the residual network if a memory is given that holds it
        unabridged, else the plain one; by the rules ``nnunet`` always the plain one.
    holds : callable
        Tells whether the device holds a network unabridged.

    Raises
    ------
    PlanError
        If the budget names a network that is unknown.

    References
    ----------
    Isensee et al. 2024, arXiv:2404.09556.
    """
    memory = budget.memory_gib
    if budget.network != "auto":
        return ChosenNetwork(
            reference=reference_for(budget.network, memory), rule="it was given with --network"
        )
    plain, residual = reference_for("plain", memory), reference_for("resenc", memory)
    if budget.rules == "nnunet":
        return ChosenNetwork(reference=plain, rule="it is the network of nnU-Net's default planner")
    if budget.gpu_memory_gib is None:
        rule = (
            "no memory of a GPU was given, so the training may have to run on a CPU, where the "
            "plain network makes nearly twice the steps in the same time and scores no worse"
        )
        return ChosenNetwork(reference=plain, rule=rule, numbers=MEASURED)
    if memory < RESENC_FROM_GIB:
        rule = (
            f"the budget is less than the {RESENC_FROM_GIB:.4g} GiB that the smallest reference of "
            "the residual network needs"
        )
        return ChosenNetwork(reference=plain, rule=rule)
    if not holds(residual):
        rule = (
            "the budget would hold the residual network only with fewer channels, or with a patch "
            "smaller than the plain one's, and it is published to score above it with all of them"
        )
        return ChosenNetwork(reference=plain, rule=rule, numbers=PUBLISHED)
    rule = (
        f"the budget reaches the {RESENC_FROM_GIB:.4g} GiB of the smallest reference of the "
        "residual network and holds it with all its channels; it is published to score above the "
        "plain one from there on, at the price of memory and time (Isensee et al. 2024, "
        "arXiv:2404.09556)"
    )
    return ChosenNetwork(reference=residual, rule=rule, numbers=PUBLISHED)
