"""How often a U-Net halves each axis, and with which kernels: a function of spacing and patch.

References
----------
Isensee et al. 2021, doi:10.1038/s41592-020-01008-z, Supplementary Note 2.
"""

from collections.abc import Sequence
from math import ceil
from typing import Final

from autoseg.core.plan import Topology

SMALLEST_EDGE: Final = 4
"""Voxels that the bottleneck keeps along an axis that was halved."""
SPACING_RATIO: Final = 2
"""Axes whose spacings differ by less than this factor are treated alike."""
FIRST_FEATURES: Final = 32
"""Channels of the first stage; each further stage doubles them."""
MOST_FEATURES: Final = {2: 512, 3: 320}
"""Channels at which doubling stops, by number of spatial axes; a narrower or wider network stops
in proportion."""


def plan_topology(
    spacing: Sequence[float], patch_size: Sequence[float], *, width: int = FIRST_FEATURES
) -> tuple[Topology, tuple[int, ...]]:
    """Return the stages of a U-Net for a patch, and the patch padded to what they divide.

    Parameters
    ----------
    spacing : sequence of float
        Voxel edge in mm per axis.
    patch_size : sequence of float
        Voxels per axis, each at least 1; may end in .5, as a median shape does.
    width : int
        Channels of the first stage.

    Returns
    -------
    topology : Topology
        Strides, kernels and features by stage.
    padded : tuple of int
        `patch_size` rounded up to a multiple of the topology's divisor.

    Notes
    -----
    Each further stage halves the axes that are long enough and, among those, not coarser than the
    finest by a factor of 2. An axis has kernel 1 until it has come within that factor of the
    finest of *all* axes; from then on, and always at the bottleneck, it has kernel 3.

    Examples
    --------
    >>> topology, padded = plan_topology((5.0, 1.0, 1.0), (20, 250, 256))
    >>> topology.divisor, padded
    ((4, 64, 64), (20, 256, 256))
    """
    d = len(spacing)
    voxel, size = list(spacing), list(patch_size)
    strides, kernels, kernel = [(1,) * d], [], (1,) * d
    while axes := _axes_to_halve(voxel, size):
        finest = min(voxel)
        kernel = tuple(
            3 if k == 3 or edge / finest < SPACING_RATIO else 1
            for k, edge in zip(kernel, voxel, strict=True)
        )
        kernels.append(kernel)
        strides.append(tuple(2 if axis in axes else 1 for axis in range(d)))
        for axis in axes:
            voxel[axis] *= 2
            size[axis] = ceil(size[axis] / 2)
    kernels.append((3,) * d)
    topology = Topology(
        strides=tuple(strides),
        kernels=tuple(kernels),
        features=stage_features(d, len(strides), width),
    )
    padded = tuple(ceil(n / by) * by for n, by in zip(patch_size, topology.divisor, strict=True))
    return topology, padded


def _axes_to_halve(voxel: Sequence[float], size: Sequence[float]) -> tuple[int, ...]:
    """Return the axes along which the next stage is halved; none ends the network."""
    long = [axis for axis, n in enumerate(size) if n >= 2 * SMALLEST_EDGE]
    if not long:
        return ()
    finest = min(voxel[axis] for axis in long)
    axes = tuple(axis for axis in long if voxel[axis] / finest < SPACING_RATIO)
    # One more stage for a single axis pays only while that axis stays longer than the smallest.
    if len(axes) == 1 and size[axes[0]] < 3 * SMALLEST_EDGE:
        return ()
    return axes


def stage_features(ndim: int, stages: int, width: int) -> tuple[int, ...]:
    """Return the channels of each stage: doubled from `width` until the limit of the axes."""
    most = max(MOST_FEATURES[ndim] * width // FIRST_FEATURES, 1)
    return tuple(min(most, width * 2**stage) for stage in range(stages))
