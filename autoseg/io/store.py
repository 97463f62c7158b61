"""Preprocessed cases on disk: chunked, memory-mapped, read in parts.

One case is a record (``<case>.json``) and up to four arrays (``<case>.<what>.b2nd``), each replaced
whole and never rewritten in place, so that a reader keeps what it opened. The record holds the
digest of every array; an array is opened only after its digest matched.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from autoseg.core.errors import AutosegError, DamagedError
from autoseg.core.geometry import STRICT, Array, Box, Geometry
from autoseg.core.plan import Decision
from autoseg.io import documents, files
from autoseg.io.encoding import AS_THEY_ARE, EncodedImage, Encoding, Readable, encode

BLOCK_EDGE: Final = {1: 1024, 2: 128, 3: 32}
"""Voxels along the edge of a compressed block, by axes; 32^3 float32 are 128 KiB, and 1024 indices
of sampled voxels, of which one is read at a time, 4 KiB."""
CHUNK_EDGE: Final = {1: 2**16, 2: 1024, 3: 128}
"""Voxels along the edge of a chunk, what one call compresses."""
_ARRAYS: Final = ("image", "segmentation", "nonzero", "foreground")
_MASK: Final = "nonzero"
"""The array that is left out where it is true throughout."""
_PREDICTION: Final = "prediction"
_THREADS_AT: Final = slice(62, 68)
"""Where the frame of a blosc2 array says how many threads made it and read it: two msgpack int16
(C-Blosc2, README_CFRAME_FORMAT.rst)."""
_ONE_THREAD: Final = b"\xd1\x00\x01" * 2


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCase:
    """The record of one preprocessed case; axes are in plan order."""

    __pydantic_config__: ClassVar = STRICT

    schema_version: int = 1
    """Version of this document."""
    name: str
    """Case name."""
    key: str
    """Digest of everything that the arrays were made from."""
    geometry: Geometry
    """Grid of the raw image; its array axes come before the plan's axis order."""
    crop: Box
    """Box around nonzero voxels in the raw array, axes in plan order."""
    shape: tuple[int, ...]
    """Voxels per axis of the stored arrays."""
    foreground_offsets: tuple[int, ...]
    """Where the samples of each group start in the array ``foreground``; the end is last. Group 0
    is all annotated voxels where there is an ignore label, else empty; the regions, or the
    foreground labels, follow in their order."""
    digests: dict[str, str]
    """SHA-256 of each array's file; without ``nonzero`` where that is true throughout."""
    encoding: Encoding = AS_THEY_ARE
    """How the voxels of the stored image stand for intensities."""
    decisions: tuple[Decision, ...] = ()
    """Why the image is stored so."""
    notes: tuple[str, ...] = ()
    """What the reader repaired."""
    seal: str = ""
    """SHA-256 of the record with an empty seal: bit rot may leave valid JSON behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseArrays:
    """The arrays of one preprocessed case, in memory or as lazily read files."""

    image: Readable
    """(C, *spatial) normalized intensities, read as float32."""
    segmentation: Array
    """(*spatial) label map."""
    nonzero: Array
    """(*spatial) boolean mask of voxels inside the imaged body."""
    foreground: Array
    """(n,) unsigned indices of sampled voxels in the flattened array, sorted by group; a single one
    may be padding."""


def write_case(folder: Path, record: StoredCase, arrays: CaseArrays) -> StoredCase:
    """Write a case and return its record with the digests and the seal filled in.

    The record comes last: a case without a valid record counts as not there.

    Parameters
    ----------
    folder : Path
        Folder of the grid.
    record : StoredCase
        What is to be recorded, digests and seal left out.
    arrays : CaseArrays
        The arrays in memory, the image as float32.
    """
    digests = {}
    for what in _ARRAYS:
        if what == _MASK and np.all(arrays.nonzero):
            continue
        array = np.asarray(getattr(arrays, what))
        axes = 1 if what == "foreground" else len(record.shape)
        data = _encode(encode(array, record.encoding) if what == "image" else array, axes)
        digests[what] = files.digest(data)
        files.write_atomically(_array_file(folder, record.name, what), data, durable=False)
    complete = _sealed(replace(record, digests=digests))
    _finish(folder, complete)
    return complete


def share_case(written: StoredCase, folder: Path, other: Path) -> None:
    """Store a case in another folder, where its arrays are the same, without a second copy.

    Parameters
    ----------
    written : StoredCase
        Record that `write_case` returned.
    folder : Path
        Where it was written.
    other : Path
        Where it is needed too.
    """
    for what in _files_of(written):
        files.link(_array_file(folder, written.name, what), _array_file(other, written.name, what))
    _finish(other, written)


def read_record(folder: Path, name: str) -> StoredCase:
    """Read the record of a case; `DamagedError` if it is missing, torn or changed."""
    path = _record_file(folder, name)
    try:
        record = documents.read(path, StoredCase)
    except AutosegError as error:
        raise _damaged(name, str(error)) from error
    if record.name != name or record != _sealed(record):
        raise _damaged(name, f"{path}: is not the record that was written")
    return record


def has_record(folder: Path, name: str) -> bool:
    """Tell whether a case was stored at some time; whether it is intact, only `is_stored` tells."""
    return _record_file(folder, name).exists()


def is_stored(folder: Path, name: str, key: str) -> bool:
    """Tell whether an intact case made from exactly these inputs is there."""
    try:
        record = read_record(folder, name)
        if record.key != key:
            return False
        for what in _files_of(record):
            _verify(folder, record, what)
    except AutosegError:
        return False
    return True


def open_case(folder: Path, record: StoredCase) -> CaseArrays:
    """Verify the arrays of a case and open them for partial reading.

    Raises
    ------
    DamagedError
        If a file is missing, its digest differs, or it is no plain array; names the case.
    """
    opened: dict[str, Any] = {_MASK: np.broadcast_to(np.True_, record.shape)}
    for what in _files_of(record):
        path = _verify(folder, record, what)
        try:
            opened[what] = open_array(path)
        except (RuntimeError, ValueError) as error:  # how blosc2 says that it cannot decode
            raise _damaged(record.name, f"{path}: is no plain array") from error
    return CaseArrays(**{**opened, "image": EncodedImage(opened["image"], record.encoding)})


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPrediction:
    """The record of what a previous stage predicted for one case, on the next stage's grid."""

    __pydantic_config__: ClassVar = STRICT

    schema_version: int = 1
    """Version of this document."""
    name: str
    """Case name."""
    key: str
    """Digest of everything that the array was made from."""
    digest: str
    """SHA-256 of the array's file."""


def write_prediction(folder: Path, name: str, key: str, label_map: Array) -> None:
    """Write a previous stage's label map (*spatial); the record comes last."""
    data = _encode(label_map, label_map.ndim)
    files.write_atomically(_array_file(folder, name, _PREDICTION), data, durable=False)
    record = StoredPrediction(name=name, key=key, digest=files.digest(data))
    documents.write(_record_file(folder, name), record, durable=False)


def open_prediction(folder: Path, name: str) -> tuple[str, Array]:
    """Verify a previous stage's label map and open it; return its key and the lazily read array.

    Raises
    ------
    DamagedError
        If it is missing, its digest differs, or it is no plain array; names the case.
    """
    try:
        record = documents.read(_record_file(folder, name), StoredPrediction)
        path = _array_file(folder, name, _PREDICTION)
        if files.digest_file(path) != record.digest:
            raise _damaged(name, f"{path}: its digest differs from the one recorded")
        return record.key, open_array(path)
    except (AutosegError, RuntimeError, ValueError) as error:
        raise DamagedError(
            f"prediction of the previous stage for case {name!r}: {error}",
            rule="E-RES-76",
            hint="run the same command again: it is made from the previous stage's validation",
        ) from error


def _finish(folder: Path, record: StoredCase) -> None:
    """Write the record that vouches for the arrays, and remove one that it does not have."""
    documents.write(_record_file(folder, record.name), record, durable=False)
    for what in set(_ARRAYS).difference(_files_of(record)):
        files.remove(_array_file(folder, record.name, what))


def _files_of(record: StoredCase) -> tuple[str, ...]:
    """Return which arrays of a case are files."""
    return tuple(what for what in _ARRAYS if what != _MASK or what in record.digests)


def _sealed(record: StoredCase) -> StoredCase:
    plain = replace(record, seal="")
    return replace(plain, seal=files.digest(documents.encode(plain)))


def _record_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


def _array_file(folder: Path, name: str, what: str) -> Path:
    return folder / f"{name}.{what}.b2nd"


def _verify(folder: Path, record: StoredCase, what: str) -> Path:
    path = _array_file(folder, record.name, what)
    try:
        found = files.digest_file(path)
    except OSError as error:
        raise _damaged(record.name, f"{path}: cannot be read ({error.strerror})") from error
    if found != record.digests.get(what):
        raise _damaged(record.name, f"{path}: its digest differs from the one recorded")
    return path


def _damaged(name: str, why: str) -> DamagedError:
    return DamagedError(
        f"preprocessed case {name!r}: {why}",
        rule="E-RES-76",
        hint="build it again: autoseg preprocess",
    )


def _encode(array: Array, axes: int) -> bytes:
    import blosc2

    if not array.size:  # blosc2 stores no empty array; the record's offsets say that it is one
        array = np.zeros((1, *array.shape[1:]), array.dtype)
    leading = (1,) * (array.ndim - axes)
    chunks = leading + tuple(min(n, CHUNK_EDGE[axes]) for n in array.shape[-axes:])
    blocks = leading + tuple(min(n, BLOCK_EDGE[axes]) for n in array.shape[-axes:])
    stored = blosc2.asarray(
        np.ascontiguousarray(array),
        chunks=chunks,
        blocks=blocks,
        cparams=blosc2.CParams(
            codec=blosc2.Codec.ZSTD, clevel=1, filters=[blosc2.Filter.SHUFFLE], nthreads=1
        ),
    )
    data = bytearray(stored.to_cframe())
    # The environment (BLOSC_NTHREADS, set for workers) decides what blosc2 notes here, whatever it
    # is told; equal arrays are to have equal bytes however many workers there are.
    if data[_THREADS_AT][::3] == _ONE_THREAD[::3]:
        data[_THREADS_AT] = _ONE_THREAD
    return bytes(data)


def open_array(path: Path) -> Any:
    """Open a blosc2 array, whose digest was found to match, for reading parts of it.

    Raises
    ------
    RuntimeError, ValueError
        If it cannot be decoded, or holds more than an array.
    """
    import blosc2

    array = blosc2.open(str(path), mode="r", mmap_mode="r", dparams=blosc2.DParams(nthreads=1))
    if not isinstance(array, blosc2.NDArray) or set(array.schunk.meta.keys()) != {"b2nd"}:
        raise ValueError(f"{path}: holds more than an array")
    return array


def foreground_position(
    record: StoredCase, arrays: CaseArrays, group: int, rank: int
) -> tuple[int, ...]:
    """Return the ``rank``-th sampled voxel of a group, one index per spatial axis."""
    index = int(arrays.foreground[record.foreground_offsets[group] + rank])
    return tuple(int(place) for place in np.unravel_index(index, record.shape))


def content_key(*parts: object) -> str:
    """Return a digest of JSON values, the same for equal values."""
    return files.digest(json.dumps(parts, sort_keys=True).encode())
