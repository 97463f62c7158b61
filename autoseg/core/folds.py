"""Cross-validation: which cases train and which validate in each fold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from autoseg.core.errors import DatasetError
from autoseg.core.geometry import STRICT


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


def split_cases(names: Sequence[str], *, folds: int = 5, seed: int = 12345) -> Splits:
    """Split cases into the folds that nnU-Net makes.

    Parameters
    ----------
    names : sequence of str
        Case names, in any order.
    folds : int
        Number of folds, at most the number of cases.
    seed : int
        Seed of the shuffle.

    Returns
    -------
    Splits
        Sorted names are shuffled once and cut into ``folds`` runs; the first
        ``len(names) % folds`` runs are one longer (scikit-learn's ``KFold`` with shuffling).
        Fewer cases than folds: each case validates once (leave-one-out).

    Raises
    ------
    DatasetError
        If there are fewer than two cases.
    """
    ordered = sorted(names)
    if len(ordered) < 2:
        raise DatasetError(
            f"cross-validation needs at least 2 cases, found {len(ordered)}",
            rule="E-SET-47",
            hint="add cases to the dataset",
        )
    shuffled = np.random.RandomState(seed).permutation(len(ordered))
    parts = [set(part.tolist()) for part in np.array_split(shuffled, min(folds, len(ordered)))]
    return Splits(
        folds=tuple(
            Fold(
                training=tuple(n for i, n in enumerate(ordered) if i not in part),
                validation=tuple(n for i, n in enumerate(ordered) if i in part),
            )
            for part in parts
        )
    )
