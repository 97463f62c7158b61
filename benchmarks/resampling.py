"""Resampling against nnU-Net's: time on one core, and agreement on random grids, in one run.

    PYTHONPATH=. python benchmarks/resampling.py SCRATCH --peer PYTHON [--grids 200]

Timed: 100x384x384 to 125x300x300, as a volume and with the slices treated apart, and 5 labels.
Compared: as many images and label maps of random shapes and spacings as asked, half of them with a
coarse axis. Of images the largest distance from nnU-Net's is given in standard deviations of the
image; of label maps the share of equal voxels, and how many differ where the two best labels lie
more than 1e-6 apart. Exits with 1 if a bound of the issue is broken.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import numpy as np
from commands import empty_folder, run_command
from scipy.ndimage import gaussian_filter
from skimage.transform import resize

from autoseg.core.geometry import resampled_shape
from preprocessing.interpolation import nearest_indices
from preprocessing.label_resampling import resample_segmentation
from preprocessing.resampling import resample_image, separate_axis

Array = np.ndarray[Any, Any]

TIMED_SHAPE: Final = (100, 384, 384)
TIMED_TARGET: Final = (125, 300, 300)
IMAGE_BOUND: Final = 1e-4
"""Largest distance allowed, in standard deviations of the image."""
EQUAL_BOUND: Final = 0.9999
"""Share of equal labels that is asked for."""
CLEAR: Final = 1e-6
"""Distance of the two best shares from which labels must be equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """One array to resample."""

    name: str
    """Name of its file."""
    wanted: tuple[int, ...]
    """Shape to reach."""
    spacing: tuple[float, ...]
    """Voxel edges before, mm."""
    target: tuple[float, ...]
    """Voxel edges after, mm."""
    is_segmentation: bool
    """Whether it holds labels."""
    repeats: int = 1
    """How often it is timed."""


def timed_grids(folder: Path) -> Iterator[Grid]:
    """Write the arrays that are timed."""
    rng = np.random.default_rng(0)
    np.save(folder / "cubic.npy", rng.standard_normal(TIMED_SHAPE).astype(np.float32))
    (folder / "separate_z.npy").symlink_to("cubic.npy")
    np.save(folder / "labels.npy", ellipsoids(rng, TIMED_SHAPE))
    thick, thin = (2.0, 0.8, 0.8), (1.6, 1.024, 1.024)
    coarse, fine = (5.0, 0.8, 0.8), (4.0, 1.024, 1.024)
    for name, spacing, target in (
        ("cubic", thick, thin),
        ("separate_z", coarse, fine),
        ("labels", thick, thin),
    ):
        yield Grid(
            name=name,
            wanted=TIMED_TARGET,
            spacing=spacing,
            target=target,
            is_segmentation=name == "labels",
            repeats=2,
        )


def ellipsoids(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return a label map of four ellipsoids, as `make_ct.py` draws them."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij", sparse=True)
    labels = np.zeros(shape, np.uint8)
    for label in (1, 2, 3, 4):
        center = rng.uniform(-0.4, 0.4, 3)
        radius = rng.uniform(0.1, 0.35, 3) / (1 if label == 1 else 2)
        distance = sum(((x - c) / r) ** 2 for x, c, r in zip(axes, center, radius, strict=True))
        labels[distance < 1] = label
    return labels


def random_grids(folder: Path, count: int) -> Iterator[Grid]:
    """Write random arrays: rough images, and label maps of blobs."""
    rng = np.random.default_rng(1)
    for index in range(count):
        shape = tuple(rng.integers(6, 70, 3).tolist())
        spacing, target = rng.uniform(0.5, 2.0, (2, 3))
        if index % 2:
            spacing[0] *= rng.uniform(3, 6)
            target[0] *= rng.uniform(1, 6)
        spacing, target = (tuple(edges.round(3).tolist()) for edges in (spacing, target))
        smooth = gaussian_filter(rng.normal(size=shape), 1.0 + index % 3)
        edges = np.quantile(smooth, np.linspace(0, 1, int(rng.integers(3, 7)))[1:-1])
        for name, voxels in (
            (f"image_{index:03d}", (100 + 30 * rng.normal(size=shape)).astype(np.float32)),
            (f"labels_{index:03d}", np.digitize(smooth, edges).astype(np.uint8)),
        ):
            np.save(folder / f"{name}.npy", voxels)
            yield Grid(
                name=name,
                wanted=resampled_shape(shape, spacing, target),
                spacing=spacing,
                target=target,
                is_segmentation=name.startswith("labels"),
            )


def resample(grid: Grid, voxels: Array) -> Array:
    """Resample as autoseg does, on one thread."""
    separate = separate_axis(grid.spacing, grid.target)
    if grid.is_segmentation:
        return resample_segmentation(voxels, grid.wanted, separate=separate)
    return resample_image(voxels[None], grid.wanted, separate=separate)[0]


def two_best(grid: Grid, voxels: Array) -> Array:
    """Return how far apart the two largest shares are, by skimage in double precision."""
    separate = separate_axis(grid.spacing, grid.target)
    if separate is not None:  # slices are placed as they are
        slices = np.moveaxis(voxels, separate, 0)
        chosen = nearest_indices(len(slices), grid.wanted[separate])
        in_plane = [n for axis, n in enumerate(grid.wanted) if axis != separate]
        apart = np.stack([_gap(one, in_plane) for one in slices])[chosen]
        return np.moveaxis(apart, 0, separate)
    return _gap(voxels, grid.wanted)


def _gap(voxels: Array, wanted: Any) -> Array:
    shares = [
        resize((voxels == label).astype(float), wanted, order=1, mode="edge", anti_aliasing=False)
        for label in np.unique(voxels)
    ]
    if len(shares) == 1:
        return np.ones(wanted)
    ordered = np.sort(np.stack(shares), axis=0)
    gap: Array = ordered[-1] - ordered[-2]
    return gap


def compare(folder: Path, grids: list[Grid]) -> dict[str, float]:
    """Return how well the random grids agree."""
    distance, equal, voxels, clear_differences = 0.0, 0, 0, 0
    for grid in grids:
        given = np.load(folder / f"{grid.name}.npy")
        ours, theirs = resample(grid, given), np.load(folder / f"{grid.name}.nnunet.npy")
        if grid.is_segmentation:
            same = ours == theirs
            equal, voxels = equal + int(same.sum()), voxels + same.size
            if not same.all():
                clear_differences += int((~same & (two_best(grid, given) > CLEAR)).sum())
        else:
            distance = max(distance, float(np.abs(ours - theirs).max() / given.std()))
    return {
        "largest_image_distance_in_std": distance,
        "share_of_equal_labels": equal / voxels,
        "labels_that_differ_clearly": clear_differences,
    }


def measure(scratch: Path, peer: Path, count: int) -> dict[str, Any]:
    """Run both sides and return times, ratios and agreement."""
    folder = empty_folder(scratch)
    timed, compared = list(timed_grids(folder)), list(random_grids(folder, count))
    (folder / "grids.json").write_text(json.dumps([asdict(g) for g in (*timed, *compared)]))
    script = Path(__file__).with_name("resampling_peer.py")
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    theirs = json.loads(run_command([str(peer), str(script), str(folder)]).output.splitlines()[-1])
    result: dict[str, Any] = {}
    for grid in timed:
        voxels = np.load(folder / f"{grid.name}.npy")
        times = []
        for _ in range(5):
            began = perf_counter()
            resample(grid, voxels)
            times.append(perf_counter() - began)
        result[grid.name] = {
            "autoseg_s": round(min(times), 4),
            "first_time_s": round(times[0], 4),
            "nnunet_s": round(theirs[grid.name], 3),
            "ratio": round(theirs[grid.name] / min(times), 1),
        }
    return {**result, "grids": count, **compare(folder, compared)}


def main() -> int:
    """Print the measurement; return whether a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--peer", type=Path, required=True, help="Python of nnU-Net's environment.")
    parser.add_argument("--grids", type=int, default=200)
    options = parser.parse_args()
    result = measure(options.scratch, options.peer, options.grids)
    print(json.dumps(result, indent=1))
    return int(
        result["largest_image_distance_in_std"] > IMAGE_BOUND
        or result["share_of_equal_labels"] < EQUAL_BOUND
        or result["labels_that_differ_clearly"] > 0
    )


if __name__ == "__main__":
    sys.exit(main())
