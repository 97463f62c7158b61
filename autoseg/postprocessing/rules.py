"""What can be done to a label map after prediction, as values: the parts of a structure are sifted.

A rule changes foreground to background or, where it fills holes, background to one label.
"""

from dataclasses import dataclass
from math import prod
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from autoseg.core.errors import DocumentError
from autoseg.core.geometry import STRICT
from autoseg.core.labels import LabelMap
from autoseg.evaluation.boxes import hull, label_boxes, structure_mask

Kind = Literal["largest_component", "minimum_volume", "fill_holes"]
Parts = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One step of post-processing."""

    __pydantic_config__: ClassVar = STRICT

    kind: Kind
    """What is done: only the largest part stays, parts below a volume go, or holes are filled."""
    structure: str
    """Name of the label or region, or ``foreground`` for all labels together."""
    labels: tuple[int, ...]
    """Labels that the structure consists of, as positions in the dataset's names."""
    filled: int = 0
    """Label that holes get."""
    minimum_mm3: float = 0.0
    """Volume below which a part goes, mm^3; area in mm^2 of 2D images."""

    def __post_init__(self) -> None:
        if self.kind == "minimum_volume" and self.minimum_mm3 <= 0:
            raise DocumentError(
                f"rule for {self.structure!r}: minimum_mm3 {self.minimum_mm3} must be more than 0"
            )
        if self.kind == "fill_holes" and self.filled < 1:
            raise DocumentError(f"rule for {self.structure!r}: holes need a label to be filled by")

    @property
    def text(self) -> str:
        """What it does, for a person."""
        match self.kind:
            case "largest_component":
                return f"{self.structure}: only the largest connected part stays"
            case "minimum_volume":
                return f"{self.structure}: parts below {self.minimum_mm3:g} mm3 are removed"
            case "fill_holes":
                return f"{self.structure}: holes are filled"


def apply_rules(
    rules: tuple[Rule, ...], label_map: LabelMap, spacing: tuple[float, ...]
) -> LabelMap:
    """Return a label map (*spatial) after all rules, in their order; it may be changed in place.

    Parameters
    ----------
    rules : tuple of Rule
        What is to be done.
    label_map : (*spatial) array of unsigned int
        Positions in the dataset's label names.
    spacing : tuple of float
        Voxel edges along its axes, mm.
    """
    if not rules:
        return label_map
    highest = max(max(*rule.labels, rule.filled) for rule in rules)
    boxes = [*label_boxes(label_map, highest + 1)]
    for rule in rules:
        box = hull([boxes[label] for label in rule.labels])
        if box is None:
            continue
        inside = label_map[box]
        parts = sifted_parts(rule, inside)
        gone = affected(rule, parts_volumes(parts, spacing))
        inside[gone[parts]] = rule.filled if rule.kind == "fill_holes" else 0
        if rule.kind == "fill_holes":
            boxes[rule.filled] = hull([boxes[rule.filled], box])
    return label_map


def sifted_parts(rule: Rule, label_map: LabelMap) -> Parts:
    """Return the number of each voxel's part, from 1: of the structure, or of its holes.

    Parts of a structure touch by a face, an edge or a corner; a hole is background from which no
    step over a face leads out of the array or onto another label.
    """
    from scipy.ndimage import label

    mask = structure_mask(label_map, rule.labels)
    if rule.kind != "fill_holes":
        parts, _ = label(mask, structure=np.ones((3,) * mask.ndim))
        return np.asarray(parts, np.int32)
    holes, _ = label(np.pad(~mask, 1, constant_values=True))
    inside = np.asarray(holes, np.int32)[(slice(1, -1),) * mask.ndim].copy()
    inside[inside == holes.flat[0]] = 0  # what is connected to the outside
    occupied = np.unique(inside[(label_map != 0) & ~mask])
    inside[np.isin(inside, occupied)] = 0
    return inside


def parts_volumes(parts: Parts, spacing: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """Return the volume of each part, mm^3 (2D: mm^2), by its number; that of number 0 is 0."""
    volumes: npt.NDArray[np.float64] = np.bincount(parts.ravel()).astype(float) * prod(spacing)
    volumes[0] = 0
    return volumes


def affected(rule: Rule, volumes: npt.NDArray[np.float64]) -> Flags:
    """Return which parts a rule changes, by their number; never number 0, the rest."""
    chosen: Flags
    match rule.kind:
        case "largest_component":
            chosen = volumes < volumes.max()  # parts of equal size all stay
        case "minimum_volume":
            chosen = volumes < rule.minimum_mm3
        case "fill_holes":
            chosen = np.ones(len(volumes), bool)
    chosen[0] = False
    return chosen
