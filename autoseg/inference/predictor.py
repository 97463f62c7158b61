"""Logits of a whole image by a sliding window, averaged over mirrored views and over folds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, combinations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from autoseg.inference.tiling import gaussian_weights, padding_to, tile_boxes
from autoseg.networks.assembler import UNet
from autoseg.networks.device import Device
from autoseg.networks.previous import label_channels

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How an image is cut into tiles and which views of a tile are averaged."""

    tile: tuple[int, ...]
    """Voxels of a tile per axis; a 2D network has a tile of two axes."""
    mirror_axes: tuple[int, ...]
    """Axes of the tile along which views are mirrored; empty for none."""
    step_fraction: float = 0.5
    """Largest distance of neighboring tiles as a fraction of their edge."""
    batch_size: int = 4
    """Tiles per pass of the network."""

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


def predict_logits(
    networks: Sequence[UNet],
    image: Floats,
    window: Window,
    device: Device,
    *,
    previous: PreviousPrediction | None = None,
    on_tile: Callable[[int, int], None] = lambda done, total: None,
) -> Floats:
    """Return the logits of an image, averaged over networks and mirrored views.

    Parameters
    ----------
    networks : sequence of UNet
        One per fold, on the device, in evaluation mode.
    image : (C, *spatial) array of float32
        Preprocessed image. With a tile of fewer axes, every slice along the leading spatial axes
        is predicted on its own.
    window : Window
        Tiles and views.
    device : Device
        Where networks run. Sums are kept in float32 on the same device.
    previous : PreviousPrediction, optional
        What the previous stage of a cascade predicted, on the same grid.
    on_tile : callable
        Told how many tiles are done, and of how many.

    Returns
    -------
    (K, *spatial) array of float32

    References
    ----------
    Gaussian-weighted tiles: Isensee et al. 2021, doi:10.1038/s41592-020-01008-z.
    """
    leading = image.ndim - 1 - len(window.tile)
    tile = (1,) * leading + window.tile
    padding = padding_to(image.shape[1:], tile)
    padded = torch.from_numpy(np.pad(image, ((0, 0), *padding)))
    guide = None if previous is None else previous.padded(padding)
    starts = list(tile_boxes(padded.shape[1:], tile, window.step_fraction))
    weight = torch.from_numpy(gaussian_weights(window.tile).copy()).reshape(tile)
    weight = weight.to(device.torch_device)
    total, weights = None, torch.zeros(padded.shape[1:], device=device.torch_device)
    for first in range(0, len(starts), window.batch_size):
        boxes = [_box(start, tile) for start in starts[first : first + window.batch_size]]
        tiles = torch.stack([padded[(slice(None), *box)] for box in boxes])
        if guide is not None:
            tiles = torch.cat([tiles, torch.stack([guide.channels(box) for box in boxes])], dim=1)
        squeezed = tiles.reshape(len(boxes), tiles.shape[1], *window.tile).to(device.torch_device)
        logits = _average_logits(networks, squeezed, window, device)
        if total is None:
            shape = (logits.shape[1], *padded.shape[1:])
            total = torch.zeros(shape, device=device.torch_device)
        for box, values in zip(boxes, logits, strict=True):
            total[(slice(None), *box)] += values.reshape(len(values), *tile) * weight
            weights[box] += weight
        on_tile(min(first + window.batch_size, len(starts)), len(starts))
    assert total is not None  # an image has at least one tile
    inside = tuple(slice(a, a + n) for (a, _), n in zip(padding, image.shape[1:], strict=True))
    blended: Floats = (total / weights)[(slice(None), *inside)].cpu().numpy()
    return blended


def _box(start: Sequence[int], tile: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(a, a + n) for a, n in zip(start, tile, strict=True))


@torch.inference_mode()
def _average_logits(
    networks: Sequence[UNet], tiles: Tensor, window: Window, device: Device
) -> Tensor:
    """Average float32 logits (N, K, *tile) of tiles (N, C, *tile)."""
    total: Tensor | None = None
    for view in window.views:
        axes = tuple(axis + 2 for axis in view)
        seen = tiles.flip(axes) if axes else tiles
        for network in networks:
            with device.precision():
                logits = network(seen)[0]
            logits = logits.float().flip(axes) if axes else logits.float()
            total = logits if total is None else total + logits
    assert total is not None  # there is at least one network and one view
    return total / (len(window.views) * len(networks))
