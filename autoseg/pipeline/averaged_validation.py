"""Out-of-fold predictions of averaged models: what a pair would have found in cross-validation."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from autoseg.core.dataset import Dataset
from autoseg.core.labels import LabelMap
from autoseg.evaluation.scoring import CaseScores
from autoseg.execution.machine import memory_errors
from autoseg.execution.progress import Progress
from autoseg.io import store
from autoseg.io.workspace import DatasetFolder
from autoseg.pipeline.fold import Training
from autoseg.pipeline.validated_models import ValidatedModel
from preprocessing.case import PreparedImage, raw_grid
from preprocessing.runner import grid_key

if TYPE_CHECKING:
    from autoseg.inference.model import Model
    from autoseg.training.validation import ValidationPlace

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Averaged:
    """A pair of models with what their average found."""

    pair: Pair
    """Places of the two models."""
    scores: dict[str, CaseScores]
    """Scores of each case."""
    folder: Path
    """Folder of its predictions."""


def validate_pairs(
    folder: DatasetFolder,
    models: Sequence[ValidatedModel],
    cases: Sequence[str],
    *,
    device: str,
    progress: Progress,
) -> tuple[Averaged, ...]:
    """Predict and score cases with the average of every pair of models, each out of fold.

    Parameters
    ----------
    folder : DatasetFolder
        The dataset.
    models : sequence of ValidatedModel
        Of one plan; each has validated every case.
    cases : sequence of str
        Names of the cases.
    device : str
        Device; see `autoseg.networks.device.choose_device`.
    progress : Progress
        Told about every case. Cases that the same weights predicted before are kept.
    """
    pairs = tuple(combinations(range(len(models)), 2))
    work = _Work(folder=folder, models=tuple(models), pairs=pairs, dataset=folder.read_dataset())
    scores: dict[Pair, dict[str, CaseScores]] = {pair: {} for pair in pairs}
    progress.start("validating pairs", len(cases))
    by_folds: dict[tuple[int, ...], list[str]] = {}
    for case in cases:
        by_folds.setdefault(tuple(model.folds[case] for model in models), []).append(case)
    for folds, names in by_folds.items():
        loaded: list[Model] = []
        for case in names:
            places = {pair: work.place(pair, case) for pair in pairs}
            found = {pair: place.finished() for pair, place in places.items()}
            if not all(found.values()):
                loaded = loaded or work.load(folds, device)
                found = work.predict(loaded, case, places)
            for pair, scored in found.items():
                assert scored is not None  # what was missing is predicted
                scores[pair][case] = scored
            progress.advance(case)
    progress.finish()
    return tuple(
        Averaged(pair=pair, scores=scores[pair], folder=work.pair_folder(pair)) for pair in pairs
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """Models that are averaged, and where what they find goes."""

    folder: DatasetFolder
    models: tuple[ValidatedModel, ...]
    pairs: tuple[Pair, ...]
    dataset: Dataset

    def pair_folder(self, pair: Pair) -> Path:
        """Return the folder of a pair's predictions."""
        members = [self.models[number].member for number in pair]
        name = "+".join(f"{member.configuration}-{member.run}" for member in members)
        return self.folder.path / "selection" / self.models[0].description.plan.name / name

    def place(self, pair: Pair, case: str) -> "ValidationPlace":
        """Return where a pair's prediction of a case lies."""
        from autoseg.training.validation import ValidationPlace

        members = [self.models[number] for number in pair]
        return ValidationPlace(
            folder=self.pair_folder(pair),
            dataset=self.dataset,
            raw={case.name: case for case in self.dataset.cases}[case],
            weights_digests=tuple(member.weights[member.folds[case]] for member in members),
            previous_key="".join(self._previous(member, case)[0] for member in members),
        )

    def _previous(self, model: ValidatedModel, case: str) -> tuple[str, LabelMap | None]:
        """Return what the first stage of a cascade predicted for a case, and its digest."""
        if model.description.previous is None:
            return "", None
        training = Training(
            folder=self.folder,
            plan=model.description.plan.name,
            configuration=model.description.configuration_name,
            run=model.run,
            config=model.description.training,
        )
        key, label_map = store.open_prediction(training.previous_folder, case)
        return key, label_map[...]

    def load(self, folds: Sequence[int], device: str) -> "list[Model]":
        """Read one fold of each model."""
        from autoseg.inference.stored import read_model
        from autoseg.networks.device import choose_device

        return [
            read_model(model.folder, choose_device(device), folds=[fold], with_previous=False)
            for model, fold in zip(self.models, folds, strict=True)
        ]

    def predict(
        self, models: "Sequence[Model]", case: str, places: "dict[Pair, ValidationPlace]"
    ) -> dict[Pair, CaseScores | None]:
        """Predict a case with every pair, and score what was found."""
        from autoseg.inference.ensemble import averaged_label_maps
        from autoseg.networks.device_loss import device_losses

        plan = self.models[0].description.plan
        record, prepared = self._open(case)
        device = models[0].place.device.torch_device
        with memory_errors(case), device_losses(case, device, kept="finished cases are kept"):
            maps = averaged_label_maps(models, self.pairs, prepared)
        return {
            pair: places[pair].keep(found, record.geometry, plan.orientation)
            for pair, found in zip(self.pairs, maps, strict=True)
        }

    def _open(self, case: str) -> tuple[store.StoredCase, PreparedImage]:
        """Open a preprocessed case on the grid of every model."""
        plan = self.models[0].description.plan
        images: dict[str, npt.NDArray[np.float32]] = {}
        previous: dict[str, LabelMap] = {}
        for model in self.models:
            configuration = model.description.configuration
            place = self.folder.store(grid_key(plan, configuration))
            record = store.read_record(place, case)
            images[configuration.name] = store.open_case(place, record).image[...]
            _, coarse = self._previous(model, case)
            if coarse is not None:
                previous[configuration.name] = coarse
        geometry = record.geometry
        grid = raw_grid(geometry.shape, geometry.spacing, record.crop, plan)
        return record, PreparedImage(images=images, grid=grid, previous=previous)
