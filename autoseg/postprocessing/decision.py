"""Which rules are kept: those that raise the Dice of cross-validation, and lower that of no label.

A rule's effect on a case is known from how many voxels of every structure each part holds, so one
pass over the cases serves all thresholds.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from autoseg.core.geometry import STRICT
from autoseg.core.labels import LabelMap, Labels, Region
from autoseg.evaluation.comparison import SIGNIFICANT, case_contributions, paired_test
from autoseg.evaluation.overlap import count_pairs
from autoseg.postprocessing.rules import Rule, affected, apply_rules, parts_volumes, sifted_parts
from preprocessing.cropping import nonzero_box

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

THRESHOLDS_MM3: Final = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0)
"""Smallest volumes that are tried, mm^3."""
WHOLE: Final = "foreground"
"""Name of all labels together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What became of a rule that was tried."""

    __pydantic_config__: ClassVar = STRICT

    rule: Rule
    """The rule."""
    gain: float
    """Difference of the mean Dice with and without it, estimated out of fold."""
    probability: float
    """How often chance alone gives so large a difference."""
    harmed: tuple[str, ...]
    """Structures whose mean Dice it lowers."""
    kept: bool
    """Whether it is applied."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Effect:
    """What each part of one case would change if its rule applied."""

    volumes: Floats
    """(parts,) mm^3."""
    predicted: Counts
    """(parts, structures) change of the predicted voxels."""
    shared: Counts
    """(parts, structures) change of the voxels in common."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """Counts of one case, and the effect of every rule's parts."""

    fold: int
    reference: Counts
    predicted: Counts
    shared: Counts
    effects: dict[str, _Effect]

    def dice(self, rule: Rule | None) -> Floats:
        """Return the Dice of every structure after a rule; 1 where both are empty, as is right."""
        predicted, shared = self.predicted, self.shared
        if rule is not None:
            effect = self.effects[_family(rule)]
            chosen = affected(rule, effect.volumes)
            predicted = predicted + effect.predicted[chosen].sum(axis=0)
            shared = shared + effect.shared[chosen].sum(axis=0)
        total = self.reference + predicted
        dice: Floats = np.divide(2 * shared, total, out=np.ones(len(total)), where=total > 0)
        return dice


def decide_rules(cases: Callable[[], Iterable[Compared]], labels: Labels) -> tuple[Trial, ...]:
    """Try rules on the cases of a cross-validation.

    Parameters
    ----------
    cases : callable
        Gives the cases, each time anew: they are read up to three times.
    labels : Labels
        What the values mean.

    Returns
    -------
    tuple of Trial
        In the order of trying; those kept are applied in that order.

    Notes
    -----
    First the largest part of all labels together; then for every structure what is best of its
    largest part and parts above a volume; then its holes. A volume is chosen on all folds but one
    and judged on that one; where there is one fold, on all cases but one. A rule is kept if cases
    gain by it, hardly by chance (`paired_test`, the more rules are tried the more surely: Holm), if
    no structure's mean Dice falls, and if all that are kept do as well one after the other. A
    structure that is empty in both has a Dice of 1 here: a rule that takes away what is spurious is
    right to do so.

    References
    ----------
    Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    structures = labels.structures
    trials: list[Trial] = []
    if len(structures) > 1:
        whole = Rule(kind="largest_component", structure=WHOLE, labels=labels.foreground)
        measured = [_measure(case, labels, [whole], ()) for case in cases()]
        trials += _significant([_judge([whole], measured, structures)])
    kept = tuple(trial.rule for trial in trials if trial.kept)
    families = [rule for structure in structures for rule in _rules_for(structure)]
    measured = [_measure(case, labels, families, kept) for case in cases()]
    judged = []
    for structure in structures:
        sift, holes = _rules_for(structure)
        choices = [
            _judge([sift], measured, structures),
            _judge(_by_volume(structure), measured, structures),
        ]
        judged.append(max(choices, key=lambda trial: (trial.kept, trial.gain)))
        judged.append(_judge([holes], measured, structures))
    return _together([*trials, *_significant(judged)], cases, labels)


def _by_volume(structure: Region) -> list[Rule]:
    return [
        Rule(
            kind="minimum_volume",
            structure=structure.name,
            labels=structure.labels,
            minimum_mm3=volume,
        )
        for volume in THRESHOLDS_MM3
    ]


def _significant(trials: Sequence[Trial]) -> list[Trial]:
    """Keep only rules that would be kept if so many useless ones were tried."""
    order = sorted(range(len(trials)), key=lambda number: trials[number].probability)
    surely = set()
    for rank, number in enumerate(order):
        if trials[number].probability * (len(trials) - rank) >= SIGNIFICANT:
            break
        surely.add(number)
    return [
        replace(trial, kept=trial.kept and number in surely) for number, trial in enumerate(trials)
    ]


def _together(
    trials: Sequence[Trial], cases: Callable[[], Iterable[Compared]], labels: Labels
) -> tuple[Trial, ...]:
    """Drop the last kept rules until no structure is worse off by all of them than by none."""
    found = list(trials)
    kept = [number for number, trial in enumerate(found) if trial.kept]
    while len(kept) > 1:
        rules = tuple(found[number].rule for number in kept)
        before = np.array([_measure(case, labels, [], ()).dice(None) for case in cases()])
        after = np.array([_measure(case, labels, [], rules).dice(None) for case in cases()])
        if not _falls(before, after).any():
            break
        last = kept.pop()
        found[last] = replace(found[last], kept=False)
    return tuple(found)


def _rules_for(structure: Region) -> tuple[Rule, Rule]:
    """Return the largest part and the holes of a structure."""
    return (
        Rule(kind="largest_component", structure=structure.name, labels=structure.labels),
        Rule(
            kind="fill_holes",
            structure=structure.name,
            labels=structure.labels,
            filled=structure.written,
        ),
    )


def _family(rule: Rule) -> str:
    """Name the parts that a rule looks at: rules of different thresholds share them."""
    return f"{rule.structure}/{'holes' if rule.kind == 'fill_holes' else 'parts'}"


def _measure(
    case: Compared, labels: Labels, rules: Sequence[Rule], before: tuple[Rule, ...]
) -> _Case:
    """Count a case's voxels, and those of every part that rules look at.

    Parts are those that a prediction has, ignored voxels or not; these are in no count.
    """
    prediction = apply_rules(before, case.prediction.copy(), case.spacing)
    members = np.zeros((len(labels.structures), labels.count), np.int64)
    for row, structure in zip(members, labels.structures, strict=True):
        row[list(structure.labels)] = 1
    pairs = count_pairs(case.reference, prediction, labels)
    effects = {
        _family(rule): _effect(rule, case, prediction, members, labels.ignored) for rule in rules
    }
    return _Case(
        fold=case.fold,
        reference=members @ pairs.sum(axis=1),
        predicted=members @ pairs.sum(axis=0),
        shared=np.einsum("sr,rp,sp->s", members, pairs, members),
        effects=effects,
    )


def _effect(
    rule: Rule, case: Compared, prediction: LabelMap, members: Counts, ignored: int | None
) -> _Effect:
    """Count what each part would change: foreground becomes background, or holes a label."""
    box = nonzero_box(np.isin(prediction, rule.labels)[None]).slices
    parts = sifted_parts(rule, prediction[box])
    volumes = parts_volumes(parts, case.spacing)
    reference = case.reference[box]
    inside = parts > 0
    if ignored is not None:
        inside &= reference != ignored
    number, expected, found = parts[inside], reference[inside], prediction[box][inside]
    shape = (len(members), len(volumes))
    predicted, shared = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    after = np.full_like(found, rule.filled if rule.kind == "fill_holes" else 0)
    changed = members[:, [*rule.labels, rule.filled]].any(axis=1)
    for row in np.flatnonzero(changed):
        member = members[row].astype(bool)
        for sign, label in ((-1, found), (1, after)):
            there = member[label]
            predicted[row] += sign * np.bincount(number[there], minlength=len(volumes))
            both = there & member[expected]
            shared[row] += sign * np.bincount(number[both], minlength=len(volumes))
    return _Effect(volumes=volumes, predicted=predicted.T, shared=shared.T)


def _judge(choices: Sequence[Rule], cases: Sequence[_Case], structures: Sequence[Region]) -> Trial:
    """Compare the best of some rules with none, each fold by what is best on the others."""
    before = np.array([case.dice(None) for case in cases])
    after = np.stack([[case.dice(rule) for case in cases] for rule in choices])
    folds = np.array([case.fold for case in cases])
    if len(np.unique(folds)) == 1:
        folds = np.arange(len(cases))
    judged = before.copy()
    for fold in np.unique(folds):
        others = folds != fold
        learned = others if others.any() else ~others
        judged[~others] = after[_best(before[learned], after[:, learned])][~others]
    best = _best(before, after)
    contributions = case_contributions(before, judged)
    gain, probability = float(contributions.sum()), paired_test(contributions)
    falls = _falls(before, judged) | _falls(before, after[best])
    harmed = tuple(
        structure.name for structure, fell in zip(structures, falls, strict=True) if fell
    )
    return Trial(
        rule=choices[best],
        gain=gain,
        probability=probability,
        harmed=harmed,
        kept=gain > 0 and probability < SIGNIFICANT and not harmed,
    )


def _best(before: Floats, after: Floats) -> int:
    """Return the number of the rule by which cases gain the most; the mildest of equal ones."""
    return int(np.argmax([case_contributions(before, table).sum() for table in after]))


def _falls(before: Floats, after: Floats) -> npt.NDArray[np.bool_]:
    """Tell which structures' mean Dice falls."""
    falls: npt.NDArray[np.bool_] = (after - before).sum(axis=0) < -1e-12
    return falls
