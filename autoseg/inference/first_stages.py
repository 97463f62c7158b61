"""A cascade's first stage that is also averaged with its second: its networks run once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Final

from torch import Tensor

from autoseg.inference.model import Model
from autoseg.inference.predictor import OnTile
from preprocessing.case import PreparedImage

KEPT_BYTES: Final = 2**30
"""Most logits, float32 on the first stage's grid, that wait in main memory for the second stage.
Where there are more, the first stage runs twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstStages:
    """What is known before the models run."""

    prepared: PreparedImage
    """The image, with the label maps of the first stages that have run."""
    slabs: Mapping[int, Sequence[Tensor]] = field(default_factory=dict)
    """Logits of those, as `Model.slabs` yields them, by their place among the models."""

    def slabs_of(
        self, place: int, model: Model, *, folds_apart: bool, on_tile: OnTile
    ) -> Iterator[Tensor]:
        """Yield the slabs of logits of the model at a place."""
        if place in self.slabs:
            yield from (slab.to(model.place.sums_on) for slab in self.slabs[place])
            return
        yield from model.slabs(
            self.prepared.images[model.description.configuration_name],
            model.previous_label_map(self.prepared, on_tile=on_tile),
            folds_apart=folds_apart,
            on_tile=on_tile,
        )


def run_first_stages(
    models: Sequence[Model], prepared: PreparedImage, *, on_tile: OnTile
) -> FirstStages:
    """Run every model that is the first stage of another one, and keep its logits.

    Parameters
    ----------
    models : sequence of Model
        Those to be averaged.
    prepared : PreparedImage
        For all stages of the models.
    on_tile : callable
        Told how many tiles are done, and of how many.
    """
    found = FirstStages(prepared=prepared)
    for second in models:
        name, place = second.description.configuration_name, _first_stage(models, second)
        if place is None or name in prepared.previous or not _is_small(models[place], prepared):
            continue
        first, slabs = models[place], found.slabs.get(place)
        if slabs is None:
            made = found.slabs_of(place, first, folds_apart=False, on_tile=on_tile)
            slabs = [slab.to("cpu", copy=True) for slab in made]
        coarse = first.label_map(slabs, prepared.grid)
        guides = found.prepared.previous | {name: second.guide(coarse, prepared.grid)}
        found = FirstStages(
            prepared=replace(prepared, previous=guides), slabs={**found.slabs, place: slabs}
        )
    return found


def _first_stage(models: Sequence[Model], second: Model) -> int | None:
    """Return the place of the model that is the first stage of another, if it is among them."""
    if (wanted := second.previous) is None:
        return None
    same = (wanted.all_digests, wanted.mirror)
    known = [(model.all_digests, model.mirror) for model in models]
    return known.index(same) if same in known else None


def _is_small(model: Model, prepared: PreparedImage) -> bool:
    """Return whether all logits of a model may be kept."""
    description = model.description
    voxels = prod(prepared.images[description.configuration_name].shape[1:])
    return 4 * voxels * description.dataset.labels.channels <= KEPT_BYTES
