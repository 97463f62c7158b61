"""Measuring a thousand small cases: autoseg's fingerprint against nnU-Net's, alternating.

    python benchmarks/fingerprint_at_scale.py SCRATCH --peer PYTHON

The cases are made from a seed: int16 as in CT, two labels, spacings that vary, .nii.gz in nnU-Net's
raw layout, so that both read the same files. Both use two worker processes and measure every case
anew in each round. In the end one case is changed, and the cases that are measured again counted.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import nibabel as nib
import numpy as np
from commands import empty_folder

DATASET = "Dataset901_Scale"
"""Name of the made dataset."""
WORKERS = 2
"""Worker processes of either."""
POLL_S = 0.1
"""How often the memory of the processes is looked at, seconds."""
PEER = f"""
import json, time
from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints
began = time.monotonic()
extract_fingerprints([901], num_processes={WORKERS}, clean=True, verbose=False)
print(json.dumps(time.monotonic() - began))
"""
"""What nnU-Net runs: its fingerprint alone."""
OURS = "from autoseg.cli.main import console; console()"
"""What autoseg runs, its arguments behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A finished command, all of whose processes were watched."""

    seconds: float
    """Wall-clock time, from the start of the interpreter to its end."""
    largest_mib: float
    """Peak memory of the largest process, MiB."""
    sum_mib: float
    """Sum of every process's own peak, MiB: no less than what they held at any one time."""
    output: str
    """What it printed on stdout."""


def main() -> None:
    """Measure and print one JSON line per round, and one in the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--peer", type=Path, help="Python of nnU-Net's environment.")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--shape", type=int, nargs=3, default=[64, 64, 64])
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    scratch = empty_folder(options.scratch)
    raw = scratch / "raw" / DATASET
    write_dataset(raw, options.cases, tuple(options.shape))
    ours: list[Watched] = []
    theirs: list[Watched] = []
    for number in range(options.rounds):
        empty_folder(scratch / "workspace")
        ours.append(measure(raw, scratch))
        if options.peer:
            theirs.append(run_peer(options.peer, scratch))
        print(json.dumps({"round": number, **compared(ours[-1:], theirs[-1:])}), flush=True)
    facts = {"cases": options.cases, "shape": options.shape, "rounds": options.rounds}
    again = measure_again(raw, scratch, options.cases)
    print(json.dumps({**facts, **compared(ours, theirs), **again}))


def compared(ours: list[Watched], theirs: list[Watched]) -> dict[str, float]:
    """Return the median times of some rounds, their ratio, and the largest memory."""
    seconds = median(run.seconds for run in ours)
    found = {
        "autoseg_seconds": round(seconds, 2),
        "autoseg_largest_mib": round(max(run.largest_mib for run in ours)),
        "autoseg_sum_mib": round(max(run.sum_mib for run in ours)),
    }
    if theirs:
        whole = median(run.seconds for run in theirs)
        # Its call alone: the time that its interpreter takes to load torch is left out.
        call = median(float(run.output.split()[-1]) for run in theirs)
        found |= {
            "nnunet_seconds": round(whole, 2),
            "nnunet_call_seconds": round(call, 2),
            "nnunet_largest_mib": round(max(run.largest_mib for run in theirs)),
            "ratio": round(whole / seconds, 2),
            "ratio_of_call": round(call / seconds, 2),
        }
    return found


def write_dataset(folder: Path, cases: int, shape: tuple[int, ...]) -> None:
    """Write a dataset in nnU-Net's raw layout."""
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "organ": 1, "lesion": 2},
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(description))
    for number in range(cases):
        write_case(folder, number, shape)


def write_case(folder: Path, number: int, shape: tuple[int, ...]) -> None:
    """Write a body in air, with an organ and a lesion in it, from a seed of its own."""
    rng = np.random.default_rng(number)
    index = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    image = np.full(shape, -1000.0)
    labels = np.zeros(shape, np.uint8)
    for label, edge, intensity, noise in ((0, 0.9, 40, 20), (1, 0.6, 110, 25), (2, 0.2, 70, 15)):
        edges = edge * rng.uniform(0.7, 1, 3)
        center = rng.uniform(-1, 1, 3) * (0.9 - edge) / 3
        inside = (((index.T - center) / edges) ** 2).sum(axis=-1).T < 1
        image[inside] = rng.normal(intensity + rng.normal(0, 5), noise, np.count_nonzero(inside))
        labels[inside] = label
    image += rng.normal(0, 8, shape)
    affine = np.diag([*rng.uniform((0.6, 0.6, 1.0), (1.0, 1.0, 5.0)), 1.0])
    for voxels, name in (
        (np.rint(image).astype(np.int16), f"imagesTr/case_{number:04d}_0000.nii.gz"),
        (labels, f"labelsTr/case_{number:04d}.nii.gz"),
    ):
        file = nib.Nifti1Image(voxels, affine)
        file.header.set_xyzt_units("mm")
        nib.save(file, folder / name)


def measure(raw: Path, scratch: Path) -> Watched:
    """Run autoseg's fingerprint."""
    arguments = ["fingerprint", "-d", str(raw), "--workspace", str(scratch / "workspace")]
    command = [sys.executable, "-c", OURS, *arguments, "--workers", str(WORKERS), "--quiet"]
    return watch(command, scratch / "autoseg.log")


def run_peer(python: Path, scratch: Path) -> Watched:
    """Run nnU-Net's fingerprint."""
    folders = {f"nnUNet_{name}": scratch / name for name in ("raw", "preprocessed", "results")}
    for folder in folders.values():
        folder.mkdir(exist_ok=True)
    environment = {name: str(path) for name, path in folders.items()}
    return watch([str(python), "-c", PEER], scratch / "nnunet.log", environment)


def measure_again(raw: Path, scratch: Path, cases: int) -> dict[str, object]:
    """Measure once more without a change and with one case changed."""
    unchanged = measure(raw, scratch)
    before = cache_stamps(scratch)
    changed = raw / "imagesTr" / "case_0000_0000.nii.gz"
    image = nib.load(changed)
    voxels = np.asarray(image.dataobj).copy()
    voxels[0, 0, 0] += 1
    nib.save(nib.Nifti1Image(voxels, image.affine, image.header), changed)
    measure(raw, scratch)
    after = cache_stamps(scratch)
    again = sorted(name for name in after if after[name] != before.get(name))
    return {
        "unchanged_seconds": round(unchanged.seconds, 2),
        "cases_changed": ["case_0000"],
        "cases_measured_again": again,
        "cases_kept": cases - len(again),
    }


def cache_stamps(scratch: Path) -> dict[str, tuple[int, int]]:
    """Return inode and time of what was kept of each case; measured again, it is a new file."""
    kept = (scratch / "workspace").rglob("case_*.json")
    return {path.stem: (path.stat().st_ino, path.stat().st_mtime_ns) for path in kept}


def watch(command: list[str], log: Path, environment: dict[str, str] | None = None) -> Watched:
    """Run a command, its messages going to a file, and look at the memory of its processes."""
    peaks: dict[int, float] = {}
    began = time.monotonic()
    with (
        log.open("a") as messages,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=messages,
            text=True,
            env=os.environ | (environment or {}),
        ) as process,
    ):
        while process.returncode is None:
            for pid in family(process.pid):
                peaks[pid] = max(peaks.get(pid, 0), peak_mib(pid))
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL_S)
        seconds = time.monotonic() - began
        output = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise SystemExit(f"{command[0]} failed with {process.returncode}, see {log}")
    return Watched(
        seconds=seconds,
        largest_mib=max(peaks.values()),
        sum_mib=sum(peaks.values()),
        output=output,
    )


def family(root: int) -> list[int]:
    """Return a process and its descendants."""
    try:
        children = [
            int(child)
            for thread in Path(f"/proc/{root}/task").iterdir()
            for child in (thread / "children").read_text().split()
        ]
    except OSError:  # it has just ended
        return []
    return [root, *(pid for child in children for pid in family(child))]


def peak_mib(pid: int) -> float:
    """Return the largest resident memory that a process ever had, MiB."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(x.split()[1]) / 1024 for x in lines if x.startswith("VmHWM")), 0.0)


if __name__ == "__main__":
    main()
