"""Saving and restoring a training: old or new, never half, and no code in the files.

A checkpoint is a safetensors file named after its step, and ``checkpoint.json``, which names the
file with its digest and is replaced after the file is safe.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from autoseg.core.errors import AutosegError, DamagedError, UsageError
from autoseg.core.geometry import STRICT
from autoseg.io import documents, files
from autoseg.training.state import TrainState


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Which file holds the state, and the numbers that go with it."""

    __pydantic_config__: ClassVar = STRICT

    schema_version: int = 1
    """Version of this document."""
    file: str
    """Name of the safetensors file."""
    digest: str
    """Its SHA-256."""
    key: str
    """Digest of what the training was started with: plan, config, data and fold."""
    step: int
    """Updates made."""
    elapsed_s: float
    """Training time so far, seconds."""
    scale: float | None
    """Loss scale, where one is used."""
    threads: int
    """Threads of torch; results are bit-identical for the same number only."""
    history: tuple[dict[str, float], ...]
    """One row of numbers per finished epoch."""


def save(folder: Path, state: TrainState, key: str) -> None:
    """Write a checkpoint and remove the one before."""
    from safetensors.torch import save as encode

    data = encode(_tensors(state))
    file = f"state_{state.step:08d}.safetensors"
    files.write_atomically(folder / file, data)
    scaled = state.scaler.is_enabled()
    record = Checkpoint(
        file=file,
        digest=files.digest(data),
        key=key,
        step=state.step,
        elapsed_s=state.elapsed_s,
        scale=state.scaler.get_scale() if scaled else None,
        threads=torch.get_num_threads(),
        history=tuple(state.history),
    )
    documents.write(folder / "checkpoint.json", record)
    for old in folder.glob("state_*.safetensors"):
        if old.name != file:
            files.remove(old)


def find(folder: Path) -> Checkpoint | None:
    """Return the checkpoint of a folder, or None where there is none.

    Raises
    ------
    DamagedError
        If ``checkpoint.json`` is there but cannot be read.
    """
    path = folder / "checkpoint.json"
    if not path.exists():
        return None
    try:
        return documents.read(path, Checkpoint)
    except AutosegError as error:
        raise DamagedError(str(error), rule="E-MODEL-76", hint=_START_ANEW) from error


def restore(folder: Path, checkpoint: Checkpoint, state: TrainState) -> None:
    """Put a checkpoint into a fresh state of the same network and optimizer.

    Raises
    ------
    DamagedError
        If the file is missing, its digest differs, or its tensors do not fit.
    """
    from safetensors.torch import load as decode

    path = folder / checkpoint.file
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DamagedError(
            f"{path}: cannot be read ({error.strerror})", rule="E-MODEL-76", hint=_START_ANEW
        ) from error
    if files.digest(data) != checkpoint.digest:
        raise DamagedError(
            f"{path}: its digest differs from the one in checkpoint.json",
            rule="E-MODEL-76",
            hint=_START_ANEW,
        )
    tensors = decode(data)
    try:
        state.network.load_state_dict(_part(tensors, "network."))
    except RuntimeError as error:
        raise DamagedError(
            f"{path}: its tensors do not fit the network ({' '.join(str(error).split())[:200]})",
            rule="E-MODEL-76",
            hint=_START_ANEW,
        ) from error
    _restore_optimizer(state.optimizer, _part(tensors, "optimizer."))
    if checkpoint.scale is not None:
        state.scaler.load_state_dict({**state.scaler.state_dict(), "scale": checkpoint.scale})
    state.step, state.elapsed_s = checkpoint.step, checkpoint.elapsed_s
    state.history = list(checkpoint.history)


def foreign(folder: Path) -> UsageError:
    """Return the error for a checkpoint that another plan, config or dataset was started with."""
    return UsageError(
        f"{folder}: holds a training with another plan, settings or data",
        rule="E-RUN-78",
        hint="choose another --run, or remove the folder to start anew",
    )


def clear(folder: Path) -> None:
    """Remove the checkpoint of a finished training."""
    files.remove(folder / "checkpoint.json")
    for old in folder.glob("state_*.safetensors"):
        files.remove(old)


_START_ANEW = "remove the fold's folder to start it anew, or choose another --run"


def _tensors(state: TrainState) -> dict[str, Tensor]:
    tensors = {f"network.{name}": value for name, value in state.network.state_dict().items()}
    for index, values in state.optimizer.state_dict()["state"].items():
        for name, value in values.items():
            if value is not None:
                tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value)
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    slots: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, slot = name.partition(".")
        slots.setdefault(int(index), {})[slot] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": slots})
