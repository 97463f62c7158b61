"""Which tiles an image is cut into, what is seen of each, and how much each voxel counts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, combinations, product
from math import ceil
from typing import Final

import numpy as np
import numpy.typing as npt

SIGMA_FRACTION: Final = 1 / 8
"""Width of the Gaussian weight as a fraction of the tile's edge, as in nnU-Net."""
LEAST_WEIGHT: Final = 1e-4
"""Smallest weight relative to the center's: corners still count where no other tile reaches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """How an image is cut into tiles and which views of a tile are averaged."""

    tile: tuple[int, ...]
    """Voxels of a tile per axis; a 2D network has a tile of two axes."""
    mirror_axes: tuple[int, ...]
    """Axes of the tile along which views are mirrored; empty for none."""
    step_fraction: float = 0.5
    """Largest distance of neighboring tiles as a fraction of their edge."""

    @property
    def views(self) -> tuple[tuple[int, ...], ...]:
        """Every combination of mirrored axes, the unmirrored view first."""
        axes = self.mirror_axes
        return tuple(chain.from_iterable(combinations(axes, n) for n in range(len(axes) + 1)))


def tile_starts(size: int, tile: int, step_fraction: float = 0.5) -> tuple[int, ...]:
    """Return where tiles start along one axis.

    Parameters
    ----------
    size : int
        Voxels of the image, at least ``tile``.
    tile : int
        Voxels of a tile.
    step_fraction : float
        Largest distance of neighboring tiles as a fraction of their edge, above 0 and at most 1;
        at least one voxel.

    Returns
    -------
    tuple of int
        Evenly spread, the first at 0, the last at ``size - tile``.

    Examples
    --------
    >>> tile_starts(110, 64)
    (0, 23, 46)
    """
    # A tile of one voxel, a slice, must not be taken twice.
    count = ceil((size - tile) / max(1.0, tile * step_fraction)) + 1
    if count == 1:
        return (0,)
    return tuple(round(k * (size - tile) / (count - 1)) for k in range(count))


def tile_boxes(
    shape: Sequence[int], tile: Sequence[int], step_fraction: float = 0.5
) -> Iterator[tuple[int, ...]]:
    """Yield the start of every tile, the last axis running fastest."""
    return product(*(tile_starts(n, t, step_fraction) for n, t in zip(shape, tile, strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Tiles that are predicted before the planes that they finish are given on."""

    starts: tuple[tuple[int, ...], ...]
    """Start of each tile, voxels."""
    first: int
    """The first plane that they reach, along the first axis."""
    reach: int
    """The plane behind the last that they reach."""
    finished: int
    """The plane behind the last that no later tile reaches."""


def tile_groups(
    shape: Sequence[int], tile: Sequence[int], step_fraction: float = 0.5, *, most: int = 1
) -> tuple[Group, ...]:
    """Return all tiles in the order of the first axis, in groups that start on the same planes.

    Parameters
    ----------
    shape, tile : sequence of int
        Voxels of the image, at least those of a tile, and of a tile.
    step_fraction : float
        As in `tile_starts`.
    most : int
        Tiles up to which groups are joined: a thin image has few tiles on the same planes, and
        more of them fit into one pass of a network.

    Examples
    --------
    >>> [(group.first, group.reach, group.finished) for group in tile_groups((9, 4), (4, 4))]
    [(0, 4, 2), (2, 6, 5), (5, 9, 9)]
    """
    rows: dict[int, list[tuple[int, ...]]] = {}
    for start in tile_boxes(shape, tile, step_fraction):
        rows.setdefault(start[0], []).append(start)
    joined: list[list[tuple[int, ...]]] = []
    for row in rows.values():
        if joined and len(joined[-1]) + len(row) <= most:
            joined[-1] += row
        else:
            joined.append(row)
    behind = [*(starts[0][0] for starts in joined[1:]), shape[0]]
    return tuple(
        Group(
            starts=tuple(starts),
            first=starts[0][0],
            reach=starts[-1][0] + tile[0],
            finished=finished,
        )
        for starts, finished in zip(joined, behind, strict=True)
    )


@lru_cache(maxsize=8)
def gaussian_weights(tile: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return how much each voxel of a tile counts, (*tile) float32, 1 at the center; read-only.

    The weight is a Gaussian of an eighth of the tile's edge around voxel ``tile // 2``, at least
    `LEAST_WEIGHT`. In float32 the blend keeps its precision to the corners, where half-precision
    weights lose it.
    """
    weights = np.ones(tile, np.float64)
    for axis, edge in enumerate(tile):
        distance = (np.arange(edge) - edge // 2) / (edge * SIGMA_FRACTION)
        shape = [1] * len(tile)
        shape[axis] = edge
        weights = weights * np.exp(-0.5 * distance**2).reshape(shape)
    floored: npt.NDArray[np.float32] = np.maximum(weights, LEAST_WEIGHT).astype(np.float32)
    floored.setflags(write=False)
    return floored


def padding_to(shape: Sequence[int], tile: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Return how many voxels to add before and behind per axis, so that a tile fits.

    The image lies in the middle; an odd voxel goes behind.
    """
    missing = [max(0, t - n) for n, t in zip(shape, tile, strict=True)]
    return tuple((m // 2, m - m // 2) for m in missing)
