"""What ``predict`` writes of a case: its segmentation, and what else was asked for."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from autoseg.core.dataset import Case
from autoseg.core.geometry import Geometry
from autoseg.core.labels import LabelMap, Labels
from autoseg.io import files, images
from autoseg.io.formats.table import sidecar_of
from autoseg.io.probabilities import (
    ProbabilityRecord,
    ProbabilityWriter,
    remove_probabilities,
    written_digest,
)
from autoseg.pipeline.prediction import PredictedCase, Prediction, output_ending
from autoseg.pipeline.prepared_cases import PreparedCase
from autoseg.postprocessing.rules import apply_rules

if TYPE_CHECKING:
    from autoseg.inference.ensemble import Segmented
    from autoseg.inference.model import Model
    from autoseg.inference.predictor import OnTile

PROBABILITIES: Final = "probabilities"
"""Folder of probabilities beside the segmentations."""
UNCERTAINTY: Final = "uncertainty"
"""Folder of maps of uncertainty beside the segmentations."""
MAPS: Final = ("entropy", "disagreement")
"""What is told of uncertainty, each in a file of its own."""


def segment_case(
    request: Prediction, models: "tuple[Model, ...]", prepared: PreparedCase, on_tile: "OnTile"
) -> "Segmented":
    """Segment a prepared case; probabilities, if asked for, are written plane by plane."""
    from autoseg.inference.ensemble import segment

    plan, labels = models[0].description.plan, models[0].description.dataset.labels
    with ExitStack() as stack:
        image = stack.enter_context(prepared.opened())
        writer = None
        if request.probabilities:
            record = ProbabilityRecord(
                case=prepared.case.name,
                geometry=prepared.geometry,
                output_ending=output_ending(prepared.case),
                labels=labels,
                digest="",
            )
            folder = request.output / PROBABILITIES
            writer = stack.enter_context(ProbabilityWriter(folder, record, plan.axis_order))
        segmented = segment(
            models,
            image,
            uncertainty=request.uncertainty,
            on_plane=writer.write if writer else None,
            on_tile=on_tile,
        )
    spacing = prepared.geometry.spacing
    return replace(segmented, label_map=apply_rules(request.rules, segmented.label_map, spacing))


def encode_label_map(
    output: Path, label_map: LabelMap, labels: Labels, geometry: Geometry
) -> tuple[bytes, tuple[Path, bytes] | None]:
    """Return the file of a segmentation, and the path and content of a sidecar if it needs one."""
    data = images.encode_segmentation(output, labels.to_file(label_map), geometry)
    return data, sidecar_of(output, geometry)


def write_uncertainty(
    request: Prediction, prepared: PreparedCase, segmented: "Segmented"
) -> tuple[str, ...]:
    """Write the maps of uncertainty, if there are any; return their digests."""
    digests = []
    for kind in MAPS:
        voxels = getattr(segmented, kind)
        if voxels is not None:
            path = uncertainty_file(request, prepared.case, kind)
            data = images.encode_image(path, voxels, prepared.geometry)
            files.write_atomically(path, data)
            digests.append(files.digest(data))
    return tuple(digests)


def remove_others(request: Prediction, case: Case) -> None:
    """Remove what an earlier run wrote beside a segmentation and this one does not."""
    if not request.probabilities:
        remove_probabilities(request.output / PROBABILITIES, case.name)
    if not request.uncertainty:
        for kind in MAPS:
            files.remove(uncertainty_file(request, case, kind))


def uncertainty_file(request: Prediction, case: Case, kind: str) -> Path:
    """Return where a map of a case goes: NIfTI, whatever the image is."""
    return request.output / UNCERTAINTY / f"{case.name}_{kind}.nii.gz"


def has_extras(request: Prediction, case: Case, record: PredictedCase) -> bool:
    """Tell whether what is asked for beside the segmentation is there unchanged."""
    if request.probabilities and (
        not record.probabilities_digest
        or written_digest(request.output / PROBABILITIES, case.name) != record.probabilities_digest
    ):
        return False
    if not request.uncertainty:
        return True
    paths = [uncertainty_file(request, case, kind) for kind in MAPS]
    return all(path.is_file() for path in paths) and record.uncertainty_digests == tuple(
        files.digest_file(path) for path in paths
    )
