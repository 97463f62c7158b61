"""How long the training waits for batches, by who makes them and how long a step takes.

    python benchmarks/feeding.py SCRATCH [--workers threads:1 --workers processes:2]
        [--step 0.5 --step train] [--policy full] [--patch 40 56 40] [--batch 4] [--batches 30]

On generated phantoms. A step sleeps for the seconds given, as a host does beside an accelerator, or
trains the fast preset's network on this machine's best device. Prints a JSON line for each: the
share of time that the training waited, wall time and CPU time per batch (of this process and its
worker processes, whose start is not counted). On a shared machine only CPU time is to be trusted:
where a training uses all cores, time per step is CPU time divided by cores at best. There is no
peer: what nnU-Net's own workers cost is part of its step in `training.py`.
"""

import argparse
import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time, sleep

import torch
from commands import run_autoseg
from step_time import LABELS, TOPOLOGY

from autoseg.core.network_presets import preset
from autoseg.core.training_config import preset as training_preset
from autoseg.networks.assembler import build_network
from autoseg.networks.device import Device, choose_device, place_network
from autoseg.pipeline.phantom import write_phantom_dataset
from autoseg.training.augmentation.policy import policy_named
from autoseg.training.batches import Batch, BatchSource
from autoseg.training.course import Course
from autoseg.training.feeding import Workers, open_feed
from autoseg.training.sampling import open_cases
from autoseg.training.state import make_state
from autoseg.training.step import training_step

CASES = 6
WARM = 4
"""Batches before the measurement, while processes start."""
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure and print one JSON line per kind of step and of workers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--workers", action="append")
    parser.add_argument("--step", action="append", dest="steps")
    parser.add_argument("--policy", default="full")
    parser.add_argument("--patch", type=int, nargs="+", default=[40, 56, 40])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--batches", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    source = source_of(stored_phantoms(options.scratch), options)
    device = choose_device("auto")
    known = ["threads:0", "threads:1", "threads:2", "processes:1", "processes:2"]
    for _ in range(options.repeats):
        for step in options.steps or ["0.5", "train"]:
            make_step = training(device) if step == "train" else sleeping(float(step))
            for workers in options.workers or known:
                found = measure(source, device, workers, make_step, options.batches)
                print(json.dumps({"step": step, "workers": workers, **found}), flush=True)


def stored_phantoms(scratch: Path) -> Path:
    """Return the folder of preprocessed phantoms, made where it is missing."""
    workspace, raw = scratch / "workspace", scratch / "Task99_Phantom"
    if not workspace.exists():
        write_phantom_dataset(raw, cases=CASES, held_out=0)
        run_autoseg(
            "plan_and_preprocess", "-d", raw, "--workspace", workspace, "-c", "3d_fullres"
        )  # fmt: skip
    (folder,) = (path.parent for path in workspace.glob("*/preprocessed/*/*_000.json"))
    return folder


def source_of(folder: Path, options: argparse.Namespace) -> BatchSource:
    """Draw from all cases of a folder."""
    names = sorted(path.stem for path in folder.glob("*.json"))
    return BatchSource(
        cases=open_cases(folder, names),
        purpose="training",
        seed=0,
        fold=0,
        batch_size=options.batch,
        patch_size=tuple(options.patch),
        foreground_fraction=0.33,
        policy=policy_named(options.policy),
        mirror_axes=tuple(range(len(options.patch))),
        inside_only=(False,),
        folder=folder,
    )


def sleeping(seconds: float) -> Callable[[Batch], None]:
    """Return a step that leaves the host alone."""
    return lambda _: sleep(seconds)


def training(device: Device) -> Callable[[Batch], None]:
    """Return a step of the fast preset's network."""
    torch.manual_seed(0)
    network = build_network(preset("plain"), TOPOLOGY, channels_in=1, channels_out=LABELS.channels)
    state = make_state(place_network(network, device, axes=3), training_preset("fast"), device)

    def step(batch: Batch) -> None:
        batch = Batch(
            images=batch.images,
            targets=batch.targets.clamp(max=LABELS.count - 1),
            waited_s=batch.waited_s,
        )
        result = training_step(
            state,
            batch,
            labels=LABELS,
            learning_rate=1e-3,
            gradient_norm=12.0,
            batch_dice=False,
            device=device,
        )
        result.loss.item()

    return step


def measure(
    source: BatchSource,
    device: Device,
    named: str,
    step: Callable[[Batch], None],
    batches: int,
) -> dict[str, float]:
    """Return what batches cost with some workers."""
    kind, _, count = named.partition(":")
    workers = Workers(kind=kind, count=int(count))  # type: ignore[arg-type]
    course = Course(steps_per_epoch=WARM + batches)
    with open_feed(source, device.torch_device, course=course, workers=workers) as feed:
        running = feed.batches([(0, number) for number in range(WARM + batches)])
        for _ in range(WARM):
            step(next(running))
        began, cpu, waited = perf_counter(), cpu_s(), 0.0
        for batch in running:
            waited += batch.waited_s
            step(batch)
        passed, used = perf_counter() - began, cpu_s() - cpu
    return {
        "wait_fraction": round(waited / passed, 4),
        "wall_s": round(passed / batches, 4),
        "cpu_s": round(used / batches, 4),
    }


def cpu_s() -> float:
    """Return the CPU time of this process and of its worker processes so far."""
    total = process_time()
    for process in multiprocessing.active_children():
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / TICKS_PER_S
    return total


if __name__ == "__main__":
    main()
