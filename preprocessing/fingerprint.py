"""Measuring a dataset: one pass over the files of each case, then one sum over the cases.

What was measured of a case is kept as a sketch. A case whose files are the same is not measured
again, and the sum over the cases is made of the sketches alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from autoseg.core.acceptance import key_parts
from autoseg.core.dataset import Case, DatasetDescription
from autoseg.core.errors import AutosegError, DatasetError
from autoseg.core.fingerprint import (
    CaseGrid,
    CaseMeasurement,
    CaseSketch,
    ChannelStatistics,
    Fingerprint,
)
from autoseg.core.geometry import Geometry
from autoseg.core.labels import LabelMap, Labels
from autoseg.io import documents
from autoseg.io.cases import read_case
from autoseg.io.formats import table as formats
from autoseg.io.formats.image_digest import stored_digest
from autoseg.io.formats.tiff_sidecar import TIFF_ENDINGS
from autoseg.io.guard import file_ending, is_series
from autoseg.io.store import content_key
from preprocessing.cropping import nonzero_box
from preprocessing.intensities import pool_channels, sketch_channel
from preprocessing.position import body_center, label_centers, orientation_code, voxel_digest
from preprocessing.symmetry import locate_labels, summarize_symmetries, symmetric_pairs

STAGE_VERSION: Final = 6
"""Raised when the code below measures something else, so that old caches are left alone."""
SLAB_VOXELS: Final = 2**15
"""Voxels that are counted at a time; their 64-bit copies stay in the cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementTask:
    """One case to measure."""

    case: Case
    """The case."""
    folder: Path
    """Folder that its paths start from."""
    description: DatasetDescription
    """What the cases have in common."""
    cache: Path
    """Folder of finished measurements."""


def measure_case(task: MeasurementTask) -> CaseMeasurement:
    """Measure a case, or return its cached measurement if none of its files has changed.

    Raises
    ------
    InputError
        If a file is damaged, the grids do not match, or values or labels are not allowed.
    """
    kept = _read_sketch(task)
    if kept is not None and _is_current(kept.measurement, task):
        return kept.measurement
    sketch = _measure(task)
    documents.write(_sketch_file(task.cache, task.case.name), sketch, durable=False)
    return sketch.measurement


def has_changed(task: MeasurementTask) -> bool:
    """Tell whether a measured case has other files or labels by now; False if it has no cache.

    Notes
    -----
    Only files written after the measurement, or in the same tick of the clock, are read: one that
    was replaced by an older file goes unseen.
    """
    try:
        measured = _sketch_file(task.cache, task.case.name).stat().st_mtime_ns
    except OSError:
        return False
    paths = (task.folder / path for path in _paths(task.case))
    newer = any(path.exists() and _written_ns(path) >= measured for path in paths)
    kept = _read_sketch(task) if newer else None
    try:
        return newer and (kept is None or not _is_current(kept.measurement, task))
    except AutosegError:  # what is wrong with them matters once they are read
        return newer


def summarize(measurements: Sequence[CaseMeasurement], dataset: str, *, cache: Path) -> Fingerprint:
    """Add the measurements of all cases up to the dataset's fingerprint.

    Parameters
    ----------
    measurements : sequence of CaseMeasurement
        One per case.
    dataset : str
        Name of the dataset.
    cache : Path
        Folder in which `measure_case` left the sketches of these cases.

    Raises
    ------
    DatasetError
        If there is no case, or no case has any foreground.
    DamagedError
        If the sketch of a case is gone or torn.

    Notes
    -----
    Each case with foreground weighs the same, as in nnU-Net, which draws equally many voxels from
    every case. The same cases give the same fingerprint to the last bit, whichever were measured
    first or removed since. For the accuracy see `preprocessing.intensities.pool_channels`.
    """
    if not measurements:
        raise DatasetError(f"dataset {dataset!r}: has no training cases", rule="E-SET-47")
    ordered = sorted(measurements, key=lambda measured: measured.name)
    counted = [measured for measured in ordered if any(measured.channels)]
    return Fingerprint(
        dataset=dataset,
        cases=tuple(
            CaseGrid(
                name=measured.name,
                shape=measured.shape,
                shape_after_crop=measured.shape_after_crop,
                spacing=measured.spacing,
                class_voxels=measured.class_voxels,
                stored_axes=measured.stored_axes,
            )
            for measured in ordered
        ),
        channels=_pool(counted, dataset, cache),
        symmetries=summarize_symmetries(ordered),
        notes=tuple(f"{measured.name}: {note}" for measured in ordered for note in measured.notes),
    )


def _paths(case: Case) -> tuple[str, ...]:
    return (*case.images, *filter(None, [case.segmentation]))


def _sketch_file(cache: Path, case: str) -> Path:
    return cache / f"{case}.json"


def _read_sketch(task: MeasurementTask) -> CaseSketch | None:
    try:
        return documents.read(_sketch_file(task.cache, task.case.name), CaseSketch)
    except AutosegError:
        return None


def _written_ns(path: Path) -> int:
    """Return when a file was written, or the latest of a folder that holds a series."""
    parts = [path, *path.iterdir()] if is_series(path) else [path]
    return max(part.stat().st_mtime_ns for part in parts if part.exists())


def _key(task: MeasurementTask) -> str:
    description = task.description
    return content_key(
        STAGE_VERSION,
        task.case.labels_in_file(description.labels).arrangement,
        description.file_ending,
        len(description.channels),
        *key_parts(description.accepted),
    )


def _is_current(measured: CaseMeasurement, task: MeasurementTask) -> bool:
    """Tell whether a case would be measured the same; reads its files up to one that changed."""
    accepted = task.description.accepted
    paths, digests = _paths(task.case), (*measured.image_digests, measured.segmentation_digest)
    return (
        measured.key == _key(task)
        and len(paths) == len(digests)
        and all(
            (task.folder / path).exists() and stored_digest(task.folder / path, accepted) == digest
            for path, digest in zip(paths, digests, strict=True)
        )
    )


def _measure(task: MeasurementTask) -> CaseSketch:
    description, case = task.description, task.case
    image, segmentation = read_case(case, description, task.folder)
    # Found here, or after days of training.
    formats.check_holds(image.geometry, description.file_ending, f"case {case.name!r}")
    labels = description.labels
    # Ignored voxels are of unknown label: they are no foreground.
    foreground = (segmentation.voxels > 0) & (segmentation.voxels < labels.count)
    found = locate_labels(segmentation.voxels, labels)
    sketches = [sketch_channel(channel[foreground]) for channel in image.voxels]
    measurement = CaseMeasurement(
        name=case.name,
        key=_key(task),
        shape=image.geometry.shape,
        shape_after_crop=nonzero_box(image.voxels).shape,
        spacing=image.geometry.spacing,
        class_voxels=_class_voxels(segmentation.voxels, labels),
        channels=tuple(sketch[0] if sketch else None for sketch in sketches),
        symmetric_pairs=symmetric_pairs(segmentation.voxels, found),
        image_digests=image.digests,
        segmentation_digest=segmentation.digest,
        extremes=tuple((float(channel.min()), float(channel.max())) for channel in image.voxels),
        stored_axes=_stored_axes(image.geometry, task.folder / case.images[0]),
        voxel_digest=voxel_digest(image.voxels),
        orientation=orientation_code(image.geometry, task.folder / case.images[0]),
        label_centers=label_centers(found, labels, image.geometry),
        body_center=body_center(image.voxels[0], image.geometry.spacing),
        notes=(*image.notes, *segmentation.notes),
    )
    return CaseSketch(
        measurement=measurement,
        quantiles=tuple(sketch[1] if sketch else None for sketch in sketches),
    )


def _class_voxels(label_map: LabelMap, labels: Labels) -> tuple[int, ...]:
    flat, held = label_map.ravel(), labels.count + (labels.ignored is not None)
    counts = np.zeros(held, np.int64)
    for start in range(0, flat.size, SLAB_VOXELS):
        counts += np.bincount(flat[start : start + SLAB_VOXELS], minlength=held)
    return tuple(counts.tolist())


def _stored_axes(geometry: Geometry, path: Path) -> tuple[int, ...]:
    """Return the order of the array axes in an array as the file stores it."""
    file_axes = range(geometry.ndim)
    # Pictures and stacks are arrays already; files of volumes name their fastest axis first.
    is_array = geometry.ndim == 2 or file_ending(path) in TIFF_ENDINGS
    stored = file_axes if is_array else reversed(file_axes)
    return tuple(geometry.file_axes.index(axis) for axis in stored)


def _pool(
    counted: Sequence[CaseMeasurement], dataset: str, cache: Path
) -> tuple[ChannelStatistics, ...]:
    if not counted:
        raise DatasetError(
            f"dataset {dataset!r}: no case has any foreground; at least one must",
            rule="E-VAL-37",
            hint="check that the segmentations hold the labels that dataset.json names",
        )
    moments = zip(*(measured.channels for measured in counted), strict=True)
    names = [measured.name for measured in counted]
    return pool_channels(
        [[case for case in channel if case] for channel in moments],
        partial(_quantiles, cache, names),
    )


def _quantiles(cache: Path, cases: Sequence[str]) -> Iterator[tuple[bytes | None, ...]]:
    for case in cases:
        yield documents.read_stored(_sketch_file(cache, case), CaseSketch).quantiles
