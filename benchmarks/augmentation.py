"""Augmentation of a 128^3 patch against nnU-Net's: time on one core, and voxels read, in one run.

    PYTHONPATH=. python benchmarks/augmentation.py SCRATCH --peer PYTHON [--policy strong]

Both sides cut random patches of one channel out of one case in memory, of the size that each of
them reads, and apply their random changes; they take turns, so that a busy machine slows both. CPU
time is what counts. Our own time is also given by transform, each measured alone. Exits with 1 if
a bound of the issue is broken.
"""

import argparse
import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, Final, TypeVar

import numpy as np
import torch
from commands import empty_folder, run_peer
from scipy.ndimage import gaussian_filter

from autoseg.training.augmentation.augment import Augmentation, augment, draw_augmentation
from autoseg.training.augmentation.policy import Policy, policy_named
from autoseg.training.augmentation.spatial import Spatial, sample_patches

Array = np.ndarray[Any, Any]
T = TypeVar("T")

CASE_SHAPE: Final = (256, 288, 272)
AXES: Final = (0, 1, 2)
READ_DRAWS: Final = 40_000
"""Draws over which the voxels read are averaged; the standard error is 0.005 of a patch."""
LARGEST_S: Final = 0.12
"""CPU time per patch that issue 6 allows, s."""
LARGEST_READ: Final = 1.5
"""Voxels read per voxel of the patch that issue 6 allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What patches are cut from."""

    image: Array
    """(Z, Y, X) float32, normalized."""
    labels: Array
    """(Z, Y, X) uint8."""


def make_case() -> Case:
    """Return a noisy image of two organs."""
    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.standard_normal(CASE_SHAPE, dtype=np.float32), 12)
    labels = np.digitize(smooth, np.quantile(smooth, (0.8, 0.95))).astype(np.uint8)
    image = labels + rng.standard_normal(CASE_SHAPE, dtype=np.float32)
    return Case(image=(image - image.mean()) / image.std(), labels=labels)


def read(case: Case, rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Copy a random part of the case, padded where it is larger."""
    starts = [int(rng.integers(max(1, n - s))) for n, s in zip(CASE_SHAPE, shape, strict=True)]
    box = tuple(slice(a, a + s) for a, s in zip(starts, shape, strict=True))
    missing = [(0, s - n) for n, s in zip(case.image[box].shape, shape, strict=True)]
    return np.pad(case.image[box], missing)[None], np.pad(case.labels[box], missing)


class Clock:
    """Adds up the CPU time of what it runs, by name."""

    def __init__(self) -> None:
        self.spent_s: defaultdict[str, float] = defaultdict(float)

    def run(self, name: str, work: Callable[[], T]) -> T:
        """Run something and note its time."""
        began = process_time()
        result = work()
        self.spent_s[name] += process_time() - began
        return result


def augment_patches(
    case: Case, policy: Policy, edge: int, draws: int, seed: int
) -> dict[str, float]:
    """Return CPU and wall time per patch, s."""
    rng, patch = np.random.default_rng(seed), (edge,) * 3
    cpu_s = wall_s = 0.0
    for draw in range(draws + 2):
        if draw == 2:  # what is set up on first use is left out
            cpu_s, wall_s = -process_time(), -perf_counter()
        drawn = draw_augmentation(rng, policy, patch, 1, AXES)
        image, labels = read(case, rng, drawn.source_shape(patch))
        augment(torch.from_numpy(image), torch.from_numpy(labels), None, drawn, patch)
    cpu_s, wall_s = cpu_s + process_time(), wall_s + perf_counter()
    return {"cpu_s": cpu_s / draws, "wall_s": wall_s / draws, "read": mean_read(policy, edge)}


@cache
def mean_read(policy: Policy, edge: int) -> float:
    """Return how many voxels are read for one of a patch, over many draws: they vary widely."""
    rng, patch = np.random.default_rng(2), (edge,) * 3
    drawn = (Spatial.draw(rng, policy, patch) for _ in range(READ_DRAWS))
    voxels = (prod(patch if one is None else one.source_shape(patch)) for one in drawn)
    return sum(voxels) / READ_DRAWS / edge**3


def split(case: Case, policy: Policy, edge: int, draws: int) -> dict[str, float]:
    """Return the share of each transform in the mean CPU time of a patch, s."""
    rng, patch, clock = np.random.default_rng(1), (edge,) * 3, Clock()
    for _ in range(draws):
        drawn = clock.run("draw", lambda: draw_augmentation(rng, policy, patch, 1, AXES))
        shape = drawn.source_shape(patch)
        image, labels = clock.run("read", lambda shape=shape: read(case, rng, shape))
        _run_parts(clock, drawn, torch.from_numpy(image), torch.from_numpy(labels), patch)
    ordered = sorted(clock.spent_s.items(), key=lambda item: -item[1])
    return {name: round(spent / draws, 5) for name, spent in ordered}


def _run_parts(
    clock: Clock,
    drawn: Augmentation,
    image: torch.Tensor,
    labels: torch.Tensor,
    patch: tuple[int, ...],
) -> None:
    spatial, mirror = drawn.spatial, drawn.mirror
    name = "crop" if spatial is None else "turn" if any(spatial.angles) else "zoom"
    patches, (segmentation,) = clock.run(
        name, lambda: sample_patches([image], [[labels]], [spatial], patch)
    )
    for one in drawn.intensity:
        patches = clock.run(
            type(one).__name__, lambda one=one, given=patches: one.apply(given, [one])
        )
    if mirror is not None:
        clock.run("Mirror", lambda: (mirror.apply(patches, 2), mirror.apply(segmentation, 1)))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run both sides in turns and return their means and the ratios."""
    folder, case = empty_folder(options.scratch), make_case()
    np.save(folder / "image.npy", case.image)
    np.save(folder / "labels.npy", case.labels.astype(np.int16))
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    script, policy = Path(__file__).with_name("augmentation_peer.py"), policy_named(options.policy)
    ours, theirs, draws = [], [], -(-options.draws // options.rounds)
    for seed in range(options.rounds):
        ours.append(augment_patches(case, policy, options.edge, draws, seed))
        numbers = map(str, (options.edge, draws, seed))
        theirs.append(run_peer(options.peer, script, folder, options.policy, *numbers))
    mean = {
        side: {key: round(float(np.mean([one[key] for one in runs])), 4) for key in runs[0]}
        for side, runs in (("autoseg", ours), ("nnunet", theirs))
    }
    return {
        "policy": options.policy,
        "patch": [options.edge] * 3,
        "draws": draws * options.rounds,
        **mean,
        "ratio": {key: round(mean["nnunet"][key] / mean["autoseg"][key], 1) for key in ours[0]},
        "autoseg_cpu_s_by_transform": split(case, policy, options.edge, options.draws),
    }


def main() -> int:
    """Print the measurement; return whether a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--peer", type=Path, required=True, help="Python of nnU-Net's environment.")
    parser.add_argument("--policy", choices=["full", "strong"], default="full")
    parser.add_argument("--edge", type=int, default=128, help="Voxels along each axis.")
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    result = measure(options)
    print(json.dumps(result, indent=1))
    ours = result["autoseg"]
    return int(ours["cpu_s"] > LARGEST_S or ours["read"] > LARGEST_READ)


if __name__ == "__main__":
    sys.exit(main())
