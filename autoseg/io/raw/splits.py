"""Reads what the user says of folds and patients: files beside the dataset, or named by options."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final, NoReturn

from autoseg.core.errors import DatasetError, UsageError
from autoseg.core.folds import Fold, Splits
from autoseg.core.own_folds import check_folds
from autoseg.io import documents
from autoseg.io.raw.dataset_json import read_json, texts

SPLITS_FILE: Final = "splits_final.json"
"""Name that nnU-Net gives a file of folds."""


def splits_beside(folder: Path) -> Path | None:
    """Return the file of folds that lies beside ``dataset.json``, if there is one."""
    path = folder / SPLITS_FILE
    return path if path.exists() else None


def own_splits(
    path: Path,
    names: Collection[str],
    *,
    patients: Mapping[str, str] | None = None,
    excluded: Collection[str] = (),
) -> Splits:
    """Read folds that the user gives.

    Parameters
    ----------
    path : Path
        autoseg's ``splits.json`` or nnU-Net's ``splits_final.json``: a list of
        ``{"train": [case, ...], "val": [case, ...]}``.
    names, patients, excluded
        As in `autoseg.core.own_folds.check_folds`.

    Raises
    ------
    UsageError
        If there is no such file.
    DatasetError
        E-SET-46 if an entry is no pair of lists.
    DocumentError
        E-SET-46 if the file is no strict JSON, or no document of autoseg's.
    RefusedCasesError
        E-SET-48 if the folds do not fit the cases.
    """
    found = _read(path)
    if isinstance(found, list):
        folds = tuple(_fold(entry, f"{path}: fold {k}") for k, entry in enumerate(found))
    elif isinstance(found, dict):
        folds = documents.read(path, Splits).folds
    else:
        _refuse(f"{path}: holds {str(found)[:40]!r}, needed is a list of folds")
    return check_folds(folds, names, str(path), patients=patients, excluded=excluded)


def read_patients(path: Path) -> dict[str, str]:
    """Read the patient of each case from a JSON file ``{case: patient}``.

    Raises
    ------
    UsageError
        If there is no such file.
    DatasetError
        E-SET-46 if it holds anything else.
    DocumentError
        If it is no strict JSON.
    """
    return texts(_read(path), str(path))


def _read(path: Path) -> object:
    try:
        return read_json(path)
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read ({error.strerror})", hint="check the path"
        ) from error


def _fold(entry: object, where: str) -> Fold:
    if not isinstance(entry, dict) or set(entry) != {"train", "val"}:
        _refuse(f"{where} is {str(entry)[:40]!r}, needed is an object with 'train' and 'val'")
    return Fold(
        training=_cases(entry["train"], f"{where}: train"),
        validation=_cases(entry["val"], f"{where}: val"),
    )


def _cases(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        _refuse(f"{where} is {str(value)[:40]!r}, needed is a list of case names")
    return tuple(value)


def _refuse(message: str) -> NoReturn:
    raise DatasetError(
        message,
        rule="E-SET-46",
        hint='write [{"train": [case, ...], "val": [case, ...]}, ...], or leave the file out',
    )
