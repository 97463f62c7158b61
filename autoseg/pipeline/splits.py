"""Which folds a dataset gets: nnU-Net's own, by patients, or the user's; once made, they stay."""

from dataclasses import dataclass, replace
from pathlib import Path

from autoseg.core.dataset import Dataset, set_patients
from autoseg.core.errors import UsageError
from autoseg.core.fingerprint import Fingerprint
from autoseg.core.folds import Fold, Splits, split_cases
from autoseg.core.patients import patients_by_pattern
from autoseg.io.raw.splits import own_splits, read_patients, splits_beside
from autoseg.io.workspace import DatasetFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRequest:
    """What the user says of folds."""

    file: Path | None = None
    """Folds of one's own, as autoseg or nnU-Net write them."""
    patients: Path | None = None
    """JSON file that names the patient of each case."""
    pattern: str = ""
    """Regular expression whose one group finds the patient in a case's name; empty for none."""

    def __post_init__(self) -> None:
        if self.patients is not None and self.pattern:
            raise UsageError(
                "--patients and --patient-pattern both name the patients", hint="leave one out"
            )


def decide_splits(
    folder: DatasetFolder,
    fingerprint: Fingerprint,
    dataset: Dataset,
    request: SplitRequest,
    *,
    overwrite: bool = False,
) -> Splits:
    """Return the folds of a dataset.

    Parameters
    ----------
    folder : DatasetFolder
        Where earlier folds may lie.
    fingerprint : Fingerprint
        Tells which labels each case has.
    dataset : Dataset
        Its cases.
    request : SplitRequest
        What the user says of folds.
    overwrite : bool
        Whether differing folds may be replaced.

    Returns
    -------
    Splits
        Earlier folds of the same cases are kept where nobody chooses others: no option, no key
        ``patients`` and no file beside the dataset.

    Raises
    ------
    UsageError
        If earlier folds differ from those asked for, or were made from what is not given now.
    """
    wanted = _make(fingerprint, dataset, request)
    if not folder.splits_file.exists():
        return wanted
    present = folder.read_splits()
    same_cases = _cases(present.folds) == {case.name for case in dataset.cases}
    if not wanted.is_chosen and same_cases:
        return present  # with --overwrite as well: it speaks of the plan
    if present.folds == wanted.folds or overwrite:
        return wanted
    if not wanted.is_chosen and not present.is_chosen:
        return wanted  # cases came or went, and nobody had chosen the folds of the others
    raise UsageError(
        f"{folder.splits_file}: holds other folds, made for other cases or with other options",
        hint="give the options that made them, or --overwrite to replace them",
    )


def _make(fingerprint: Fingerprint, dataset: Dataset, request: SplitRequest) -> Splits:
    names = [case.name for case in dataset.cases]
    patients = with_patients(dataset, request).patients
    file = request.file or splits_beside(Path(dataset.folder))
    if file is not None:
        own = own_splits(file, names, patients=patients, excluded=dataset.excluded)
        return replace(own, is_chosen=True)
    values = dataset.description.labels.file_values[1:]
    classes = {
        case.name: frozenset(
            value
            for value, voxels in zip(values, case.class_voxels[1:], strict=False)  # no ignored ones
            if voxels
        )
        for case in fingerprint.cases
    }
    made = split_cases(names, classes=classes, patients=patients)
    return replace(made, is_chosen=patients is not None)


def with_patients(dataset: Dataset, request: SplitRequest) -> Dataset:
    """Return the dataset with the patients that are asked for, or else with its own."""
    if request.patients is not None:
        return set_patients(dataset, read_patients(request.patients), str(request.patients))
    if request.pattern:
        found = patients_by_pattern([case.name for case in dataset.cases], request.pattern)
        return set_patients(dataset, found, "--patient-pattern")
    return dataset


def _cases(folds: tuple[Fold, ...]) -> set[str]:
    return {name for fold in folds for name in (*fold.training, *fold.validation)}
