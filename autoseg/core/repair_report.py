"""What a mended copy of a dataset holds, and what could not be mended."""

from dataclasses import dataclass
from typing import ClassVar

from autoseg.core.acceptance import Accepted
from autoseg.core.geometry import STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class MendedCase:
    """A case of the copy."""

    __pydantic_config__: ClassVar = STRICT

    case: str
    """Its name, here and there."""
    key: str
    """Digest of its files and of what was accepted of them."""
    outputs: tuple[str, ...]
    """SHA-256 of the file of each channel, then of the segmentation's."""
    notes: tuple[str, ...] = ()
    """What was repaired or assumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Something that could not be mended."""

    __pydantic_config__: ClassVar = STRICT

    case: str
    """Name of the case; empty where the layout is at fault and names none."""
    rule: str
    """The broken rule."""
    problem: str
    """What was found, and what is allowed."""
    fix: str
    """What to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairReport:
    """What a copy holds, and what it lacks."""

    __pydantic_config__: ClassVar = STRICT

    schema_version: int = 1
    """Version of this document."""
    autoseg_version: str
    """Version that mended."""
    source: str
    """The dataset that was copied."""
    accepted: Accepted = ()
    """What was accepted of it."""
    cases: tuple[MendedCase, ...] = ()
    """Cases of the copy, sorted by name."""
    left_out: tuple[LeftOut, ...] = ()
    """What could not be mended."""
