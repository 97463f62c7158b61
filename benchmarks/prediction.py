"""Prediction against nnU-Net, in one run: many small cases, one large one, export, start, memory.

    PYTHONPATH=. python benchmarks/prediction.py SCRATCH --hippocampus FOLDER
        --peer PYTHON --script peer_nnunet.py --make-ct make_ct.py [--only export] [--device cpu]

Both sides have the same plan (``--rules nnunet``) and network, with random weights. Prints one JSON
document with the ratios. Memory is that of the largest process.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from commands import empty_folder, run_autoseg, run_peer

Json = dict[str, Any]
HERE: Final = Path(__file__).parent
CASES: Final = 40


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--hippocampus", type=Path, required=True)
    parser.add_argument("--peer", type=Path, required=True, help="Python of nnU-Net's environment")
    parser.add_argument("--script", type=Path, required=True, help="peer_nnunet.py")
    parser.add_argument("--make-ct", type=Path, required=True, help="make_ct.py")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", action="append", help="parts to measure; all if left out")
    options = parser.parse_args()
    scratch = empty_folder(options.scratch)
    parts: dict[str, Callable[[], Json]] = {
        "export": lambda: export(options, empty_folder(scratch / "export")),
        "hippocampus": lambda: hippocampus(options, empty_folder(scratch / "hippocampus")),
        "start": lambda: start(options, empty_folder(scratch / "start")),
        "ct": lambda: ct(options, empty_folder(scratch / "ct")),
        "many_labels": lambda: child("many_labels"),
    }
    chosen = options.only or parts
    print(json.dumps({name: parts[name]() for name in chosen}, indent=1))


def child(*arguments: str | Path) -> Json:
    """Measure in a process of its own, whose memory is known."""
    line = [sys.executable, str(HERE / "prediction_parts.py"), *map(str, arguments)]
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True)
    result: Json = json.loads(done.stdout.splitlines()[-1])
    return result


def hippocampus(options: argparse.Namespace, scratch: Path) -> Json:
    """Time 40 cases with mirroring, start included."""
    return both(options, scratch, options.hippocampus, cases=CASES, mirror=True)


def ct(options: argparse.Namespace, scratch: Path) -> Json:
    """Time one volume like a CT without mirroring."""
    subprocess.run([sys.executable, str(options.make_ct), str(scratch), "6", "384"], check=True)
    return both(options, scratch, scratch / "Task77_PhantomCT", cases=1, mirror=False)


def both(
    options: argparse.Namespace, scratch: Path, raw: Path, *, cases: int, mirror: bool
) -> Json:
    """Predict some training images of a dataset with both."""
    peer, workspace = scratch / "peer", scratch / "workspace"
    number = "".join(c for c in raw.resolve().name.split("_")[0] if c.isdigit())
    run_peer(options.peer, options.script, "convert", raw, peer)
    run_peer(options.peer, options.script, "prepare", peer, number)
    peer_script = [str(options.peer), str(HERE / "prediction_peer.py")]
    subprocess.run([*peer_script, "model", str(peer), number, "3d_fullres"], check=True)
    run_autoseg(
        "plan_and_preprocess", "-d", raw, "--workspace", workspace, "-c", "3d_fullres",
        "--rules", "nnunet",
    )  # fmt: skip
    model = child("model", workspace / raw.name)["model"]
    ours, theirs = empty_folder(scratch / "imgs"), empty_folder(scratch / "imgs_peer")
    for path in chosen_images(raw, cases):
        shutil.copy(path, ours)
        shutil.copy(path, theirs / path.name.replace(".nii.gz", "_0000.nii.gz"))
    flags = [] if mirror else ["--no-mirror"]
    done = run_autoseg(
        "predict", "-i", ours, "-o", scratch / "masks", "-m", model, "--device", options.device,
        "--mirror" if mirror else "--no-mirror", "--quiet",
    )  # fmt: skip
    found = run_peer(
        options.peer, options.script, "predict", peer, number, "3d_fullres", "0",
        theirs, scratch / "masks_peer", *flags, "--device", options.device,
    )  # fmt: skip
    return {
        "cases": cases,
        "device": options.device,
        "autoseg": {"seconds": round(done.seconds, 1), "peak_mib": round(done.peak_mib)},
        "nnunet": found,
        "times_faster": round(found["seconds"] / done.seconds, 2),
        "share_of_memory": round(done.peak_mib / found["peak_mib"], 2),
    }


def chosen_images(raw: Path, cases: int) -> list[Path]:
    """Return the first images; of a single one, that with the most slices up to 110."""
    paths = sorted((raw / "imagesTr").glob("[!.]*.nii.gz"))
    if cases > 1:
        return paths[:cases]
    import nibabel as nib

    slices = {path: nib.load(path).shape[2] for path in paths}
    return [max((path for path in paths if slices[path] <= 110), key=lambda path: slices[path])]


def start(options: argparse.Namespace, scratch: Path) -> Json:
    """Time the command up to the first pass of the network, for one small image."""
    workspace = scratch / "workspace"
    run_autoseg(
        "plan_and_preprocess", "-d", options.hippocampus, "--workspace", workspace,
        "-c", "3d_fullres",
    )  # fmt: skip
    model = child("model", workspace / options.hippocampus.name)["model"]
    image = chosen_images(options.hippocampus, 2)[0]
    times = [child("start", model, image, scratch / f"{n}")["seconds"] for n in range(5)]
    return {"seconds": sorted(times)[2], "of": times}


def export(options: argparse.Namespace, scratch: Path) -> Json:
    """Time the way from logits to labels on another grid."""
    logits = scratch / "logits.npy"
    np.save(logits, phantom_logits((125, 300, 300)))
    shape = ("100", "384", "384")
    ours = child("export", logits, *shape)
    line = [str(options.peer), str(HERE / "prediction_peer.py"), "export", str(logits), *shape]
    done = subprocess.run(
        line, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | peer_folders(scratch)
    )
    theirs = json.loads(done.stdout.splitlines()[-1])
    ratio = round(theirs["seconds"] / ours["seconds"], 1)
    return {"autoseg": ours, "nnunet": theirs, "times_faster": ratio}


def peer_folders(scratch: Path) -> dict[str, str]:
    """Return the variables without which nnU-Net warns."""
    return {f"nnUNet_{name}": str(scratch) for name in ("raw", "preprocessed", "results")}


def phantom_logits(shape: tuple[int, int, int]) -> "np.ndarray[Any, Any]":
    """Return logits of 5 classes as a trained network gives them: sure but for the borders."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij", sparse=True)
    labels = np.zeros(shape, np.uint8)
    for label, radius in ((1, 0.45), (2, 0.25), (3, 0.2), (4, 0.15), (2, 0.22), (4, 0.1)):
        center = rng.uniform(-0.5, 0.5, 3)
        labels[sum(((g - c) / radius) ** 2 for g, c in zip(grid, center, strict=True)) < 1] = label
    logits = np.stack([gaussian_filter((labels == k).astype(np.float32), 1.0) for k in range(5)])
    noise = rng.normal(0, 0.5, logits.shape).astype(np.float32)
    return np.asarray(12 * logits + noise, np.float32)


if __name__ == "__main__":
    main()
