"""Every case of a dataset to the store, each on its own, so that a killed run carries on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from autoseg.core.dataset import Case, DatasetDescription
from autoseg.core.errors import DatasetError
from autoseg.core.plan import Configuration, Normalization, Plan
from autoseg.io import images, store
from autoseg.io.documents import encode
from autoseg.io.files import digest
from autoseg.io.formats.image_digest import stored_digest
from preprocessing.case import crop_image, resample_case, resample_reference
from preprocessing.foreground import sample_foreground

STAGE_VERSION: Final = 2
"""Raised when the code of this stage makes other arrays, so that old ones are made again."""
BYTES_PER_VOXEL: Final = 40
"""Peak memory per voxel and channel of the larger of the raw and the resampled image."""


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
    if task.case.segmentation is None:
        raise DatasetError(f"case {task.case.name!r}: has no segmentation", rule="E-SET-42")
    paths = (*task.case.images, task.case.segmentation)
    made_from = [
        stored_digest(task.folder / path) for path in paths if (task.folder / path).is_file()
    ]
    key = store.content_key(digest(encode(task.description.labels)), made_from)
    missing = [
        (name, folder)
        for name, folder in dict(task.stores).items()
        if not store.is_stored(folder, task.case.name, key)
    ]
    if missing:
        _preprocess(task, missing, key)
    return bool(missing)


def _preprocess(task: PreprocessingTask, missing: list[tuple[str, Path]], key: str) -> None:
    case, description, plan = task.case, task.description, task.plan
    image = images.read_case_image(
        case, len(description.channels), folder=task.folder, orientation=plan.orientation
    )
    segmentation = images.read_segmentation(
        task.folder / str(case.segmentation), description.labels, orientation=plan.orientation
    )
    images.check_same_grid(image, segmentation, case.name)
    where = f"case {case.name!r}"
    cropped = crop_image(image.voxels, image.geometry.spacing, plan, where=where)
    for name, folder in missing:
        configuration = plan.configuration(name)
        voxels, nonzero = resample_case(cropped, configuration)
        reference = resample_reference(segmentation.voxels, cropped.grid, plan, configuration)
        positions, offsets = sample_foreground(reference, description.labels)
        store.write_case(
            folder,
            store.StoredCase(
                name=case.name,
                key=key,
                geometry=image.geometry,
                crop=cropped.grid.crop,
                shape=reference.shape,
                foreground_offsets=offsets,
                digests={},
                notes=(*image.notes, *segmentation.notes),
            ),
            store.CaseArrays(
                image=voxels, segmentation=reference, nonzero=nonzero, foreground=positions
            ),
        )
