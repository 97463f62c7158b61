"""Checks folds that the user gives instead of those that autoseg would make."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from autoseg.core.dataset import near_misses
from autoseg.core.errors import DatasetError, RefusedCasesError
from autoseg.core.folds import Fold, Splits
from autoseg.core.plan import Decision


def check_folds(
    folds: Sequence[Fold],
    names: Collection[str],
    where: str,
    *,
    patients: Mapping[str, str] | None = None,
    excluded: Collection[str] = (),
) -> Splits:
    """Return folds that were given as splits, if they fit the cases.

    Parameters
    ----------
    folds : sequence of Fold
        Folds as given, in any order of names.
    names : collection of str
        Cases of the dataset.
    where : str
        Names the source in errors.
    patients : mapping of str to str, optional
        Patient of each case, where known.
    excluded : collection of str
        Cases that the user left out; they are taken out of the folds.

    Returns
    -------
    Splits
        Names sorted; its decision tells which cases no fold validates, or several do.

    Raises
    ------
    RefusedCasesError
        E-SET-48, all faults of all folds at once: a name that is no case or occurs twice, a case or
        patient on both sides of a fold, an empty side, or no fold at all.
    """
    left_out = frozenset(excluded).difference(names)
    kept = [
        Fold(
            training=tuple(sorted(name for name in fold.training if name not in left_out)),
            validation=tuple(sorted(name for name in fold.validation if name not in left_out)),
        )
        for fold in folds
    ]
    faults = [] if kept else ["holds no folds; at least 1 is needed"]
    for number, fold in enumerate(kept):
        found = [*_side_faults(fold, names), *_leaks(fold, patients or {})]
        faults += [f"fold {number}: {fault}" for fault in found]
    if faults:
        problems = tuple(_wrong(f"{where}: {fault}") for fault in faults)
        raise RefusedCasesError(
            f"{where}: the folds have {len(faults)} problem{'s' if len(faults) > 1 else ''}",
            problems,
            rule="E-SET-48",
            hint=problems[0].hint,
        )
    return Splits(folds=tuple(kept), decisions=(_decision(kept, names, where),))


def _side_faults(fold: Fold, names: Collection[str]) -> list[str]:
    faults = []
    known = frozenset(names)
    for side, cases in (("training", fold.training), ("validation", fold.validation)):
        if not cases:
            faults.append(f"{side} is empty; at least 1 case is needed")
        unknown = set(cases) - known
        if unknown:
            faults.append(f"{side} names {near_misses(unknown, known)}: no cases of the dataset")
        twice = [name for name, count in Counter(cases).items() if count > 1]
        if twice:
            faults.append(f"{side} names {near_misses(twice, ())} more than once")
    return faults


def _leaks(fold: Fold, patients: Mapping[str, str]) -> list[str]:
    faults = []
    both = set(fold.training) & set(fold.validation)
    if both:
        faults.append(f"{near_misses(both, ())} both train and validate; allowed is one of them")
    training, validation = (
        {patients[name] for name in side if name in patients and name not in both}
        for side in (fold.training, fold.validation)
    )
    if training & validation:
        torn = near_misses(training & validation, ())
        faults.append(f"the patients {torn} have cases on both sides; allowed is one side")
    return faults


def _decision(folds: Sequence[Fold], names: Collection[str], where: str) -> Decision:
    validated = Counter(name for fold in folds for name in fold.validation)
    never = sorted(set(names) - validated.keys())
    often = [name for name, count in validated.items() if count > 1]
    numbers = [("cases", f"{len(names)}")]
    if never:
        numbers.append(("cases that no fold validates", f"{len(never)}: {near_misses(never, ())}"))
    if often:
        text = f"{len(often)}: {near_misses(often, ())}"
        numbers.append(("cases that several folds validate", text))
    return Decision(
        subject="splits.folds",
        value=f"{len(folds)} fold{'s' if len(folds) > 1 else ''}",
        rule=f"given by the user: {where}",
        numbers=tuple(numbers),
    )


def _wrong(message: str) -> DatasetError:
    return DatasetError(
        message,
        rule="E-SET-48",
        hint="correct the folds, or leave them out: autoseg makes its own",
    )
