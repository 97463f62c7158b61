"""Along which axes training and prediction may mirror: not where the labels tell the sides apart.

A side shows in a label's name, or in a label that is the mirror image of another.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal
from unicodedata import normalize

from autoseg.core.dataset import DatasetDescription
from autoseg.core.fingerprint import Fingerprint
from autoseg.core.geometry import Orientation
from autoseg.core.labels import Labels
from autoseg.core.plan import Decision
from autoseg.io.guard import ANATOMICAL_ENDINGS
from planners.budget import Mirroring
from planners.words import Numbers

Axis = Literal["x", "y", "z"]
"""An axis of the patient; arrays have them in the order z, y, x."""

SIDED_AXES: Final[tuple[Axis, ...]] = ("x", "y", "z")
"""Axes along which a side in a label's name switches mirroring off. On Task04_Hippocampus, whose
labels are anterior and posterior, that gains 0.011 Dice after 600 steps, mean of two folds
(``benchmarks/plan_variants.py``)."""
AXIS_NAMES: Final[dict[Axis, str]] = {
    "x": "left-right",
    "y": "anterior-posterior",
    "z": "superior-inferior",
}
"""The axes in words, in the order in which they are listed."""
SIDES: Final[dict[Axis, frozenset[str]]] = {
    "x": frozenset({"left", "right", "lt", "rt", "lh", "rh"}),
    "y": frozenset({"anterior", "posterior", "ant", "post"}),
    "z": frozenset({"superior", "inferior", "sup", "inf"}),
}
"""Words that name a side wherever they stand in a label's name."""
LETTERS: Final[dict[Axis, dict[str, str]]] = {
    "x": {"l": "r", "r": "l"},
    "y": {"a": "p", "p": "a"},
    "z": {"s": "i", "i": "s"},
}
"""Letters that name a side, and the letter for the other side."""
LISTED_NAMES: Final = 4
"""Label names that a decision lists; of more it gives the number."""

_WORD_OR_NUMBER: Final = re.compile(r"[^\W\d_]+|\d+")
_HUMP: Final = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorAxes:
    """Along which axes to mirror."""

    axes: tuple[int, ...]
    """Axes in plan order."""
    decision: Decision
    """Why."""


def choose_mirroring(
    fingerprint: Fingerprint,
    description: DatasetDescription,
    *,
    order: tuple[int, ...],
    mirroring: Mirroring = "auto",
    orientation: Orientation = "canonical",
) -> MirrorAxes:
    """Decide along which axes training and prediction may mirror.

    Parameters
    ----------
    fingerprint : Fingerprint
        Symmetries that were measured, along array axes in canonical order.
    description : DatasetDescription
        Names of labels and regions; the file ending tells whether axes are anatomical.
    order : tuple of int
        Plan axis to array axis.
    mirroring : Mirroring
        What the user asks for.
    orientation : Orientation
        How the plan turns images. Where axes lie as they are stored, none has a name.

    Returns
    -------
    MirrorAxes
        All axes but, for ``auto``, those along which a label's or region's name carries a side
        (see `sided_axes`) or a symmetry was measured.
    """
    everything = tuple(range(len(order)))
    if mirroring != "auto":
        axes = everything if mirroring == "all" else ()
        given = _decision(axes, order, "it was given with --mirroring", is_override=True)
        return MirrorAxes(axes=axes, decision=given)
    if not _is_anatomical(description, orientation, len(order)):
        rule = "the axes of the images are not those of a patient, and mirroring adds images"
        return MirrorAxes(axes=everything, decision=_decision(everything, order, rule))
    reasons: list[str] = []
    numbers: list[tuple[str, str]] = []
    off = set()
    for axis, name in AXIS_NAMES.items():
        why, measured = _reasons(axis, fingerprint, description.labels)
        numbers += measured
        if why:
            off.add(_array_axis(axis))
            reasons.append(f"mirroring {name} is off: {' and '.join(why)}")
    axes = tuple(axis for axis in everything if order[axis] not in off)
    rule = "; ".join(reasons) or (
        "no label's name carries a side, none is the mirror image of another, and mirroring adds "
        "images"
    )
    return MirrorAxes(axes=axes, decision=_decision(axes, order, rule, tuple(numbers)))


def sided_axes(names: Sequence[str]) -> dict[Axis, tuple[str, ...]]:
    """Return, for each axis, the names that carry one of its sides.

    Parameters
    ----------
    names : sequence of str
        Names of labels and regions.

    Notes
    -----
    A name is split at everything but letters, between letters and digits, and at humps
    (``LeftKidney``); case does not matter. Whole words and abbreviations count, whatever else
    they may mean: ``post-op cavity`` is posterior. A single ``l`` or ``r`` counts too, but next to
    a digit, and a single ``a``, ``p``, ``s`` or ``i`` anywhere, only if a name exists that differs
    in having the opposite letter there: ``L1`` and ``S1`` are vertebrae.

    Examples
    --------
    >>> sided_axes(["kidney_left", "lung upper lobe R", "vertebra L1", "hippocampus_ant"])
    {'x': ('kidney_left', 'lung upper lobe R'), 'y': ('hippocampus_ant',)}
    """
    tokens = {name: _tokens(name) for name in names}
    known = set(tokens.values())
    found = {
        axis: tuple(name for name in names if _carries_side(tokens[name], axis, known))
        for axis in AXIS_NAMES
    }
    return {axis: sided for axis, sided in found.items() if sided}


def _tokens(name: str) -> tuple[str, ...]:
    """Split a name into words and numbers, in lower case."""
    runs = _WORD_OR_NUMBER.findall(normalize("NFC", name))
    return tuple(word.casefold() for run in runs for word in _HUMP.split(run))


def _carries_side(tokens: tuple[str, ...], axis: Axis, known: set[tuple[str, ...]]) -> bool:
    for place, token in enumerate(tokens):
        if token in SIDES[axis]:
            return True
        if token not in LETTERS[axis]:
            continue
        neighbors = tokens[max(0, place - 1) : place] + tokens[place + 1 : place + 2]
        if axis == "x" and not any(neighbor.isdigit() for neighbor in neighbors):
            return True
        if (*tokens[:place], LETTERS[axis][token], *tokens[place + 1 :]) in known:
            return True
    return False


def _is_anatomical(description: DatasetDescription, orientation: Orientation, ndim: int) -> bool:
    known = description.file_ending in ANATOMICAL_ENDINGS
    return known and orientation == "canonical" and ndim == len(AXIS_NAMES)


def _array_axis(axis: Axis) -> int:
    return "zyx".index(axis)


def _reasons(axis: Axis, fingerprint: Fingerprint, labels: Labels) -> tuple[list[str], Numbers]:
    """Say why mirroring along an axis is off, and by which numbers; nothing if it is not."""
    names = tuple(dict.fromkeys([*labels.names[1:], *(r.name for r in labels.regions)]))
    sided = sided_axes(names).get(axis, ()) if axis in SIDED_AXES else ()
    reasons = [f"{_listed(sided)} a side"] if sided else []
    mirrored = [each for each in fingerprint.symmetries if each.axis == _array_axis(axis)]
    if mirrored:
        count = len(mirrored)
        pairs = "a pair of labels mirrors" if count == 1 else f"{count} pairs of labels mirror"
        reasons.append(f"{pairs} each other")
    best = sorted(mirrored, key=lambda each: -each.median_dice)[:LISTED_NAMES]
    numbers = tuple(
        (
            f"{labels.names[each.first]!r} mirrored {AXIS_NAMES[axis]} onto "
            f"{labels.names[each.second]!r}",
            f"Dice {each.median_dice:.2f}, median of {each.cases} cases",
        )
        for each in best
    )
    return reasons, numbers


def _listed(names: Sequence[str]) -> str:
    """Return the names as the subject of a sentence, with its verb."""
    quoted = [repr(name) for name in names[:LISTED_NAMES]]
    if len(names) > LISTED_NAMES:
        quoted.append(f"{len(names) - LISTED_NAMES} more")
    if len(quoted) == 1:
        return f"the label {quoted[0]} carries"
    return f"the labels {', '.join(quoted[:-1])} and {quoted[-1]} carry"


def _decision(
    axes: tuple[int, ...],
    order: tuple[int, ...],
    rule: str,
    numbers: Numbers = (),
    *,
    is_override: bool = False,
) -> Decision:
    value = " and ".join(_axis_names(axes, order)) or "no axis"
    if len(axes) == len(order):
        value = f"all {len(order)} spatial axes"
    return Decision(
        subject="mirror_axes",
        value=value,
        rule=rule,
        numbers=numbers,
        changed_by="leaving --mirroring out" if is_override else "--mirroring",
        is_override=is_override,
    )


def _axis_names(axes: tuple[int, ...], order: tuple[int, ...]) -> Iterator[str]:
    turned = {order[axis] for axis in axes}
    return (name for axis, name in AXIS_NAMES.items() if _array_axis(axis) in turned)
