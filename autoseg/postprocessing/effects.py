"""What rules would change of a prediction, counted once for all thresholds.

A rule's effect on a case is known from how many voxels of every structure each part holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from autoseg.core.labels import LabelMap, Labels
from autoseg.evaluation.boxes import hull, label_boxes
from autoseg.evaluation.overlap import count_pairs
from autoseg.postprocessing.rules import Rule, affected, apply_rules, parts_volumes, sifted_parts

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A case's reference and prediction: label maps of one shape, ignored voxels apart."""

    reference: LabelMap
    """(*spatial) positions in the dataset's label names."""
    prediction: LabelMap
    """The same, out of fold."""
    spacing: tuple[float, ...]
    """Voxel edges, mm."""
    fold: int
    """Fold that validated the case."""
    patient: str
    """Whose image it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What each part of one case would change if its rule applied."""

    structures: npt.NDArray[np.intp]
    """(changed,) structures that a rule may change, by their number."""
    volumes: Floats
    """(parts,) mm^3."""
    predicted: Counts
    """(parts, changed) change of the predicted voxels."""
    shared: Counts
    """(parts, changed) change of the voxels in common."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseCounts:
    """Counts of one case, and the effect of every rule's parts."""

    fold: int
    """Fold that validated the case."""
    patient: str
    """Whose image it is."""
    reference: Counts
    """(structures,) voxels of the reference."""
    predicted: Counts
    """(structures,) voxels of the prediction."""
    shared: Counts
    """(structures,) voxels in common."""
    effects: dict[str, Effect]
    """Effects by the `family` of the rules."""

    def dice(self, rule: Rule | None) -> Floats:
        """Return the Dice of every structure after a rule; 1 where both are empty, as is right."""
        predicted, shared = self.predicted.copy(), self.shared.copy()
        effect = None if rule is None else self.effects.get(family(rule))
        if rule is not None and effect is not None:
            chosen = affected(rule, effect.volumes)
            predicted[effect.structures] += effect.predicted[chosen].sum(axis=0)
            shared[effect.structures] += effect.shared[chosen].sum(axis=0)
        total = self.reference + predicted
        dice: Floats = np.divide(2 * shared, total, out=np.ones(len(total)), where=total > 0)
        return dice


def family(rule: Rule) -> str:
    """Name the parts that a rule looks at: rules of different thresholds share them."""
    return f"{rule.structure}/{'holes' if rule.kind == 'fill_holes' else 'parts'}"


def count_case(
    case: Compared, labels: Labels, rules: Sequence[Rule], before: tuple[Rule, ...]
) -> CaseCounts:
    """Count a case's voxels, and those of every part that rules look at.

    Parameters
    ----------
    case : Compared
        The case, which is left as it is.
    labels : Labels
        What the values mean.
    rules : sequence of Rule
        Rules whose effects are wanted; of a `family` one is enough.
    before : tuple of Rule
        Rules that are applied first.

    Notes
    -----
    Parts are those that a prediction has, ignored voxels or not; these are in no count. A structure
    that the prediction has nowhere has no effect.
    """
    prediction = apply_rules(before, case.prediction.copy(), case.spacing)
    members = np.zeros((len(labels.structures), labels.count), np.int64)
    for row, structure in zip(members, labels.structures, strict=True):
        row[list(structure.labels)] = 1
    pairs = count_pairs(case.reference, prediction, labels)
    boxes = label_boxes(prediction, labels.count)
    effects = {}
    for rule in rules:
        box = hull([boxes[label] for label in rule.labels])
        if box is not None:
            part = replace(case, reference=case.reference[box], prediction=prediction[box])
            effects[family(rule)] = _effect(rule, part, members, labels.ignored)
    return CaseCounts(
        fold=case.fold,
        patient=case.patient,
        reference=members @ pairs.sum(axis=1),
        predicted=members @ pairs.sum(axis=0),
        shared=np.einsum("sr,rp,sp->s", members, pairs, members, optimize=True),
        effects=effects,
    )


def _effect(rule: Rule, case: Compared, members: Counts, ignored: int | None) -> Effect:
    """Count what each part would change: foreground becomes background, or holes a label."""
    parts = sifted_parts(rule, case.prediction)
    volumes = parts_volumes(parts, case.spacing)
    inside = parts > 0
    if ignored is not None:
        inside &= case.reference != ignored
    number, expected, found = parts[inside], case.reference[inside], case.prediction[inside]
    after = np.full_like(found, rule.filled if rule.kind == "fill_holes" else 0)
    changed = np.flatnonzero(members[:, [*rule.labels, rule.filled]].any(axis=1))
    shape = (len(changed), len(volumes))
    predicted, shared = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for row, structure in enumerate(changed):
        member = members[structure].astype(bool)
        for sign, label in ((-1, found), (1, after)):
            there = member[label]
            predicted[row] += sign * np.bincount(number[there], minlength=len(volumes))
            both = there & member[expected]
            shared[row] += sign * np.bincount(number[both], minlength=len(volumes))
    return Effect(structures=changed, volumes=volumes, predicted=predicted.T, shared=shared.T)
