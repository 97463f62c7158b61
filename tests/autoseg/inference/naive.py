"""The slow way from logits to labels: all logits of all voxels at once."""

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, map_coordinates


def smooth_logits(channels, shape, seed=3):
    """Blobs of every channel, some of them small, no two logits of a voxel alike."""
    noise = np.random.default_rng(seed).normal(size=(channels, *shape))
    return gaussian_filter(noise, (0, *(1.5,) * len(shape))).astype(np.float32)


def interpolated(logits, shape, nearest=()):
    """Every channel at the centers of another grid's voxels: scipy, in float64."""
    places = []
    for axis, (n_in, n_out) in enumerate(zip(logits.shape[1:], shape, strict=True)):
        place = np.clip((np.arange(n_out) + 0.5) * n_in / n_out - 0.5, 0, n_in - 1)
        places.append(np.floor(place + 0.5) if axis in nearest else place)
    grid = np.meshgrid(*places, indexing="ij")
    return np.stack([map_coordinates(each.astype(float), grid, order=1) for each in logits])


def expected_labels(labels, logits):
    """Label of every voxel, all logits at once."""
    if not labels.regions:
        return logits.argmax(0)
    written = np.zeros(logits.shape[1:], int)
    for region, logit in zip(labels.regions, logits, strict=True):
        written[logit > 0] = region.written
    return written


def slabs_of(logits, bounds):
    stops = (*bounds, logits.shape[1])
    starts = (0, *(bound - 1 for bound in bounds))
    return [torch.from_numpy(logits[:, a:b]) for a, b in zip(starts, stops, strict=True)]
