"""The blocks that networks are made of; each takes flat parameters and knows no configuration."""

from collections.abc import Sequence
from typing import Final

from torch import Tensor, nn

CONVOLUTIONS: Final[dict[int, type[nn.Conv2d] | type[nn.Conv3d]]] = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: Final[dict[int, type[nn.ConvTranspose2d] | type[nn.ConvTranspose3d]]] = {
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}
POOLS: Final[dict[int, type[nn.AvgPool2d] | type[nn.AvgPool3d]]] = {
    2: nn.AvgPool2d,
    3: nn.AvgPool3d,
}
NORMS: Final[dict[int, type[nn.InstanceNorm2d] | type[nn.InstanceNorm3d]]] = {
    2: nn.InstanceNorm2d,
    3: nn.InstanceNorm3d,
}

SLOPE: Final = 0.01
"""Slope of the leaky ReLU below zero."""
NORM_EPSILON: Final = 1e-5
"""Added to the variance by the instance norm."""


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
        self.norm = NORMS[axes](channels_out, eps=NORM_EPSILON, affine=True)
        self.activation = nn.LeakyReLU(SLOPE, inplace=True) if active else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, *spatial) to (N, C_out, *spatial / stride)."""
        result: Tensor = self.activation(self.norm(self.conv(x)))
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
            shortcut.append(NORMS[axes](channels_out, eps=NORM_EPSILON, affine=True))
        self.shortcut = nn.Sequential(*shortcut)
        self.activation = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, *spatial) to (N, C_out, *spatial / stride)."""
        result: Tensor = self.activation(self.second(self.first(x)) + self.shortcut(x))
        return result


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
