"""What the network sees of an image at a time, and from which sides."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, combinations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from autoseg.networks.previous import label_channels


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
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
