"""Trains small networks on batches that processes share; torchrun starts it, test_ranks.py too."""

import sys
import weakref
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from autoseg.core.errors import InterruptedRun
from autoseg.core.labels import Labels, Region
from autoseg.core.network_spec import Arch
from autoseg.core.plan import Topology
from autoseg.core.training_config import TrainingConfig
from autoseg.networks.assembler import build_network
from autoseg.networks.device import Device
from autoseg.training.batches import Batch
from autoseg.training.ranks import open_ranks
from autoseg.training.state import make_state
from autoseg.training.step import training_step

CPU = Device(torch_device=torch.device("cpu"), autocast=None)
SHAPE = (8, 16, 12)
TOPOLOGY = Topology(
    strides=((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 1)),
    kernels=((3, 3, 3),) * 4,
    features=(4, 6, 8, 10),
)
LABELS = Labels(names=("background", "edema", "core"))
REGIONS = replace(
    LABELS,
    regions=(
        Region(name="whole", labels=(1, 2), written=1),
        Region(name="core", labels=(2,), written=2),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What is trained."""

    labels: Labels
    batch_dice: bool
    slots: int = 4
    dtype: torch.dtype = torch.float64
    """In float32 an activation that rounding moves across 0 changes gradients by 1e-5."""
    scaled: bool = False
    broken_step: int | None = None
    """Step in which the last patch holds a NaN."""


SCENARIOS = {
    "labels-batch-dice": Scenario(labels=LABELS, batch_dice=True),
    "labels": Scenario(labels=LABELS, batch_dice=False),
    "regions": Scenario(labels=REGIONS, batch_dice=True),
    "ignore": Scenario(labels=replace(LABELS, ignore=9), batch_dice=True),
    "regions-ignore-odd": Scenario(labels=replace(REGIONS, ignore=9), batch_dice=False, slots=3),
    "float32": Scenario(labels=LABELS, batch_dice=False, dtype=torch.float32),
    "broken": Scenario(labels=LABELS, batch_dice=True, broken_step=2),
    "broken-and-scaled": Scenario(labels=LABELS, batch_dice=True, broken_step=2, scaled=True),
}


def batch_of(scenario, step):
    """Return images and targets of all slots; ignored voxels lie in the first ones only."""
    rng = np.random.default_rng([step, 7])
    targets = rng.integers(0, 3, (scenario.slots, *(n // 4 for n in SHAPE)))
    targets = targets.repeat(4, 1).repeat(4, 2).repeat(4, 3)
    images = (targets + rng.normal(scale=0.5, size=targets.shape))[:, None]
    if scenario.labels.ignored is not None:
        targets[0] = scenario.labels.ignored
        targets[1, :, 3:] = scenario.labels.ignored
    if scenario.broken_step == step:
        images[-1, 0, 2, 3, 4] = np.nan
    return torch.from_numpy(images).to(scenario.dtype), torch.from_numpy(targets)


def train(scenario, ranks):
    """Make 5 steps; return losses, norms, weights, the scaler's scale and the count of steps."""
    torch.manual_seed(5 + ranks.rank)  # only the first process has the right weights
    network = build_network(Arch(), TOPOLOGY, channels_in=1, channels_out=scenario.labels.channels)
    network.to(scenario.dtype)
    ranks.copy_first(network.parameters())
    config = TrainingConfig(preset="test", epochs=1, optimizer="sgd", momentum=0.9)
    state = make_state(network, config, CPU)
    state.scaler = torch.amp.GradScaler("cpu", enabled=scenario.scaled, init_scale=256.0)
    share = ranks.share(scenario.slots)
    results, weights = [], []
    for step in range(5):
        images, targets = (x[share.start : share.stop] for x in batch_of(scenario, step))
        result = training_step(
            state,
            Batch(images=images, targets=targets, waited_s=0.0),
            labels=scenario.labels,
            learning_rate=0.02,
            gradient_norm=1.0,
            batch_dice=scenario.batch_dice,
            device=CPU,
            ranks=ranks,
        )
        results.append((result.loss.item(), result.norm.item()))
        weights.append(torch.cat([w.detach().flatten() for w in network.parameters()]).numpy())
    losses, norms = np.array(results).T
    return {
        "losses": losses,
        "norms": norms,
        "weights": np.stack(weights),
        "scale": state.scaler.get_scale(),
        "steps": state.step,
    }


def main(folder):
    """Train all scenarios, try every exchange, and write what this process found."""
    torch.set_num_threads(1)
    found = {}
    with open_ranks("cpu") as ranks:
        for name, scenario in SCENARIOS.items():
            found |= {f"{name}/{key}": value for key, value in train(scenario, ranks).items()}
        found["asked"] = [ranks.agree(ranks.rank == 1), ranks.agree(False)]
        found["of_first"] = ranks.of_first(0.1 + ranks.rank)
        counts = torch.tensor([2**60, 3], dtype=torch.int64) // (1 + ranks.rank)
        found["counts"] = ranks.reduce(counts).numpy()
        mixed = [torch.full((2, 3), 1.5), torch.tensor([4], dtype=torch.int64), torch.ones(5)]
        strided = torch.arange(12.0).reshape(3, 4).T
        ranks.reduce_in_place([*mixed, strided])
        found |= {f"mixed {place}": value.numpy() for place, value in enumerate([*mixed, strided])}
        x = torch.tensor([2.0, 3.0], requires_grad=True)
        (ranks.reduce(x * x) * torch.tensor([1.0, 10.0])).sum().backward()
        found["gradient"] = x.grad.numpy()
        ranks.barrier()
        if ranks.is_first:  # the other one has left
            try:
                ranks.agree(False)
            except InterruptedRun as error:
                found["lost"] = str(error)
        group = weakref.ref(dist.group.WORLD)
    found["group_is_gone"] = group() is None
    np.savez(Path(folder) / f"rank_{ranks.rank}.npz", **found)


if __name__ == "__main__":
    main(sys.argv[1])
