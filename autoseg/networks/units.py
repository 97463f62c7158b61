"""The blocks that networks are made of; each takes flat parameters and knows no configuration."""

from collections.abc import Sequence
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoseg.networks.instance_norm import ORDERS, InstanceNorm

CONVOLUTIONS: Final[dict[int, type[nn.Conv2d] | type[nn.Conv3d]]] = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: Final[dict[int, type[nn.ConvTranspose2d] | type[nn.ConvTranspose3d]]] = {
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}
POOLS: Final[dict[int, type[nn.AvgPool2d] | type[nn.AvgPool3d]]] = {
    2: nn.AvgPool2d,
    3: nn.AvgPool3d,
}
SLOPE: Final = 0.01
"""Slope of the leaky ReLU below zero."""


class ConvUnit(nn.Module):
    """Convolution, instance norm and, unless told otherwise, leaky ReLU.

    Parameters
    ----------
    channels_in, channels_out : int
        Channels before and after.
    kernel, stride : sequence of int
        Per spatial axis; the padding keeps the shape at stride 1.
    active : bool
        Whether the activation follows.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        kernel: Sequence[int],
        stride: Sequence[int],
        active: bool = True,
    ) -> None:
        super().__init__()
        axes = len(kernel)
        self.conv = CONVOLUTIONS[axes](
            channels_in,
            channels_out,
            tuple(kernel),  # type: ignore[arg-type]
            stride=tuple(stride),  # type: ignore[arg-type]
            padding=tuple((k - 1) // 2 for k in kernel),  # type: ignore[arg-type]
        )
        self.norm = InstanceNorm(channels_out, slope=SLOPE if active else 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, *spatial) to (N, C_out, *spatial / stride)."""
        result: Tensor = self.norm(self.conv(x))
        return result


class ResidualBlock(nn.Module):
    """Two convolution units whose input is added before the last activation (ResNet-D).

    Where shape or width change, the shortcut is average pooling and a 1-convolution with norm.

    References
    ----------
    He et al. 2019, "Bag of tricks", arXiv:1812.01187; as used by Isensee et al. 2024,
    arXiv:2404.09556.
    """

    def __init__(
        self, channels_in: int, channels_out: int, *, kernel: Sequence[int], stride: Sequence[int]
    ) -> None:
        super().__init__()
        axes, ones = len(kernel), (1,) * len(kernel)
        self.first = ConvUnit(channels_in, channels_out, kernel=kernel, stride=stride)
        self.second = ConvUnit(channels_out, channels_out, kernel=kernel, stride=ones, active=False)
        shortcut: list[nn.Module] = []
        if any(s != 1 for s in stride):
            shortcut.append(POOLS[axes](tuple(stride), tuple(stride)))  # type: ignore[arg-type]
        if channels_in != channels_out:
            shortcut.append(
                CONVOLUTIONS[axes](channels_in, channels_out, 1, bias=False),
            )
            shortcut.append(InstanceNorm(channels_out))
        self.shortcut = nn.Sequential(*shortcut)
        self.activation = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, *spatial) to (N, C_out, *spatial / stride)."""
        result: Tensor = self.activation(self.second(self.first(x)) + self.shortcut(x))
        return result


def upsample(transposed: nn.ConvTranspose2d | nn.ConvTranspose3d, x: Tensor) -> Tensor:
    """Return a transposed convolution whose kernel is its stride.

    On a CPU its bias is added afterwards: oneDNN 3.12 takes 2 % of a training step for the bias's
    gradient in channels-last order (``ref_deconvolution_bwd_weights_t``).
    """
    bias = transposed.bias
    if x.device.type != "cpu" or not isinstance(bias, Tensor):
        result: Tensor = transposed(x)
        return result
    convolve = F.conv_transpose2d if x.ndim == 4 else F.conv_transpose3d
    result = convolve(x, transposed.weight, None, transposed.stride)
    return result.add_(bias.to(result.dtype).view(-1, *(1,) * (x.ndim - 2)))


def upsample_beside(
    transposed: nn.ConvTranspose2d | nn.ConvTranspose3d, x: Tensor, skip: Tensor
) -> Tensor:
    """Return the upsampled features and those of the skip (N, C, *spatial), (N, 2 C, *spatial).

    On a CPU without gradients the skip is freed before the upsampled features are made, if nobody
    else holds it: of a patch of 64x192x160 voxels that is 120 MiB less at the peak.
    """
    if torch.is_grad_enabled() or x.device.type != "cpu":
        return torch.cat((upsample(transposed, x), skip), dim=1)
    channels = skip.shape[1]
    order = ORDERS[skip.ndim]
    if not skip.is_contiguous(memory_format=order):
        order = torch.contiguous_format
    shape = (len(skip), 2 * channels, *skip.shape[2:])
    both = torch.empty(shape, dtype=skip.dtype, memory_format=order)
    both[:, channels:] = skip
    del skip
    both[:, :channels] = upsample(transposed, x).view_as(both[:, :channels])
    return both


def initialize(module: nn.Module) -> None:
    """Draw Kaiming-normal weights for leaky ReLU, set biases to 0 and silence residual branches."""
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
            nn.init.kaiming_normal_(part.weight, a=SLOPE)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    for part in module.modules():
        if isinstance(part, ResidualBlock):
            nn.init.zeros_(part.second.norm.weight)
