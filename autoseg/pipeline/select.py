"""``autoseg select``: which model or pair of models segments new images, and what cleans up after.

Everything is judged on out-of-fold predictions of the cases that all candidates have validated.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoseg.core.errors import UsageError
from autoseg.core.version import __version__
from autoseg.evaluation.comparison import count_patients, dice_table
from autoseg.evaluation.scoring import CaseScores
from autoseg.execution.progress import Progress
from autoseg.io import documents, locks
from autoseg.io.workspace import DatasetFolder
from autoseg.pipeline.averaged_validation import Averaged, validate_pairs
from autoseg.pipeline.rule_trials import tried_rules
from autoseg.pipeline.selection_files import selection_file
from autoseg.pipeline.validated_models import (
    ValidatedModel,
    check_predictions,
    common_cases,
    validated_models,
)
from autoseg.postprocessing.decision import Trial
from autoseg.selection import Contender, Selection, choose, rank


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionRequest:
    """What to choose from."""

    folder: DatasetFolder
    """The dataset."""
    plan: str = "default"
    """Name of the plan."""
    runs: tuple[str, ...] = ()
    """Names of the runs whose models take part; empty for all."""
    pairs: bool = True
    """Whether pairs of models are tried."""
    rules: bool = True
    """Whether post-processing is tried."""
    device: str = "auto"
    """Device that pairs are predicted on."""


def select(request: SelectionRequest, *, progress: Progress) -> Selection:
    """Compare all trained models and pairs of them, choose, and remember the choice.

    Parameters
    ----------
    request : SelectionRequest
        What to choose from.
    progress : Progress
        Told about the work. What an interrupted call has predicted is kept.

    Returns
    -------
    Selection
        Also written to `selection_file`.

    Raises
    ------
    UsageError
        If no model is validated, or no case was validated by all of them.
    """
    folder = request.folder
    with locks.hold(folder.path / "selection", f"selection for {folder.name}"):
        models = validated_models(folder, request.plan, runs=request.runs)
        dataset = folder.read_dataset()
        cases = common_cases(models, dataset)
        if not cases:
            raise UsageError(
                f"dataset {folder.name!r}: no case was validated by all of {_titles(models)}",
                hint="train the same fold of each, or choose among some with --run NAME",
            )
        for model in models:
            check_predictions(model, cases)
        progress.note(f"comparing {_titles(models)} on {len(cases)} cases")
        averaged = _validate_pairs(request, models, cases, progress)
        everyone = _everyone(models, averaged)
        known = dataset.patients or {}
        patients = [known[case] for case in cases] if known else []
        candidates = rank([each.contender(cases) for each in everyone], patients)
        chosen, reason = choose(candidates, count_patients(patients, len(cases)))
        progress.note(reason)
        (taken,) = (each for each in everyone if each.members == candidates[chosen].members)
        trials: tuple[Trial, ...] = ()
        if request.rules:
            progress.note(f"trying post-processing on {len(taken.scores)} cases")
            predictions = {name: taken.prediction(name) for name in taken.scores}
            trials = tried_rules(predictions, taken.models[0], dataset, progress=progress)
        selection = Selection(
            autoseg_version=__version__,
            dataset=folder.name,
            plan=request.plan,
            cases=cases,
            candidates=candidates,
            chosen=chosen,
            reason=reason,
            trials=trials,
        )
        documents.write(selection_file(folder, request.plan), selection)
    return selection


def _titles(models: Sequence[ValidatedModel]) -> str:
    return ", ".join(model.member.title for model in models)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """One model or one pair, with its out-of-fold predictions."""

    models: tuple[ValidatedModel, ...]
    scores: dict[str, CaseScores]
    prediction: Callable[[str], Path]

    @property
    def members(self) -> tuple[object, ...]:
        """Its models, as a selection names them."""
        return tuple(model.member for model in self.models)

    def contender(self, cases: Sequence[str]) -> Contender:
        """Return the same as it is compared."""
        return Contender(
            members=tuple(model.member for model in self.models),
            networks=sum(model.networks for model in self.models),
            table=dice_table([self.scores[case] for case in cases]),
        )


def _validate_pairs(
    request: SelectionRequest,
    models: Sequence[ValidatedModel],
    cases: Sequence[str],
    progress: Progress,
) -> list[tuple[Averaged, Sequence[ValidatedModel]]]:
    """Predict with pairs of the best models of each configuration."""
    best = _best_runs(models, cases)
    if not request.pairs or len(best) < 2:
        return []
    averaged = validate_pairs(request.folder, best, cases, device=request.device, progress=progress)
    return [(each, [best[number] for number in each.pair]) for each in averaged]


def _best_runs(models: Sequence[ValidatedModel], cases: Sequence[str]) -> list[ValidatedModel]:
    """Return the best run of each configuration: two runs of one would see the same things."""
    ranked = rank([_alone(model).contender(cases) for model in models])
    by_member = {model.member: model for model in models}
    best: dict[str, ValidatedModel] = {}
    for candidate in ranked:
        (member,) = candidate.members
        best.setdefault(member.configuration, by_member[member])
    return list(best.values())


def _alone(model: ValidatedModel) -> _Entry:
    return _Entry(models=(model,), scores=model.scores, prediction=model.prediction)


def _everyone(
    models: Sequence[ValidatedModel],
    averaged: Sequence[tuple[Averaged, Sequence[ValidatedModel]]],
) -> list[_Entry]:
    pairs = [
        _Entry(
            models=tuple(members),
            scores=each.scores,
            prediction=_predictions_in(each.folder, members[0]),
        )
        for each, members in averaged
    ]
    return [*map(_alone, models), *pairs]


def _predictions_in(folder: Path, model: ValidatedModel) -> Callable[[str], Path]:
    ending = model.description.dataset.file_ending
    return lambda case: folder / f"{case}{ending}"
