"""How a label map that a previous stage predicted becomes channels of a network's input."""

import torch
from torch import Tensor


def label_channels(label_map: Tensor, labels: int) -> Tensor:
    """Return one channel per foreground label: 1 where the label is, else 0.

    Parameters
    ----------
    label_map : (*spatial) integer tensor
        Values from 0 to ``labels``.
    labels : int
        Number of foreground labels.

    Returns
    -------
    (labels, *spatial) float32 tensor
        On the same device.
    """
    numbers = torch.arange(1, labels + 1, device=label_map.device)
    # uint16 compares with no other type.
    return (label_map.long()[None] == numbers.reshape(-1, *(1,) * label_map.ndim)).float()
