"""Logits of an image tile by tile, plane after plane, averaged over views and folds."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from autoseg.inference.blend import Blend
from autoseg.inference.previous import PreviousPrediction
from autoseg.inference.tiling import Group, Tiling, gaussian_weights, padding_to, tile_groups
from autoseg.inference.workplace import Workplace

Floats = npt.NDArray[np.float32]
OnTile = Callable[[int, int], None]


def no_listener(done: int, total: int) -> None:
    """Ignore how many tiles are done."""


def predict_slabs(
    place: Workplace,
    image: Floats,
    tiling: Tiling,
    *,
    previous: PreviousPrediction | None = None,
    folds_apart: bool = False,
    on_tile: OnTile = no_listener,
) -> Iterator[Tensor]:
    """Yield the logits of an image as slabs along its first axis.

    Parameters
    ----------
    place : Workplace
        Networks, one per fold, and where they run. Sums are kept in float32.
    image : (C, *spatial) array of float32
        Preprocessed image. With a tile of fewer axes, every slice along the leading spatial axes
        is predicted on its own.
    tiling : Tiling
        Tiles and views.
    previous : PreviousPrediction, optional
        What the previous stage of a cascade predicted, on the same grid.
    folds_apart : bool
        Whether folds are not averaged: their channels follow each other.
    on_tile : callable
        Told how many tiles are done, and of how many.

    Yields
    ------
    (K, planes, ...) tensor of float32
        Each but the first begins with the last plane of the one before. It is overwritten when the
        next one is asked for.

    Notes
    -----
    The memory that it takes is that of as many planes as a tile has.

    References
    ----------
    Gaussian-weighted tiles: Isensee et al. 2021, doi:10.1038/s41592-020-01008-z.
    """
    source = _source(image, tiling, previous)
    passes = _Passes(place=place, tiling=tiling, folds_apart=folds_apart)
    shape = source.image.shape[1:]
    groups = tile_groups(shape, source.tile, tiling.step_fraction, most=place.patches(tiling.tile))
    weight = torch.from_numpy(gaussian_weights(tiling.tile).copy()).reshape(source.tile)
    planes = max(group.reach - group.first for group in groups)
    blend = Blend(weight, planes, shape[1:], place.sums_on)
    first, last = source.inside[0].start, source.inside[0].stop
    done, total = 0, sum(len(group.starts) for group in groups)
    for group in groups:
        for count in _add_group(blend, passes, source, group):
            done += count
            on_tile(done, total)
        slab = blend.finish(group.finished)
        if len(groups) == 1:  # only then there may be padding along the first axis
            slab = slab[:, first:last]
        yield slab[(slice(None), slice(None), *source.inside[1:])]
        blend.advance(group.finished)


def predict_logits(
    place: Workplace,
    image: Floats,
    tiling: Tiling,
    *,
    previous: PreviousPrediction | None = None,
) -> Floats:
    """Return the logits (K, *spatial) of a whole image; the parameters are those of the slabs."""
    slabs = predict_slabs(place, image, tiling, previous=previous)
    parts = [slab[:, min(number, 1) :].cpu().clone() for number, slab in enumerate(slabs)]
    logits: Floats = torch.cat(parts, dim=1).numpy()
    return logits


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """An image that tiles are cut from, at least as large as a tile."""

    image: Tensor
    tile: tuple[int, ...]
    previous: PreviousPrediction | None
    inside: tuple[slice, ...]

    def cut(self, start: Sequence[int]) -> Tensor:
        """Return a tile (C, *tile) of all axes, those of a previous prediction behind."""
        box = tuple(slice(a, a + n) for a, n in zip(start, self.tile, strict=True))
        tile = self.image[(slice(None), *box)]
        if self.previous is None:
            return tile
        return torch.cat((tile, self.previous.channels(box)))


def _source(image: Floats, tiling: Tiling, previous: PreviousPrediction | None) -> _Source:
    """Pad an image where it is smaller than a tile."""
    leading = image.ndim - 1 - len(tiling.tile)
    tile = (1,) * leading + tiling.tile
    padding = padding_to(image.shape[1:], tile)
    if any(before or behind for before, behind in padding):
        inside = tuple(
            slice(before, before + n)
            for (before, _), n in zip(padding, image.shape[1:], strict=True)
        )
        image = np.pad(image, ((0, 0), *padding))
        previous = None if previous is None else previous.padded(padding)
    else:
        inside = tuple(slice(0, n) for n in image.shape[1:])
    if any(stride < 0 for stride in image.strides):
        image = image.copy()  # torch has no reversed views
    return _Source(image=torch.from_numpy(image), tile=tile, previous=previous, inside=inside)


def _add_group(blend: Blend, passes: "_Passes", source: _Source, group: Group) -> Iterator[int]:
    """Predict the tiles of a group and add them; tell after each pass how many there were."""
    waiting: list[tuple[Sequence[int], Tensor]] = []
    for number, start in enumerate(group.starts, 1):
        tile = source.cut(start)
        known = passes.of_constant(tile)
        if known is not None:
            _add(blend, passes, start, known.reshape(len(known), *source.tile))
            yield 1
        else:
            waiting.append((start, tile))
        if waiting and (len(waiting) >= passes.tiles or number == len(group.starts)):
            found = passes.logits([tile for _, tile in waiting])
            for (place, _), logits in zip(waiting, found, strict=True):
                _add(blend, passes, place, logits.reshape(len(logits), *source.tile))
            yield len(waiting)
            waiting = []


def _add(blend: Blend, passes: "_Passes", start: Sequence[int], logits: Tensor) -> None:
    """Add a tile to the sums, on the host where the device has no room for them."""
    if blend.device != passes.place.sums_on:
        blend.move(passes.place.sums_on)
    try:
        blend.add(start, logits)
    except RuntimeError as error:
        passes.place.sum_on_host(error)
        blend.move(passes.place.sums_on)
        blend.add(start, logits)


@dataclass(slots=True, kw_only=True)
class _Passes:
    """Passes of the networks over the views of tiles."""

    place: Workplace
    tiling: Tiling
    folds_apart: bool
    constants: dict[tuple[float, ...], Tensor] = field(default_factory=dict)
    """Logits of the tile of constant content that was met last, such as air."""

    @property
    def tiles(self) -> int:
        """How many tiles all of whose views one pass takes."""
        return max(1, self.place.patches(self.tiling.tile) // len(self.tiling.views))

    def of_constant(self, tile: Tensor) -> Tensor | None:
        """Return the logits of a tile whose channels do not vary, which are all the same."""
        spatial = tuple(range(1, tile.ndim))
        low = tile.amin(spatial)
        if not torch.equal(low, tile.amax(spatial)):
            return None
        content = tuple(low.tolist())
        if content not in self.constants:
            self.constants = {content: self.logits([tile])[0]}
        return self.constants[content]

    def logits(self, tiles: Sequence[Tensor]) -> list[Tensor]:
        """Return the averaged logits (K, *tile) of each tile (C, *tile)."""
        together = torch.stack([tile.reshape(len(tile), *self.tiling.tile) for tile in tiles])
        while True:
            try:
                return self._average(together.to(self.place.device.torch_device))
            except RuntimeError as error:
                self.place.make_do(error, self.tiling.tile)

    @torch.inference_mode()
    def _average(self, tiles: Tensor) -> list[Tensor]:
        networks, views = self.place.networks, self.tiling.views
        jobs = [(tile, view) for tile in range(len(tiles)) for view in views]
        most = self.place.patches(self.tiling.tile)
        sums: dict[int, Tensor] = {}
        for first in range(0, len(jobs), most):
            some = jobs[first : first + most]
            seen = torch.stack([tiles[tile].flip(_spatial(view)) for tile, view in some])
            for (tile, view), logits in zip(some, self._run(seen), strict=True):
                turned = logits.flip(_spatial(view))
                sums[tile] = sums[tile].add_(turned) if tile in sums else turned
        averaged = len(views) * (1 if self.folds_apart else len(networks))
        return [sums[tile].div_(averaged) for tile in range(len(tiles))]

    def _run(self, seen: Tensor) -> Tensor:
        """Return float32 logits (N, K, *tile), summed over folds or one after the other."""
        found: list[Tensor] = []
        for network in self.place.networks:
            with self.place.at_work(network) as ready, self.place.device.precision():
                logits = ready(seen)[0].float()
            if self.folds_apart or not found:
                found.append(logits)
            else:
                found[0] += logits
        return torch.cat(found, dim=1) if self.folds_apart else found[0]


def _spatial(view: Sequence[int]) -> tuple[int, ...]:
    """Return the axes of a view, behind the channels."""
    return tuple(axis + 1 for axis in view)
