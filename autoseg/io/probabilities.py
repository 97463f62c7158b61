"""Probabilities of a case on the input's own grid: one blosc2 array of float16, and its record.

The array ``<case>.b2nd`` has the shape (K, *file): the spatial axes are those of the image's file,
as nibabel gives them. ``blosc2.open(path)[:]`` reads it. The record ``<case>.json`` vouches for it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Self

import numpy as np
import numpy.typing as npt

from autoseg.core.errors import AutosegError, DamagedError, ResourceError
from autoseg.core.geometry import STRICT, Geometry
from autoseg.core.labels import Labels
from autoseg.io import documents, files
from autoseg.io.store import open_array

Halves = npt.NDArray[np.float16]

BLOCK_BYTES: Final = 2**26
"""Memory of the planes that are compressed at a time."""
CHUNK_EDGE: Final = 128
"""Voxels along the edge of a chunk, what one call compresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbabilityRecord:
    """What an array of probabilities is of."""

    __pydantic_config__: ClassVar = STRICT

    schema_version: int = 1
    """Version of this document."""
    case: str
    """Case name."""
    geometry: Geometry
    """Grid of the image."""
    output_ending: str
    """Ending of the segmentation's file."""
    labels: Labels
    """Meaning of the channels."""
    digest: str
    """SHA-256 of the array's file."""


class ProbabilityWriter:
    """Writes the planes of a case in their order; use it in a ``with`` statement.

    Parameters
    ----------
    folder : Path
        Where the array goes, and its record once all planes are written.
    record : ProbabilityRecord
        What is written, its digest left out.
    axis_order : sequence of int
        Axis of the reader's array that each axis of a plane's volume runs along; planes follow each
        other along the first.
    """

    def __init__(self, folder: Path, record: ProbabilityRecord, axis_order: Sequence[int]) -> None:
        self._folder, self._record, self._axis_order = folder, record, tuple(axis_order)
        self._channels, self._written = record.labels.channels, 0
        self._waiting: list[Halves] = []
        geometry = record.geometry
        self._shape = tuple(geometry.shape[axis] for axis in self._axis_order)
        self._file_axis = geometry.file_axes[self._axis_order[0]]
        self._backwards = geometry.reversed_axes[self._axis_order[0]]
        plane_bytes = 2 * self._channels * prod(self._shape[1:])
        self._planes = max(1, min(CHUNK_EDGE, self._shape[0], BLOCK_BYTES // plane_bytes))
        self._path = array_file(folder, record.case)
        self._building = files.built(self._path)

    def __enter__(self) -> Self:
        """Create the array under a temporary name."""
        import blosc2

        self._part = self._building.__enter__()
        shape = self._record.geometry.file_shape
        edges = [min(n, CHUNK_EDGE) for n in shape]
        edges[self._file_axis] = self._planes
        with _writing(self._path):
            self._array: Any = blosc2.empty(
                (self._channels, *shape),
                dtype=np.float16,
                chunks=(1, *edges),
                urlpath=str(self._part),
                mode="w",
                cparams=blosc2.CParams(
                    codec=blosc2.Codec.ZSTD, clevel=1, filters=[blosc2.Filter.SHUFFLE], nthreads=1
                ),
            )
        return self

    def write(self, plane: npt.NDArray[np.floating]) -> None:
        """Add the next plane (K, *plane) of the whole image."""
        self._waiting.append(plane.astype(np.float16))
        if len(self._waiting) == self._planes:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        block = np.stack(self._waiting, axis=1)  # (K, planes, *plane)
        turned = block.transpose(0, *(1 + np.argsort(self._axis_order)))
        geometry = self._record.geometry
        in_file = np.stack([geometry.to_file(channel) for channel in turned])
        start, stop = self._written, self._written + len(self._waiting)
        if self._backwards:
            start, stop = self._shape[0] - stop, self._shape[0] - start
        box: list[slice] = [slice(None)] * (1 + geometry.ndim)
        box[1 + self._file_axis] = slice(start, stop)
        with _writing(self._path):
            self._array[tuple(box)] = np.ascontiguousarray(in_file)
        self._written += len(self._waiting)
        self._waiting = []

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put the array into its place and write the record, unless the block failed."""
        if error is None:
            self._flush()
        self._array = None  # closes the file
        digest = files.digest_file(self._part) if error is None else ""
        self._building.__exit__(kind, error, trace)
        if error is None:
            path = record_file(self._folder, self._record.case)
            documents.write(path, replace(self._record, digest=digest))


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Say what blosc2 means by its RuntimeError: that the disk is full."""
    try:
        yield
    except RuntimeError as error:
        raise ResourceError(
            f"{path}: cannot be written ({error})",
            rule="E-RES-63",
            hint="free some space, then run the same command again",
        ) from error


def array_file(folder: Path, case: str) -> Path:
    """Return where the array of a case lies."""
    return folder / f"{case}.b2nd"


def record_file(folder: Path, case: str) -> Path:
    """Return where the record of a case lies."""
    return folder / f"{case}.json"


def probability_cases(folder: Path) -> tuple[str, ...]:
    """Return the names of the cases whose probabilities a folder holds, sorted."""
    return tuple(sorted(path.stem for path in folder.glob("*.b2nd")))


def written_digest(folder: Path, case: str) -> str:
    """Return the digest of a case's intact probabilities; empty where there are none."""
    try:
        return open_probabilities(folder, case)[0].digest
    except AutosegError:
        return ""


def remove_probabilities(folder: Path, case: str) -> None:
    """Remove a case's probabilities, if there are any."""
    files.remove(record_file(folder, case))
    files.remove(array_file(folder, case))


def read_record(folder: Path, case: str) -> ProbabilityRecord:
    """Return what the probabilities of a case are of; `DamagedError` if that cannot be told."""
    return documents.read_stored(record_file(folder, case), ProbabilityRecord, rule="E-MODEL-59")


def open_probabilities(folder: Path, case: str) -> tuple[ProbabilityRecord, Any]:
    """Verify the probabilities of a case and open them for reading parts.

    Returns
    -------
    ProbabilityRecord
        What they are of.
    array
        (K, *file) float16, read where it is indexed.

    Raises
    ------
    DamagedError
        If the record or the array is missing, or not what was written.
    """
    path = array_file(folder, case)
    record = read_record(folder, case)
    if files.digest_file(path) != record.digest:
        raise _damaged(path, "its digest differs from the one recorded")
    try:
        return record, open_array(path)
    except (RuntimeError, ValueError) as error:
        raise _damaged(path, "is no plain array") from error


def _damaged(path: Path, why: str) -> DamagedError:
    return DamagedError(
        f"{path}: {why}",
        rule="E-MODEL-59",
        hint="predict that case again with --probabilities",
    )
