"""Plans of one dataset that differ in options, each trained on the same folds for as long.

Equal steps (``--epochs``) compare what a plan learns, equal minutes what it learns on this machine.

    python benchmarks/plan_variants.py DATASET SCRATCH --minutes 8 --folds 0 1
        --variant "plain=--network plain" --variant "residual=--network resenc"

Prints one JSON line per variant and fold, and at the end the mean Dice of each variant.
"""

import argparse
import json
from pathlib import Path

from commands import empty_folder, run_autoseg


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--configuration", default="3d_fullres")
    parser.add_argument("--folds", nargs="+", default=["0"])
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", help="minutes of training")
    length.add_argument("--epochs", help="epochs of 50 steps")
    parser.add_argument("--variant", action="append", required=True, help="NAME=OPTIONS")
    options = parser.parse_args()
    workspace = empty_folder(options.scratch) / "workspace"
    means: dict[str, list[float]] = {}
    # Fold by fold, the variants side by side: a machine that slows down slows all of them.
    for fold in options.folds:
        for variant in options.variant:
            name, _, option = variant.partition("=")
            scores = train(options, workspace, name, option, fold)
            means.setdefault(name, []).append(float(str(scores["mean_dice"])))
            print(json.dumps({"variant": name, "fold": fold, **scores}), flush=True)
    print(json.dumps({name: round(sum(dice) / len(dice), 4) for name, dice in means.items()}))


def train(
    options: argparse.Namespace, workspace: Path, name: str, option: str, fold: str
) -> dict[str, object]:
    """Plan a variant, and train and validate one of its folds."""
    run_autoseg(
        "plan_and_preprocess", "-d", options.dataset, "--workspace", workspace, "--plan", name,
        "-c", options.configuration, *option.split(),
    )  # fmt: skip
    length = ["--max-minutes", options.minutes]
    if options.epochs:
        length = ["--epochs", options.epochs]
    done = run_autoseg(
        "train", options.configuration, fold, "--preset", "fast", "--plan", name,
        *length, "--workspace", workspace, "--json",
    )  # fmt: skip
    result = json.loads(done.output)
    record = json.loads((Path(result["model"]) / f"fold_{fold}" / "fold.json").read_text())
    summary = result["folds"][fold]
    return {
        "mean_dice": round(summary["mean_dice"], 4),
        "dice": {label["label"]: round(label["mean_dice"], 4) for label in summary["labels"]},
        "steps": record["steps"],
        "training_minutes": round(record["minutes"], 2),
        "device": record["device"],
    }


if __name__ == "__main__":
    main()
