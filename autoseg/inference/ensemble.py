"""Several models as one: probabilities averaged plane by plane on the input's grid.

The same way gives what a label map does not tell of a single model: its probabilities, and where it
is undecided.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from autoseg.core.errors import UsageError
from autoseg.core.labels import LabelMap, Labels
from autoseg.inference.export import axes_to_input
from autoseg.inference.first_stages import FirstStages, run_first_stages
from autoseg.inference.model import Model
from autoseg.inference.planes import Plane, entropy, interpolated_planes, vote
from autoseg.inference.predictor import OnTile, no_listener
from preprocessing.case import PreparedImage, RawGrid

Floats = npt.NDArray[np.float32]
OnPlane = Callable[[Floats], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmented:
    """What was found in an image; axes as the reader gave them."""

    label_map: LabelMap
    """(*whole image) positions in `autoseg.core.labels.Labels.names`."""
    entropy: Floats | None = None
    """(*whole image) how undecided each voxel is, 0 to 1; see `autoseg.inference.planes.entropy`.
    None where it was not asked for."""
    disagreement: Floats | None = None
    """(*whole image) share of folds and models that found another label, 0 to 1; None likewise."""


def check_members(models: Sequence[Model]) -> None:
    """Refuse models that cannot be averaged.

    Raises
    ------
    UsageError
        If they differ in their plan, or in channels or labels.
    """
    first = models[0].description
    for model in models[1:]:
        other = model.description
        if (other.plan, other.dataset) != (first.plan, first.dataset):
            raise UsageError(
                f"ensemble: {other.configuration_name} and {first.configuration_name} were trained "
                "with different plans, or on other channels or labels",
                rule="E-MODEL-60",
                hint="average their probabilities: autoseg predict --probabilities with each, then "
                "autoseg ensemble",
            )


def stages(models: Sequence[Model]) -> tuple[str, ...]:
    """Return the configurations that an image is prepared for, each once."""
    return tuple(dict.fromkeys(name for model in models for name in model.stages))


def segment(
    models: Sequence[Model],
    prepared: PreparedImage,
    *,
    uncertainty: bool = False,
    on_plane: OnPlane | None = None,
    on_tile: OnTile = no_listener,
) -> Segmented:
    """Segment a prepared image with a model or with the average of several.

    Parameters
    ----------
    models : sequence of Model
        With one plan; see `check_members`.
    prepared : PreparedImage
        For all `stages` of the models.
    uncertainty : bool
        Whether entropy and disagreement are wanted.
    on_plane : callable, optional
        Given the probabilities (K, *plane) of every plane of the whole image along the first axis
        of the plan, in their order. Outside the crop the background is certain.
    on_tile : callable
        Told how many tiles are done, and of how many, by each model in turn.
    """
    if len(models) == 1 and not uncertainty and on_plane is None:
        return Segmented(label_map=models[0].segment_prepared(prepared, on_tile=on_tile))
    labels, plan = models[0].description.dataset.labels, models[0].description.plan
    members = _planes(models, prepared, folds_apart=uncertainty, on_tile=on_tile)
    folds = [len(model.folds) if uncertainty else 1 for model in models]
    whole = _Whole(prepared.grid, labels, uncertainty=uncertainty, on_plane=on_plane)
    for planes in zip(*members, strict=True):
        whole.add(vote(planes, folds, labels))
    return whole.finished(tuple(np.argsort(plan.axis_order)))


def averaged_label_maps(
    models: Sequence[Model], groups: Sequence[Sequence[int]], prepared: PreparedImage
) -> list[LabelMap]:
    """Segment an image with the averages of several groups of models, each model run once.

    Parameters
    ----------
    models : sequence of Model
        With one plan.
    groups : sequence of sequences of int
        Places of the models that are averaged together.
    prepared : PreparedImage
        For all `stages` of the models.
    """
    labels, plan = models[0].description.dataset.labels, models[0].description.plan
    wholes = [_Whole(prepared.grid, labels, uncertainty=False, on_plane=None) for _ in groups]
    members = _planes(models, prepared, folds_apart=False, on_tile=no_listener)
    for planes in zip(*members, strict=True):
        for group, whole in zip(groups, wholes, strict=True):
            whole.add(vote([planes[n] for n in group], [1] * len(group), labels))
    axes = tuple(np.argsort(plan.axis_order))
    return [whole.finished(axes).label_map for whole in wholes]


def _planes(
    models: Sequence[Model], prepared: PreparedImage, *, folds_apart: bool, on_tile: OnTile
) -> list[Iterator[Tensor]]:
    """Return what yields each model's logits (K, or folds * K, *plane) on the input's crop."""
    known = FirstStages(prepared=prepared)
    if not folds_apart:  # the second stage's guide is made of averaged folds
        known = run_first_stages(models, prepared, on_tile=on_tile)
    return [
        interpolated_planes(
            known.slabs_of(place, model, folds_apart=folds_apart, on_tile=on_tile),
            axes_to_input(prepared.grid, model.description.configuration),
        )
        for place, model in enumerate(models)
    ]


class _Whole:
    """The whole image, filled plane by plane."""

    def __init__(
        self, grid: RawGrid, labels: Labels, *, uncertainty: bool, on_plane: OnPlane | None
    ) -> None:
        shape, self._crop = grid.whole_shape, grid.crop
        self._labels, self._on_plane, self._added = labels, on_plane, 0
        self._label_map = np.zeros(shape, labels.dtype)
        self._entropy = np.zeros(shape, np.float32) if uncertainty else None
        self._disagreement = np.zeros(shape, np.float32) if uncertainty else None
        self._outside = np.zeros((labels.channels, *shape[1:]), np.float32)
        if not labels.regions:
            self._outside[0] = 1
        self._give_outside(self._crop.start[0])

    def _give_outside(self, planes: int) -> None:
        """Give on planes outside of the crop."""
        if self._on_plane:
            for _ in range(planes):
                self._on_plane(self._outside)

    def add(self, plane: Plane) -> None:
        """Put the next plane of the crop into its place."""
        box, number = self._crop.slices, self._added
        self._label_map[box][number] = plane.labels.cpu().numpy()
        if self._entropy is not None and self._disagreement is not None:
            self._entropy[box][number] = entropy(plane.probabilities, self._labels).cpu().numpy()
            self._disagreement[box][number] = plane.disagreement.cpu().numpy()
        if self._on_plane:
            probabilities = self._outside.copy()
            probabilities[(slice(None), *box[1:])] = plane.probabilities.cpu().numpy()
            self._on_plane(probabilities)
        self._added += 1

    def finished(self, axes: tuple[int, ...]) -> Segmented:
        """Return the image with its axes as the reader gave them."""
        self._give_outside(len(self._label_map) - self._crop.start[0] - self._added)
        maps = (self._entropy, self._disagreement)
        entropy, disagreement = (None if each is None else each.transpose(axes) for each in maps)
        return Segmented(
            label_map=self._label_map.transpose(axes), entropy=entropy, disagreement=disagreement
        )
