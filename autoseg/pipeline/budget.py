"""What the options of planning ask for, as one budget."""

from dataclasses import dataclass, replace
from typing import cast

from autoseg.core.errors import UsageError
from autoseg.core.plan import RuleSet
from planners.budget import Mirroring, NetworkName, PlannerBudget, budget_of_preset
from planners.overrides import NO_OVERRIDES, Overrides


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRequest:
    """The options as they were typed."""

    gpu_memory: str | None = None
    """A number of GiB, ``auto`` for the memory of the visible card, or None for the usual."""
    network: str = "auto"
    """``auto``, ``plain``, ``resenc``, or ``resenc-m``, ``resenc-l``, ``resenc-xl``, which stand
    for a memory as well."""
    mirroring: str = "auto"
    """``auto``, ``all`` or ``none``."""
    rules: str = "autoseg"
    """``autoseg`` or ``nnunet``."""
    overrides: Overrides = NO_OVERRIDES
    """Single decisions that the user takes over."""


def budget_for(request: BudgetRequest) -> PlannerBudget:
    """Return the budget that the options of planning ask for.

    Raises
    ------
    UsageError
        If the memory is neither, or ``auto`` finds no card, or the network names another memory.
    PlanError
        If the memory is impossible.
    """
    name, _, size = request.network.partition("-")
    if size and request.gpu_memory is not None:
        raise UsageError(
            f"--network {request.network} and --gpu-memory-gib {request.gpu_memory} both set the "
            "memory",
            hint=f"leave one of them out, or take --network {name}",
        )
    budget = budget_of_preset(size.upper()) if size else PlannerBudget()
    given = request.gpu_memory
    return replace(
        budget,
        gpu_memory_gib=budget.gpu_memory_gib if given is None else _memory_gib(given),
        network=cast("NetworkName", name),
        mirroring=cast("Mirroring", request.mirroring),
        rules=cast("RuleSet", request.rules),
        overrides=request.overrides,
    )


def _memory_gib(gpu_memory: str) -> float:
    if gpu_memory == "auto":
        import torch

        if not torch.cuda.is_available():
            raise UsageError(
                "--gpu-memory-gib auto: this machine shows no CUDA card",
                hint="name the memory of the card that will train, e.g. --gpu-memory-gib 8",
            )
        return float(torch.cuda.get_device_properties(0).total_memory) / 2**30
    try:
        return float(gpu_memory)
    except ValueError as error:
        raise UsageError(
            f"--gpu-memory-gib {gpu_memory!r}: must be a number of GiB, or auto",
            hint="e.g. --gpu-memory-gib 8",
        ) from error
