"""What the previous stage of a cascade predicted, as a network sees it tile by tile."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from autoseg.networks.previous import label_channels


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviousPrediction:
    """What the previous stage of a cascade predicted: further channels of the network's input."""

    label_map: npt.NDArray[np.unsignedinteger]
    """(*spatial) label map on the image's grid."""
    labels: int
    """Foreground labels; each becomes a channel."""

    def padded(self, padding: Sequence[tuple[int, int]]) -> "PreviousPrediction":
        """Return the same with background around it."""
        return PreviousPrediction(label_map=np.pad(self.label_map, padding), labels=self.labels)

    def channels(self, box: tuple[slice, ...]) -> Tensor:
        """Return the channels (labels, *tile) of a tile."""
        return label_channels(torch.from_numpy(self.label_map[box]), self.labels)
