"""The predicted peak of a training step against measured ones, over networks, patches and batches.

    python benchmarks/memory_model.py [--only NAME] [--keep GPU_ROWS.json]

On the CPU the truth is torch.profiler's record of the second step: every allocation that torch
makes, weights and optimizer state included. oneDNN's convolutions also take workspaces of its own
from torch, which depend on the processor; the first ratio leaves them out, the second does not.

On a CUDA device the truth is what the caching allocator had in use and what it had reserved, each
point in a process of its own; ``--keep`` writes these rows to a file. Where there is no such device
they are not measured.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from autoseg.core.labels import Labels, Region
from autoseg.core.network_presets import preset
from autoseg.core.network_spec import Style
from autoseg.core.plan import Configuration
from autoseg.core.training_config import preset as training_preset
from autoseg.networks.assembler import build_network
from autoseg.networks.device import Device, place_network
from autoseg.training.batches import Batch
from autoseg.training.memory import Kind, step_bytes
from autoseg.training.state import make_state
from autoseg.training.step import training_step
from planners.topology import plan_topology

MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Point:
    """One training step."""

    name: str
    network: str = "plain"
    spacing: tuple[float, ...]
    patch: tuple[int, ...]
    batch: int = 2
    channels: int = 1
    labels: int = 3
    regions: int = 0
    cascade: bool = False
    training: str = "full"
    half: bool = False

    @property
    def configuration(self) -> Configuration:
        """Patch, batch and network."""
        topology, patch = plan_topology(self.spacing, self.patch)
        return Configuration(
            name="2d" if len(patch) == 2 else "3d_fullres",
            spacing=self.spacing,
            median_shape=tuple(map(float, patch)),
            patch_size=patch,
            batch_size=self.batch,
            batch_dice=len(patch) == 2,
            network=self.network,
            arch=preset(self.network),
            style=Style(),
            topology=topology,
            previous_stage="3d_lowres" if self.cascade else None,
        )

    @property
    def outputs(self) -> Labels:
        """Labels, or nested regions of them."""
        names = ("background", *(f"label {number}" for number in range(1, self.labels)))
        nested = (
            Region(name=f"region {k}", labels=tuple(range(k, self.labels)), written=k)
            for k in range(1, self.regions + 1)
        )
        return Labels(names=names, regions=tuple(nested))

    @property
    def channels_in(self) -> int:
        """Channels of the input."""
        return self.channels + (self.labels - 1 if self.cascade else 0)

    def predicted(self, device: Kind) -> int:
        """Return the prediction, bytes."""
        return step_bytes(
            self.configuration,
            channels=self.channels,
            labels=self.outputs,
            training=training_preset(self.training),
            half_precision=self.half,
            device=device,
        )

    def __str__(self) -> str:
        patch = "x".join(map(str, self.configuration.patch_size))
        outputs = f"{self.regions} regions" if self.regions else f"{self.labels} labels"
        precision = "bf16" if self.half else "float32"
        return (
            f"{self.network} {patch} b{self.batch} {self.channels_in}ch {outputs} {precision}"
            f"{' ' + self.training if self.training != 'full' else ''}"
        )


ISOTROPIC, THICK, THICKER, FLAT = (1.0, 1.0, 1.0), (3.0, 1.0, 1.0), (6.0, 1.0, 1.0), (1.0, 1.0)
SHAPES = (
    Point(name="cube", spacing=ISOTROPIC, patch=(48, 48, 48), labels=2),
    Point(name="uneven", spacing=ISOTROPIC, patch=(40, 56, 48), batch=1, channels=4, labels=4),
    Point(name="batch-6", spacing=ISOTROPIC, patch=(32, 32, 32), batch=6, labels=2),
    Point(name="labels-40", spacing=ISOTROPIC, patch=(32, 48, 40), labels=40),
    Point(name="regions", spacing=ISOTROPIC, patch=(48, 40, 48), channels=4, labels=4, regions=3),
    Point(name="cascade", spacing=ISOTROPIC, patch=(40, 48, 40), labels=6, cascade=True),
    Point(name="adamw", spacing=ISOTROPIC, patch=(40, 56, 40), batch=4, training="fast"),
    Point(name="thick", spacing=THICK, patch=(16, 64, 64)),
    Point(name="thicker", spacing=THICKER, patch=(8, 96, 80), batch=3, channels=2),
    Point(name="2d", spacing=FLAT, patch=(128, 128), batch=6),
    Point(name="2d-wide", spacing=FLAT, patch=(192, 160), batch=4, channels=3, labels=2),
    Point(name="2d-labels-40", spacing=FLAT, patch=(128, 192), batch=4, labels=40),
    Point(name="2d-tiny", spacing=FLAT, patch=(64, 48), batch=1, labels=2),
    Point(name="res-cube", network="resenc", spacing=ISOTROPIC, patch=(48, 48, 48)),
    Point(
        name="res-labels-14", network="resenc", spacing=ISOTROPIC, patch=(32, 40, 32), batch=4,
        labels=14),
    Point(name="res-thick", network="resenc", spacing=THICK, patch=(16, 64, 64), channels=2),
    Point(name="res-2d", network="resenc", spacing=FLAT, patch=(128, 96), batch=6, labels=4),
    Point(
        name="res-2d-regions", network="resenc", spacing=FLAT, patch=(192, 192), channels=4,
        labels=4, regions=3),
)  # fmt: skip
LARGE = (
    Point(name="large-cube", spacing=ISOTROPIC, patch=(128, 128, 128)),
    Point(name="large-labels", spacing=ISOTROPIC, patch=(128, 128, 128), labels=118),
    Point(name="large-thick", spacing=THICK, patch=(20, 256, 224)),
    Point(name="large-2d", spacing=FLAT, patch=(512, 512), batch=12),
    Point(name="large-res", network="resenc", spacing=ISOTROPIC, patch=(160, 128, 112)),
)
"""What a plan holds; measured on a GPU only."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="points whose name has this in it")
    parser.add_argument("--keep", type=Path, help="JSON file for a GPU's rows")
    parser.add_argument("--on-gpu", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.on_gpu is not None:
        print(json.dumps(measured_on_gpu(both_precisions((*SHAPES, *LARGE))[options.on_gpu])))
        return
    points = [point for point in both_precisions(SHAPES) if options.only in point.name]
    if points:
        compare_on_cpu(points)
    if not torch.cuda.is_available():
        print("\nCUDA device: not measured, there is none")
        return
    rows = compare_on_gpu(options.only)
    if options.keep:
        options.keep.write_text(json.dumps(rows, indent=1) + "\n")


def both_precisions(shapes: Sequence[Point]) -> list[Point]:
    """Return every shape in float32 and in bf16."""
    return [replace(shape, half=half) for shape in shapes for half in (False, True)]


def compare_on_cpu(points: Sequence[Point]) -> None:
    """Print a row per point, and the worst."""
    print(f"{'CPU, MiB':<58} {'predicted':>9} {'measured':>9} {'ratio':>6} {'all':>9} {'ratio':>6}")
    ratios = []
    for point in points:
        predicted = point.predicted("cpu")
        tensors, everything = measured_on_cpu(point)
        ratios.append((predicted / tensors, predicted / everything))
        print(
            f"{point!s:<58} {predicted / MIB:9.1f} {tensors / MIB:9.1f} {ratios[-1][0]:6.3f} "
            f"{everything / MIB:9.1f} {ratios[-1][1]:6.3f}",
            flush=True,
        )
    for what, column in (("workspaces of oneDNN left out", 0), ("everything", 1)):
        values = sorted(ratio[column] for ratio in ratios)
        print(f"{len(points)} points, {what}: ratios {values[0]:.3f} to {values[-1]:.3f}")


def steps(point: Point, device: Device) -> Iterator[None]:
    """Make training steps without end, one per iteration."""
    configuration, labels = point.configuration, point.outputs
    training = training_preset(point.training)
    network = build_network(
        configuration.arch,
        training.topology(configuration),
        channels_in=point.channels_in,
        channels_out=labels.channels,
    )
    place_network(network, device, axes=configuration.ndim)
    state = make_state(network, training, device)
    n, patch = training.batch_size(configuration), configuration.patch_size
    images = torch.randn(n, point.channels_in, *patch).to(device.torch_device)
    targets = torch.randint(0, labels.count, (n, *patch)).to(device.torch_device)
    batch = Batch(images=images, targets=targets, waited_s=0.0)
    while True:
        training_step(
            state,
            batch,
            labels=labels,
            learning_rate=training.learning_rate,
            gradient_norm=training.gradient_norm,
            batch_dice=configuration.batch_dice,
            device=device,
        )
        yield


def measured_on_cpu(point: Point) -> tuple[int, int]:
    """Return the peak of the second step, bytes: without oneDNN's workspaces, and with them."""
    autocast = torch.bfloat16 if point.half else None
    work = steps(point, Device(torch_device=torch.device("cpu"), autocast=autocast))
    cpu = torch.profiler.ProfilerActivity.CPU
    with torch.profiler.profile(activities=[cpu], profile_memory=True) as profile:
        next(work)
        with torch.profiler.record_function("second step"):
            next(work)
    return peaks(profile.profiler.kineto_results.experimental_event_tree())


def peaks(tree: Sequence[Any]) -> tuple[int, int]:
    """Return the peaks that `measured_on_cpu` returns, from the profiler's events."""
    nodes = list(walk(tree))
    second = next(node for node, _ in nodes if node.name == "second step")
    changes = sorted(
        (node.start_time_ns, node.extra_fields.ptr, node.extra_fields.alloc_size, parent)
        for node, parent in nodes
        if node.name == "[memory]"
    )
    used, tensors_peak, peak = 0, 0, 0
    workspaces: dict[int, int] = {}
    for moment, pointer, size, parent in changes:
        used += size
        if size < 0:
            workspaces.pop(pointer, None)
        elif "convolution" in parent:  # torch's own tensors come from aten::empty or resize_
            workspaces[pointer] = size
        if second.start_time_ns <= moment <= second.end_time_ns:
            peak = max(peak, used)
            tensors_peak = max(tensors_peak, used - sum(workspaces.values()))
    return tensors_peak, peak


def walk(nodes: Sequence[Any], parent: str = "") -> Iterator[tuple[Any, str]]:
    """Yield every event of the profiler's tree with the name of the one around it."""
    for node in nodes:
        yield node, parent
        yield from walk(node.children, node.name)


def compare_on_gpu(only: str) -> list[dict[str, Any]]:
    """Print a row per point, each measured in a process of its own, and return the rows."""
    titles = ("predicted", "in use", "ratio", "reserved", "ratio")
    print(f"\n{'GPU, MiB':<58}", *(f"{t:>{9 if t != 'ratio' else 6}}" for t in titles))
    rows = []
    for index, point in enumerate(both_precisions((*SHAPES, *LARGE))):
        if only not in point.name:
            continue
        command = [sys.executable, __file__, "--on-gpu", str(index)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        row = json.loads(done.stdout.splitlines()[-1])
        rows.append(row)
        predicted, used, reserved = (row[k] for k in ("predicted", "in_use", "reserved"))
        print(
            f"{point!s:<58} {predicted / MIB:9.1f} {used / MIB:9.1f} {predicted / used:6.3f} "
            f"{reserved / MIB:9.1f} {predicted / reserved:6.3f}",
            flush=True,
        )
    return rows


def measured_on_gpu(point: Point) -> dict[str, Any]:
    """Return what was predicted and measured for a point, bytes, on the first CUDA device."""
    autocast = torch.bfloat16 if point.half else None
    work = steps(point, Device(torch_device=torch.device("cuda"), autocast=autocast))
    for _ in range(3):
        next(work)
    torch.cuda.synchronize()
    return {
        "point": str(point),
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "cudnn": torch.backends.cudnn.version(),
        "predicted": point.predicted("cuda"),
        "in_use": torch.cuda.max_memory_allocated(),
        "reserved": torch.cuda.max_memory_reserved(),
    }


if __name__ == "__main__":
    main()
