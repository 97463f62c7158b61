"""A prediction under way: what is done, what is to be prepared, and how a case is written."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from autoseg.core.dataset import Case
from autoseg.core.errors import AutosegError
from autoseg.core.version import __version__
from autoseg.io import documents, files
from autoseg.io.formats.image_digest import stored_digest
from autoseg.io.probabilities import written_digest
from autoseg.pipeline.prediction import PredictedCase, Prediction, PredictionManifest
from autoseg.pipeline.prepared_cases import PreparationTask, PreparedCase
from autoseg.pipeline.segmentation_files import (
    PROBABILITIES,
    encode_label_map,
    has_extras,
    remove_others,
    write_uncertainty,
)
from autoseg.pipeline.segmentation_folder import SegmentationFolder, recorded_cases
from autoseg.pipeline.unlike_training import spacing_notes

if TYPE_CHECKING:
    from autoseg.core.model import ModelDescription
    from autoseg.inference.ensemble import Segmented
    from autoseg.inference.model import Model

PREPARED: Final = ".prepared"
"""Folder of prepared images, which live until they are predicted."""


@dataclass(slots=True, kw_only=True)
class Run:
    """A prediction under way."""

    request: Prediction
    """What was asked for."""
    models: "tuple[Model, ...]"
    """What segments."""
    output: SegmentationFolder
    """Where segmentations go."""
    problems: list[AutosegError] = field(default_factory=list)
    """Why cases could not be segmented."""

    @property
    def description(self) -> "ModelDescription":
        """What the models have in common."""
        return self.models[0].description

    @property
    def made_by(self) -> tuple[object, ...]:
        """What a segmentation depends on besides the images."""
        digests = tuple(digest for model in self.models for digest in model.all_digests)
        mirror = any(model.mirror for model in self.models)
        return digests, mirror, self.request.accepted, self.request.rules

    def is_done(self, case: Case) -> bool:
        """Tell whether all that is asked for was made by these models from these files."""
        record, accepted = self.output.recorded.get(case.name), self.request.accepted
        if record is None:
            return False
        made_by = (record.weights_digests, record.mirror, record.accepted, record.rules)
        digests = tuple(stored_digest(Path(image), accepted) for image in case.images)
        return (
            made_by == self.made_by
            and record.input_digests == digests
            and has_extras(self.request, case, record)
        )

    def task(self, case: Case, threads: int) -> PreparationTask:
        """Return what is to be prepared of a case."""
        from autoseg.inference.ensemble import stages

        return PreparationTask(
            case=case,
            channels=len(self.description.dataset.channels),
            plan=self.description.plan,
            names=stages(self.models),
            accepted=self.request.accepted,
            folder=self.request.folder / PREPARED,
            threads=threads,
        )

    def write(self, prepared: PreparedCase, segmented: "Segmented") -> None:
        """Write a segmentation and what was asked for beside it."""
        case, output = prepared.case, self.request.output_file(prepared.case)
        labels = self.description.dataset.labels
        data, sidecar = encode_label_map(output, segmented.label_map, labels, prepared.geometry)
        uncertainty = write_uncertainty(self.request, prepared, segmented)
        remove_others(self.request, case)
        record = PredictedCase(
            case=case.name,
            input_digests=prepared.input_digests,
            output_digest="",
            weights_digests=tuple(d for model in self.models for d in model.all_digests),
            mirror=any(model.mirror for model in self.models),
            accepted=self.request.accepted,
            rules=self.request.rules,
            probabilities_digest=written_digest(self.request.output / PROBABILITIES, case.name),
            uncertainty_digests=uncertainty,
            notes=(*prepared.notes, *spacing_notes(prepared, self.description)),
        )
        self.output.write(record, output, data, sidecar)


def started_run(request: Prediction, models: "tuple[Model, ...]", cases: Sequence[Case]) -> Run:
    """Return a run that knows what lies in the output folder.

    Raises
    ------
    UsageError
        If a file is in the way that no record knows, unless it may be replaced.
    """
    description = models[0].description
    made_by = PredictionManifest(
        autoseg_version=__version__,
        dataset=description.dataset,
        configuration="+".join(model.description.configuration_name for model in models),
        plan=description.plan.name,
        plan_digest=files.digest(documents.encode(description.plan)),
        cases=(),
    )
    recorded = recorded_cases(
        request.output,
        {case.name: request.output_file(case) for case in cases},
        overwrite=request.overwrite,
        alone=bool(request.part.name),
    )
    output = SegmentationFolder(file=request.manifest, made_by=made_by, recorded=recorded)
    return Run(request=request, models=models, output=output)
