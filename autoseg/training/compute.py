"""How a training computes: precision, memory order and compilation, measured once and then kept.

Trust goes first: what is simpler stays unless something else is clearly faster on a real step.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar, Final, Literal

import torch

from autoseg.core.errors import AutosegError, DocumentError
from autoseg.core.geometry import STRICT
from autoseg.core.model import ModelDescription
from autoseg.execution.processor import processor_name
from autoseg.io import documents
from autoseg.networks.assembler import build_network
from autoseg.networks.device import Device, place_network
from autoseg.training.batches import Batch
from autoseg.training.state import make_state
from autoseg.training.step import training_step
from autoseg.training.timed_step import smaller_workloads, whole_step

Kind = Literal["cpu", "cuda", "mps"]
Precision = Literal["float32", "bfloat16", "float16"]
TimedStep = Callable[[], float]
"""Makes a training step and tells its time, seconds."""
Prepare = Callable[[ModelDescription, Device], TimedStep]
"""Makes steps of a training ready to be timed on a device."""

PRECISIONS: Final[dict[torch.dtype | None, Precision]] = {
    None: "float32",
    torch.bfloat16: "bfloat16",
    torch.float16: "float16",
}
LEAST_GAIN: Final = 1.1
"""What is tried must be so many times faster; less may be chance, or not worth a compilation."""
ROUNDS: Final = 4
"""Steps of each of two ways, in turns; the fastest counts, which others disturb least."""
LONGEST_S: Final = 2.0
"""Time after which two ways are compared no further, seconds."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """How a training computes, so that it computes the same when it is resumed."""

    __pydantic_config__: ClassVar = STRICT

    schema_version: int = 1
    """Version of this document."""
    kind: Kind
    """Kind of device that it was chosen for."""
    precision: Precision
    """Type of convolutions; sums and weights are float32."""
    channels_last: bool
    """Whether convolutions compute with the channels of a voxel side by side."""
    compiled: bool
    """Whether the network is compiled."""
    fused: bool
    """Whether one kernel of the optimizer changes all weights."""
    threads: int
    """Threads of torch, at least 1; weights depend on them in the last bits."""
    machine: str = ""
    """What it was measured on, as `machine_name` has it."""
    measured: tuple[tuple[str, float], ...] = ()
    """What was compared, and its shortest time for a step or a part of one, seconds."""

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise DocumentError(f"compute: threads is {self.threads}; it must be at least 1")

    @property
    def title(self) -> str:
        """All of it in one line."""
        unit = "thread" if self.threads == 1 else "threads"
        device = self.applied_to(Device(torch_device=torch.device(self.kind), autocast=None))
        times = "; ".join(f"{name} {seconds:.3g} s" for name, seconds in self.measured)
        found = f" (measured: {times})" if times else ""
        return f"{device}, {self.threads} {unit}{found}"

    def applied_to(self, device: Device) -> Device:
        """Return a device that computes so; threads are left as they are."""
        types = {name: dtype for dtype, name in PRECISIONS.items()}
        return replace(
            device,
            autocast=types[self.precision],
            channels_last=self.channels_last,
            compiled=self.compiled,
            fused=self.fused,
        )


def machine_name(device: Device) -> str:
    """Return the name of the processor that a device is, or of the card."""
    if device.torch_device.type == "cuda":
        return torch.cuda.get_device_name(device.torch_device)
    return f"{processor_name()}, {torch.backends.cpu.get_cpu_capability()}"


def find_compute(files: Iterable[Path], machine: str) -> Compute | None:
    """Return the first of some documents that was measured on a machine with as many threads."""
    for file in files:
        with suppress(AutosegError):  # whoever needs that one says what is wrong with it
            found = documents.read_stored(file, Compute, rule="E-MODEL-76")
            if (found.machine, found.threads) == (machine, torch.get_num_threads()):
                return found
    return None


def choose_compute(
    description: ModelDescription, device: Device, *, prepare: Prepare | None = None
) -> Compute:
    """Find out which way of computing is the fastest sound one for a training.

    Parameters
    ----------
    description : ModelDescription
        What is trained, and how.
    device : Device
        Where; its precision, as `autoseg.training.setup.sound_precision` leaves it, is the lowest
        that is taken.
    prepare : callable, optional
        Makes the steps that are timed; `prepare_step` if left out.

    Returns
    -------
    Compute
        For the document beside the checkpoints.

    Notes
    -----
    On a CPU half precision must be faster than float32, and contiguous memory faster than
    channels last; nothing is compiled, which takes 20 s and more of processor time there to gain
    4 % (``benchmarks/training_step.py``). On a CUDA device half precision is taken wherever the
    device has it, as memory was planned for it; channels last and compiled networks must be faster,
    and what fails is dropped. Elsewhere nothing is tried.

    A comparison takes `LONGEST_S` and a few steps: of the whole batch on CUDA, of the smallest part
    of one that says something on a CPU.
    """
    kind = device.torch_device.type
    best = replace(
        device,
        autocast=None if kind == "cpu" else device.autocast,
        channels_last=kind == "cpu",
        compiled=False,
        fused=kind == "cuda",
    )
    contest = _Contest(description=description, prepare=prepare or prepare_step)
    for changes in _alternatives(device):
        challenger = replace(best, **changes)
        if contest.is_faster(challenger, best):
            best = challenger
    return Compute(
        kind=kind,  # type: ignore[arg-type]
        precision=PRECISIONS[best.autocast],
        channels_last=best.channels_last,
        compiled=best.compiled,
        fused=best.fused,
        threads=torch.get_num_threads(),
        measured=tuple((_way(tried), seconds) for tried, seconds in contest.fastest.items()),
    )


def prepare_step(description: ModelDescription, device: Device) -> TimedStep:
    """Return a function that makes a step on random voxels and tells its time, seconds.

    Parameters
    ----------
    description : ModelDescription
        What is trained, and how.
    device : Device
        Where and how; a CPU makes the smallest part of a batch that
        `autoseg.training.timed_step.smaller_workloads` has, others the whole.
    """
    config, configuration = description.training, description.configuration
    labels, topology = description.dataset.labels, description.topology
    whole = whole_step(description)
    on_cpu = device.torch_device.type == "cpu"
    load = smaller_workloads(whole, topology.divisor)[0] if on_cpu else whole
    network = build_network(
        configuration.arch,
        topology,
        channels_in=description.channels_in,
        channels_out=labels.channels,
    )
    state = make_state(place_network(network, device, axes=configuration.ndim), config, device)
    n, size = load.batch_size, load.patch_size
    batch = Batch(
        images=torch.randn(n, description.channels_in, *size).to(device.torch_device),
        targets=torch.randint(0, labels.count, (n, *size)).to(device.torch_device),
        waited_s=0.0,
    )

    def step() -> float:
        began = perf_counter()
        result = training_step(
            state,
            batch,
            labels=labels,
            learning_rate=config.learning_rate,
            gradient_norm=config.gradient_norm,
            batch_dice=configuration.batch_dice,
            device=device,
        )
        result.norm.item()  # waits for all that the step asked of the device
        return perf_counter() - began

    return step


@dataclass(slots=True, kw_only=True)
class _Contest:
    """Compares ways of computing in pairs, each made ready once."""

    description: ModelDescription
    prepare: Prepare
    steps: dict[Device, TimedStep] = field(default_factory=dict)
    fastest: dict[Device, float] = field(default_factory=dict)

    def is_faster(self, challenger: Device, best: Device) -> bool:
        """Tell whether a way works and is clearly faster than the best so far."""
        cuda = [best.torch_device] if best.torch_device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda), torch.enable_grad():
            self._make_ready(best)
            try:
                self._make_ready(challenger)
            except Exception as error:  # a compiler may raise anything
                logger.warning("dropped=%r error=%r", _way(challenger), error)
                return False
            self._compare(best, challenger)
        return self.fastest[challenger] * LEAST_GAIN < self.fastest[best]

    def _make_ready(self, device: Device) -> None:
        """Make a way's first step, which wakes libraries and compiles, and is not counted."""
        if device not in self.steps:
            torch.manual_seed(0)
            step = self.prepare(self.description, device)
            step()
            self.steps[device] = step

    def _compare(self, *devices: Device) -> None:
        spent_s = 0.0
        for _ in range(ROUNDS):
            for device in devices:
                took_s = self.steps[device]()
                self.fastest[device] = min(took_s, self.fastest.get(device, took_s))
                spent_s += took_s
            if spent_s > LONGEST_S:
                break


def _alternatives(device: Device) -> Iterator[dict[str, Any]]:
    """Yield what is tried, one change after the other, each on top of what won so far."""
    kind = device.torch_device.type
    if kind == "cpu" and device.autocast is not None:
        yield {"autocast": device.autocast}
    if kind == "cpu":
        yield {"channels_last": False}
    if kind == "cuda":
        yield {"channels_last": True}
        yield {"compiled": True}


def _way(device: Device) -> str:
    """Name a way of computing without its device."""
    order = "" if device.channels_last else ", contiguous"
    return f"{device}".partition(" in ")[2] + order
