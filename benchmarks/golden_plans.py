"""Writes the golden plans of ``tests/golden``: nnU-Net's own, and autoseg's, of known datasets.

    PYTHONPATH=. python benchmarks/golden_plans.py tests/golden --peer PYTHON

nnU-Net's are made by the installed nnunetv2 (its four planners) from fingerprints of the datasets
that its authors published on; autoseg's by its default rules with traced memory. Look at the
difference before committing it: a golden plan that changes is a decision that changes.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from planner_parity import autoseg_fields, plan_both
from planner_parity_peer import nnunet_fields
from random_fingerprints import Draw

from autoseg.core.fingerprint import ChannelStatistics
from autoseg.training.step_tracer import StepTracer
from planners.budget import PlannerBudget
from planners.planner import plan_dataset

Grids = tuple[tuple[int, tuple[float, ...], tuple[int, ...]], ...]

STATISTICS: Final = ChannelStatistics(
    mean=95.0,
    median=99.0,
    std=41.0,
    minimum=-900.0,
    maximum=1500.0,
    percentile_00_5=-15.0,
    percentile_99_5=197.0,
)
"""Of every channel: only a plan's copy of them depends on them."""
DATASETS: Final[dict[str, tuple[Grids, int, tuple[str, ...]]]] = {
    "hippocampus": (((260, (1.0, 1.0, 1.0), (36, 50, 35)),), 3, ("MRI",)),
    "liver": (((131, (1.0, 0.77, 0.77), (430, 440, 440)),), 3, ("CT",)),
    "prostate": (((32, (3.6, 0.62, 0.62), (20, 320, 320)),), 3, ("T2", "ADC")),
    "brain": (((484, (1.0, 1.0, 1.0), (140, 171, 137)),), 4, ("FLAIR", "T1w", "t1gd", "T2w")),
    "heart": (
        ((160, (10.0, 1.56, 1.56), (10, 256, 216)), (40, (5.0, 1.56, 1.56), (20, 256, 216))),
        4,
        ("cineMRI",),
    ),
    "whole-body": (((1228, (1.5, 1.5, 1.5), (231, 231, 247)),), 118, ("CT",)),
    "photographs": (((100, (1.0, 1.0), (1500, 1500)),), 2, ("R", "G", "B")),
    "lung": (((63, (1.25, 0.79, 0.79), (252, 512, 512)),), 2, ("CT",)),
}
"""Cases of equal spacing (mm) and shape (voxels), labels with background, and channels: medians
of the Medical Segmentation Decathlon, ACDC and TotalSegmentator."""
BUDGETS: Final = {"no memory given": None, "12 GiB": 12.0, "24 GiB": 24.0}
"""Memory that autoseg plans for, GiB."""


def main() -> None:
    """Plan every dataset on both sides and write one file each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peer", type=Path, required=True, help="Python that has nnunetv2.")
    options = parser.parse_args()
    options.networks, options.seed = 0, 0
    draws = [drawn(name, index) for index, name in enumerate(DATASETS)]
    with tempfile.TemporaryDirectory() as scratch:
        _, theirs = plan_both(draws, options, Path(scratch))
    for name, draw, made in zip(DATASETS, draws, theirs["plans"], strict=True):
        grids, labels, channels = DATASETS[name]
        document = {
            "cases": grids,
            "labels": labels,
            "channels": channels,
            "nnunet": {
                planner: nested(nnunet_fields(result["plans"], draw.ndim))
                for planner, result in made.items()
            },
            "autoseg": {budget: own(draw, gib) for budget, gib in BUDGETS.items()},
        }
        text = json.dumps(document, indent=1)
        (options.folder / f"{name}.json").write_text(compact(text) + "\n")
        print(f"{name}: written")


def drawn(name: str, index: int) -> Draw:
    """Return a dataset in the form of the random ones."""
    grids, labels, channels = DATASETS[name]
    spacings = [spacing for count, spacing, _ in grids for _ in range(count)]
    shapes = [shape for count, _, shape in grids for _ in range(count)]
    return Draw(
        index=index,
        spacings=np.array(spacings, float),
        before=np.array(shapes),
        after=np.array(shapes),
        channels=channels,
        statistics=(STATISTICS,) * len(channels),
        labels={"background": 0, **{f"organ {n}": n for n in range(1, labels)}},
        order=[],
        is_natural=len(grids[0][1]) == 2,
    )


def own(draw: Draw, gib: float | None) -> dict[str, Any]:
    """Return the values of autoseg's own plan."""
    description = draw.description()
    plan = plan_dataset(
        draw.fingerprint(),
        description,
        budget=PlannerBudget(gpu_memory_gib=gib),
        step_bytes=StepTracer(channels=len(description.channels), labels=description.labels),
    )
    return nested(autoseg_fields(plan))


def nested(fields: dict[str, object]) -> dict[str, Any]:
    """Return values by configuration instead of by path."""
    tree: dict[str, Any] = {}
    for path, value in fields.items():
        part, _, field = path.partition(".")
        if field:
            tree.setdefault(part, {})[field] = value
        else:
            tree[part] = value
    return tree


def compact(text: str) -> str:
    """Put lists of numbers on one line each."""
    lines: list[str] = []
    depth = 0
    for line in text.splitlines():
        if depth:
            lines[-1] += ("" if lines[-1].endswith("[") else " ") + line.strip()
        else:
            lines.append(line)
        depth += line.count("[") - line.count("]")
    return "\n".join(line.replace(" ]", "]") for line in lines)


if __name__ == "__main__":
    main()
