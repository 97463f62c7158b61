"""Cross-validation: which cases train and which validate in each fold, and by which rule."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from autoseg.core.dataset import near_misses
from autoseg.core.errors import DatasetError, UsageError
from autoseg.core.geometry import STRICT
from autoseg.core.plan import Decision

LARGEST_NUMBER_OF_SEEDS: Final = 1000
"""Shuffles that are tried before the best of them is taken."""

_Part = npt.NDArray[np.intp]
_Group = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One train-validation pair of case names."""

    __pydantic_config__: ClassVar = STRICT

    training: tuple[str, ...]
    """Cases to train on, sorted."""
    validation: tuple[str, ...]
    """Cases to validate on, sorted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """All folds of a dataset."""

    __pydantic_config__: ClassVar = STRICT

    schema_version: int = 1
    """Version of this document."""
    folds: tuple[Fold, ...]
    """Folds by number."""
    is_chosen: bool = False
    """Whether the user named the folds, or the patients that they keep together."""
    decisions: tuple[Decision, ...] = ()
    """Which rule made them, and with which numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cut:
    """A shuffle and what it misses."""

    seed: int
    """Seed of the shuffle."""
    parts: tuple[_Part, ...]
    """Groups that each fold validates, by number."""
    lacking: tuple[int, ...]
    """Labels that some training part lacks, though other groups have them."""


def split_cases(
    names: Iterable[str],
    *,
    folds: int = 5,
    seed: int = 12345,
    classes: Mapping[str, frozenset[int]] | None = None,
    patients: Mapping[str, str] | None = None,
) -> Splits:
    """Split cases into folds, as nnU-Net does where nothing speaks against it.

    Parameters
    ----------
    names : iterable of str
        Case names, in any order.
    folds : int
        Number of folds, at least 2; fewer are made of fewer cases.
    seed : int
        Seed of the first shuffle.
    classes : mapping of str to frozenset of int, optional
        Labels that each case holds, background left out, as they should be written in decisions.
    patients : mapping of str to str, optional
        Patient of every case.

    Returns
    -------
    Splits
        Sorted names are shuffled once and cut into ``folds`` runs; the first
        ``len(names) % folds`` runs are one longer (scikit-learn's ``KFold`` with shuffling).
        Fewer cases than folds: each case validates once (leave-one-out). Where patients are known,
        they are shuffled and cut in place of cases.

    Raises
    ------
    DatasetError
        E-SET-47 if there are fewer than two cases or patients, E-SET-48 if a case has no patient.
    UsageError
        If ``folds`` is less than 2.

    Notes
    -----
    Where a training part would lack a label that at least two cases (patients) have, the seed is
    raised by one until none does, at most `LARGEST_NUMBER_OF_SEEDS` times; then the shuffle that
    lacks the fewest labels is taken, the earliest of several.
    """
    if folds < 2:
        raise UsageError(
            f"cross-validation of {folds} folds: at least 2 are needed", hint="ask for 5 folds"
        )
    groups = _groups(sorted(names), patients)
    noun = "cases" if patients is None else "patients"
    if len(groups) < 2:
        raise DatasetError(
            f"cross-validation needs at least 2 {noun}, found {len(groups)}",
            rule="E-SET-47",
            hint=f"add {noun} to the dataset",
        )
    holders = _holders(groups, classes or {})
    shared = {label: who for label, who in holders.items() if len(who) > 1}
    cuts = _cuts(len(groups), min(folds, len(groups)), seed, shared)
    return Splits(
        folds=_folds(groups, cuts[-1].parts),
        decisions=(
            _rule_decision(groups, folds, cuts[-1], patients=patients),
            *_seed_decision(cuts, noun),
            *_single_decision(groups, holders, noun),
        ),
    )


def _groups(ordered: Sequence[str], patients: Mapping[str, str] | None) -> tuple[_Group, ...]:
    """Return the cases that may not be separated, sorted: those of a patient, or single ones."""
    if patients is None:
        return tuple((name,) for name in ordered)
    missing = [name for name in ordered if name not in patients]
    if missing:
        raise DatasetError(
            f"{len(missing)} cases have no patient: {near_misses(missing, patients.keys())}; "
            "where patients are named, every case needs one",
            rule="E-SET-48",
            hint="name the patients of these cases",
        )
    groups: dict[str, list[str]] = {}
    for name in ordered:
        groups.setdefault(patients[name], []).append(name)
    return tuple(tuple(groups[patient]) for patient in sorted(groups))


def _holders(
    groups: Sequence[_Group], classes: Mapping[str, frozenset[int]]
) -> dict[int, list[int]]:
    """Return the numbers of the groups that have each label, by label."""
    holders: dict[int, list[int]] = {}
    for number, group in enumerate(groups):
        for label in frozenset[int]().union(*(classes.get(name, frozenset()) for name in group)):
            holders.setdefault(label, []).append(number)
    return dict(sorted(holders.items()))


def _cuts(count: int, folds: int, seed: int, shared: Mapping[int, Sequence[int]]) -> list[_Cut]:
    """Return the first shuffle and, where another one was needed, the one that is taken."""
    best = first = _cut(count, folds, seed, shared)
    for more in range(1, LARGEST_NUMBER_OF_SEEDS):
        if not best.lacking:
            break
        cut = _cut(count, folds, (seed + more) % 2**32, shared)
        best = cut if len(cut.lacking) < len(best.lacking) else best
    return [first] if best is first and not best.lacking else [first, best]


def _cut(count: int, folds: int, seed: int, shared: Mapping[int, Sequence[int]]) -> _Cut:
    parts = tuple(np.array_split(np.random.RandomState(seed).permutation(count), folds))
    part_of = np.empty(count, np.intp)
    for number, part in enumerate(parts):
        part_of[part] = number
    return _Cut(
        seed=seed,
        parts=parts,
        lacking=tuple(
            label for label, holders in shared.items() if len({*part_of[holders].tolist()}) == 1
        ),
    )


def _folds(groups: Sequence[_Group], parts: Sequence[_Part]) -> tuple[Fold, ...]:
    everything = sorted(name for group in groups for name in group)
    folds = []
    for part in parts:
        validation = {name for number in part.tolist() for name in groups[number]}
        folds.append(
            Fold(
                training=tuple(name for name in everything if name not in validation),
                validation=tuple(name for name in everything if name in validation),
            )
        )
    return tuple(folds)


def _rule_decision(
    groups: Sequence[_Group], asked: int, cut: _Cut, *, patients: Mapping[str, str] | None
) -> Decision:
    noun = "case" if patients is None else "patient"
    rule = f"sorted {noun}s are shuffled and cut into {asked} runs, as nnU-Net cuts cases"
    if len(groups) < asked:
        rule = f"fewer {noun}s than {asked} folds: each {noun} is left out once"
    if patients is not None:
        rule += "; all cases of a patient stay together"
    cases = sum(len(group) for group in groups)
    grouped = (
        ("patients", "not named: every case counts as one")
        if patients is None
        else ("patients", f"{len(groups)}, of at most {max(map(len, groups))} cases")
    )
    return Decision(
        subject="splits.folds",
        value=f"{len(cut.parts)} folds",
        rule=rule,
        numbers=(("cases", f"{cases}"), grouped, ("seed", f"{cut.seed}")),
    )


def _seed_decision(cuts: Sequence[_Cut], noun: str) -> tuple[Decision, ...]:
    if len(cuts) == 1:
        return ()
    first, taken = cuts
    rule = f"raised until every training part holds each label that at least two {noun} have"
    if taken.lacking:
        rule = (
            f"no seed of {LARGEST_NUMBER_OF_SEEDS} lets every training part hold each label that "
            f"at least two {noun} have; this one comes closest"
        )
    return (
        Decision(
            subject="splits.seed",
            value=f"{taken.seed}",
            rule=rule,
            numbers=(
                ("first seed", f"{first.seed}"),
                ("labels that a training part lacked with it", _listed(first.lacking)),
                ("labels that a training part lacks now", _listed(taken.lacking)),
            ),
        ),
    )


def _single_decision(
    groups: Sequence[_Group], holders: Mapping[int, Sequence[int]], noun: str
) -> tuple[Decision, ...]:
    alone = {label: groups[who[0]] for label, who in holders.items() if len(who) == 1}
    if not alone:
        return ()
    return (
        Decision(
            subject="splits.single_labels",
            value=_listed(tuple(alone)),
            rule=f"the fold that validates a label which one of all {noun} has did not train on it",
            numbers=tuple(
                (f"label {label}", f"only {', '.join(group)}") for label, group in alone.items()
            ),
        ),
    )


def _listed(labels: Sequence[int]) -> str:
    return ", ".join(map(str, labels)) or "none"
