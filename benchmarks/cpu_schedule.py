"""Predicted against real times of training steps on this machine's CPU.

    python benchmarks/cpu_schedule.py [--repeats 3] [--only 3d_128] [--network resenc] [--threads 2]
    python benchmarks/cpu_schedule.py --dataset DATASET --scratch SCRATCH [--epochs 2]

The first compares updates on random patches: the prediction from a part of the batch with the
fastest of some updates on the whole of it. One thread is measured in processor time, which other
processes disturb least, more threads in time of the clock. The second compares a step with all that
belongs to it: the prediction with the epochs of a training of fold 0. It and several threads need a
machine without other work.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from commands import empty_folder, run_autoseg

from autoseg.core.dataset import DatasetDescription
from autoseg.core.fingerprint import ChannelStatistics
from autoseg.core.labels import Labels
from autoseg.core.model import ModelDescription
from autoseg.core.network_presets import preset as network
from autoseg.core.network_spec import Style
from autoseg.core.plan import Configuration, Normalization, Plan
from autoseg.core.training_config import TrainingConfig, preset
from autoseg.execution.processor import watch_others
from autoseg.execution.progress import Silence
from autoseg.io.workspace import Workspace
from autoseg.networks.assembler import build_network
from autoseg.networks.device import Device, choose_device, place_network
from autoseg.training.batches import Batch
from autoseg.training.setup import sound_precision
from autoseg.training.state import make_state
from autoseg.training.step import training_step
from autoseg.training.step_time import StepTimer
from autoseg.training.timed_step import measure_update_s, whole_step
from planners.topology import plan_topology

LABELS = Labels(names=("background", "organ", "tumor"))
SHAPES = {
    "3d_128": ((1.0, 1.0, 1.0), (128, 128, 128), 2),
    "3d_thick": ((5.0, 1.0, 1.0), (20, 320, 256), 2),
    "3d_small": ((1.0, 1.0, 1.0), (40, 56, 40), 9),
    "2d_512": ((1.0, 1.0), (512, 512), 12),
    "2d_64": ((1.0, 1.0), (64, 64), 366),
}
"""Spacing, patch and batch by name: what usual plans have."""
WIDTHS = ((1.0, "full"), (0.5, "fast"), (0.25, "fast"))
"""Shares of the channels, and the preset that they are trained with."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=SHAPES, action="append")
    parser.add_argument("--network", choices=("plain", "resenc"), default="plain")
    parser.add_argument("--dataset", type=Path)
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--epochs", default="2")
    options = parser.parse_args()
    if options.dataset:
        print(json.dumps(compare_training(options)))
        return
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.threads == 1 else time.perf_counter
    print("configuration  channels batch predicted_s   real_s ratio took_s")
    for name in options.only or SHAPES:
        for fraction, recipe in WIDTHS:
            config = replace(preset(recipe), width_fraction=fraction)
            description = describe(name, config, options.network)
            compare_update(name, description, repeats=options.repeats, clock=clock)


def describe(name: str, config: TrainingConfig, network_name: str) -> ModelDescription:
    """Return a training of a configuration that a usual plan would have."""
    spacing, patch_size, batch_size = SHAPES[name]
    configuration = Configuration(
        name="2d" if len(patch_size) == 2 else "3d_fullres",
        spacing=spacing,
        median_shape=patch_size,
        patch_size=patch_size,
        batch_size=batch_size,
        batch_dice=False,
        network=network_name,
        arch=network(network_name),
        style=Style(),
        topology=plan_topology(spacing, patch_size)[0],
    )
    statistics = ChannelStatistics(
        mean=0.0,
        median=0.0,
        std=1.0,
        minimum=-9.0,
        maximum=9.0,
        percentile_00_5=-3.0,
        percentile_99_5=3.0,
    )
    plan = Plan(
        name="default",
        dataset=name,
        autoseg_version="0",
        gpu_memory_gib=8.0,
        orientation="canonical",
        axis_order=(0, 1, 2),
        mirror_axes=(0, 1, 2),
        normalization=(
            Normalization(scheme="zscore", inside_nonzero_only=False, statistics=statistics),
        ),
        configurations=(configuration,),
        decisions=(),
    )
    return ModelDescription(
        autoseg_version="0",
        dataset=DatasetDescription(
            name=name, channels=("MR",), labels=LABELS, file_ending=".nii.gz"
        ),
        plan=plan,
        configuration_name=configuration.name,
        training=config,
        decisions=(),
    )


def compare_update(
    name: str, description: ModelDescription, *, repeats: int, clock: Callable[[], float]
) -> None:
    """Print one row of the table."""
    device = sound_precision(choose_device("cpu"), description)
    with watch_others(torch.get_num_threads()) as watch:
        began = clock()
        predicted = measure_update_s(description, device, clock=clock)
        took = clock() - began
    real = fastest_update_s(description, device, repeats=repeats, clock=clock)
    print(
        f"{name:<14} {description.topology.features[0]:8} {whole_step(description).batch_size:5} "
        f"{predicted:11.3f} {real:8.3f} {predicted / real:5.2f} {took:6.1f}"
        f"{' disturbed' if watch.is_disturbed else ''}",
        flush=True,
    )


def fastest_update_s(
    description: ModelDescription, device: Device, *, repeats: int, clock: Callable[[], float]
) -> float:
    """Return the shortest of some real updates behind a first one, seconds."""
    load = whole_step(description)
    config, configuration = description.training, description.configuration
    unet = build_network(
        configuration.arch, description.topology, channels_in=1, channels_out=LABELS.channels
    )
    state = make_state(place_network(unet, device, axes=configuration.ndim), config, device)
    batch = Batch(
        images=torch.randn(load.batch_size, 1, *load.patch_size),
        targets=torch.randint(0, LABELS.count, (load.batch_size, *load.patch_size)),
        waited_s=0.0,
    )
    times = []
    for _ in range(repeats + 1):
        began = clock()
        training_step(
            state,
            batch,
            labels=LABELS,
            learning_rate=1e-3,
            gradient_norm=12.0,
            batch_dice=False,
            device=device,
        )
        times.append(clock() - began)
    return min(times[1:])


def compare_training(options: argparse.Namespace) -> dict[str, object]:
    """Train some epochs of fold 0 with ``fast`` and compare their steps with the prediction."""
    place = empty_folder(options.scratch) / "workspace"
    run_autoseg("plan_and_preprocess", "-d", options.dataset, "--workspace", place)
    done = run_autoseg(
        "train", "3d_fullres", "0", "--preset", "fast", "--epochs", options.epochs,
        "--device", "cpu", "--workspace", place, "--json",
    )  # fmt: skip
    fold = Path(json.loads(done.output)["model"]) / "fold_0"
    events = [json.loads(line) for line in (fold / "run.jsonl").read_text().splitlines()]
    epochs = [event for event in events if event.get("event") == "epoch"]
    record = json.loads((fold / "fold.json").read_text())
    workspace = Workspace(path=place)
    folder = workspace.dataset(workspace.current())
    description = ModelDescription(
        autoseg_version="0",
        dataset=folder.read_dataset().description,
        plan=folder.read_plan("default"),
        configuration_name="3d_fullres",
        training=preset("fast"),
        decisions=(),
    )
    predicted = StepTimer(place / "step_times.json", Silence()).time(description)
    steps = preset("fast").steps_per_epoch
    return {
        "predicted_s": round(predicted.seconds, 4),
        "predicted_parts_s": [
            round(part, 4)
            for part in (predicted.update_s, predicted.augmentation_s, predicted.validation_s)
        ],
        "real_s": round(record["minutes"] * 60 / record["steps"], 4),
        "epoch_s_per_step": [round(epoch["epoch_s"] / steps, 4) for epoch in epochs],
        "wait_fraction": [round(epoch["wait_fraction"], 4) for epoch in epochs],
    }


if __name__ == "__main__":
    main()
