"""Distances between surfaces against MeshMetrics, which takes them from the meshes; and their time.

    PYTHONPATH=. python benchmarks/surface_metrics.py SCRATCH [--peer PYTHON --meshmetrics FOLDER]

PYTHON has vtk, SimpleITK and SimpleITKUtilities, FOLDER is a clone of
github.com/gasperpodobnik/MeshMetrics. Prints one JSON document: for each pair of masks the
differences of HD95 and ASSD in voxels (median edge) and of NSD, at a tolerance of one voxel and at
one that no distance between voxels has; and the time to score a case of 200x320x320 voxels with 5
labels that fill a tenth of it.
"""

import argparse
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from commands import empty_folder
from scipy.ndimage import gaussian_filter

from autoseg.core.labels import Labels
from autoseg.evaluation.scoring import score_case
from autoseg.evaluation.surfaces import surface_distance

HERE: Final = Path(__file__).parent
Mask = Any
SPACINGS: Final = ((1.0, 1.0, 1.0), (2.5, 0.8, 0.8), (5.0, 0.7, 0.7), (1.5, 0.9, 0.6))


BETWEEN: Final = 1.01
"""Tolerance in voxels that rounding does not decide on; as in ``surface_metrics_peer.py``."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--meshmetrics", type=Path)
    options = parser.parse_args()
    scratch = empty_folder(options.scratch)
    report: dict[str, Any] = {"time": time_of_a_case()}
    if options.peer:
        report["against_the_meshes"] = compare(scratch, options.peer, options.meshmetrics)
    print(json.dumps(report, indent=1))


def pairs() -> dict[str, tuple[Mask, Mask, tuple[float, ...]]]:
    """Return masks of organs, thin walls and scattered lesions, each with a worse copy."""
    found = {}
    for number, spacing in enumerate(SPACINGS):
        rng = np.random.default_rng(number)
        shape = tuple(round(90 / edge) for edge in spacing)
        smooth = [gaussian_filter(rng.normal(size=shape), [6 / edge for edge in spacing])]
        smooth.append(gaussian_filter(rng.normal(size=shape), [4 / edge for edge in spacing]))
        first, second = (each / each.std() for each in smooth)
        organ = first > 0.8
        found[f"organ {spacing}"] = (organ, first + 0.25 * second > 0.85, spacing)
        wall = np.abs(first) < 0.25
        found[f"wall {spacing}"] = (wall, np.abs(first + 0.1 * second) < 0.25, spacing)
        lesions = second > 1.8
        found[f"lesions {spacing}"] = (lesions, second + 0.2 * first > 1.8, spacing)
    return found


def compare(scratch: Path, peer: Path, clone: Path) -> dict[str, Any]:
    """Measure every pair in both ways."""
    rows = {}
    for number, (name, (first, second, spacing)) in enumerate(pairs().items()):
        path = scratch / f"{number}.npz"
        np.savez(path, first=first, second=second, spacing=spacing)
        line = [str(peer), str(HERE / "surface_metrics_peer.py"), str(path)]
        environment = os.environ | {"PYTHONPATH": str(clone)}
        done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True, env=environment)
        theirs = json.loads(done.stdout.splitlines()[-1])
        edge = float(np.median(spacing))
        ours = surface_distance(first, second, spacing)
        apart = surface_distance(first, second, spacing, BETWEEN * edge)
        rows[name] = {
            "hd95_voxels": round((ours.hd95_mm or 0) / edge - theirs["hd95_mm"] / edge, 3),
            "assd_voxels": round((ours.assd_mm or 0) / edge - theirs["assd_mm"] / edge, 3),
            "nsd": round((apart.nsd or 0) - theirs["nsd"], 4),
            "nsd_at_one_voxel": round((ours.nsd or 0) - theirs["nsd_at_one_voxel"], 4),
            "theirs": theirs,
        }
    largest = {
        key: max(abs(row[key]) for row in rows.values())
        for key in ("hd95_voxels", "assd_voxels", "nsd", "nsd_at_one_voxel")
    }
    return {"largest": largest, "pairs": rows}


def time_of_a_case() -> dict[str, Any]:
    """Time all scores of a case, the better of two."""
    shape, spacing = (200, 320, 320), (1.5, 0.8, 0.8)
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij", sparse=True)
    rng = np.random.default_rng(0)
    reference, prediction = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    for label in range(1, 6):
        center, radii = rng.uniform(-0.45, 0.45, 3), rng.uniform(0.28, 0.4, 3)
        for label_map, shift in ((reference, 0.0), (prediction, 0.02)):
            away = zip(grid, center, radii, strict=True)
            label_map[sum(((g - c - shift) / r) ** 2 for g, c, r in away) < 1] = label
    names = ("background", *(f"label {n}" for n in range(1, 6)))
    times = []
    for _ in range(2):
        began = time.perf_counter()
        score_case("a", reference, prediction, Labels(names=names), spacing)
        times.append(time.perf_counter() - began)
    return {"seconds": round(min(times), 2), "filled": round(float((reference > 0).mean()), 3)}


if __name__ == "__main__":
    main()
