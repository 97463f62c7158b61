"""Instance norm with the leaky ReLU that follows it, in the memory order that convolutions want.

Torch's own goes through the batch norm of a contiguous copy, and the convolution after it copies
the result back. On a CPU both copies, and two more of gradients, take a tenth of a training step.
"""

from collections.abc import Callable
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

aten = torch.ops.aten

NORM_EPSILON: Final = 1e-5
"""Added to the variance."""
ORDERS: Final = {4: torch.channels_last, 5: torch.channels_last_3d}
"""The channels-last order of tensors by their axes."""


class InstanceNorm(nn.Module):
    """Normalize each channel of each sample over space; scale, shift and activate it.

    Parameters
    ----------
    channels : int
        Channels.
    slope : float
        Slope of the leaky ReLU below zero; 1 for none.

    References
    ----------
    Ulyanov et al. 2016, arXiv:1607.08022.
    """

    def __init__(self, channels: int, *, slope: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.slope = slope
        self.kind: str | None = None
        """Kind of device whose way is taken, by default the input's; `autoseg.training.memory`
        sets it, whose tensors are on another."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, *spatial) to the same shape, type and memory order; 2 voxels at least.

        Where no gradients are wanted, the input, a convolution's result, may be overwritten.
        """
        if (self.kind or x.device.type) == "cpu" and _is_channels_last(x):
            if not torch.is_grad_enabled():
                return _normalize(x, self.weight, self.bias, self.slope, into=x)[0]
            return norm_in_order(x, self.weight, self.bias, self.slope)
        normed = F.instance_norm(x, weight=self.weight, bias=self.bias, eps=NORM_EPSILON)
        return normed if self.slope == 1 else F.leaky_relu_(normed, self.slope)


def _is_channels_last(x: Tensor) -> bool:
    """Tell whether the batch norm of each sample can work in place of the instance norm."""
    order = ORDERS.get(x.ndim)
    # Of a single voxel there is no variance: F.instance_norm refuses it.
    return order is not None and x.is_contiguous(memory_format=order) and x[0, 0].numel() > 1


def _samples(x: Tensor) -> range:
    """Return the samples to compute; of tensors without numbers one tells the memory of all."""
    return range(1 if x.is_meta else len(x))


def _normalize(
    x: Tensor, weight: Tensor, bias: Tensor, slope: float, *, into: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the activated norm, and the mean and inverse deviation of each sample's channels."""
    means, inverse_deviations = (weight.new_empty(x.shape[:2]) for _ in range(2))
    for n in _samples(x):
        aten.native_batch_norm.out(
            *(x[n : n + 1], weight, bias, None, None, True, 0.0, NORM_EPSILON),
            out=into[n : n + 1],
            save_mean=means[n],
            save_invstd=inverse_deviations[n],
        )
        if slope != 1:
            F.leaky_relu_(into[n], slope)
    return into, means, inverse_deviations


class _ChannelsLastNorm(torch.autograd.Function):
    """Torch's batch norm of every sample, which keeps the order of its input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, slope: float) -> Tensor:
        """Return the activated norm; kept are input, output, and mean and deviation."""
        into = torch.empty_like(x)
        result, means, inverse_deviations = _normalize(x, weight, bias, slope, into=into)
        ctx.slope = slope
        # The sign of the output is that of the activation's input: one tensor less is kept.
        activated = None if slope == 1 else result
        ctx.save_for_backward(x, weight, activated, means, inverse_deviations)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Return the gradients of input, weight and bias."""
        x, weight, activated, means, inverse_deviations = ctx.saved_tensors
        of_input = torch.empty_like(x)
        of_weight, of_bias = (torch.empty_like(means) for _ in range(2))
        for n in _samples(x):
            of_input[n], of_weight[n], of_bias[n] = _gradients(
                *(gradient[n : n + 1], x[n : n + 1], weight, means[n], inverse_deviations[n]),
                activated=None if activated is None else activated[n : n + 1],
                slope=ctx.slope,
            )
        return of_input, of_weight.sum(0), of_bias.sum(0), None


def _gradients(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    mean: Tensor,
    inverse_deviation: Tensor,
    *,
    activated: Tensor | None,
    slope: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of one sample's input, weight and bias."""
    if activated is None:
        gradient = gradient.contiguous(memory_format=ORDERS[x.ndim])
    else:
        gradient = aten.leaky_relu_backward.grad_input(
            gradient, activated, slope, True, grad_input=torch.empty_like(x)
        )
    # Torch allocates its result twice, which no trace sees.
    spare = torch.empty_like(x) if x.is_meta else None
    found = aten.native_batch_norm_backward(
        *(gradient, x, weight, None, None, mean, inverse_deviation),
        *(True, NORM_EPSILON, [True, True, True]),
    )
    del spare
    return found[0][0], found[1], found[2]


norm_in_order: Final[Callable[[Tensor, Tensor, Tensor, float], Tensor]] = _ChannelsLastNorm.apply
"""The norm of channels-last tensors by their weights, biases and slope."""
