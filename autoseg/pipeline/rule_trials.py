"""Post-processing tried on the out-of-fold predictions of a model, by worker processes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoseg.core.dataset import Case, Dataset, DatasetDescription
from autoseg.core.geometry import Orientation
from autoseg.execution.progress import Progress
from autoseg.execution.workers import open_workers
from autoseg.io import images
from autoseg.io.references import read_reference
from autoseg.pipeline.stage import count_workers, failed, finished, run_stage
from autoseg.pipeline.validated_models import ValidatedModel
from autoseg.postprocessing.decision import Trial, decide_rules
from autoseg.postprocessing.effects import CaseCounts, Compared, count_case
from autoseg.postprocessing.rules import Rule
from preprocessing.footprint import unpacking_bytes

FEW_CASES = 20
"""Cases below which they are counted in this process: workers take longer to start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountTask:
    """A case whose voxels are counted, with what rules would change of it."""

    case: Case
    """The case; its reference lies in the dataset's folder."""
    folder: Path
    """Folder that its paths start from."""
    description: DatasetDescription
    """Labels, and what is accepted of the reference."""
    orientation: Orientation
    """Of the plan."""
    prediction: Path
    """What was predicted out of fold."""
    fold: int
    """The fold that did."""
    patient: str
    """Whose image it is."""
    rules: tuple[Rule, ...]
    """Rules whose effects are wanted."""
    before: tuple[Rule, ...]
    """Rules that are applied first."""

    @property
    def reference(self) -> Path:
        """The expert segmentation."""
        return self.folder / str(self.case.segmentation)


def tried_rules(
    predictions: Mapping[str, Path],
    model: ValidatedModel,
    dataset: Dataset,
    *,
    progress: Progress,
) -> tuple[Trial, ...]:
    """Try post-processing on the predictions of a cross-validation.

    Parameters
    ----------
    predictions : mapping of str to Path
        The file of each case.
    model : ValidatedModel
        Tells the plan, the labels, and the fold of each case.
    dataset : Dataset
        Tells where the references lie.
    progress : Progress
        Told about every case, some times over: rules build on each other.
    """
    patients = dataset.patients or {}
    plan, labels = model.description.plan, model.description.dataset.labels
    known = [case for case in dataset.cases if case.name in predictions]
    count = 0 if len(known) < FEW_CASES else count_workers(None, tasks=len(known))
    with open_workers(count, preload=("scipy.ndimage", "nibabel")) as workers:

        def counted(rules: Sequence[Rule], before: tuple[Rule, ...]) -> list[CaseCounts]:
            outcomes = run_stage(
                "trying post-processing",
                count_prediction,
                [
                    CountTask(
                        case=case,
                        folder=Path(dataset.folder),
                        description=dataset.description,
                        orientation=plan.orientation,
                        prediction=predictions[case.name],
                        fold=model.folds[case.name],
                        patient=patients.get(case.name, case.name),
                        rules=tuple(rules),
                        before=before,
                    )
                    for case in known
                ],
                name=lambda task: task.case.name,
                workers=workers,
                guessed_bytes=lambda task: unpacking_bytes((task.prediction, task.reference)),
                progress=progress,
            )
            for error in failed(outcomes):
                raise error
            return finished(outcomes)

        return decide_rules(counted, labels)


def count_prediction(task: CountTask) -> CaseCounts:
    """Read a prediction and its reference, and count their voxels."""
    labels = task.description.labels
    predicted = images.read_segmentation(task.prediction, labels, orientation=task.orientation)
    expected = read_reference(
        task.case, task.folder, task.description, predicted.geometry, task.orientation
    )
    compared = Compared(
        reference=expected.voxels,
        prediction=predicted.voxels,
        spacing=predicted.geometry.spacing,
        fold=task.fold,
        patient=task.patient,
    )
    return count_case(compared, labels, task.rules, task.before)
