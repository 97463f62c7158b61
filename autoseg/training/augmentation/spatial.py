"""Rotation and scaling: one grid per sample, from which image, segmentation and mask are taken.

Offsets are in voxels from the patch's center, along array axes; spacing plays no part, as in
nnU-Net, so patches too anisotropic for that are turned in-plane only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - its customary name
from torch import Tensor

from autoseg.training.augmentation.policy import Policy, rotation_matrix, rotation_ranges


@dataclass(frozen=True, slots=True, kw_only=True)
class Spatial:
    """A drawn rotation and scaling about the center of the patch."""

    angles: tuple[float, ...]
    """Angles in rad: one in 2D or in-plane (the last two axes), else one per axis turned about.

    In 3D the image is turned about the last axis first."""
    factor: float
    """Scaling factor of the rotated axes; above 1 shows more of the image."""

    @classmethod
    def draw(
        cls, rng: np.random.Generator, policy: Policy, patch_size: Sequence[int]
    ) -> Self | None:
        """Draw a rotation and a scaling, or None if the sample gets neither."""
        limits = rotation_ranges(patch_size)
        rotates = rng.random() < policy.rotation
        scales = rng.random() < policy.scaling
        if not (rotates or scales):
            return None
        return cls(
            angles=tuple(rng.uniform(-limit, limit) if rotates else 0.0 for limit in limits),
            factor=rng.uniform(*policy.scaling_range) if scales else 1.0,
        )

    @property
    def matrix(self) -> npt.NDArray[np.float64]:
        """(d, d) matrix from an offset in the output to the offset in the input, d = 2 or 3."""
        ndim = 2 if len(self.angles) == 1 else 3
        turned = np.eye(ndim)
        for about, angle in enumerate(self.angles):
            turned = rotation_matrix(about, angle, ndim) @ turned
        return turned * self.factor

    def source_shape(self, patch_size: Sequence[int]) -> tuple[int, ...]:
        """Return the smallest centered patch that holds all voxels this takes part of.

        Parameters
        ----------
        patch_size : sequence of int
            Voxels per spatial axis of the output.

        Returns
        -------
        tuple of int
            At least ``patch_size``, and even where that is even, so that the centers coincide.
        """
        matrix = np.abs(self.matrix)
        kept = len(patch_size) - len(matrix)
        sizes = np.asarray(patch_size[kept:])
        excess = matrix @ (sizes - 1.0) - (sizes - 1)  # in voxels, over both sides
        larger = (
            int(size) + 2 * max(0, ceil(more / 2 - 1e-6))
            for size, more in zip(sizes, excess, strict=True)
        )
        return (*patch_size[:kept], *larger)

    def apply(
        self, image: Tensor, labels: Tensor, patch_size: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Sample a patch out of a larger one.

        Parameters
        ----------
        image : (C, *source) float32 tensor
            Interpolated linearly.
        labels : (L, *source) tensor
            Label maps or masks, taken from the nearest voxel; values below 2**24.
        patch_size : sequence of int
            Spatial shape of the result; the centers of both patches coincide.

        Returns
        -------
        image : (C, *patch_size) float32 tensor
        labels : (L, *patch_size) tensor of the same type
            Both are 0 outside of the source.
        """
        grid = self._grid(image.shape[1:], patch_size, image.device)
        sampled = _sample(image, grid, patch_size, "bilinear")
        moved = _sample(labels.to(image.dtype), grid, patch_size, "nearest").to(labels.dtype)
        return sampled, moved

    def _grid(self, source: Sequence[int], target: Sequence[int], device: torch.device) -> Tensor:
        """Where each voxel of the target lies in the source, as `grid_sample` wants it."""
        matrix = self.matrix
        source_sizes, target_sizes = (np.asarray(s[-len(matrix) :]) for s in (source, target))
        # The same center as `centered_crop` has, also if one size is even and the other odd.
        margin = source_sizes - target_sizes
        shift = np.floor(margin / 2) - margin / 2
        scaled = matrix * target_sizes[None, :] / source_sizes[:, None]
        affine = np.concatenate([scaled, (2 * shift / source_sizes)[:, None]], axis=1)
        # torch counts spatial axes from the last to the first.
        reordered = np.concatenate([affine[::-1, :-1][:, ::-1], affine[::-1, -1:]], axis=1)
        theta = torch.tensor(reordered, dtype=torch.float32, device=device)
        return F.affine_grid(theta[None], [1, 1, *target_sizes.tolist()], align_corners=False)


def centered_crop(array: Tensor, patch_size: Sequence[int]) -> Tensor:
    """Cut the middle out of the last axes (a view); if it cannot be centered, one voxel earlier.

    Parameters
    ----------
    array : (..., *source) tensor
        ``source`` is at least ``patch_size`` along each axis.
    patch_size : sequence of int
        Spatial shape to keep.
    """
    first = array.ndim - len(patch_size)
    for axis, size in enumerate(patch_size, start=first):
        array = array.narrow(axis, (array.shape[axis] - size) // 2, size)
    return array


def _sample(
    array: Tensor, grid: Tensor, patch_size: Sequence[int], mode: Literal["bilinear", "nearest"]
) -> Tensor:
    """Sample (C, *source); axes that the grid lacks are cropped and travel as channels."""
    channels, ndim = array.shape[0], grid.shape[-1]
    kept = len(patch_size) - ndim
    if kept:
        thin = [*patch_size[:kept], *array.shape[-ndim:]]
        array = centered_crop(array, thin).flatten(0, kept)
    sampled = F.grid_sample(array[None], grid, mode=mode, padding_mode="zeros", align_corners=False)
    return sampled[0].reshape(channels, *patch_size)
