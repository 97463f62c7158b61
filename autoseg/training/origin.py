"""What a training was started with: a checkpoint is resumed only with the same plan and data."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from autoseg.core.errors import UsageError
from autoseg.core.geometry import STRICT
from autoseg.core.initial import InitialFold

LISTED: Final = 5
"""Cases that an error lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a training was started with."""

    __pydantic_config__: ClassVar = STRICT

    description: str
    """Digest of plan, settings and labels."""
    fold: int
    """Number of the fold."""
    initial: InitialFold | None = None
    """Which trained weights it started from, if any."""
    cases: tuple[tuple[str, str], ...]
    """Every case of the fold, training cases first, with the digest of its preprocessed data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What bit-identical results depend on besides."""

    __pydantic_config__: ClassVar = STRICT

    device: str
    """Where the training runs, and how precisely."""
    threads: int
    """Threads of torch."""
    versions: tuple[tuple[str, str], ...]
    """Versions of what computes, by name."""


def check_origin(folder: Path, begun: Origin, wanted: Origin) -> None:
    """Refuse to go on with a training that was started with something else.

    Raises
    ------
    UsageError
        E-RUN-78, naming the difference.
    """
    if begun == wanted:
        return
    differences = list(_differences(begun, wanted))
    raise UsageError(
        f"{folder}: holds a training with another {'; '.join(differences)}",
        rule="E-RUN-78",
        hint="choose another --run, or remove the folder to start anew",
    )


def environment_notes(begun: Environment, now: Environment) -> Iterator[str]:
    """Yield what differs between two sittings and makes the results differ in the last bits."""
    pairs = [
        ("device", begun.device, now.device),
        ("threads", str(begun.threads), str(now.threads)),
        *((name, version, dict(now.versions).get(name, "")) for name, version in begun.versions),
    ]
    for name, before, after in pairs:
        if before != after:
            yield (
                f"{name} was {before} and is {after} now: the training goes on, but not bit "
                "for bit as it would have"
            )


def _differences(begun: Origin, wanted: Origin) -> Iterator[str]:
    if (begun.description, begun.fold) != (wanted.description, wanted.fold):
        yield "plan, settings or labels"
    if begun.initial != wanted.initial:
        yield "model to start from"
    before, now = dict(begun.cases), dict(wanted.cases)
    changed = [name for name in now if name in before and before[name] != now[name]]
    for what, names in (
        ("preprocessed data: changed", changed),
        ("set of cases: new", [name for name in now if name not in before]),
        ("set of cases: gone", [name for name in before if name not in now]),
    ):
        if names:
            yield f"{what} {_listed(names)}"
    if set(before.items()) == set(now.items()) and begun.cases != wanted.cases:
        yield "order of cases"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
