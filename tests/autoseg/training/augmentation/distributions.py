"""What augmentation makes of a picture, in numbers that two implementations can be compared by.

Needs neither autoseg nor torch: `peer_augmentation` uses it in nnU-Net's Python.
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from math import erfc, sqrt
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage, stats

Array = npt.NDArray[Any]
Numbers = dict[str, Array]
"""One number per draw for each name."""

PATCHES: Final = {
    "3d": (16, 24, 20),
    "in-plane": (6, 24, 20),
    "2d": (24, 20),
    "2d-elongated": (30, 18),
}
"""Voxels per axis; one patch for each row of nnU-Net's table of rotations."""
SETS: Final = {
    "rotation": ("rotation",),
    "scaling": ("scaling",),
    "rotation and scaling": ("rotation", "scaling"),
    "noise": ("noise",),
    "blur": ("blur",),
    "brightness": ("brightness",),
    "contrast": ("contrast",),
    "low resolution": ("low_resolution",),
    "inverted gamma": ("inverted_gamma",),
    "gamma": ("gamma",),
    "mirror": ("mirror",),
    "everything": (
        *("rotation", "scaling", "noise", "blur", "brightness", "contrast"),
        *("low_resolution", "inverted_gamma", "gamma", "mirror"),
    ),
    "full": (),
}
"""What every sample gets; in the last set each transform keeps its own probability."""
SIGNIFICANCE: Final = 1e-8
"""Probability of a false alarm per comparison; there are 10,000: one in 10,000 runs has any."""
TOLERANCE: Final = 1e-6
"""Numbers closer than this are equal: the two sides round differently."""
_CHUNK: Final = 100
"""Draws whose images are held together."""


def picture(source: Sequence[int], patch: Sequence[int], *, margin: int = 0) -> tuple[Array, Array]:
    """Return a (2, *source) float32 image and (*source) uint8 labels, one label per axis.

    No symmetry, and channels that are skewed to either side. Each label is an ellipsoid in the
    patch, off its center mostly along one axis: where their centers go tells how the axes turn.
    Within the margin, in voxels, the image does not change along the axis towards the border.
    """
    rng, axes = np.random.default_rng(7), len(patch)
    texture = ndimage.gaussian_filter(rng.normal(size=(2, *source)), (0, *(0.6,) * axes))
    texture /= texture.std()
    image = np.stack([np.exp(0.5 * texture[0]) - 1.1, texture[1] - 0.2 * texture[1] ** 2])
    offsets = _offsets(source) / np.reshape(patch, (-1, *(1,) * axes))  # in patch sizes
    labels = np.zeros(source, dtype=np.uint8)
    for label in range(1, axes + 1):
        center = np.where(np.arange(1, axes + 1) == label, 0.24, -0.07)
        away = (offsets - np.reshape(center, (-1, *(1,) * axes))) / 0.15
        labels[(away**2).sum(axis=0) < 1] = label
    image += labels * np.reshape([0.4, -0.5], (-1, *(1,) * axes))
    for axis, size in enumerate(source):
        inner = np.clip(np.arange(size), margin, size - 1 - margin)
        image = np.take(image, inner, axis=axis + 1)
    return image.astype(np.float32), labels


def collect(
    draw: Callable[[int], tuple[Array, Array]], image: Array, labels: Array, draws: int
) -> Numbers:
    """Draw patches and sum each up; ``draw`` returns so many augmented images and label maps."""
    chunks = [
        summary(image, labels, *draw(min(_CHUNK, draws - done))) for done in range(0, draws, _CHUNK)
    ]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def summary(image: Array, labels: Array, images: Array, maps: Array) -> Numbers:
    """Sum up N (C, *patch) images and (*patch) maps beside the source that they come from."""
    middle = tuple(
        slice((wide - size) // 2, (wide - size) // 2 + size)
        for wide, size in zip(image.shape[1:], maps.shape[1:], strict=True)
    )
    numbers: Numbers = {}
    for channel, before in enumerate(image):
        found = _intensities(before[middle], images[:, channel])
        numbers |= {f"{name} of channel {channel}": values for name, values in found.items()}
    for name in ("change", "gain"):
        first, second = (numbers[f"{name} of channel {channel}"] for channel in (0, 1))
        numbers[f"difference in {name}"] = first - second
    return numbers | _places(labels[middle], maps) | _values_of_labels(images, maps)


def differences(ours: Numbers, theirs: Numbers) -> list[str]:
    """Say which numbers have another distribution; none if all may come from one.

    Compared are the distributions (Kolmogorov and Smirnov), the means and standard deviations in
    units of their standard errors, and how many numbers lie beyond the extremes of the other side:
    that finds a range that is a little too wide or too narrow.
    """
    found = []
    for name, first in ours.items():
        second = theirs[name]
        of_first, of_second = np.split(_ranks(np.concatenate([first, second])), [len(first)])
        distance = stats.ks_2samp(of_first, of_second, method="asymp")
        beyond = _beyond(of_first, of_second)
        tests = {
            f"distance {distance.statistic:.3f}": distance.pvalue,
            f"means {first.mean():.5g} and {second.mean():.5g}": _surprise(
                first.mean() - second.mean(), _error_of_mean(first), _error_of_mean(second)
            ),
            f"spreads {first.std():.5g} and {second.std():.5g}": _surprise(
                first.std() - second.std(), _error_of_std(first), _error_of_std(second)
            ),
            f"{beyond} beyond the extremes, {first.min():.5g} to {first.max():.5g} "
            f"and {second.min():.5g} to {second.max():.5g}": 2.0**-beyond,
        }
        failed = [test for test, p in tests.items() if p < SIGNIFICANCE]
        if failed:
            found.append(f"{name}: {'; '.join(failed)}")
    return found


def _intensities(before: Array, images: Array) -> Numbers:
    """Sum up one channel: N (*patch) images beside what they were."""
    rows, flat = images.reshape(len(images), -1), before.reshape(-1)
    quartiles = np.quantile(rows, (0.25, 0.5, 0.75), axis=1)
    centered, change = flat - flat.mean(), rows - flat
    numbers = {
        "mean": rows.mean(axis=1, dtype=np.float64),
        "spread": rows.std(axis=1, dtype=np.float64),
        "least": rows.min(axis=1),
        "lower quartile": quartiles[0],
        "median": quartiles[1],
        "upper quartile": quartiles[2],
        "most": rows.max(axis=1),
        "change": change.std(axis=1, dtype=np.float64),
        "changed": np.abs(change).max(axis=1) > 1e-5,
        "gain": rows @ centered / (centered @ centered),
    }
    for axis in range(before.ndim):
        steps, were = np.diff(images, axis=axis + 1), np.diff(before, axis=axis)
        energy = np.square(steps).reshape(len(steps), -1).mean(axis=1, dtype=np.float64)
        numbers[f"roughness along {axis}"] = np.sqrt(energy / np.square(were).mean())
    return {name: np.asarray(values, dtype=np.float64) for name, values in numbers.items()}


def _places(labels: Array, maps: Array) -> Numbers:
    """Sum up N (*patch) label maps: sizes of the labels, and how their centers were moved."""
    axes = labels.ndim
    were, _ = _centers(labels[None])
    centers, volumes = _centers(maps)
    moved = centers @ np.linalg.inv(were[0])
    numbers = {f"volume of label {n + 1}": volumes[:, n] for n in range(axes)}
    numbers |= {
        f"{row} from {column}": moved[:, row, column]
        for row in range(axes)
        for column in range(axes)
    }
    determinant = np.linalg.det(moved)
    numbers["size"] = np.abs(determinant) ** (1 / axes)
    numbers["handedness"] = np.sign(determinant)
    for first, second in combinations(range(axes), 2):
        numbers[f"angle of {first} and {second}"] = np.arctan2(
            moved[:, second, first], moved[:, first, first]
        )
    return numbers


def _centers(maps: Array) -> tuple[Array, Array]:
    """Return the (N, axes, labels) centers of labels and their (N, labels) volumes, in voxels."""
    offsets = _offsets(maps.shape[1:]).reshape(maps.ndim - 1, -1).astype(np.float32)
    sums, volumes = [], []
    for label in range(1, maps.ndim):
        inside = (maps == label).reshape(len(maps), -1).astype(np.float32)
        volumes.append(inside.sum(axis=1))
        sums.append(inside @ offsets.T)
    volume = np.stack(volumes, axis=1).astype(np.float64)
    return np.stack(sums, axis=2) / np.maximum(volume, 1)[:, None], volume


def _values_of_labels(images: Array, maps: Array) -> Numbers:
    """Return the mean of each channel within each label: it moves with the image."""
    numbers = {}
    for label in range(1, maps.ndim):
        inside = (maps == label).reshape(len(maps), -1).astype(np.float32)
        for channel in range(images.shape[1]):
            rows = images[:, channel].reshape(len(maps), -1)
            sums = np.einsum("nv,nv->n", rows, inside, dtype=np.float64)
            numbers[f"channel {channel} in label {label}"] = sums / np.maximum(inside.sum(1), 1)
    return numbers


def _offsets(shape: Sequence[int]) -> Array:
    """Return the (axes, *shape) distances from the center, in voxels."""
    return np.indices(shape) - np.reshape((np.array(shape) - 1) / 2, (-1, *(1,) * len(shape)))


def _ranks(values: Array) -> Array:
    """Number values by their size; those closer than the tolerance to their neighbors are equal."""
    order = np.argsort(values)
    ranks = np.empty(len(values), dtype=np.int64)
    steps = np.diff(values[order]) > TOLERANCE * (1 + np.abs(values[order][1:]))
    ranks[order] = np.concatenate([[0], np.cumsum(steps)])
    return ranks


def _beyond(first: Array, second: Array) -> int:
    """Return how many numbers of one side lie above all others, or below; the most there are.

    If both sides are equal, each of the largest numbers comes from either with probability 1/2.
    """
    return max(
        int((one > other.max()).sum() if above else (one < other.min()).sum())
        for one, other in ((first, second), (second, first))
        for above in (True, False)
    )


def _surprise(difference: float, *errors: float) -> float:
    """Return the probability of a normal difference at least as large, or 1 below the tolerance."""
    if abs(difference) < 10 * TOLERANCE:
        return 1.0
    return erfc(abs(difference) / sqrt(2 * max(sum(e * e for e in errors), 1e-30)))


def _error_of_mean(values: Array) -> float:
    return float(values.std() / sqrt(len(values)))


def _error_of_std(values: Array) -> float:
    centered = np.square(values - values.mean())
    return float(centered.std() / sqrt(len(values)) / (2 * max(float(values.std()), 1e-15)))
