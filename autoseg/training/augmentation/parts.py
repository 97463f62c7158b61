"""Parts of a batch: the samples or channels that a change is for, and its parameters beside them.

Places and parameters are known on the host, so nothing here waits for the device.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

V = TypeVar("V")
H = TypeVar("H", bound=Hashable)


def on_device(
    values: npt.ArrayLike, device: torch.device, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Copy numbers from the host to a device without waiting for it."""
    table = torch.as_tensor(np.asarray(values)).to(dtype)
    return (table.pin_memory() if device.type == "cuda" else table).to(device, non_blocking=True)


def column(values: Sequence[float] | npt.NDArray[np.float64], rows: Tensor) -> Tensor:
    """Return one number per row as an (R, 1, ...) tensor beside (R, *spatial) rows."""
    return on_device(values, rows.device, rows.dtype).reshape(-1, *(1,) * (rows.ndim - 1))


def places_of(values: Iterable[H | None]) -> dict[H, list[int]]:
    """Return where each value occurs; None is left out."""
    places: dict[H, list[int]] = {}
    for place, value in enumerate(values):
        if value is not None:
            places.setdefault(value, []).append(place)
    return places


def change_places(array: Tensor, places: Sequence[int], change: Callable[[Tensor], Tensor]) -> None:
    """Replace some entries of the first axis by what a function makes of them, in place.

    Parameters
    ----------
    array : (N, ...) tensor
        The batch.
    places : sequence of int
        Ascending entries; may be empty.
    change : callable
        Maps a tensor of these entries to one of the same shape, and may work in place.
    """
    if not places:
        return
    first, stop = places[0], places[-1] + 1
    if stop - first == len(places):
        part = array[first:stop]
        changed = change(part)
        if changed is not part:
            part.copy_(changed)
        return
    index = on_device(places, array.device, torch.int64)
    array.index_copy_(0, index, change(array.index_select(0, index)))


def change_channels(
    images: Tensor,
    values: Iterable[Sequence[V | None]],
    change: Callable[[Tensor, list[V]], Tensor],
) -> Tensor:
    """Change some channels of some samples together, in place.

    Parameters
    ----------
    images : (N, C, *spatial) contiguous tensor
        The batch.
    values : iterable of sequences
        Per sample and channel the parameter of the change, or None to leave the channel alone.
    change : callable
        Maps (R, *spatial) rows and their R parameters to rows of the same shape; may work in place.

    Returns
    -------
    (N, C, *spatial) tensor
        ``images``.
    """
    flat = [value for sample in values for value in sample]
    kept = [value for value in flat if value is not None]
    places = [place for place, value in enumerate(flat) if value is not None]
    rows = images.view(-1, *images.shape[2:])
    change_places(rows, places, lambda part: change(part, kept))
    return images
