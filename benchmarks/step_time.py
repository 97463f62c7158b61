"""A training step and a pass of inference of the fast preset's network, by precision and layout.

    python benchmarks/step_time.py [--batch 4] [--repeats 8]

Patch 40x56x40, features 16 to 128: what Task04_Hippocampus is trained with. Prints the fastest of
the repeats, which other processes disturb least. On a machine with an accelerator it measures that.
"""

import argparse
import time
from collections.abc import Callable

import torch

from autoseg.core.labels import Labels
from autoseg.core.network_presets import preset
from autoseg.core.plan import Topology
from autoseg.core.training_config import preset as training_preset
from autoseg.networks.assembler import build_network
from autoseg.networks.device import Device, choose_device
from autoseg.training.batches import Batch
from autoseg.training.state import make_state
from autoseg.training.step import training_step

PATCH = (40, 56, 40)
LABELS = Labels(names=("background", "anterior", "posterior"))
STAGES = 4
TOPOLOGY = Topology(
    strides=((1, 1, 1), *[(2, 2, 2)] * (STAGES - 1)),
    kernels=((3, 3, 3),) * STAGES,
    features=(16, 32, 64, 128),
)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=8)
    options = parser.parse_args()
    fast = choose_device("auto")
    plain = Device(torch_device=fast.torch_device, autocast=None)
    devices = [fast, plain] if fast.autocast else [plain]
    print(f"{'device':<20} {'layout':<14} {'step s':>8} {'inference s':>12}")
    for device in devices:
        for layout in (torch.channels_last_3d, torch.contiguous_format):
            step_s, pass_s = measure(device, layout, options.batch, options.repeats)
            name = "channels last" if layout is torch.channels_last_3d else "contiguous"
            print(f"{device!s:<20} {name:<14} {step_s:8.3f} {pass_s:12.3f}", flush=True)


def measure(
    device: Device, layout: torch.memory_format, batch_size: int, repeats: int
) -> tuple[float, float]:
    """Return seconds of a training step and of a pass without gradients."""
    torch.manual_seed(0)
    network = build_network(preset("plain"), TOPOLOGY, channels_in=1, channels_out=LABELS.channels)
    network.to(device.torch_device).to(memory_format=layout)
    images = torch.randn(batch_size, 1, *PATCH, device=device.torch_device)
    targets = torch.randint(0, LABELS.count, (batch_size, *PATCH), device=device.torch_device)
    batch = Batch(images=images, targets=targets, waited_s=0.0)
    state = make_state(network, training_preset("fast"), device)

    def step() -> None:
        training_step(
            state,
            batch,
            labels=LABELS,
            learning_rate=1e-3,
            gradient_norm=12.0,
            batch_dice=False,
            device=device,
        ).item()

    def infer() -> None:
        with torch.inference_mode(), device.precision():
            network(images)[0].float().sum().item()

    return fastest(step, repeats), fastest(infer, repeats)


def fastest(work: Callable[[], None], repeats: int) -> float:
    """Return the shortest time of some repeats after one warm-up, seconds."""
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


if __name__ == "__main__":
    main()
