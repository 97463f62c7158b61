"""Saving and restoring a training: old or new, never half, and no code in the files.

A checkpoint is two files named after its step: the tensors, and a record with their digest, which
is written when the tensors are safe. The last two are kept, and the one with the best Dice.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar, Final

import torch
from torch import Tensor

from autoseg.core.errors import AutosegError, DamagedError
from autoseg.core.geometry import STRICT
from autoseg.core.version import __version__
from autoseg.io import documents, files
from autoseg.networks.device import Device
from autoseg.training.ending import CoolDown, smoothed_scores
from autoseg.training.origin import Environment, Origin
from autoseg.training.state import TrainState
from autoseg.training.state_tensors import put_tensors, tensors_of

KEPT: Final = 2
"""Latest checkpoints that are kept: should the last be damaged, the one before goes on."""
NAME: Final = "state_{:08d}"
"""Name of a checkpoint's files, but for their endings."""
RECORDS: Final = "state_*.json"
"""Which files are records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Which file holds the tensors, and the numbers that go with them."""

    __pydantic_config__: ClassVar = STRICT

    schema_version: int = 1
    """Version of this document."""
    digest: str
    """SHA-256 of the file of tensors."""
    origin: Origin
    """What the training was started with."""
    step: int
    """Updates made."""
    elapsed_s: float
    """Training time so far, seconds."""
    scale: float | None
    """Loss scale, where one is used."""
    scale_steps: int = 0
    """Steps since it last changed."""
    skipped: int = 0
    """Steps in a row, up to the last, that were skipped."""
    rolled_back: bool = False
    """Whether the training once went back to a checkpoint."""
    cool_down: CoolDown | None = None
    """How the training ends early, once that is decided."""
    environment: Environment
    """What computed."""
    history: tuple[dict[str, float], ...]
    """One row of numbers per finished epoch."""

    @property
    def score(self) -> float:
        """Smoothed Dice of the last finished epoch; 0 before there is one."""
        return (smoothed_scores(self.history) or [0.0])[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A training's state at one step, on the host: it may be written while training goes on."""

    tensors: dict[str, Tensor]
    """Every tensor by its name in the file."""
    record: Checkpoint
    """The rest; its digest is still to come."""


def environment(device: Device) -> Environment:
    """Return what computes now."""
    return Environment(
        device=str(device),
        threads=torch.get_num_threads(),
        versions=(
            ("autoseg", __version__),
            *((name, version(name)) for name in ("torch", "numpy", "blosc2", "batchgenerators")),
        ),
    )


def take(state: TrainState, origin: Origin, device: Device) -> Snapshot:
    """Copy a training's state."""
    scaled = state.scaler.is_enabled()
    record = Checkpoint(
        digest="",
        origin=origin,
        step=state.step,
        elapsed_s=state.elapsed_s,
        scale=state.scaler.get_scale() if scaled else None,
        scale_steps=int(state.scaler.state_dict()["_growth_tracker"]) if scaled else 0,
        skipped=state.skipped,
        rolled_back=state.rolled_back,
        cool_down=state.cool_down,
        environment=environment(device),
        history=tuple(state.history),
    )
    return Snapshot(tensors=tensors_of(state), record=record)


def write(folder: Path, snapshot: Snapshot) -> None:
    """Write a checkpoint, then remove those that are no longer kept.

    Later ones are of a course that was given up, and are removed too.
    """
    from safetensors.torch import save as encode

    data = encode(snapshot.tensors)
    name = NAME.format(snapshot.record.step)
    files.write_atomically(folder / f"{name}.safetensors", data)
    documents.write(folder / f"{name}.json", replace(snapshot.record, digest=files.digest(data)))
    for later in [step for step in steps(folder) if step > snapshot.record.step]:
        files.remove(folder / f"{NAME.format(later)}.json")
    _prune(folder)


def steps(folder: Path) -> list[int]:
    """Return the steps of which a folder has a record, the latest first."""
    names = (path.stem.removeprefix("state_") for path in folder.glob(RECORDS))
    return sorted((int(name) for name in names if name.isdigit()), reverse=True)


def begun_origin(folder: Path) -> Origin | None:
    """Return what a folder's training was started with; None before its first whole record."""
    for step in steps(folder):
        with suppress(DamagedError):
            return read_record(folder, step).origin
    return None


def read_record(folder: Path, step: int) -> Checkpoint:
    """Read the record of a step.

    Raises
    ------
    DamagedError
        If it is not what was written.
    """
    path = folder / f"{NAME.format(step)}.json"
    try:
        return documents.read(path, Checkpoint)
    except AutosegError as error:
        raise DamagedError(str(error), rule="E-MODEL-76", hint=_START_ANEW) from error


def restore(folder: Path, checkpoint: Checkpoint, state: TrainState) -> None:
    """Put a checkpoint into a state of the same network and optimizer.

    Raises
    ------
    DamagedError
        If the file is missing, its digest differs, or its tensors do not fit.
    """
    path = folder / f"{NAME.format(checkpoint.step)}.safetensors"
    tensors = _read_tensors(path, checkpoint.digest)
    try:
        put_tensors(tensors, state)
    except (RuntimeError, KeyError) as error:
        raise DamagedError(
            f"{path}: its tensors do not fit the network ({' '.join(str(error).split())[:200]})",
            rule="E-MODEL-76",
            hint=_START_ANEW,
        ) from error
    if checkpoint.scale is not None:
        scaling = {"scale": checkpoint.scale, "_growth_tracker": checkpoint.scale_steps}
        state.scaler.load_state_dict({**state.scaler.state_dict(), **scaling})
    state.step, state.elapsed_s = checkpoint.step, checkpoint.elapsed_s
    state.skipped, state.rolled_back = checkpoint.skipped, checkpoint.rolled_back
    state.cool_down, state.history = checkpoint.cool_down, list(checkpoint.history)


def restore_latest(
    folder: Path, state: TrainState, *, only: Callable[[Checkpoint], bool] = lambda found: True
) -> tuple[Checkpoint | None, tuple[str, ...]]:
    """Restore the latest checkpoint that is whole.

    Parameters
    ----------
    folder : Path
        Folder of the fold.
    state : TrainState
        Changed in place.
    only : callable
        Tells which checkpoints may be taken.

    Returns
    -------
    Checkpoint or None
        None where there is none.
    tuple of str
        What is damaged, for a person.

    Raises
    ------
    DamagedError
        If there are checkpoints and all are damaged.
    """
    damaged: list[AutosegError] = []
    for step in steps(folder):
        try:
            found = read_record(folder, step)
            if not only(found):
                continue
            restore(folder, found, state)
        except DamagedError as error:
            damaged.append(error)
            continue
        return found, tuple(f"{error}; going on from step {step}" for error in damaged)
    if damaged:
        raise damaged[0]
    return None, ()


def clear(folder: Path) -> None:
    """Remove the checkpoints of a finished training."""
    for old in [*folder.glob(RECORDS), *folder.glob("state_*.safetensors")]:
        files.remove(old)


_START_ANEW = "remove the fold's folder to start it anew, or choose another --run"


def _prune(folder: Path) -> None:
    """Remove all but the latest `KEPT` checkpoints and the best, records first."""
    scores = {}
    for step in steps(folder):
        try:
            scores[step] = read_record(folder, step).score
        except DamagedError:
            scores[step] = -1.0
    best = max(scores, key=lambda step: (scores[step], -step))
    kept = {*list(scores)[:KEPT], best}
    for step in [step for step in scores if step not in kept]:
        files.remove(folder / f"{NAME.format(step)}.json")
    named = {f"{NAME.format(step)}.safetensors" for step in kept}
    for old in folder.glob("state_*.safetensors"):
        if old.name not in named:
            files.remove(old)


def _read_tensors(path: Path, digest: str) -> dict[str, Tensor]:
    from safetensors.torch import load as decode

    try:
        data = path.read_bytes()
    except OSError as error:
        raise DamagedError(
            f"{path}: cannot be read ({error.strerror})", rule="E-MODEL-76", hint=_START_ANEW
        ) from error
    if files.digest(data) != digest:
        raise DamagedError(
            f"{path}: its digest differs from the one in its record",
            rule="E-MODEL-76",
            hint=_START_ANEW,
        )
    tensors: dict[str, Tensor] = decode(data)
    return tensors
