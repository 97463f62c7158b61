"""Preprocessing against nnU-Net's, in one run: whole commands, resampling, imports and reading.

    PYTHONPATH=. python benchmarks/preprocess.py SCRATCH --hippocampus FOLDER
        --peer PYTHON --script peer_nnunet.py --make-ct make_ct.py [--repeats 2]

Both sides go from raw files to the store (fingerprint, plan, preprocessing) with two workers: of 6
CT volumes of 384 x 384 pixels onto the grids of 3d_fullres and 3d_lowres, and of Task04_Hippocampus
onto those of 2d and 3d_fullres. They take turns; the shortest time of each counts. What autoseg
announced of memory is set beside what its largest process took.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import numpy as np
import resampling
from commands import Finished, empty_folder, run_autoseg, run_peer

from autoseg.io import store

Json = dict[str, Any]

WORKERS: Final = "2"
IMPORTS: Final = (
    "import blosc2, nibabel, scipy.ndimage, threadpoolctl, preprocessing.fingerprint, "
    "preprocessing.runner"
)
"""What a worker needs to measure and preprocess cases."""
PATCH: Final = 128
"""Edge of the patch that is read from a store, voxels."""


def prepare(raw: Path, workspace: Path, configurations: Sequence[str]) -> Finished:
    """Run autoseg from raw files to the store, nothing being there."""
    chosen = [part for name in configurations for part in ("-c", name)]
    return run_autoseg(
        "plan_and_preprocess", "-d", raw, "--workspace", empty_folder(workspace),
        "--workers", WORKERS, *chosen, "--json",
    )  # fmt: skip


def side_by_side(
    raw: Path,
    scratch: Path,
    configurations: Sequence[str],
    peer: Callable[[], Json],
    repeats: int,
) -> Json:
    """Let both sides prepare a dataset in turns."""
    ours, theirs = [], []
    for _ in range(repeats):
        ours.append(prepare(raw, scratch / "ours", configurations))
        theirs.append(peer())
    mine = min(ours, key=lambda done: done.seconds)
    other = min(theirs, key=lambda report: float(report["seconds"]))
    largest_mib = max(done.peak_mib for done in ours)
    return {
        "autoseg_s": round(mine.seconds, 2),
        "nnunet_s": other["seconds"],
        "ratio": round(float(other["seconds"]) / mine.seconds, 1),
        "all_autoseg_s": [round(done.seconds, 2) for done in ours],
        "all_nnunet_s": [report["seconds"] for report in theirs],
        "nnunet_steps": {k: other[k] for k in ("fingerprint", "plan", "preprocess")},
        "autoseg_largest_process_mib": round(largest_mib),
        "nnunet_largest_process_mib": other["peak_mib"],
        "memory_ratio": round(float(other["peak_mib"]) / largest_mib, 1),
        "stored_mib": round(_size(scratch / "ours") / 2**20, 1),
        **worker_memory(scratch / "ours"),
    }


def worker_memory(workspace: Path) -> Json:
    """Preprocess once more, on its own: what was announced, and what the largest process took."""
    for folder in workspace.glob("*/preprocessed"):
        empty_folder(folder)
    code = "from autoseg.cli.main import console; console()"
    arguments = [sys.executable, "-c", code, "preprocess", "--workspace", str(workspace)]
    measured = [sys.executable, "-c", _MEASURING, *arguments, "--workers", WORKERS]
    done = subprocess.run(measured, capture_output=True, text=True, check=True)
    announced = re.search(r"up to ([\d.]+) (MiB|GiB) each", done.stderr)
    assert announced is not None  # the command says it before it starts
    size = float(announced[1]) * (1024 if announced[2] == "GiB" else 1)
    peak = int(done.stdout.splitlines()[-1]) / 1024
    return {
        "announced_mib": round(size),
        "measured_mib": round(peak),
        "measured_over_announced": round(peak / size, 2),
    }


_MEASURING: Final = """
import os, subprocess, sys
child = subprocess.Popen(sys.argv[1:])
print(os.wait4(child.pid, 0)[2].ru_maxrss)
"""


def _size(folder: Path) -> int:
    files = {f.stat().st_ino: f.stat().st_size for f in folder.rglob("*.b2nd")}
    return sum(files.values())  # a file of two names counts once


def import_time(repeats: int = 5) -> Json:
    """Return how long a process imports what preprocessing needs, without torch."""
    code = (
        "import sys, time; began = time.perf_counter(); "
        f"{IMPORTS}; print(time.perf_counter() - began, 'torch' in sys.modules)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(repeats)
    ]
    times = [float(run.stdout.split()[0]) for run in runs]
    return {
        "shortest_s": round(min(times), 3),
        "all_s": [round(time, 3) for time in times],
        "loads_torch": "True" in runs[0].stdout,
    }


def read_time(workspace: Path, count: int = 100) -> Json:
    """Return how long patches take to be read from a store whose files are in the page cache."""
    records = sorted(workspace.glob("*/preprocessed/*/*.json"))
    folder, name = max(
        ((r.parent, r.stem) for r in records),
        key=lambda each: np.prod(store.read_record(*each).shape),
    )
    record = store.read_record(folder, name)
    arrays = store.open_case(folder, record)
    rng = np.random.default_rng(0)
    image, labels, draws = [], [], []
    for _ in range(count):
        start = [int(rng.integers(max(1, n - PATCH + 1))) for n in record.shape]
        box = tuple(slice(a, a + PATCH) for a in start)
        began = perf_counter()
        patch = arrays.image[(slice(None), *box)]
        image.append(perf_counter() - began)
        began = perf_counter()
        arrays.segmentation[box]
        labels.append(perf_counter() - began)
        began = perf_counter()
        group = int(rng.integers(1, len(record.foreground_offsets) - 1))
        store.foreground_position(record, arrays, group, 0)
        draws.append(perf_counter() - began)
    return {
        "case_shape": record.shape,
        "patch_shape": patch.shape,
        "stored_as": record.encoding.dtype,
        "image_ms": round(1e3 * float(np.median(image)), 2),
        "segmentation_ms": round(1e3 * float(np.median(labels)), 2),
        "foreground_draw_ms": round(1e3 * float(np.median(draws)), 3),
    }


def main() -> None:
    """Measure everything and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--hippocampus", type=Path, required=True)
    parser.add_argument("--peer", type=Path, required=True, help="Python of nnU-Net's environment.")
    parser.add_argument("--script", type=Path, required=True, help="peer_nnunet.py")
    parser.add_argument("--make-ct", type=Path, required=True, help="make_ct.py")
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    scratch = empty_folder(options.scratch)
    ct = scratch / "ct"
    subprocess.run([sys.executable, str(options.make_ct), str(ct), "6", "384"], check=True)
    (scratch / "peer_ct").mkdir()
    (ct / "nnraw").rename(scratch / "peer_ct" / "raw")
    run_peer(
        options.peer, options.script, "convert", options.hippocampus, scratch / "peer_hippocampus"
    )

    def peer(root: str, number: str, configurations: Sequence[str]) -> Json:
        return run_peer(
            options.peer, options.script, "prepare", scratch / root, number,
            "-c", *configurations, "--workers", WORKERS,
        )  # fmt: skip

    volumes, small = ("3d_fullres", "3d_lowres"), ("2d", "3d_fullres")
    result = {
        "hippocampus": side_by_side(
            options.hippocampus,
            scratch,
            small,
            lambda: peer("peer_hippocampus", "4", small),
            options.repeats,
        ),
        "ct": side_by_side(
            ct / "Task77_PhantomCT",
            scratch,
            volumes,
            lambda: peer("peer_ct", "77", volumes),
            options.repeats,
        ),
        "reading": read_time(scratch / "ours"),
        "resampling": resampling.measure(scratch / "grids", options.peer, 200),
        "imports": import_time(),
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
