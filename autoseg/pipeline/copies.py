"""Cases that have the image files of another one: refused, noted, or accepted as one patient."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from autoseg.core.acceptance import accepted_note, choice_of, offer
from autoseg.core.dataset import Dataset
from autoseg.core.errors import AutosegError, DatasetError


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """What becomes of a dataset some of whose cases are copies of others."""

    dataset: Dataset
    """The dataset; copies are of one patient where that was accepted."""
    problems: tuple[AutosegError, ...]
    """One for each copy that is refused."""
    notes: tuple[str, ...]
    """One for each copy that is taken."""

    @property
    def refused(self) -> tuple[str, ...]:
        """Names of the copies that are refused."""
        return tuple(problem.case for problem in self.problems)


def settle_copies(
    dataset: Dataset, groups: Sequence[tuple[str, ...]], *, may_group: bool = True
) -> Copies:
    """Decide what becomes of cases with equal image files.

    Parameters
    ----------
    dataset : Dataset
        Its cases, and what is accepted of them.
    groups : sequence of tuple of str
        Names of cases whose image files are the same; the first counts as the original.
    may_group : bool
        Whether ``E-SET-44=group`` makes copies one patient: not where the user has just named each
        case's patient.

    Returns
    -------
    Copies
        Copies of one patient are noted, others are refused (E-SET-44): they would train on what
        they validate.

    Notes
    -----
    Where copies are grouped, every case gets a patient: its own name if it had none. Patients that
    share an image become one, under the name that sorts first.
    """
    choice = choice_of(dataset.description.accepted, "E-SET-44") if may_group else None
    known = {case.name: case.patient for case in dataset.cases}
    grouped = {name: patient or name for name, patient in known.items()}
    problems: list[AutosegError] = []
    notes, is_grouped = [], False
    for first, *others in groups:
        for name in others:
            what = f"case {name!r}: its image files are byte by byte those of case {first!r}"
            if known[name] is not None and known[name] == known[first]:
                notes.append(f"{what}; both are of patient {known[name]!r}, so of one fold")
            elif choice == "group":
                is_grouped = True
                grouped = _merged(grouped, grouped[first], grouped[name])
                note = f"{what}; both count as one patient, so they share a fold"
                notes.append(accepted_note(note, "E-SET-44", choice))
            else:
                problems.append(_copy(what, may_group=may_group).about(name))
    if is_grouped:
        cases = tuple(replace(case, patient=grouped[case.name]) for case in dataset.cases)
        dataset = replace(dataset, cases=cases)
    return Copies(dataset=dataset, problems=tuple(problems), notes=tuple(notes))


def _merged(patients: dict[str, str], first: str, second: str) -> dict[str, str]:
    """Return patients by case after two of them turned out to be one."""
    one = min(first, second)
    return {
        name: one if patient in (first, second) else patient for name, patient in patients.items()
    }


def _copy(what: str, *, may_group: bool) -> DatasetError:
    return DatasetError(
        f"{what}; allowed are copies of one patient only: others would train on what they validate",
        rule="E-SET-44",
        hint="remove one of the two, or name both as one patient under 'patients' in dataset.json"
        + (offer("E-SET-44") if may_group else ""),
    )
