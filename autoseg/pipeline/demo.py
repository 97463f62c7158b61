"""``autoseg demo``: the whole pipeline on a small generated dataset, in a few minutes."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from autoseg.core.training_config import preset
from autoseg.evaluation.summary import Summary
from autoseg.execution.progress import Progress
from autoseg.io.workspace import Workspace
from autoseg.pipeline.evaluate import evaluate, references_in
from autoseg.pipeline.phantom import write_phantom_dataset
from autoseg.pipeline.predict import predict
from autoseg.pipeline.prediction import ModelChoice, Prediction
from autoseg.pipeline.run import RunRequest, run

DATASET: Final = "Task99_Phantom"
CONFIGURATION: Final = "3d_fullres"
MINUTES: Final = 4.0
"""Training time of the one fold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """What the demo made and how good it is."""

    raw: Path
    """The generated dataset."""
    model: Path
    """Model folder."""
    predictions: Path
    """Segmentations of the held-out cases."""
    validation: Summary
    """Validation of fold 0."""
    held_out: Summary
    """Scores of the held-out cases."""


def demo(
    folder: Path,
    *,
    minutes: float = MINUTES,
    device: str = "auto",
    workers: int | None = None,
    progress: Progress,
) -> DemoResult:
    """Generate a dataset, train one fold, segment four held-out cases and score them.

    Parameters
    ----------
    folder : Path
        Where everything goes. What is done already is kept.
    minutes : float
        Training time.
    device : str
        Device to train on.
    workers : int or None
        Worker processes; None lets the machine decide.
    progress : Progress
        Told about all work.

    Returns
    -------
    DemoResult
    """
    raw = folder / DATASET
    if not (raw / "dataset.json").exists():
        progress.note(f"generating 24 CT-like cases in {raw}")
        write_phantom_dataset(raw)
    request = RunRequest(
        raw=raw,
        workspace=Workspace(path=folder / "autoseg_workspace"),
        config=replace(preset("fast"), epochs=None, max_minutes=minutes),
        configurations=(CONFIGURATION,),
        folds=(0,),
        run=f"minutes_{minutes:g}",
        device=device,
        workers=workers,
    )
    result = run(request, progress=progress)
    model = result.dataset.run("default", CONFIGURATION, request.run)
    predictions = folder / "predictions"
    manifest = predict(
        Prediction(
            source=raw / "imagesTs",
            output=predictions,
            models=(ModelChoice(folder=model),),
            device=device,
        ),
        progress=progress,
    )
    held_out = evaluate(
        predictions,
        references_in(raw / "labelsTs"),
        manifest.dataset,
        workers=0,
        progress=progress,
    )
    return DemoResult(
        raw=raw,
        model=model,
        predictions=predictions,
        validation=result.summaries[CONFIGURATION, 0],
        held_out=held_out,
    )
