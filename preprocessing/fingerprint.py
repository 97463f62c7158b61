"""Measuring a dataset: one pass over the files of each case, then one sum over the cases."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from autoseg.core.dataset import Case, DatasetDescription
from autoseg.core.errors import AutosegError, DatasetError
from autoseg.core.fingerprint import (
    CaseGrid,
    CaseMeasurement,
    ChannelSketch,
    ChannelStatistics,
    Fingerprint,
)
from autoseg.io import documents, files, images
from autoseg.io.formats import table as formats
from autoseg.io.formats.image_digest import stored_digest
from autoseg.io.store import content_key
from preprocessing.cropping import nonzero_box
from preprocessing.symmetry import summarize_symmetries, symmetric_pairs

RANKS: Final = 1001
"""Quantiles per sketch: their ranks are off by at most 0.05 % within a case."""
STAGE_VERSION: Final = 3
"""Raised when the code below measures something else, so that old caches are left alone."""


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
    key = _key(task)
    cached = _read_cache(task.cache / f"{task.case.name}.json", key)
    if cached is not None:
        return cached
    measured = _measure(task, key)
    documents.write(task.cache / f"{task.case.name}.json", measured, durable=False)
    return measured


def has_changed(task: MeasurementTask) -> bool:
    """Tell whether a measured case has other files or labels by now; False if it has no cache.

    Notes
    -----
    Only files written after the measurement are read: one that was replaced by an older file goes
    unseen.
    """
    record = task.cache / f"{task.case.name}.json"
    try:
        measured = record.stat().st_mtime_ns
    except OSError:
        return False
    paths = (task.folder / path for path in _paths(task.case))
    newer = any(path.exists() and path.stat().st_mtime_ns > measured for path in paths)
    try:
        return newer and _read_cache(record, _key(task)) is None
    except AutosegError:  # what is wrong with them matters once they are read
        return newer


def case_digests(task: MeasurementTask) -> tuple[str, ...]:
    """Return the SHA-256 of each image file and of the segmentation, empty where one is missing."""
    return tuple(
        stored_digest(task.folder / path) if (task.folder / path).is_file() else ""
        for path in _paths(task.case)
    )


def summarize(measurements: Sequence[CaseMeasurement], dataset: str) -> Fingerprint:
    """Add the measurements of all cases up to the dataset's fingerprint.

    Parameters
    ----------
    measurements : sequence of CaseMeasurement
        One per case.
    dataset : str
        Name of the dataset.

    Raises
    ------
    DatasetError
        If there is no case, or no case has any foreground.

    Notes
    -----
    Each case with foreground weighs the same, as in nnU-Net, which draws equally many voxels from
    every case. Mean, deviation and extremes are exact; percentiles are those of the pooled
    sketches.
    """
    if not measurements:
        raise DatasetError(f"dataset {dataset!r}: has no training cases", rule="E-SET-47")
    ordered = sorted(measurements, key=lambda measured: measured.name)
    channels = range(len(ordered[0].channels))
    return Fingerprint(
        dataset=dataset,
        cases=tuple(
            CaseGrid(
                name=measured.name,
                shape=measured.shape,
                shape_after_crop=measured.shape_after_crop,
                spacing=measured.spacing,
                class_voxels=measured.class_voxels,
            )
            for measured in ordered
        ),
        channels=tuple(
            _pool([sketch for m in ordered if (sketch := m.channels[channel])], dataset)
            for channel in channels
        ),
        symmetries=summarize_symmetries(ordered),
        notes=tuple(f"{measured.name}: {note}" for measured in ordered for note in measured.notes),
    )


def _paths(case: Case) -> tuple[str, ...]:
    return (*case.images, *filter(None, [case.segmentation]))


def _key(task: MeasurementTask) -> str:
    labels = files.digest(documents.encode(task.description.labels))
    return content_key(STAGE_VERSION, labels, task.description.file_ending, *case_digests(task))


def _measure(task: MeasurementTask, key: str) -> CaseMeasurement:
    description, case = task.description, task.case
    image = images.read_case_image(case, len(description.channels), folder=task.folder)
    # Found here, or after days of training.
    formats.check_holds(image.geometry, description.file_ending, f"case {case.name!r}")
    if case.segmentation is None:
        raise DatasetError(f"case {case.name!r}: has no segmentation", rule="E-SET-42")
    segmentation = images.read_segmentation(task.folder / case.segmentation, description.labels)
    images.check_same_grid(image, segmentation, case.name)
    labels = description.labels
    held = labels.count + (labels.ignored is not None)
    counts = np.bincount(segmentation.voxels.ravel(), minlength=held)
    # Ignored voxels are of unknown label: they are no foreground.
    foreground = (segmentation.voxels > 0) & (segmentation.voxels < labels.count)
    return CaseMeasurement(
        name=case.name,
        key=key,
        shape=image.geometry.shape,
        shape_after_crop=nonzero_box(image.voxels).shape,
        spacing=image.geometry.spacing,
        class_voxels=tuple(int(count) for count in counts),
        channels=tuple(_sketch(channel[foreground]) for channel in image.voxels),
        symmetric_pairs=symmetric_pairs(segmentation.voxels, labels),
        image_digests=image.digests,
        extremes=tuple((float(channel.min()), float(channel.max())) for channel in image.voxels),
        notes=(*image.notes, *segmentation.notes),
    )


def _sketch(values: npt.NDArray[np.float32]) -> ChannelSketch | None:
    if not values.size:
        return None
    exact = values.astype(np.float64)
    ranks = (np.arange(RANKS) + 0.5) / RANKS
    return ChannelSketch(
        mean=float(exact.mean()),
        square=float(np.square(exact).mean()),
        minimum=float(exact.min()),
        maximum=float(exact.max()),
        quantiles=tuple(np.quantile(exact, ranks).tolist()),
    )


def _pool(sketches: Sequence[ChannelSketch], dataset: str) -> ChannelStatistics:
    if not sketches:
        raise DatasetError(
            f"dataset {dataset!r}: no case has any foreground; at least one must",
            rule="E-VAL-37",
            hint="check that the segmentations hold the labels that dataset.json names",
        )
    mean = float(np.mean([sketch.mean for sketch in sketches]))
    variance = float(np.mean([sketch.square for sketch in sketches])) - mean**2
    pooled = np.concatenate([sketch.quantiles for sketch in sketches])
    low, median, high = np.percentile(pooled, [0.5, 50, 99.5])
    return ChannelStatistics(
        mean=mean,
        median=float(median),
        std=max(variance, 0.0) ** 0.5,
        minimum=min(sketch.minimum for sketch in sketches),
        maximum=max(sketch.maximum for sketch in sketches),
        percentile_00_5=float(low),
        percentile_99_5=float(high),
    )


def _read_cache(path: Path, key: str) -> CaseMeasurement | None:
    try:
        cached = documents.read(path, CaseMeasurement)
    except AutosegError:
        return None
    return cached if cached.key == key else None
