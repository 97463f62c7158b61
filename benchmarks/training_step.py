"""A training step of a plain 3D U-Net here and in nnU-Net, in turns, and the losses of both.

    PYTHONPATH=. python benchmarks/training_step.py SCRATCH --peer PYTHON [--steps 30] [--threads 2]
    PYTHONPATH=. python benchmarks/training_step.py SCRATCH --peer PYTHON --device cuda

On a CPU: features 32 to 256, patch 40x56x40, batch 2; on a CUDA device: 32 to 320, 128x128x128,
batch 2. Each way of computing is a process of its own, and one of them works at a time: every step
is made by all of them before the next one, on the same batch of blurred blobs. Printed as JSON, of
each way: the median time of a step but for the first few, seconds of the clock and of processors
(of one thread, others disturb these least), and the loss of every step. nnU-Net trains in float32
on a CPU, with its own network, loss and optimizer; its loss is 1 less and here raised by 1.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from commands import empty_folder
from scipy.ndimage import gaussian_filter

from autoseg.core.labels import Labels
from autoseg.core.network_presets import preset
from autoseg.core.plan import Topology
from autoseg.core.training_config import preset as training_preset
from autoseg.execution.allocator import keep_freed_memory
from autoseg.networks.assembler import build_network
from autoseg.networks.device import choose_device, place_network
from autoseg.training.batches import Batch
from autoseg.training.state import make_state
from autoseg.training.step import training_step

LABELS = Labels(names=("background", "rim", "core"))
WARM_UP: Final = 3
"""First steps that do not count: libraries choose their kernels in them."""
LAST: Final = 10
"""Steps at the end whose mean loss is compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What every way of computing does."""

    patch_size: tuple[int, ...]
    """Voxels per axis."""
    features: tuple[int, ...]
    """Channels by stage; every further stage halves all axes."""
    batch_size: int = 2
    """Patches."""
    steps: int = 30
    """Steps to make."""
    threads: int = 2
    """Threads of torch."""
    device: str = "cpu"
    """Kind of device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way of computing a step."""

    half: bool = True
    """Whether in half precision."""
    channels_last: bool = True
    """Whether in channels-last order."""
    keep: bool = True
    """Whether the process keeps the memory that it frees."""
    compiled: bool = False
    """Whether the network is compiled."""
    seed: int = 0
    """Of the weights."""


CPU_WAYS: Final = {
    "autoseg": Way(),
    "autoseg, memory given back": Way(keep=False),
    "autoseg in float32": Way(half=False),
    "autoseg in float32, other weights": Way(half=False, seed=1),
}
GPU_WAYS: Final = {
    "autoseg": Way(),
    "autoseg, contiguous": Way(channels_last=False),
    "autoseg, compiled": Way(channels_last=False, compiled=True),
    "autoseg in float32": Way(half=False),
    "autoseg in float32, other weights": Way(half=False, seed=1),
}
WORK: Final = {
    "cpu": Work(patch_size=(40, 56, 40), features=(32, 64, 128, 256)),
    "cuda": Work(patch_size=(128, 128, 128), features=(32, 64, 128, 256, 320, 320), device="cuda"),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--peer", type=Path, help="Python of nnU-Net's environment")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=WORK, default="cpu")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        serve(options.scratch, Way(**json.loads(options.way)))
    elif options.device == "cuda" and not torch.cuda.is_available():
        print(json.dumps({"device": "cuda", "result": "not measured: there is none"}))
    else:
        work = replace(WORK[options.device], steps=options.steps, threads=options.threads)
        print(json.dumps(compare(empty_folder(options.scratch), work, options.peer), indent=1))


def compare(folder: Path, work: Work, peer: Path | None) -> dict[str, Any]:
    """Let all ways make their steps in turns and return what was measured."""
    (folder / "work.json").write_text(json.dumps(asdict(work)))
    rng = np.random.default_rng(0)
    for step in range(work.steps):
        images, targets = blobs(rng, work)
        np.savez(folder / f"{step}.npz", images=images, targets=targets)
    here = [sys.executable, __file__, str(folder), "--way"]
    ways = CPU_WAYS if work.device == "cpu" else GPU_WAYS
    commands = {name: [*here, json.dumps(asdict(way))] for name, way in ways.items()}
    if peer is not None:
        script = Path(__file__).with_name("training_step_peer.py")
        commands = {"nnU-Net": [str(peer), str(script), str(folder)], **commands}
    workers = {name: start(command, work) for name, command in commands.items()}
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in workers}
    loads = []
    for step in range(work.steps):
        for name, worker in workers.items():
            rows[name].append(ask(worker, step))
        loads.append(os.getloadavg()[0])
    for worker in workers.values():
        worker.communicate()
    return {"work": asdict(work), "load": statistics.median(loads), **summary(rows)}


def blobs(rng: np.random.Generator, work: Work) -> tuple[np.ndarray, np.ndarray]:
    """Return images with blurred blobs in noise, and the labels of background, rims and cores."""
    shape = (work.batch_size, 1, *work.patch_size)
    smooth = gaussian_filter(rng.standard_normal(shape), (0, 0, 5, 5, 5))
    smooth /= smooth.std()
    targets = (smooth > 0.8).astype(np.int64) + (smooth > 1.4)
    images = targets + 0.5 * rng.standard_normal(shape)
    return images.astype(np.float32), targets[:, 0]


def start(command: list[str], work: Work) -> "subprocess.Popen[str]":
    """Start a process that makes steps when asked to."""
    environment = os.environ | {"OMP_NUM_THREADS": str(work.threads), "nnUNet_raw": ""}
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )


def ask(worker: "subprocess.Popen[str]", step: int) -> dict[str, float]:
    """Let a process make a step and return what it says of it."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(f"{step}\n")
    worker.stdin.flush()
    while (line := worker.stdout.readline()) and not line.startswith("{"):
        pass
    answer: dict[str, float] = json.loads(line)
    return answer


def summary(rows: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Return medians, their ratios to nnU-Net's, and the losses."""
    found: dict[str, Any] = {}
    for name, steps in rows.items():
        counted = steps[min(WARM_UP, len(steps) - 1) :]
        found[name] = {
            key: round(statistics.median(step[key] for step in counted), 4)
            for key in ("clock_s", "processor_s")
        }
        found[name]["last_losses"] = statistics.fmean(step["loss"] for step in steps[-LAST:])
        found[name]["losses"] = [round(step["loss"], 4) for step in steps]
    if "nnU-Net" in found:
        for name in rows:
            for key in ("clock_s", "processor_s"):
                found[name][f"{key} to nnU-Net's"] = round(
                    found[name][key] / found["nnU-Net"][key], 3
                )
    half, full, other = (
        np.array([step["loss"] for step in rows[name]])
        for name in ("autoseg", "autoseg in float32", "autoseg in float32, other weights")
    )
    differences = {
        "half precision": float(np.abs(half - full).mean()),
        "other weights": float(np.abs(other - full).mean()),
    }
    return {"ways": found, "mean difference of losses from float32's": differences}


def serve(folder: Path, way: Way) -> None:
    """Make a step for every line that comes in, and say how long it took."""
    work = Work(**json.loads((folder / "work.json").read_text()))
    if way.keep:
        keep_freed_memory()
    torch.set_num_threads(work.threads)
    step = prepare(work, way)
    for line in sys.stdin:
        with np.load(folder / f"{int(line)}.npz") as voxels:
            images, targets = (torch.from_numpy(voxels[key]) for key in ("images", "targets"))
        began, busy = time.perf_counter(), time.process_time()
        loss = step(images, targets)
        row = {
            "clock_s": time.perf_counter() - began,
            "processor_s": time.process_time() - busy,
            "loss": loss,
        }
        print(json.dumps(row), flush=True)


def prepare(work: Work, way: Way) -> Callable[[torch.Tensor, torch.Tensor], float]:
    """Return a function that makes a step on a batch and returns its loss."""
    stages, config = len(work.features), training_preset("full")
    topology = Topology(
        strides=((1, 1, 1), *[(2, 2, 2)] * (stages - 1)),
        kernels=((3, 3, 3),) * stages,
        features=tuple(work.features),
    )
    device = replace(
        choose_device(work.device if way.half else f"{work.device}/float32"),
        channels_last=way.channels_last,
        compiled=way.compiled,
        fused=work.device == "cuda",
    )
    torch.backends.cudnn.benchmark = work.device == "cuda"
    torch.manual_seed(way.seed)
    network = build_network(preset("plain"), topology, channels_in=1, channels_out=LABELS.channels)
    state = make_state(place_network(network, device, axes=3), config, device)

    def step(images: torch.Tensor, targets: torch.Tensor) -> float:
        result = training_step(
            state,
            Batch(
                images=images.to(device.torch_device),
                targets=targets.to(device.torch_device),
                waited_s=0.0,
            ),
            labels=LABELS,
            learning_rate=config.learning_rate,
            gradient_norm=config.gradient_norm,
            batch_dice=False,
            device=device,
        )
        return result.loss.item() + 0 * result.norm.item()

    return step


if __name__ == "__main__":
    main()
