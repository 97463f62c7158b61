"""Which rules are kept: those that raise the Dice of cross-validation and lower no label's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from autoseg.core.geometry import STRICT
from autoseg.core.labels import Labels, Region
from autoseg.evaluation.comparison import SIGNIFICANT, case_contributions, paired_test
from autoseg.postprocessing.effects import CaseCounts
from autoseg.postprocessing.rules import Rule

Floats = npt.NDArray[np.float64]
Count = Callable[[Sequence[Rule], tuple[Rule, ...]], Sequence[CaseCounts]]

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


def decide_rules(count: Count, labels: Labels) -> tuple[Trial, ...]:
    """Try rules on the cases of a cross-validation.

    Parameters
    ----------
    count : callable
        Counts every case by `autoseg.postprocessing.effects.count_case`: it is given the rules
        whose effects are wanted, and those that are applied before. It is called a few times.
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
    and judged on that one; where there is one fold, on all patients but one. A rule is kept if
    cases gain by it, hardly by chance (`paired_test`, the more rules are tried the more surely:
    Holm), if no structure's mean Dice falls, and if all that are kept do as well one after the
    other. A structure that is empty in both has a Dice of 1 here: a rule that takes away what is
    spurious is right to do so.

    References
    ----------
    Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    structures = labels.structures
    trials: list[Trial] = []
    if len(structures) > 1:
        whole = Rule(kind="largest_component", structure=WHOLE, labels=labels.foreground)
        measured = count([whole], ())
        trials += _significant([_judge([whole], measured, structures)])
    kept = tuple(trial.rule for trial in trials if trial.kept)
    families = [rule for structure in structures for rule in _rules_for(structure)]
    measured = count(families, kept)
    judged = []
    for structure in structures:
        sift, holes = _rules_for(structure)
        choices = [
            _judge([sift], measured, structures),
            _judge(_by_volume(structure), measured, structures),
        ]
        judged.append(max(choices, key=lambda trial: (trial.kept, trial.gain)))
        judged.append(_judge([holes], measured, structures))
    return _together([*trials, *_significant(judged)], count)


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


def _together(trials: Sequence[Trial], count: Count) -> tuple[Trial, ...]:
    """Drop the last kept rules until no structure is worse off by all of them than by none."""
    found = list(trials)
    kept = [number for number, trial in enumerate(found) if trial.kept]
    before = np.array([case.dice(None) for case in count([], ())]) if len(kept) > 1 else None
    while before is not None and len(kept) > 1:
        rules = tuple(found[number].rule for number in kept)
        after = np.array([case.dice(None) for case in count([], rules)])
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


def _judge(
    choices: Sequence[Rule], cases: Sequence[CaseCounts], structures: Sequence[Region]
) -> Trial:
    """Compare the best of some rules with none, each fold by what is best on the others."""
    before = np.array([case.dice(None) for case in cases])
    after = np.stack([[case.dice(rule) for case in cases] for rule in choices])
    patients = [case.patient for case in cases]
    folds = np.array([case.fold for case in cases])
    if len(np.unique(folds)) == 1:
        folds = np.unique(patients, return_inverse=True)[1]
    judged = before.copy()
    for fold in np.unique(folds):
        others = folds != fold
        learned = others if others.any() else ~others
        judged[~others] = after[_best(before[learned], after[:, learned])][~others]
    best = _best(before, after)
    contributions = case_contributions(before, judged)
    gain, probability = float(contributions.sum()), paired_test(contributions, patients)
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
