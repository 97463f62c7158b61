"""Which trained models ``predict`` takes where none is named: those selected, else the best one."""

from dataclasses import dataclass

from autoseg.core.errors import UsageError
from autoseg.core.model import RECORD_FILE, FoldRecord
from autoseg.evaluation.comparison import dice_table, mean_dice
from autoseg.io import documents
from autoseg.io.workspace import DatasetFolder
from autoseg.pipeline.prediction import ModelChoice
from autoseg.pipeline.selection_files import selection_file
from autoseg.pipeline.validated_models import common_cases, validated_models
from autoseg.postprocessing.rules import Rule
from autoseg.selection import Member, Selection


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What segments new images."""

    models: tuple[ModelChoice, ...]
    """Models; several are averaged."""
    rules: tuple[Rule, ...]
    """Post-processing, in its order."""
    reason: str = "named"
    """Why these, for a person."""


def chosen_models(
    folder: DatasetFolder, plan: str = "default", folds: tuple[int, ...] = ()
) -> Chosen:
    """Return what ``autoseg select`` chose; before it has run, the best validated model.

    Parameters
    ----------
    folder : DatasetFolder
        The dataset.
    plan : str
        Name of the plan.
    folds : tuple of int
        Folds that are wanted; only they have to be there.

    Raises
    ------
    UsageError
        If no model of the plan has a finished fold, or a selected one is not what it was.
    """
    path = selection_file(folder, plan)
    if not path.exists():
        return _best(folder, plan)
    selection = documents.read_stored(path, Selection)
    models = tuple(
        _checked(folder, selection, member, folds) for member in selection.candidate.members
    )
    reason = f"selected: {selection.reason}"
    if _is_older(selection, folder):
        reason += "; more is trained since: autoseg select compares it too"
    return Chosen(models=models, rules=selection.rules, reason=reason)


def _is_older(selection: Selection, folder: DatasetFolder) -> bool:
    """Tell whether a fold is validated that no candidate has."""
    compared = {
        digest
        for candidate in selection.candidates
        for member in candidate.members
        for digest in member.weights_digests
    }
    models = validated_models(folder, selection.plan)
    return any(not compared.issuperset(model.weights.values()) for model in models)


def _checked(
    folder: DatasetFolder, selection: Selection, member: Member, folds: tuple[int, ...]
) -> ModelChoice:
    """Return a selected model, if it is the one that was selected."""
    place = folder.run(selection.plan, member.configuration, member.run)
    for fold, expected in zip(member.folds, member.weights_digests, strict=True):
        if folds and fold not in folds:
            continue
        record = place / f"fold_{fold}" / RECORD_FILE
        found = documents.read_stored(record, FoldRecord) if record.exists() else None
        if found is None or found.weights_digest != expected:
            raise UsageError(
                f"{record.parent}: {'is missing' if found is None else 'was trained again'} since "
                f"{selection_file(folder, selection.plan).name} was written, which names it",
                rule="E-MODEL-61",
                hint="choose again: autoseg select; or name a model: autoseg predict -m FOLDER",
            )
    return ModelChoice(folder=place, folds=member.folds)


def _best(folder: DatasetFolder, plan: str) -> Chosen:
    """Return the best validated model by mean Dice over the cases that all have in common."""
    models = validated_models(folder, plan)
    common = common_cases(models, folder.read_dataset())
    scored = [
        (mean_dice(dice_table([model.scores[case] for case in common or model.scores])), model)
        for model in models
    ]
    value, best = max(scored, key=lambda pair: -1.0 if pair[0] is None else pair[0])
    score = "-" if value is None else f"{value:.4f}"
    reason = f"mean validation Dice {score} over {len(common or best.scores)} cases"
    if len(models) > 1:
        where = "" if common else " (on different cases)"
        reason += f", the best of {len(models)} models{where}; autoseg select compares them"
    return Chosen(models=(ModelChoice(folder=best.folder),), rules=(), reason=reason)
