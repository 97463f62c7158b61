"""What smoothing brings to images that shrink: error and false patterns, without it and with it.

    python benchmarks/anti_aliasing.py [FOLDER] [--cases 20] [--factors 2.5 3 4]

FOLDER holds image files, such as ``Task04_Hippocampus/imagesTr``; without it the demo's volumes are
made. All axes shrink by the factor, in cubic splines. Per factor, as means over the images:

- error: RMS difference from area averages (the mean of the old voxels within each new one, as
  larger voxels would have recorded) over the standard deviation of these averages;
- false: share of the energy of detail too fine for the new grid that shows up on it, as something
  else;
- kept: share of the energy of coarser detail, without the mean, that is still there.

The last line of a factor divides "with" by "without". Detail is told apart by its cosine transform.
"""

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.fft import dctn, idctn

from autoseg.io.images import read_image
from autoseg.pipeline.phantom import phantom_case
from preprocessing.resampling import resample_image

Floats = npt.NDArray[np.float32]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--factors", type=float, nargs="+", default=[2.5, 3.0, 4.0])
    options = parser.parse_args()
    images = list(islice(volumes(options.folder), options.cases))
    print(f"{len(images)} images, {len(options.factors)} factors")
    print(f"{'factor':>6} {'':<10} {'error':>8} {'false':>8} {'kept':>8}")
    for factor in options.factors:
        without, with_it = (
            np.mean([measure(image, factor, smooth) for image in images], axis=0)
            for smooth in (False, True)
        )
        for name, row in (("without", without), ("with", with_it), ("ratio", with_it / without)):
            print(f"{factor:6.2f} {name:<10} " + " ".join(f"{value:8.4f}" for value in row))


def volumes(folder: Path | None) -> Iterator[Floats]:
    """Yield images (*spatial): the first channel of every file, or the demo's without end."""
    if folder is not None:
        for path in sorted(folder.iterdir()):
            yield read_image(path).voxels[0]
        return
    number = 0
    while True:
        yield phantom_case(np.random.default_rng([2026, number]))[0].astype(np.float32)
        number += 1


def measure(image: Floats, factor: float, anti_aliasing: bool) -> tuple[float, float, float]:
    """Return error, false and kept of one image, as the module says."""
    shape = tuple(max(1, round(size / factor)) for size in image.shape)
    averages = area_averages(image, shape)

    def shrunk(voxels: Floats) -> Floats:
        channel: Floats = resample_image(voxels[None], shape, anti_aliasing=anti_aliasing)[0]
        return channel

    coarse = low_pass(image, shape)
    fine = image - coarse
    around = coarse - coarse.mean()
    return (
        rms(shrunk(image) - averages) / rms(averages - averages.mean()),
        (rms(shrunk(fine)) / rms(fine)) ** 2,
        (rms(shrunk(around)) / rms(around)) ** 2,
    )


def area_averages(image: Floats, shape: tuple[int, ...]) -> Floats:
    """Return the mean of the voxels within each voxel of a coarser grid, cut ones by their part."""
    averages = image
    for axis, n_out in enumerate(shape):
        n_in = image.shape[axis]
        edges = np.arange(n_out + 1) * n_in / n_out
        first, last = np.arange(n_in), np.arange(1, n_in + 1)
        overlap = np.minimum(edges[1:, None], last) - np.maximum(edges[:-1, None], first)
        weights = (np.maximum(overlap, 0) * n_out / n_in).astype(np.float32)
        summed: Floats = np.tensordot(weights, averages, axes=(1, axis))
        averages = np.moveaxis(summed, 0, axis)
    return averages


def low_pass(image: Floats, shape: tuple[int, ...]) -> Floats:
    """Return what a coarser grid holds of an image: cosines below its Nyquist frequency."""
    cosines = dctn(image.astype(np.float64), norm="ortho")
    kept = np.zeros_like(cosines)
    box = tuple(slice(n) for n in shape)
    kept[box] = cosines[box]
    coarse: Floats = idctn(kept, norm="ortho").astype(np.float32)
    return coarse


def rms(voxels: Floats) -> float:
    """Return the root of the mean of the squares."""
    return float(np.sqrt(np.mean(np.square(voxels, dtype=np.float64))))


if __name__ == "__main__":
    main()
