"""How far banded products are from splines in double precision, by where the bands are cut.

    PYTHONPATH=. python benchmarks/resampling_errors.py

For each axis a rough signal (white noise, the hardest case) is resampled by scipy in double
precision and by bands in single precision. Printed are the largest distance in standard deviations
of the signal and the widest band of 32 new voxels; then the same for whole volumes by
`preprocessing.resampling.resample_image` against skimage's ``resize``.
"""

from typing import Any, Final

import numpy as np
from scipy.ndimage import zoom
from skimage.transform import resize

from preprocessing.interpolation import BAND_VOXELS
from preprocessing.resampling import resample_image

Array = np.ndarray[Any, Any]

AXES: Final = ((100, 125), (384, 300), (40, 41), (64, 128), (512, 128), (512, 97))
"""Voxels before and after."""
CUTS: Final = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 0.0)
"""Weights up to which bands leave voxels out."""
VOLUMES: Final = (
    ((60, 96, 80), (75, 75, 64)),
    ((30, 96, 80), (75, 75, 64)),
    ((96, 80, 60), (41, 52, 90)),
    ((70, 70, 70), (35, 35, 35)),
)
"""Shapes before and after."""
SIGNALS: Final = 2000
"""Rows of noise that each axis is tried on."""


def band_error(n_in: int, n_out: int, cut: float) -> tuple[float, int]:
    """Return the largest error, in standard deviations, and the width of the widest band."""
    signals = np.random.default_rng(n_in).standard_normal((n_in, SIGNALS))
    exact = zoom(signals, (n_out / n_in, 1), order=3, mode="nearest", grid_mode=True)
    units = zoom(np.eye(n_in), (n_out / n_in, 1), order=3, mode="nearest", grid_mode=True)
    matrix = units.astype(np.float32)
    made, widest = np.zeros(exact.shape, np.float32), 0
    for start in range(0, n_out, BAND_VOXELS):
        rows = matrix[start : start + BAND_VOXELS]
        used = np.flatnonzero((np.abs(rows) > cut).any(axis=0))
        old = slice(used[0], used[-1] + 1)
        made[start : start + BAND_VOXELS] = rows[:, old] @ signals[old].astype(np.float32)
        widest = max(widest, old.stop - old.start)
    return float(np.abs(made - exact).max()), widest


def volume_error(shape: tuple[int, ...], wanted: tuple[int, ...], separate: int | None) -> float:
    """Return the largest distance from skimage in double precision, in standard deviations."""
    image = np.random.default_rng(3).normal(40, 300, shape).astype(np.float32)
    ours = resample_image(image[None], wanted, separate=separate)[0]
    options = {"order": 3, "mode": "edge", "anti_aliasing": False}
    exact: Array = image.astype(np.float64)
    if separate is None:
        exact = resize(exact, wanted, **options)
    else:
        slices = np.stack([resize(one, wanted[1:], **options) for one in exact])
        centers = (np.arange(wanted[0]) + 0.5) * (shape[0] / wanted[0]) - 0.5
        exact = slices[np.floor(centers.clip(0, shape[0] - 1) + 0.5).astype(int)]
    return float(np.abs(ours - exact).max() / image.std())


def main() -> None:
    """Print both tables as Markdown."""
    print("| axis | " + " | ".join(f"cut {cut:g}" for cut in CUTS) + " |")
    print("|---|" + "---|" * len(CUTS))
    for n_in, n_out in AXES:
        cells = [
            f"{error:.1e}, {width} wide"
            for error, width in (band_error(n_in, n_out, cut) for cut in CUTS)
        ]
        print(f"| {n_in} to {n_out} | " + " | ".join(cells) + " |")
    print("\n| volume | all axes together | first axis apart |\n|---|---|---|")
    for shape, wanted in VOLUMES:
        both = [volume_error(shape, wanted, separate) for separate in (None, 0)]
        sizes = " to ".join("x".join(map(str, n)) for n in (shape, wanted))
        print(f"| {sizes} | {both[0]:.1e} | {both[1]:.1e} |")


if __name__ == "__main__":
    main()
