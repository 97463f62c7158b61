"""The training engine against nnU-Net, in one run: a step, augmentation, and a fold in minutes.

    PYTHONPATH=. python benchmarks/training.py SCRATCH --hippocampus FOLDER
        --peer PYTHON --script peer_nnunet.py --make-ct make_ct.py [--minutes 12] [--only step]

Runs ``training_step.py``, ``augmentation.py`` and ``fast_preset.py``, and, where there is a GPU, a
step and an epoch of 250 steps on it, data loading included. Prints one JSON document with the
ratios; what needs a GPU is "not measured" without one.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from commands import empty_folder, run_autoseg, run_peer

Json = dict[str, Any]
HERE: Final = Path(__file__).parent
EPOCHS: Final = 3
"""Epochs on a GPU; the first one, which compiles, does not count."""


def run_script(name: str, *arguments: str | Path) -> Json:
    """Run another benchmark and return what it prints."""
    line = [sys.executable, str(HERE / name), *map(str, arguments)]
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True)
    result: Json = json.loads(done.stdout)
    return result


def gpu_epoch(options: argparse.Namespace, scratch: Path) -> Json:
    """Time epochs of 250 steps on a CUDA device: autoseg's and nnU-Net's, on phantoms of CT."""
    ct = scratch / "ct"
    subprocess.run([sys.executable, str(options.make_ct), str(ct), "12", "256"], check=True)
    workspace = scratch / "workspace"
    raw = next(ct.glob("Task*"))
    run_autoseg("plan_and_preprocess", "-d", raw, "--workspace", workspace, "-c", "3d_fullres")
    run_autoseg(
        "train", "3d_fullres", "0", "--epochs", str(EPOCHS), "--workspace", workspace,
    )  # fmt: skip
    journal = next(workspace.rglob("run.jsonl")).read_text().splitlines()
    rows = [row for row in map(json.loads, journal) if row["event"] == "epoch"][1:]
    peer = scratch / "peer"
    peer.mkdir()
    (ct / "nnraw").rename(peer / "raw")
    run_peer(options.peer, options.script, "prepare", peer, "77", "-c", "3d_fullres")
    theirs = run_peer(
        options.peer, options.script, "train", peer, "77", "3d_fullres", "0",
        "--epochs", str(EPOCHS), "--steps", "250", "--device", "cuda",
    )  # fmt: skip
    return {"autoseg": rows, "nnunet": theirs}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--hippocampus", type=Path, required=True)
    parser.add_argument("--peer", type=Path, required=True, help="Python of nnU-Net's environment")
    parser.add_argument("--script", type=Path, required=True, help="peer_nnunet.py")
    parser.add_argument("--make-ct", type=Path, required=True, help="make_ct.py")
    parser.add_argument("--minutes", default="12")
    parser.add_argument("--only", action="append", help="parts to measure; all if left out")
    options = parser.parse_args()
    scratch = empty_folder(options.scratch)
    peer = ("--peer", options.peer)
    fold = (*peer, "--script", options.script, "--minutes", options.minutes)
    has_gpu = torch.cuda.is_available()
    parts: dict[str, Callable[[], Json | str]] = {
        "step": lambda: run_script("training_step.py", scratch / "step", *peer),
        "augmentation": lambda: run_script("augmentation.py", scratch / "augmentation", *peer),
        "fold": lambda: run_script("fast_preset.py", options.hippocampus, scratch / "fold", *fold),
        "gpu_step": lambda: (
            run_script("training_step.py", scratch / "gpu", *peer, "--device", "cuda")
            if has_gpu
            else "not measured"
        ),
        "gpu_epoch": lambda: (
            gpu_epoch(options, empty_folder(scratch / "epoch")) if has_gpu else "not measured"
        ),
    }
    chosen = options.only or parts
    print(json.dumps({name: parts[name]() for name in chosen}, indent=1))


if __name__ == "__main__":
    main()
