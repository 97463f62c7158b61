"""Which trained model ``predict`` takes where none is named."""

from pathlib import Path

from autoseg.core.errors import UsageError
from autoseg.evaluation.summary import Summary
from autoseg.io import documents
from autoseg.io.workspace import DatasetFolder


def best_model(folder: DatasetFolder, plan: str = "default") -> tuple[Path, str]:
    """Return the best validated model of a dataset and why it is the one.

    Models are compared by mean Dice over the validation cases that all of them have.

    Raises
    ------
    UsageError
        If no model of the plan has a finished fold.
    """
    found = sorted((folder.path / "models" / plan).glob("*/*/model.json"))
    scores = {path.parent: _case_dice(path.parent) for path in found}
    trained = {path: cases for path, cases in scores.items() if cases}
    if not trained:
        raise UsageError(
            f"dataset {folder.name!r}: no configuration of plan {plan!r} is trained and validated",
            hint="train one: autoseg train 3d_fullres 0",
        )
    common = set.intersection(*(set(cases) for cases in trained.values()))
    compared = {
        path: sum(cases[name] for name in common or cases) / len(common or cases)
        for path, cases in trained.items()
    }
    best = max(compared, key=lambda path: compared[path])
    others = len(compared) - 1
    reason = f"mean validation Dice {compared[best]:.4f} over {len(common or trained[best])} cases"
    if others:
        reason += f", the best of {others + 1} models"
    return best, reason


def _case_dice(model: Path) -> dict[str, float]:
    """Mean Dice of each validated case of a model."""
    dice = {}
    for path in sorted(model.glob("fold_*/validation/summary.json")):
        for scores in documents.read_stored(path, Summary).cases:
            values = [overlap.dice for overlap in scores.overlaps if overlap.dice is not None]
            if values:
                dice[scores.case] = sum(values) / len(values)
    return dice
