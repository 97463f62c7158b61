"""``autoseg predict``: segment images with a trained model, case by case."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from autoseg.core.acceptance import Accepted
from autoseg.core.dataset import Case, DatasetDescription
from autoseg.core.errors import (
    AutosegError,
    PartialError,
    RefusedCasesError,
    UsageError,
)
from autoseg.core.geometry import STRICT
from autoseg.core.version import __version__
from autoseg.execution.machine import memory_errors
from autoseg.execution.progress import Progress
from autoseg.io import documents, files, images
from autoseg.io.datasets import images_for_prediction
from autoseg.io.formats.image_digest import stored_digest
from autoseg.io.formats.table import sidecar_of, sidecar_places
from autoseg.io.guard import file_ending, is_series

if TYPE_CHECKING:
    from autoseg.inference.model import Model

MANIFEST: Final = "autoseg_prediction.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedCase:
    """Which input became which output."""

    __pydantic_config__: ClassVar = STRICT

    case: str
    """Case name."""
    input_digests: tuple[str, ...]
    """SHA-256 of each image file."""
    output_digest: str
    """SHA-256 of the segmentation's file and its sidecar; recorded before they are written."""
    weights_digests: tuple[str, ...]
    """SHA-256 of the weights of every fold that was averaged."""
    mirror: bool
    """Whether mirrored views were averaged."""
    accepted: Accepted = ()
    """What was accepted although a rule refuses it."""
    notes: tuple[str, ...] = ()
    """What the reader repaired or found worth saying."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionManifest:
    """What an output folder holds and what made it."""

    __pydantic_config__: ClassVar = STRICT

    schema_version: int = 1
    """Version of this document."""
    autoseg_version: str
    """Version that predicted."""
    dataset: DatasetDescription
    """Channels and labels of the model."""
    configuration: str
    """Configuration of the model."""
    plan: str
    """Name of the model's plan."""
    plan_digest: str
    """SHA-256 of the plan."""
    cases: tuple[PredictedCase, ...]
    """Cases whose segmentations lie in the folder, sorted by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What to predict with what, and where it goes."""

    source: Path
    """An image or a folder of images."""
    output: Path
    """Folder for the segmentations."""
    model: Path
    """Model folder."""
    folds: tuple[int, ...] = ()
    """Folds to average; empty for all that are finished."""
    device: str = "auto"
    """Device; see `autoseg.networks.device.choose_device`."""
    mirror: bool | None = None
    """Whether to average over mirrored views; None does as the model was trained."""
    overwrite: bool = False
    """Whether files that this model did not write may be replaced."""
    accepted: Accepted = ()
    """What is accepted of the images although a rule refuses it; the model's own training does not
    count."""


def predict(request: Prediction, *, progress: Progress) -> PredictionManifest:
    """Segment every case; a case that is refused does not stop the others.

    Parameters
    ----------
    request : Prediction
        What to do. Cases that the same model has segmented there already, from the same files, are
        kept.
    progress : Progress
        Told about every case.

    Returns
    -------
    PredictionManifest
        What lies in the output folder; also written there.

    Raises
    ------
    PartialError
        If some cases were refused; the others are written.
    RefusedCasesError
        If every case was refused.
    UsageError
        If there is no model, nothing to predict, or a file in the way.
    """
    from autoseg.inference.stored import read_model
    from autoseg.networks.device import choose_device

    device = choose_device(request.device)
    model = read_model(request.model, device, folds=request.folds, mirror=request.mirror)
    cases = images_for_prediction(request.source, model.description.dataset)
    _check_output(request, cases)
    files.ensure_writable(request.output)
    problems: list[AutosegError] = []
    with files.lock(request.output, f"prediction of {request.source}"):
        recorded = _recorded_cases(request, cases)
        progress.note(
            f"predicting {len(cases)} case(s) with {model.description.configuration_name}, "
            f"fold(s) {', '.join(map(str, model.folds))}, on {device}"
        )
        _tell_accepted(request, model, progress)
        progress.start("predicting", len(cases))
        for case in cases:
            try:
                if not _is_done(recorded.get(case.name), request, model, case):
                    _predict_case(request, model, case, recorded, progress)
            except AutosegError as error:
                problems.append(error)
                progress.note(f"refused: {error.text}")
            progress.advance(case.name)
        progress.finish()
        manifest = _write_manifest(request, model, recorded) if recorded else None
    _report_problems(problems, len(cases), request.output, manifest)
    assert manifest is not None  # some case was finished
    return manifest


def _tell_accepted(request: Prediction, model: "Model", progress: Progress) -> None:
    """Say what the model's training accepted and this prediction does not."""
    trained = model.description.dataset.accepted
    if missing := [each.text for each in trained if each not in request.accepted]:
        progress.note(
            f"note: the model was trained on cases with --accept {' --accept '.join(missing)}; "
            "images to predict are refused there unless it is given here too"
        )


def _predict_case(
    request: Prediction,
    model: "Model",
    case: Case,
    recorded: dict[str, PredictedCase],
    progress: Progress,
) -> None:
    """Segment a case: its record goes to the manifest first, then the file to its place.

    Killed in between, the next run finds a record without its file and does the case again.
    """
    description = model.description
    with memory_errors(case.name):
        image = images.read_case_image(
            case,
            len(description.dataset.channels),
            orientation=description.plan.orientation,
            accepted=request.accepted,
        )

        def tell(done: int, total: int) -> None:
            progress.status(f"{case.name}: tile {done}/{total}")

        segmentation = model.predict(
            image.voxels, image.geometry.spacing, where=f"case {case.name!r}", on_tile=tell
        )
    output = _output_file(request, case)
    data = images.encode_segmentation(output, segmentation, image.geometry)
    sidecar = sidecar_of(output, image.geometry)
    files.remove(output)
    recorded[case.name] = PredictedCase(
        case=case.name,
        input_digests=image.digests,
        output_digest=files.digest(data + (sidecar[1] if sidecar else b"")),
        weights_digests=model.all_digests,
        mirror=model.mirror,
        accepted=request.accepted,
        notes=image.notes,
    )
    _write_manifest(request, model, recorded)
    if sidecar:
        files.write_atomically(*sidecar)
    files.write_atomically(output, data)


def _output_file(request: Prediction, case: Case) -> Path:
    return request.output / f"{case.name}{_ending(case)}"


def _ending(case: Case) -> str:
    """Return the ending of a case's segmentation; a DICOM series has none."""
    return file_ending(Path(case.images[0])) or ".nii.gz"


def _check_output(request: Prediction, cases: Sequence[Case]) -> None:
    """Refuse to write segmentations among the images that they are made from."""
    images = [Path(image).resolve() for case in cases for image in case.images]
    inputs = {image if is_series(image) else image.parent for image in images}
    if request.output.resolve() in inputs:
        raise UsageError(
            f"{request.output}: holds the images; segmentations need a folder of their own",
            hint="choose another -o FOLDER",
        )


def _recorded_cases(request: Prediction, cases: Sequence[Case]) -> dict[str, PredictedCase]:
    """Return the records of all segmentations that lie in the output folder unchanged.

    Raises
    ------
    UsageError
        If a file is in the way that no record knows, unless it may be replaced.
    """
    path = request.output / MANIFEST
    present = documents.read_stored(path, PredictionManifest).cases if path.exists() else ()
    endings = {_ending(case) for case in cases}
    recorded = {}
    for record in present:
        for output in (request.output / f"{record.case}{ending}" for ending in endings):
            if output.is_file() and stored_digest(output) == record.output_digest:
                recorded[record.case] = record
    for case in cases:
        output = _output_file(request, case)
        written = [path for path in (output, *sidecar_places(output)) if path.exists()]
        if written and case.name not in recorded and not request.overwrite:
            raise UsageError(
                f"{written[0]}: is in the way; autoseg did not write it, or it was changed",
                hint="choose another -o FOLDER, or --overwrite to replace it",
            )
    return recorded


def _is_done(record: PredictedCase | None, request: Prediction, model: "Model", case: Case) -> bool:
    """Tell whether a recorded segmentation was made by this model from these files."""
    return (
        record is not None
        and (record.weights_digests, record.mirror) == (model.all_digests, model.mirror)
        and record.accepted == request.accepted
        and record.input_digests
        == tuple(stored_digest(Path(image), request.accepted) for image in case.images)
    )


def _write_manifest(
    request: Prediction, model: "Model", recorded: dict[str, PredictedCase]
) -> PredictionManifest:
    manifest = PredictionManifest(
        autoseg_version=__version__,
        dataset=model.description.dataset,
        configuration=model.description.configuration_name,
        plan=model.description.plan.name,
        plan_digest=files.digest(documents.encode(model.description.plan)),
        cases=tuple(recorded[name] for name in sorted(recorded)),
    )
    documents.write(request.output / MANIFEST, manifest)
    return manifest


def _report_problems(
    problems: Sequence[AutosegError], cases: int, output: Path, manifest: PredictionManifest | None
) -> None:
    if not problems:
        return
    if len(problems) == cases or manifest is None:
        raise RefusedCasesError(
            f"all {cases} cases are refused; nothing was written",
            tuple(problems),
            hint="mend these files, then run the same command again",
        )
    raise PartialError(
        f"{len(problems)} of {cases} cases are refused; the others are in {output}",
        tuple(problems),
        hint="mend these files, then run the same command again: finished cases are kept",
        result=documents.to_json(manifest),
    )
