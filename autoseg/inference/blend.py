"""Weighted sums of overlapping tiles, kept for the planes that are not finished yet.

A whole image of logits may not fit into memory: 118 of them for every voxel of a body take 74 GB.
Tiles come in the order of the first axis, so planes behind the last tile are finished and leave.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


class Blend:
    """Sums of logits over tiles; the planes that it holds move on along the first axis.

    Parameters
    ----------
    weight : (*tile) tensor of float32
        How much each voxel of a tile counts.
    planes : int
        Largest number of planes that tiles reach before some are finished.
    plane_shape : sequence of int
        Voxels of a plane.
    device : torch.device
        Where the sums lie.
    """

    def __init__(
        self, weight: Tensor, planes: int, plane_shape: Sequence[int], device: torch.device
    ) -> None:
        self._weight = weight.to(device)
        # One plane more: the last finished one, between which and the next voxels may lie.
        self._weights = torch.zeros((planes + 1, *plane_shape), device=device)
        self._sums: Tensor | None = None
        self._first = 0  # the plane of the image that lies at position 1
        self._starts_at = 1

    @property
    def device(self) -> torch.device:
        """Where the sums lie."""
        return self._weights.device

    def move(self, device: torch.device) -> None:
        """Put the sums onto another device."""
        self._weight, self._weights = self._weight.to(device), self._weights.to(device)
        if self._sums is not None:
            self._sums = self._sums.to(device)

    def add(self, start: Sequence[int], logits: Tensor) -> None:
        """Add a tile's logits (K, *tile) at its place."""
        begin = (start[0] - self._first + 1, *start[1:])
        box = tuple(slice(a, a + n) for a, n in zip(begin, self._weight.shape, strict=True))
        if self._sums is None:
            self._sums = torch.zeros((len(logits), *self._weights.shape), device=self.device)
        self._sums[(slice(None), *box)].addcmul_(logits.to(self.device), self._weight)
        self._weights[box] += self._weight

    def finish(self, stop: int) -> Tensor:
        """Return the logits (K, planes, *plane) of all planes before one, which is behind them.

        They begin with the last plane that was returned before, if there was one. What is returned
        is overwritten by `advance`.
        """
        assert self._sums is not None  # finished planes were reached by some tile
        end = stop - self._first + 1
        self._sums[:, 1:end] /= self._weights[1:end]
        return self._sums[:, self._starts_at : end]

    def advance(self, stop: int) -> None:
        """Forget the planes before one, but for the last of them."""
        assert self._sums is not None  # something was finished
        gone, held = stop - self._first, len(self._weights)
        for position in range(held - gone):  # one by one: source and destination may overlap
            self._sums[:, position] = self._sums[:, position + gone]
            self._weights[position] = self._weights[position + gone]
        self._sums[:, held - gone :] = 0
        self._weights[held - gone :] = 0
        self._first, self._starts_at = stop, 0
