"""Rotation and scaling: which voxels of the source each voxel of a patch is taken from.

Offsets are in voxels from the patch's center, along array axes; spacing plays no part, as in
nnU-Net, so patches too anisotropic for that are turned in-plane only. Label maps are taken from
the nearest voxel: nnU-Net's interpolation of each label costs one pass per label, and differs in
voxels on the border between labels only.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Self

import numpy as np
import numpy.typing as npt
from torch import Tensor

from autoseg.training.augmentation.interpolation import BORDER, framed, stretched, turned
from autoseg.training.augmentation.parts import change_places
from autoseg.training.augmentation.policy import Policy
from autoseg.training.augmentation.rotation import rotation_matrix, rotation_ranges

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spatial:
    """A drawn rotation and scaling about the center of the patch."""

    angles: tuple[float, ...]
    """Angles in rad: one in 2D or in-plane (the last two axes), else one per axis turned about.

    In 3D the image is turned about the last axis first."""
    factors: tuple[float, ...]
    """Scaling factor of each rotated axis of the patch; above 1 shows more of the image."""

    @classmethod
    def draw(
        cls, rng: np.random.Generator, policy: Policy, patch_size: Sequence[int]
    ) -> Self | None:
        """Draw a rotation and a scaling, or None if the sample gets neither."""
        limits = rotation_ranges(patch_size)
        axes = 2 if len(limits) == 1 else 3
        rotates = rng.random() < policy.rotation
        scales = rng.random() < policy.scaling
        angles = tuple(
            rng.uniform(-limit, limit) if rotates and rng.random() < policy.rotation_axis else 0.0
            for limit in limits
        )
        if not (any(angles) or scales):
            return None
        count = axes if scales and not policy.scaling_together else 1
        factors = rng.uniform(*policy.scaling_range, count) if scales else np.ones(1)
        return cls(angles=angles, factors=tuple(np.broadcast_to(factors, axes).tolist()))

    @property
    def matrix(self) -> Array:
        """(d, d) matrix from an offset in the output to the offset in the input, d = 2 or 3."""
        ndim = len(self.factors)
        rotated: Array = np.eye(ndim)
        for about, angle in enumerate(self.angles):
            rotated = rotation_matrix(about, angle, ndim) @ rotated
        scaled: Array = rotated * np.asarray(self.factors)
        return scaled

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

    def terms(self, source: Sequence[int], patch_size: Sequence[int]) -> list[list[Array]]:
        """Return what each index of the patch adds to a position in the source, in voxels.

        Parameters
        ----------
        source, patch_size : sequence of int
            Voxels along each of the matrix's axes; the centers are those of `centered_crop`.

        Returns
        -------
        list, per axis of the source, of lists, per axis of the patch, of arrays
        """
        matrix = self.matrix
        parts = []
        for axis, (wide, size) in enumerate(zip(source, patch_size, strict=True)):
            row = [
                matrix[axis, other] * (np.arange(length) - (length - 1) / 2)
                for other, length in enumerate(patch_size)
            ]
            row[axis] += (size - 1) / 2 + (wide - size) // 2
            parts.append(row)
        return parts


def sample_patches(
    images: Sequence[Tensor],
    maps: Sequence[Sequence[Tensor]],
    drawn: Sequence[Spatial | None],
    patch_size: Sequence[int],
) -> tuple[Tensor, list[Tensor]]:
    """Sample one patch out of each source.

    Parameters
    ----------
    images : sequence of N (C, *source) float32 tensors
        Interpolated linearly; shapes may differ between samples.
    maps : sequence of sequences of N (*source) tensors
        Kinds of label maps and masks; each is taken from the nearest voxel.
    drawn : sequence of N
        How each sample is rotated and scaled; None crops the middle.
    patch_size : sequence of int
        Spatial shape of the result; the centers of both patches coincide.

    Returns
    -------
    images : (N, C, *patch_size) float32 tensor
        Contiguous, and no part of the arguments.
    maps : list of (N, *patch_size) tensors of the same types
        All are 0 outside of the sources.
    """
    sources = [list(images), *([one[None] for one in kind] for kind in maps)]
    results = [kind[0].new_empty(len(images), len(kind[0]), *patch_size) for kind in sources]
    zooms: list[tuple[int, Spatial]] = []
    turns: list[tuple[int, Spatial]] = []
    for place, spatial in enumerate(drawn):
        if spatial is not None:
            (turns if any(spatial.angles) else zooms).append((place, spatial))
            continue
        for result, kind in zip(results, sources, strict=True):
            result[place] = centered_crop(kind[place], patch_size)
    for group, sample in ((zooms, _zoomed), (turns, turned)):
        if group:
            _sample_together(results, sources, group, sample)
    return results[0], [result[:, 0] for result in results[1:]]


def _sample_together(
    results: Sequence[Tensor],
    sources: Sequence[Sequence[Tensor]],
    group: Sequence[tuple[int, Spatial]],
    sample: Callable[[Sequence[Tensor], Sequence[Sequence[Array]]], list[Tensor]],
) -> None:
    """Fill the entries of a group; axes that do not turn are cropped and travel as channels."""
    patch_size = results[0].shape[2:]
    places, turning = [place for place, _ in group], len(group[0][1].factors)
    kept, target = patch_size[:-turning], patch_size[-turning:]
    frames = []
    for kind in sources:
        cropped = (
            centered_crop(kind[place], (*kept, *kind[place].shape[-turning:])) for place in places
        )
        frames.append(framed([one.flatten(0, len(kept)) for one in cropped]))
    per_sample = [one.terms(sources[0][place].shape[-turning:], target) for place, one in group]
    terms = [
        [np.stack([of[axis][other] for of in per_sample]) for other in range(turning)]
        for axis in range(turning)
    ]
    for axis in range(turning):
        terms[axis][axis] += BORDER[0]
    for result, values in zip(results, sample(frames, terms), strict=True):
        apart = values.view(*result.shape[1 : 2 + len(kept)], *values.shape[1:])
        _put(result, places, apart.movedim(1 + len(kept), 0))


def _put(result: Tensor, places: Sequence[int], values: Tensor) -> None:
    change_places(result, places, lambda _: values)


def _zoomed(frames: Sequence[Tensor], terms: Sequence[Sequence[Array]]) -> list[Tensor]:
    positions = [row[axis] for axis, row in enumerate(terms)]
    return [stretched(frame, positions, linear=place == 0) for place, frame in enumerate(frames)]


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
