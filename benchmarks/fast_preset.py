"""One fold in a given time on this machine: autoseg's ``fast`` preset and, if asked, nnU-Net.

    python benchmarks/fast_preset.py DATASET SCRATCH --configuration 3d_fullres --minutes 12
        [--peer PYTHON --script peer_nnunet.py --peer-epochs 8 --peer-steps 50 --peer-batch 2]

nnU-Net has no time budget: its epochs and steps are given so that it takes about as long.
"""

import argparse
import json
from pathlib import Path

from commands import empty_folder, run_autoseg, run_peer


def main() -> None:
    """Measure and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--configuration", default="3d_fullres")
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--script", type=Path)
    parser.add_argument("--peer-epochs", type=int, default=8)
    parser.add_argument("--peer-steps", type=int, default=50)
    parser.add_argument("--peer-batch", type=int, default=2)
    options = parser.parse_args()
    scratch = empty_folder(options.scratch)
    report: dict[str, object] = {"autoseg": measure_autoseg(options, scratch / "ours")}
    if options.peer:
        report["nnunet"] = measure_peer(options, scratch / "peer")
    print(json.dumps(report))


def measure_autoseg(options: argparse.Namespace, workspace: Path) -> dict[str, object]:
    """Train and validate fold 0 with autoseg."""
    run_autoseg("plan_and_preprocess", "-d", options.dataset, "--workspace", workspace)
    done = run_autoseg(
        "train", options.configuration, "0", "--preset", options.preset,
        "--max-minutes", str(options.minutes), "--workspace", workspace, "--json",
    )  # fmt: skip
    result = json.loads(done.output)
    record = json.loads((Path(result["model"]) / "fold_0" / "fold.json").read_text())
    summary = result["folds"]["0"]
    return {
        "mean_dice": summary["mean_dice"],
        "dice": {label["label"]: label["mean_dice"] for label in summary["labels"]},
        "cases": len(summary["cases"]),
        "steps": record["steps"],
        "training_minutes": round(record["minutes"], 2),
        "seconds_with_validation": round(done.seconds, 1),
        "device": record["device"],
    }


def measure_peer(options: argparse.Namespace, root: Path) -> dict[str, object]:
    """Train and validate fold 0 with nnU-Net, scaled to about the same time."""
    number = "".join(c for c in options.dataset.resolve().name.split("_")[0] if c.isdigit())
    run_peer(options.peer, options.script, "convert", options.dataset, root)
    run_peer(options.peer, options.script, "prepare", root, number)
    return run_peer(
        options.peer, options.script, "train", root, number, options.configuration, "0",
        "--epochs", str(options.peer_epochs), "--steps", str(options.peer_steps),
        "--batch", str(options.peer_batch),
    )  # fmt: skip


if __name__ == "__main__":
    main()
