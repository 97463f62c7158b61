"""The spacing of a TIFF stack: a JSON file beside it, as nnU-Net writes it."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from autoseg.core.errors import GeometryError
from autoseg.core.geometry import STRICT

TIFF_ENDINGS: Final = (".tif", ".tiff")
"""Endings of images whose spacing may lie in a JSON file beside them."""
LARGEST_SIDECAR_BYTES: Final = 2**16
"""Longest JSON file that is read as a spacing."""

_CHANNEL_NUMBER: Final = re.compile(r"_\d{4}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar:
    """What the JSON file beside a TIFF stack holds."""

    __pydantic_config__: ClassVar = STRICT

    spacing: tuple[float, float, float]
    """Distance of the pages, rows and columns in mm."""

    def __post_init__(self) -> None:
        if not all(0 < edge < math.inf for edge in self.spacing):
            raise GeometryError(
                f"spacing is {self.spacing} mm; voxel edges are positive and finite",
                rule="E-GEO-17",
                hint="correct the spacing: [z, y, x] in mm",
            )


def sidecar_names(stem: str) -> tuple[str, ...]:
    """Return the names that the sidecar of an image may have, the preferred one first.

    Parameters
    ----------
    stem : str
        The image's file name without its ending.

    Examples
    --------
    >>> sidecar_names("case_0000")
    ('case_0000.json', 'case.json')
    """
    return tuple(dict.fromkeys(f"{s}.json" for s in (stem, _CHANNEL_NUMBER.sub("", stem))))


def parse_sidecar(data: bytes, where: str) -> Sidecar:
    """Read a sidecar.

    Raises
    ------
    DocumentError
        E-SET-46 if it is no strict JSON or holds anything but a spacing, E-GEO-17 if an edge is
        not positive.
    """
    from autoseg.io import documents  # pydantic, which no other image needs

    return documents.parse(data, Sidecar, f"{where}: its sidecar")


def encode_sidecar(spacing: tuple[float, float, float]) -> bytes:
    """Return the file of a spacing."""
    from autoseg.io import documents

    return documents.encode(Sidecar(spacing=spacing))


def sidecar_path(path: Path) -> Path:
    """Return where the sidecar of a TIFF stack is written."""
    return path.with_suffix(".json")
