"""Keeps freed memory from going back to the system: a training soon asks for it again."""

import ctypes
import os
from contextlib import suppress
from typing import Final

M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
"""Parameters of ``mallopt``, from glibc's ``malloc.h``."""
LARGEST_KEPT_BYTES: Final = 2**31 - 1
"""Blocks above this size are still given back: the largest that ``mallopt`` can be told."""


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, for its next request; only glibc can be told so.

    Returns
    -------
    bool
        Whether freed memory is kept from now on. The process then holds the most that it ever
        used, until it ends.

    Notes
    -----
    By default glibc maps every block of 32 MiB and more afresh, and the system fills it with zeros
    page by page: a good part of the time of large training steps on a CPU
    (``benchmarks/training_step.py``).

    References
    ----------
    ``man 3 mallopt``.
    """
    if not _is_glibc():
        return False
    set_option = ctypes.CDLL(None).mallopt
    set_option.argtypes, set_option.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    keeps = set_option(M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES)
    return bool(keeps and set_option(M_TRIM_THRESHOLD, -1))  # -1: never


def _is_glibc() -> bool:
    with suppress(AttributeError, ValueError, OSError):  # not on every system, nor in every libc
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    return False
