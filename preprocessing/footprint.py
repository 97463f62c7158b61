"""How much memory and disk the preprocessing of a case takes, from its shape and spacing alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final

from autoseg.core.dataset import Case
from autoseg.core.fingerprint import CaseGrid
from autoseg.core.geometry import Box
from autoseg.core.plan import Plan
from autoseg.io.guard import unpacked_bytes
from preprocessing.case import plan_resampling, raw_grid

PROCESS_BYTES: Final = 160 * 2**20
"""Memory of a worker before it reads a case: Python and the libraries. Measured: 140 MiB."""
RAW_BYTES: Final = 4
"""Bytes of a voxel in an unpacked file: 2 for most CT and MR, 4 for floats."""
FLOAT_BYTES: Final = 4
"""Bytes of an intensity."""
SLAB_SLICES: Final = 64
"""Slices that resampling holds between its products: 32 new ones and what their splines reach."""
COPIES: Final = 6
"""Bytes held per byte of unpacked files while they are measured: of 16-bit integers the file, the
intensities and those of the foreground, which are sorted, make five."""
PART_BYTES: Final = 4
"""Bytes of a voxel while the parts of its background are numbered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What one case takes at most."""

    memory_bytes: int
    """Memory of the process that works on it."""
    disk_bytes: tuple[int, ...]
    """Disk of its arrays on the grid of each configuration, before compression."""


def reading_bytes(case: Case, folder: Path) -> int:
    """Guess the memory of a process that reads the files of a case, of unknown types, and works.

    Parameters
    ----------
    case : Case
        The case.
    folder : Path
        Folder that its paths start from.
    """
    return unpacking_bytes(folder / path for path in (*case.images, str(case.segmentation)))


def unpacking_bytes(paths: Iterable[Path]) -> int:
    """Guess the memory of a process that reads files of unknown types at once, and works."""
    return PROCESS_BYTES + COPIES * sum(map(unpacked_bytes, paths))


def footprint(
    case: CaseGrid, plan: Plan, configurations: Sequence[str], channels: int
) -> Footprint:
    """Estimate what preprocessing a case takes.

    Parameters
    ----------
    case : CaseGrid
        Its shape and spacing, as measured.
    plan : Plan
        What was decided.
    configurations : sequence of str
        Names of the configurations to prepare.
    channels : int
        Image channels.

    Notes
    -----
    The peak is either while a case is read, when the file, the intensities and the normalized ones
    are held at once, or on its largest grid, when the normalized image, the resampled one, its
    encoded copy and the compressed one are. The labels are held all the while, and so is the
    nonzero mask.
    """
    cut = Box(start=(0,) * len(case.shape), stop=case.shape_after_crop)
    raw = raw_grid(case.shape, case.spacing, cut.permuted(plan.axis_order), plan)
    shapes = [plan_resampling(raw, plan.configuration(name)).shape for name in configurations]
    whole, kept = prod(case.shape), prod(case.shape_after_crop)
    largest = max((prod(shape) for shape in shapes), default=0)
    slab = max((SLAB_SLICES * prod(shape[1:]) for shape in shapes), default=0)
    label_bytes = 2  # the label and whether the voxel is nonzero
    mask = PART_BYTES * kept if any(n.inside_nonzero_only for n in plan.normalization) else 0
    reading = whole * (RAW_BYTES + channels * FLOAT_BYTES + label_bytes)
    reading += kept * channels * FLOAT_BYTES + mask
    working = kept * (channels * FLOAT_BYTES + label_bytes) + slab * FLOAT_BYTES
    working += largest * (3 * channels * FLOAT_BYTES + label_bytes)
    return Footprint(
        memory_bytes=PROCESS_BYTES + max(reading, working),
        disk_bytes=tuple(prod(shape) * (channels * FLOAT_BYTES + label_bytes) for shape in shapes),
    )
