"""What a check of a raw dataset found: what is refused, what is suspicious, and what is noted."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from autoseg.core.geometry import STRICT

Kind = Literal[
    "side",
    "constant image",
    "same voxels",
    "no foreground",
    "label missing",
    "label volume",
    "spacing",
    "orientation",
    "intensities",
    "label in one case",
    "label in no case",
]
"""What a finding is about; the gravest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Something that no plan is made with."""

    __pydantic_config__: ClassVar = STRICT

    rule: str
    """The broken rule, such as ``E-GEO-20``."""
    case: str
    """Name of the case; empty where the dataset's layout is at fault."""
    file: str
    """Path of the file; empty where the error names several or none."""
    problem: str
    """What was found, and what is allowed."""
    fix: str
    """What to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is accepted and yet looks wrong beside the other cases."""

    __pydantic_config__: ClassVar = STRICT

    kind: Kind
    """What it is about."""
    case: str
    """Name of the case; empty where it concerns the whole dataset."""
    labels: tuple[int, ...] = ()
    """Labels to look at, as positions in `Labels.names`."""
    channel: int = 0
    """Position of the channel to look at."""
    what: str
    """What stands out, as a headline."""
    measured: str
    """What was measured of the case."""
    usual: str
    """What is usual among the others."""
    why: str
    """Why it matters."""
    fix: str
    """What to do."""
    picture: str = ""
    """Name of a picture of it beside the report; empty if none was drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """Everything that a check found."""

    __pydantic_config__: ClassVar = STRICT

    schema_version: int = 1
    """Version of this document."""
    autoseg_version: str
    """Version of autoseg that checked."""
    dataset: str
    """Name of the dataset."""
    origin: str
    """Folder or manifest that it was read from."""
    accepted: tuple[str, ...] = ()
    """What was accepted although a rule refuses it, such as ``E-GEO-13=sform``."""
    excluded: tuple[str, ...] = ()
    """Cases that were left out on request."""
    cases: int
    """Cases that the layout tells of, without those that were left out on request."""
    read: int
    """Cases that were read and measured."""
    mendable: int = 0
    """Cases that a mended copy would hold; 0 where none can be made, or it would be refused too."""
    refused: tuple[Refusal, ...]
    """What no plan is made with; layout first, then by case."""
    suspicious: tuple[Finding, ...]
    """What looks wrong, the gravest first."""
    notes: tuple[str, ...]
    """What is worth knowing, each with the file or case that it concerns."""
