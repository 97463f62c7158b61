"""How much of a device's memory a training step may take."""

from typing import Final

GIB: Final = 2**30
"""Bytes."""
RESERVED_FRACTION: Final = 0.15
"""Share of the device's memory that is left free, 0 to 1: predictions of steps were checked on
CPUs only (``benchmarks/memory_model.py``), and workspaces of a GPU's libraries are not in them."""
RESERVED_BYTES: Final = GIB
"""Left free besides, for the same reason."""
CONTEXT_BYTES: Final = GIB // 2
"""Memory that the libraries of a GPU take before the first step; not measured by us."""


def usable_bytes(gpu_memory_gib: float) -> int:
    """Return how many bytes of a device a training step may take; negative if it is too small.

    Parameters
    ----------
    gpu_memory_gib : float
        Memory of the device that a training may use, GiB.

    Examples
    --------
    >>> usable_bytes(10.0) / 2**30
    7.0
    """
    return int(gpu_memory_gib * GIB * (1 - RESERVED_FRACTION)) - RESERVED_BYTES - CONTEXT_BYTES


def memory_for(step_bytes: int) -> float:
    """Return the device memory, GiB, of which `usable_bytes` are `step_bytes`."""
    return (step_bytes + RESERVED_BYTES + CONTEXT_BYTES) / (1 - RESERVED_FRACTION) / GIB
