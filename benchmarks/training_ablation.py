"""What each choice of the preset ``fast`` brings: one change at a time, over seeds.

    PYTHONPATH=. python benchmarks/training_ablation.py DATASET SCRATCH --minutes 6 --seeds 0 1
        [--variant "one cycle=--schedule one_cycle"] [--keep]

Every variant trains fold 0 for as long, on every seed, in turns: a machine that slows down slows
all of them. Prints one JSON line per training, at the end the mean Dice of each variant over the
seeds, its smallest and largest, and its difference from the preset. With ``--keep``, trainings that
are in the scratch folder already are read, not made again.
"""

import argparse
import json
from pathlib import Path
from typing import Any, Final

from commands import empty_folder, run_autoseg

VARIANTS: Final = {
    "fast": "",
    "mirrored as planned": "--mirrored plan",
    "plan's batch": "--batch-voxels 1000000000",
    "plan's width": "--width-fraction 1",
    "full augmentation": "--augmentation full",
    "sgd": "--optimizer sgd",
    "polynomial": "--schedule polynomial",
    "one cycle": "--schedule one_cycle",
    "no average": "--average-decay 0",
}
"""Options of each variant, over the preset's."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--configuration", default="3d_fullres")
    parser.add_argument("--minutes", default="6")
    parser.add_argument("--seeds", nargs="+", default=["0", "1"])
    parser.add_argument("--variant", action="append", help="NAME=OPTIONS, instead of the table's")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    chosen = (each.partition("=")[::2] for each in options.variant or ())
    variants = {"fast": "", **dict(chosen)} if options.variant else VARIANTS
    workspace = (options.scratch if options.keep else empty_folder(options.scratch)) / "workspace"
    run_autoseg(
        "plan_and_preprocess", "-d", options.dataset, "--workspace", workspace,
        "-c", options.configuration,
    )  # fmt: skip
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in variants}
    for seed in options.seeds:
        for name, changes in variants.items():
            found[name].append(train(options, workspace, name, changes, seed))
            print(json.dumps({"variant": name, "seed": seed, **found[name][-1]}), flush=True)
    base = mean([run["mean_dice"] for run in found["fast"]])
    print(json.dumps({name: summary(runs, base) for name, runs in found.items()}, indent=1))


def train(
    options: argparse.Namespace, workspace: Path, name: str, changes: str, seed: str
) -> dict[str, Any]:
    """Train and validate one variant with one seed, unless it is there."""
    run = f"{name.replace(' ', '_').replace(chr(39), '')}_{seed}"
    common = ["--workspace", workspace, "--run", run]
    model = workspace / options.dataset.name / "models" / "default" / options.configuration / run
    if not (model / "fold_0" / "validation" / "summary.json").exists():
        run_autoseg(
            "train", options.configuration, "0", "--preset", "fast", "--seed", seed,
            "--max-minutes", options.minutes, *changes.split(), *common, "--json",
        )  # fmt: skip
    record = json.loads((model / "fold_0" / "fold.json").read_text())
    summary = json.loads((model / "fold_0" / "validation" / "summary.json").read_text())
    return {
        "mean_dice": round(summary["mean_dice"], 4),
        "dice": {label["label"]: round(label["mean_dice"], 4) for label in summary["labels"]},
        "steps": record["steps"],
        "minutes": round(record["minutes"], 2),
        "label": record["label"],
        "weights": record["weights"],
    }


def summary(runs: list[dict[str, Any]], base: float) -> dict[str, Any]:
    """Return the spread of a variant over its seeds."""
    dice = [run["mean_dice"] for run in runs]
    return {
        "mean_dice": round(mean(dice), 4),
        "from_to": [min(dice), max(dice)],
        "difference": round(mean(dice) - base, 4),
        "steps": [run["steps"] for run in runs],
    }


def mean(values: list[float]) -> float:
    """Return the mean."""
    return sum(values) / len(values)


if __name__ == "__main__":
    main()
