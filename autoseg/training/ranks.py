"""The processes that train one fold together, each on a device of its own, as torchrun starts them.

Each computes its share of every batch; sums over all of them make losses and gradients those of the
whole batch, so that their number changes no result but by rounding. A process by itself needs none
of this: its sums are what it has.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from typing import Any, Final

import torch
import torch.distributed as dist
from torch import Tensor

from autoseg.core.errors import InterruptedRun, ResourceError, UsageError

BACKENDS: Final[dict[str, str]] = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}
"""How processes exchange tensors, by the kind of device that they train on. Beside GPUs, numbers in
main memory are exchanged too, so that asking whether to stop does not wait for the GPU."""
TIMEOUT: Final = timedelta(days=7)
"""How long a process waits for the others: longer than all that one of them does alone. One that
ends is noticed at once."""
BUCKET_BYTES: Final = 2**25
"""Size from which on gradients are sent; a copy of so many is the memory that sending takes."""
IMPORTED_FIRST: Final = "torch.distributed.nn.functional"
"""A module whose functions keep the group that is there when it is imported, as defaults. torch's
optimizers import it; were it then, the group and its threads would outlive the training."""
VARIABLES: Final = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
"""Environment variables of torchrun: the fields of `Ranks`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """One of the processes that train together.

    Whatever exchanges something must be called by all of them, in the same order.
    """

    rank: int
    """Number of this process among all, from 0."""
    count: int
    """Number of processes."""
    local_rank: int
    """Number of this process among those on its machine: that of its GPU."""

    def __post_init__(self) -> None:
        if not (0 <= self.local_rank <= self.rank < self.count):
            raise UsageError(
                f"process {self.rank} of {self.count}, {self.local_rank} on its machine: processes "
                "are numbered from 0, on a machine no higher than among all"
            )

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and progress."""
        return self.rank == 0

    def share(self, slots: int) -> range:
        """Return the slots of a batch that are this process's.

        Parameters
        ----------
        slots : int
            Patches in the whole batch.

        Raises
        ------
        UsageError
            If there are more processes than slots.

        Examples
        --------
        >>> [list(Ranks(rank=r, count=2, local_rank=r).share(5)) for r in (0, 1)]
        [[0, 1], [2, 3, 4]]
        """
        if slots < self.count:
            raise UsageError(
                f"a batch of {slots} cannot be shared by {self.count} processes; each needs at "
                "least one patch",
                hint=f"start at most {slots} processes: torchrun --nproc-per-node {slots}",
            )
        return range(slots * self.rank // self.count, slots * (self.rank + 1) // self.count)

    def reduce(self, tensor: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes, the same in each of them.

        Parameters
        ----------
        tensor : tensor
            Of the same shape and type everywhere, on the device of the training or in main memory.

        Returns
        -------
        tensor
            Its gradient reaches the part of this process only. The tensor itself, if there is but
            one process.

        Raises
        ------
        InterruptedRun
            If another process has ended.
        """
        return tensor if self.count == 1 else _Sum.apply(tensor, self)  # type: ignore[no-untyped-call]

    def reduce_in_place(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors, of any number, by their sums over all processes; see `reduce`."""
        if self.count > 1:
            for bucket in _buckets(tensors):
                _exchange(bucket, lambda flat: self._run(dist.all_reduce, flat))

    def copy_first(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors, such as weights, by those of the first process; see `reduce`."""
        if self.count > 1:
            for bucket in _buckets(tensors):
                _exchange(bucket, lambda flat: self._run(dist.broadcast, flat, src=0))

    def agree(self, flag: bool) -> bool:
        """Return whether any process has the flag set, such as that it was asked to stop."""
        return bool(self.reduce(torch.tensor(int(flag))))

    def of_first(self, number: float) -> float:
        """Return the first process's number, such as a time that decides on a learning rate."""
        part = number if self.is_first else 0.0
        return float(self.reduce(torch.tensor(part, dtype=torch.float64)))

    def barrier(self) -> None:
        """Wait until all processes have come here."""
        self.agree(False)

    def _run(self, operation: Callable[..., object], tensor: Tensor, **options: Any) -> None:
        try:
            operation(tensor, **options)
        except (torch.OutOfMemoryError, torch.AcceleratorError):
            raise  # this process's own
        except RuntimeError as error:  # what gloo raises has no type of its own
            raise InterruptedRun(
                f"process {self.rank} of {self.count}: another one has ended: {error}",
                hint="its own message says why; the same command carries on from the checkpoint",
            ) from error


SINGLE: Final = Ranks(rank=0, count=1, local_rank=0)
"""A process that trains by itself."""


def this_process(environment: Mapping[str, str] = os.environ) -> Ranks:
    """Return which process this is, according to the environment variables of torchrun.

    Parameters
    ----------
    environment : mapping
        Without RANK, it is a process by itself.

    Raises
    ------
    UsageError
        If WORLD_SIZE or LOCAL_RANK are missing, or one of the three is no number, or impossible.
    """
    if "RANK" not in environment:
        return SINGLE
    values = {name: environment.get(name, "") for name in VARIABLES}
    if not all(value.isdecimal() for value in values.values()):
        found = ", ".join(f"{name}={value!r}" for name, value in values.items())
        raise UsageError(
            f"environment: {found}; all three must be numbers, from 0",
            hint="start processes by torchrun, which sets them, or unset RANK to train with one",
        )
    rank, count, local_rank = map(int, values.values())
    return Ranks(rank=rank, count=count, local_rank=local_rank)


@contextmanager
def open_ranks(kind: str) -> Iterator[Ranks]:
    """Connect this process with the others that torchrun started, for as long as the block runs.

    Parameters
    ----------
    kind : str
        Kind of device to train on: ``cpu``, or ``cuda``, where each process takes the GPU of its
        `Ranks.local_rank`. A process by itself may have any.

    Yields
    ------
    Ranks
        Which one this is.

    Raises
    ------
    UsageError
        If the environment is wrong, or devices of that kind cannot work together.
    ResourceError
        If there are fewer GPUs than processes, or the others cannot be reached.
    """
    ranks = this_process()
    if ranks.count == 1:
        yield ranks
        return
    if kind not in BACKENDS or not dist.is_available():
        raise UsageError(
            f"{ranks.count} processes cannot train together on devices of kind {kind!r}; "
            f"allowed are {', '.join(BACKENDS)}",
            hint="start one process, without torchrun",
        )
    if kind == "cuda":
        _take_gpu(ranks)
    import_module(IMPORTED_FIRST)
    try:
        dist.init_process_group(BACKENDS[kind], timeout=TIMEOUT)
    except (RuntimeError, ValueError) as error:
        raise ResourceError(
            f"process {ranks.rank} of {ranks.count}: the others cannot be reached: {error}",
            hint="start all processes by one torchrun command; it sets MASTER_ADDR, MASTER_PORT",
        ) from error
    try:
        yield ranks
    finally:
        dist.destroy_process_group()


def _take_gpu(ranks: Ranks) -> None:
    """Make the process's GPU the current one."""
    gpus = torch.cuda.device_count()
    if ranks.local_rank >= gpus:
        raise ResourceError(
            f"process {ranks.rank} of {ranks.count} would take GPU {ranks.local_rank}; this "
            f"machine has {gpus}, numbered from 0",
            hint=f"start as many processes as GPUs: torchrun --nproc-per-node {max(gpus, 1)}",
        )
    torch.cuda.set_device(ranks.local_rank)


class _Sum(torch.autograd.Function):
    """The sum over all processes; to each, what the others have is a constant."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, ranks: Ranks) -> Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        ranks._run(dist.all_reduce, total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Group tensors of one type to some `BUCKET_BYTES`, in their order."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        size = sum(waiting.nbytes for waiting in bucket)
        if bucket and (size >= BUCKET_BYTES or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


@torch.no_grad()
def _exchange(tensors: list[Tensor], exchange: Callable[[Tensor], None]) -> None:
    """Exchange tensors of one type in one message, whatever the order of each in memory."""
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    exchange(flat)
    pieces = torch.split(flat, [tensor.numel() for tensor in tensors])
    for tensor, piece in zip(tensors, pieces, strict=True):
        tensor.copy_(piece.view(tensor.shape))
