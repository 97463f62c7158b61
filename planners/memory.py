"""A closed form for the memory of a network: how many numbers its convolutions put out.

It counts elements of feature maps for one patch; weights, gradients and number types are left to
the reference that it is compared with (`planners.budget.NetworkReference`).
"""

from collections.abc import Sequence
from math import prod

from autoseg.core.network_spec import Arch
from autoseg.core.plan import Topology


def convolution_outputs(
    arch: Arch, topology: Topology, patch_size: Sequence[int], labels: int
) -> int:
    """Count the elements that all convolutions of a U-Net put out for one patch.

    Parameters
    ----------
    arch : Arch
        The network's record.
    topology : Topology
        Its geometry.
    patch_size : sequence of int
        Voxels per axis, a multiple of ``topology.divisor``.
    labels : int
        Channels of the output at full resolution; heads for deep supervision do not count.

    Returns
    -------
    int
        Elements; the decoder's transposed convolutions are included, its concatenations are not.

    Notes
    -----
    With V voxels and F features at a stage, each convolution of the encoder or decoder, each
    projection of a residual shortcut, the stem, and each transposed convolution puts out V F. As in
    nnU-Net, the head belongs to a stage of the decoder: a network of one stage counts none.

    Examples
    --------
    >>> from autoseg.core.network_presets import preset
    >>> from planners.topology import plan_topology
    >>> topology, patch = plan_topology((1.0, 1.0, 1.0), (128, 128, 128))
    >>> convolution_outputs(preset("plain"), topology, patch, labels=2)
    450699264
    """
    voxels = prod(patch_size)
    total = labels * voxels if len(topology.strides) > 1 else 0
    for stage, (stride, features) in enumerate(
        zip(topology.strides, topology.features, strict=True)
    ):
        voxels //= prod(stride)
        total += _encoder_convolutions(arch, topology, stage) * features * voxels
        if stage < len(topology.strides) - 1:
            decoder = arch.decoder.convolutions(stage) * arch.decoder.blocks(stage)
            total += (decoder + 1) * features * voxels
    return total


def _encoder_convolutions(arch: Arch, topology: Topology, stage: int) -> int:
    """Count the convolutions of one encoder stage, projections and stem included."""
    count = arch.encoder.convolutions(stage) * arch.encoder.blocks(stage)
    if stage == 0:
        return count + arch.stem
    # Every further stage strides or widens, so that a shortcut into it needs a projection.
    return count + (arch.encoder.shortcut == "residual")
