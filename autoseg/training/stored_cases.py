"""Preprocessed cases that are sent to other processes by where they lie, and opened there."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import overload

from autoseg.core.errors import AutosegError, DamagedError
from autoseg.io import store
from autoseg.training.batches import BatchSource
from autoseg.training.sampling import OpenCase


@dataclass(slots=True, kw_only=True)
class StoredCases(Sequence[OpenCase]):
    """Preprocessed cases that a process opens when it first needs them."""

    folder: Path
    """Where they lie."""
    previous_folder: Path | None
    """Where the previous stage's predictions for them lie."""
    records: tuple[store.StoredCase, ...]
    """Their records, as the training opened them."""
    previous_keys: tuple[str, ...]
    """Digest of what each prediction was made from."""
    opened: dict[int, OpenCase] = field(default_factory=dict)
    """Those that are open."""

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, place: int) -> OpenCase: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[OpenCase]: ...
    def __getitem__(self, place: int | slice) -> OpenCase | Sequence[OpenCase]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        if place not in self.opened:
            self.opened[place] = self._open(place)
        return self.opened[place]

    def _open(self, place: int) -> OpenCase:
        record = self.records[place]
        try:
            case = OpenCase(record=record, arrays=store.open_case(self.folder, record))
            if self.previous_folder is None:
                return case
            key, previous = store.open_prediction(self.previous_folder, record.name)
        except AutosegError as error:
            error.about(record.name)
            raise
        if key != self.previous_keys[place]:
            raise DamagedError(
                f"prediction of the previous stage for case {record.name!r}: changed while it was "
                "trained with"
            ).about(record.name)
        return replace(case, previous=previous, previous_key=key)


def travelling(source: BatchSource) -> BatchSource:
    """Return a source that can be sent to a process, which opens the cases anew.

    Raises
    ------
    ValueError
        If the source does not say where its cases lie.
    """
    cascaded = any(case.previous is not None for case in source.cases)
    if source.folder is None or (cascaded and source.previous_folder is None):
        raise ValueError("a source for worker processes needs the folders of its cases")
    cases = StoredCases(
        folder=source.folder.absolute(),
        previous_folder=source.previous_folder if cascaded else None,
        records=tuple(case.record for case in source.cases),
        previous_keys=tuple(case.previous_key for case in source.cases),
    )
    return replace(source, cases=cases)
