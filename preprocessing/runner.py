"""Every case of a dataset to the store, each on its own, so that a killed run carries on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from autoseg.core.acceptance import key_parts
from autoseg.core.dataset import Case, DatasetDescription
from autoseg.core.geometry import Geometry
from autoseg.core.labels import LabelMap
from autoseg.core.plan import Configuration, Decision, Normalization, Plan
from autoseg.io import store
from autoseg.io.cases import read_case
from autoseg.io.documents import encode
from autoseg.io.encoding import Encoding
from autoseg.io.files import digest
from autoseg.io.formats.image_digest import stored_digest
from preprocessing.case import (
    CroppedImage,
    Resampling,
    crop_image,
    plan_resampling,
    resample_case,
    resample_reference,
)
from preprocessing.foreground import sample_foreground
from preprocessing.precision import Channel, choose_encoding

STAGE_VERSION: Final = 3
"""Raised when the code of this stage makes other arrays, so that old ones are made again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessingTask:
    """One case to preprocess for some configurations, which share its one reading."""

    case: Case
    """The case."""
    folder: Path
    """Folder that its paths start from."""
    description: DatasetDescription
    """What the cases have in common."""
    plan: Plan
    """What was decided."""
    stores: tuple[tuple[str, Path], ...]
    """Configurations to prepare and the folder of each one's grid."""
    threads: int = 1
    """Threads to compute with; their number changes no voxel."""


def grid_key(plan: Plan, configuration: Configuration) -> str:
    """Return the name of the store that configurations of equal grid and normalization share.

    Whether anti-aliasing changes anything depends on the grid of each case, so it parts the stores
    wherever it is on. Where it is off, the name is the one from before there was any.
    """
    smoothing = ("anti_aliasing",) if configuration.anti_aliasing else ()
    return store.content_key(
        STAGE_VERSION,
        plan.orientation,
        plan.axis_order,
        [_used(scheme) for scheme in plan.normalization],
        configuration.spacing,
        configuration.image_order,
        configuration.segmentation_order,
        *smoothing,
    )[:16]


def _used(scheme: Normalization) -> tuple[str, bool, str]:
    """Return what arrays depend on: other schemes than ``ct`` take nothing from other cases."""
    statistics = digest(encode(scheme.statistics)) if scheme.scheme == "ct" else ""
    return scheme.scheme, scheme.inside_nonzero_only, statistics


def preprocess_case(task: PreprocessingTask) -> bool:
    """Preprocess a case wherever it is not stored yet; return whether anything had to be made.

    Raises
    ------
    InputError
        If a file of the case is refused.
    """
    missing = _missing(task)
    if missing:
        _preprocess(task, missing)
    return bool(missing)


def _missing(task: PreprocessingTask) -> list[tuple[str, Path]]:
    """Return the configurations whose store lacks the case as its files are now.

    The files are read for it only if some store has it at all: else they are hashed as they are
    decoded.
    """
    stores = list(dict(task.stores).items())
    if not any(store.has_record(folder, task.case.name) for _, folder in stores):
        return stores
    paths = [task.folder / path for path in (*task.case.images, str(task.case.segmentation))]
    accepted = task.description.accepted
    key = _key(task, [stored_digest(path, accepted) for path in paths if path.exists()])
    return [
        (name, folder)
        for name, folder in stores
        if not store.is_stored(folder, task.case.name, key)
    ]


def _key(task: PreprocessingTask, digests: Sequence[str]) -> str:
    """Return what the arrays of a case depend on besides the plan: its files and their reading."""
    labels = task.case.labels_in_file(task.description.labels)
    accepted = key_parts(task.description.accepted)
    return store.content_key(labels.arrangement, list(digests), accepted)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """A case that was read, cropped and normalized: what all its grids are made from."""

    key: str
    geometry: Geometry
    cropped: CroppedImage
    segmentation: LabelMap
    encoding: Encoding
    decision: Decision
    notes: tuple[str, ...]


def _prepare(task: PreprocessingTask) -> _Prepared:
    case, plan = task.case, task.plan
    image, segmentation = read_case(
        case, task.description, task.folder, orientation=plan.orientation
    )
    cropped = crop_image(image.voxels, image.geometry.spacing, plan, where=f"case {case.name!r}")
    channels = [
        Channel(
            raw=raw,
            divisor=scaling.divisor,
            low=float(normalized.min()),
            high=float(normalized.max()),
        )
        for raw, scaling, normalized in zip(
            image.voxels, cropped.scalings, cropped.image, strict=True
        )
    ]
    encoding, decision = choose_encoding(channels)
    return _Prepared(
        key=_key(task, (*image.digests, segmentation.digest)),
        geometry=image.geometry,
        cropped=cropped,
        segmentation=segmentation.voxels,
        encoding=encoding,
        decision=decision,
        notes=(*image.notes, *segmentation.notes),
    )


def _preprocess(task: PreprocessingTask, missing: Sequence[tuple[str, Path]]) -> None:
    prepared = _prepare(task)
    made = {
        _sameness(prepared.cropped, task.plan.configuration(name)): (
            store.read_record(folder, task.case.name),
            folder,
        )
        for name, folder in task.stores
        if (name, folder) not in missing
    }
    for name, folder in missing:
        configuration = task.plan.configuration(name)
        sameness = _sameness(prepared.cropped, configuration)
        if sameness in made:
            store.share_case(*made[sameness], folder)
        else:
            made[sameness] = (_store_on_grid(task, prepared, configuration, folder), folder)


def _sameness(
    cropped: CroppedImage, configuration: Configuration
) -> tuple[Resampling, int, int, bool] | tuple[int, ...]:
    """Return what two configurations that agree in it make the same arrays of a case by."""
    grid = plan_resampling(cropped.grid, configuration)
    if grid.shape == cropped.image.shape[1:]:
        return grid.shape  # nothing is resampled
    return (
        grid,
        configuration.image_order,
        configuration.segmentation_order,
        configuration.anti_aliasing,
    )


def _store_on_grid(
    task: PreprocessingTask, prepared: _Prepared, configuration: Configuration, folder: Path
) -> store.StoredCase:
    cropped, labels = prepared.cropped, task.description.labels
    image, nonzero = resample_case(cropped, configuration, threads=task.threads)
    reference = resample_reference(
        prepared.segmentation, cropped.grid, task.plan, configuration, threads=task.threads
    )
    indices, offsets = sample_foreground(reference, labels)
    record = store.StoredCase(
        name=task.case.name,
        key=prepared.key,
        geometry=prepared.geometry,
        crop=cropped.grid.crop,
        shape=reference.shape,
        foreground_offsets=offsets,
        digests={},
        encoding=prepared.encoding,
        decisions=(prepared.decision,),
        notes=prepared.notes,
    )
    arrays = store.CaseArrays(
        image=image, segmentation=reference, nonzero=nonzero, foreground=indices
    )
    return store.write_case(folder, record, arrays)
