"""What a dataset is: a description, which goes into every model, and cases, which do not."""

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from autoseg.core.acceptance import Accepted
from autoseg.core.errors import DatasetError, UsageError
from autoseg.core.geometry import STRICT
from autoseg.core.labels import Labels


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetDescription:
    """What every case of a dataset has in common."""

    __pydantic_config__: ClassVar = STRICT

    schema_version: int = 1
    """Version of this document."""
    name: str
    """Name of the dataset, such as ``Task04_Hippocampus``."""
    channels: tuple[str, ...]
    """Name of each image channel, such as ``CT`` or ``MRI``; decides its normalization."""
    labels: Labels
    """Meaning of the label values."""
    file_ending: str
    """Ending of images, segmentations and predictions, such as ``.nii.gz`` or ``.png``."""
    accepted: Accepted = ()
    """What was accepted of its cases although a rule refuses it."""

    def __post_init__(self) -> None:
        if not self.channels:
            raise DatasetError(f"dataset {self.name!r}: there must be at least one image channel")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One examination: all its channels and, if present, its segmentation."""

    __pydantic_config__: ClassVar = STRICT

    name: str
    """Case name, unique in the dataset."""
    images: tuple[str, ...]
    """Paths of the image files, one per channel, or one file that holds all channels."""
    segmentation: str | None = None
    """Path of the reference segmentation."""
    patient: str | None = None
    """Name of the patient; cases of one patient stay in one fold."""
    label_values: tuple[int, ...] = ()
    """Values in this case's segmentation, as `Labels.stored_values` orders them; empty where they
    are the dataset's."""

    def labels_in_file(self, labels: Labels) -> Labels:
        """Return the labels of the dataset with the values that this case's segmentation holds.

        Its file is read with these; arrays, predictions and scores are those of the dataset.
        """
        return labels.in_file(self.label_values) if self.label_values else labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A raw dataset: its description and where its cases lie."""

    __pydantic_config__: ClassVar = STRICT

    schema_version: int = 1
    """Version of this document."""
    description: DatasetDescription
    """What the cases have in common."""
    folder: str
    """Folder that the paths of its cases start from."""
    cases: tuple[Case, ...]
    """Training cases, sorted by name."""
    excluded: tuple[str, ...] = ()
    """Names of cases that the user left out, sorted; they are not among `cases`."""
    manifest: str = ""
    """Path of the manifest that the cases were read from; empty where it is `folder`."""
    notes: tuple[str, ...] = ()
    """What was left out or assumed when the dataset was found."""

    @property
    def origin(self) -> str:
        """Path that the dataset is read from again: its manifest or its folder."""
        return self.manifest or self.folder

    @property
    def patients(self) -> dict[str, str] | None:
        """The patient of each case by its name; None unless all cases have one."""
        known = {case.name: case.patient for case in self.cases if case.patient is not None}
        return known if len(known) == len(self.cases) else None


def exclude_cases(dataset: Dataset, names: Iterable[str]) -> Dataset:
    """Return the dataset without some of its cases, which it records.

    Parameters
    ----------
    dataset : Dataset
        The dataset.
    names : iterable of str
        Cases to leave out; those that are left out already may be among them.

    Raises
    ------
    UsageError
        If a name is no case; with the case that may be meant.
    DatasetError
        E-SET-47 if no case is left.
    """
    excluded = {*names, *dataset.excluded}
    cases = {*(case.name for case in dataset.cases), *dataset.excluded}
    check_names(excluded, cases, dataset.description.name)
    left = tuple(case for case in dataset.cases if case.name not in excluded)
    if not left:
        raise DatasetError(
            f"dataset {dataset.description.name!r}: all of its {len(cases)} cases are excluded",
            rule="E-SET-47",
            hint="exclude fewer cases",
        )
    return replace(dataset, cases=left, excluded=tuple(sorted(excluded)))


def check_names(names: Collection[str], cases: Collection[str], dataset: str) -> None:
    """Refuse names to exclude (`UsageError`) that no case of the dataset has."""
    unknown = set(names).difference(cases)
    if unknown:
        raise UsageError(
            f"dataset {dataset!r} has no case {near_misses(unknown, cases)}, which should be "
            f"excluded; it has {len(cases)} others",
            hint="give the names of cases, as their files have them without channel and ending",
        )


def set_patients(dataset: Dataset, patients: Mapping[str, str], where: str) -> Dataset:
    """Return the dataset with the patient of every case.

    Parameters
    ----------
    dataset : Dataset
        The dataset.
    patients : mapping of str to str
        Patient by case name; it may hold cases that the dataset lacks.
    where : str
        Names the source of the patients in errors.

    Raises
    ------
    DatasetError
        E-SET-48 if a case has no patient: an oversight would let a patient leak into validation.
    """
    missing = [case.name for case in dataset.cases if case.name not in patients]
    if missing:
        spare = patients.keys() - {case.name for case in dataset.cases}
        raise DatasetError(
            f"{where}: names no patient of {len(missing)} of {len(dataset.cases)} cases: "
            f"{near_misses(missing, spare)}; every case needs one",
            rule="E-SET-48",
            hint="add these cases, each with its patient",
        )
    cases = tuple(replace(case, patient=patients[case.name]) for case in dataset.cases)
    return replace(dataset, cases=cases)


def near_misses(names: Iterable[str], known: Collection[str]) -> str:
    """Write the first ten names, each with the known one that may be meant.

    Examples
    --------
    >>> near_misses(["case_1O", "x"], ["case_10", "case_2"])
    "'case_1O' (meant 'case_10'?), 'x'"
    """
    ordered = sorted(names)
    written = []
    for name in ordered[:10]:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        written.append(f"{name!r} (meant {near[0]!r}?)" if near else repr(name))
    more = len(ordered) - 10
    return ", ".join(written) + (f" and {more} more" if more > 0 else "")
