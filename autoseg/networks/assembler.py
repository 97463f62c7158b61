"""From a network's record and its topology to a torch module."""

from torch import Tensor, nn

from autoseg.core.errors import PlanError
from autoseg.core.network_spec import Arch, Block
from autoseg.core.plan import Topology
from autoseg.networks.units import (
    CONVOLUTIONS,
    TRANSPOSED,
    ConvUnit,
    ResidualBlock,
    initialize,
    upsample_beside,
)


class UNet(nn.Module):
    """An encoder-decoder with a concatenating skip and a logits head at every decoder stage.

    Parameters
    ----------
    arch : Arch
        How stages are built.
    topology : Topology
        Strides, kernels and features by stage.
    channels_in : int
        Image channels.
    channels_out : int
        Logits channels.
    """

    def __init__(
        self, arch: Arch, topology: Topology, *, channels_in: int, channels_out: int
    ) -> None:
        super().__init__()
        features, kernels, strides = topology.features, topology.kernels, topology.strides
        axes, stages = len(kernels[0]), len(features)
        self.stem = (
            ConvUnit(channels_in, features[0], kernel=kernels[0], stride=strides[0])
            if arch.stem
            else nn.Identity()
        )
        widths = (features[0] if arch.stem else channels_in, *features)
        self.encoder = nn.ModuleList(
            _stage(arch.encoder, s, widths[s], features[s], kernels[s], strides[s])
            for s in range(stages)
        )
        ones = (1,) * axes
        upward = range(stages - 2, -1, -1)
        self.upsamplers = nn.ModuleList(
            TRANSPOSED[axes](
                features[s + 1],
                features[s],
                strides[s + 1],  # type: ignore[arg-type]
                strides[s + 1],  # type: ignore[arg-type]
            )
            for s in upward
        )
        self.decoder = nn.ModuleList(
            _stage(arch.decoder, s, 2 * features[s], features[s], kernels[s], ones) for s in upward
        )
        self.heads = nn.ModuleList(CONVOLUTIONS[axes](features[s], channels_out, 1) for s in upward)

    def forward(self, x: Tensor, levels: int = 1) -> list[Tensor]:
        """Return logits at the finest ``levels`` decoder stages, full resolution first.

        Parameters
        ----------
        x : (N, C, *spatial) tensor
            Spatial sizes must be multiples of the topology's divisor.
        levels : int
            How many stages give logits, 1 to the number of decoder stages.

        Returns
        -------
        list of (N, K, *spatial / strides) tensors
        """
        # Block after block, and every skip taken off: what is done with is freed at once.
        skips = []
        x = self.stem(x)
        for stage in self.encoder:
            for block in stage:  # type: ignore[attr-defined]
                x = block(x)
            skips.append(x)
        x = skips.pop()
        logits: list[Tensor] = []
        last = len(self.decoder)
        for place, (upsampler, stage, head) in enumerate(
            zip(self.upsamplers, self.decoder, self.heads, strict=True)
        ):
            x = upsample_beside(upsampler, x, skips.pop())  # type: ignore[arg-type]
            for block in stage:  # type: ignore[attr-defined]
                x = block(x)
            if place >= last - levels:
                logits.insert(0, head(x))
        return logits

    @property
    def supervised_levels(self) -> int:
        """Decoder stages that have a head; the loss gives the coarsest of several no weight."""
        return len(self.decoder)


def build_network(arch: Arch, topology: Topology, *, channels_in: int, channels_out: int) -> UNet:
    """Build a network with fresh weights drawn from torch's global generator.

    Parameters
    ----------
    arch : Arch
        The network's record.
    topology : Topology
        Its geometry.
    channels_in, channels_out : int
        Image and logits channels.

    Raises
    ------
    PlanError
        If the topology has a single stage: there would be nothing to decode.

    References
    ----------
    Ronneberger et al. 2015, arXiv:1505.04597; Isensee et al. 2021, doi:10.1038/s41592-020-01008-z.
    """
    if len(topology.features) < 2:
        raise PlanError(
            f"network: {len(topology.features)} stage is too few; a U-Net needs at least 2",
            hint="the patch is too small to be halved once; images need 8 voxels along some axis",
        )
    network = UNet(arch, topology, channels_in=channels_in, channels_out=channels_out)
    initialize(network)
    return network


def _stage(
    block: Block,
    stage: int,
    channels_in: int,
    channels_out: int,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
) -> nn.Sequential:
    """One resolution level: the first block changes width and carries the stride."""
    ones = (1,) * len(kernel)
    blocks: list[nn.Module] = []
    for index in range(block.blocks(stage)):
        width, step = (channels_in, stride) if index == 0 else (channels_out, ones)
        if block.shortcut == "residual":
            blocks.append(ResidualBlock(width, channels_out, kernel=kernel, stride=step))
            continue
        for unit in range(block.convolutions(stage)):
            first = unit == 0
            blocks.append(
                ConvUnit(
                    width if first else channels_out,
                    channels_out,
                    kernel=kernel,
                    stride=step if first else ones,
                )
            )
    return nn.Sequential(*blocks)
