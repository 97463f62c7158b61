"""Which folds a dataset gets: nnU-Net's own, by patients, or the user's; once made, they stay."""

from dataclasses import dataclass
from pathlib import Path

from autoseg.core.dataset import Dataset, set_patients
from autoseg.core.errors import UsageError
from autoseg.core.fingerprint import Fingerprint
from autoseg.core.folds import Fold, Splits, split_cases
from autoseg.core.patients import patients_by_pattern
from autoseg.io.splits import own_splits, read_patients, splits_beside
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

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked for."""
        return self.file is None and self.patients is None and not self.pattern


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
        Earlier folds of the same cases are kept where nothing is asked for.

    Raises
    ------
    UsageError
        If earlier folds differ from those asked for, or were made from what is not given now.
    """
    wanted = _make(fingerprint, dataset, request)
    if overwrite or not folder.splits_file.exists():
        return wanted
    present = folder.read_splits()
    if present.folds == wanted.folds:
        return wanted
    if request.is_empty and _cases(present.folds) == {case.name for case in dataset.cases}:
        return present
    if request.is_empty and present.folds == split_cases(_cases(present.folds)).folds:
        return wanted  # cases came or went, and nobody had chosen the folds of the others
    raise UsageError(
        f"{folder.splits_file}: holds other folds, made for other cases or with other options",
        hint="give the options that made them, or --overwrite to replace them",
    )


def _make(fingerprint: Fingerprint, dataset: Dataset, request: SplitRequest) -> Splits:
    names = [case.name for case in dataset.cases]
    patients = _with_patients(dataset, names, request).patients
    file = request.file or splits_beside(Path(dataset.folder))
    if file is not None:
        return own_splits(file, names, patients=patients, excluded=dataset.excluded)
    values = dataset.description.labels.file_values[1:]
    classes = {
        case.name: frozenset(
            value
            for value, voxels in zip(values, case.class_voxels[1:], strict=False)  # no ignored ones
            if voxels
        )
        for case in fingerprint.cases
    }
    return split_cases(names, classes=classes, patients=patients)


def _with_patients(dataset: Dataset, names: list[str], request: SplitRequest) -> Dataset:
    if request.patients is not None:
        return set_patients(dataset, read_patients(request.patients), str(request.patients))
    if request.pattern:
        found = patients_by_pattern(names, request.pattern)
        return set_patients(dataset, found, "--patient-pattern")
    return dataset


def _cases(folds: tuple[Fold, ...]) -> set[str]:
    return {name for fold in folds for name in (*fold.training, *fold.validation)}
