"""How long a checkpoint keeps the training waiting, and how long its writing takes beside it.

    PYTHONPATH=. python benchmarks/saving.py SCRATCH [--rounds 5]

The network is nnU-Net's plain U-Net of six stages, 32 to 320 channels (31 million weights), with
AdamW and an average of the weights: four copies of each. Prints one JSON line; the share is that of
an epoch of 60 s that ends with a checkpoint.
"""

import argparse
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path

import torch
from commands import empty_folder

from autoseg.core.network_presets import preset as arch_named
from autoseg.core.plan import Topology
from autoseg.core.training_config import PRESETS
from autoseg.networks.assembler import build_network
from autoseg.networks.device import choose_device, place_network
from autoseg.training.origin import Origin
from autoseg.training.saving import Saver
from autoseg.training.state import make_state

EPOCH_S = 60.0
TOPOLOGY = Topology(
    strides=((1, 1, 1), *((2, 2, 2),) * 5),
    kernels=((3, 3, 3),) * 6,
    features=(32, 64, 128, 256, 320, 320),
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    device = choose_device(options.device)
    config = replace(PRESETS["full"], optimizer="adamw")
    network = build_network(arch_named("plain"), TOPOLOGY, channels_in=1, channels_out=3)
    state = make_state(place_network(network, device, axes=3), config, device)
    for weight in network.parameters():
        weight.grad = torch.randn_like(weight)
    state.optimizer.step()
    origin = Origin(description="", fold=0, cases=())
    blocked, written = [], []
    with Saver(empty_folder(options.scratch), origin, device) as saver:
        for step in range(options.rounds):
            state.step = step + 1
            began = time.perf_counter()
            saver.save(state)
            blocked.append(time.perf_counter() - began)
            saver.wait()
            written.append(time.perf_counter() - began)
    size = max(path.stat().st_size for path in options.scratch.iterdir())
    waits = statistics.median(blocked)
    print(
        json.dumps(
            {
                "device": str(device),
                "weights": sum(weight.numel() for weight in network.parameters()),
                "checkpoint_mib": round(size / 2**20),
                "blocked_s": round(waits, 3),
                "written_after_s": round(statistics.median(written), 2),
                "share_of_an_epoch": round(waits / EPOCH_S, 5),
            }
        )
    )


if __name__ == "__main__":
    main()
