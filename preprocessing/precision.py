"""How few bits the voxels of an image may take without losing what the file told apart.

Two raw intensities that differ shall still differ, and lie nearest to themselves: the largest error
of a stored voxel is at most half of the quantum, which is the smallest step between distinct raw
intensities after normalization.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import frexp, inf
from typing import Final

import numpy as np
import numpy.typing as npt

from autoseg.core.plan import Decision
from autoseg.io.encoding import AS_THEY_ARE, LARGEST_CODE, Encoding

Floats = npt.NDArray[np.float32]

SAMPLED_VOXELS: Final = 2**12
"""Voxels in which steps are looked for first."""
MARKED_NUMBERS: Final = 2**20
"""Range of whole numbers up to which those that occur are marked off, 1 byte each."""
PIECE_VOXELS: Final = 2**16
"""Voxels that are looked at a time; they stay in the cache."""
FLOAT32_ROUNDINGS: Final = 6
"""Roundings of float32 in decoding an int16, each at most half of the last place."""
_LARGEST_FLOAT16: Final = float(np.finfo(np.float16).max)
_RULE: Final = (
    "it is the smallest type whose largest error is at most half of the smallest step between "
    "distinct raw intensities after normalization: float16, else int16 with scale and offset, "
    "else float32"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """What the choice looks at, of one channel."""

    raw: Floats
    """(*spatial) intensities before normalization."""
    divisor: float
    """What normalization divides by."""
    low: float
    """Smallest intensity after normalization; resampling clips to it."""
    high: float
    """Largest intensity after normalization."""


def choose_encoding(channels: Sequence[Channel]) -> tuple[Encoding, Decision]:
    """Decide how the channels of an image are stored, in one type for all.

    Parameters
    ----------
    channels : sequence of Channel

    Returns
    -------
    Encoding
        float16, int16 or float32.
    Decision
        Why.

    Notes
    -----
    The error of float16 is half of the last place of the largest magnitude, that of int16 half of
    its scale; both hold for every voxel, of the raw grid or a resampled one.
    """
    largest = max(_magnitude(channel) for channel in channels)
    for exact in (False, True):  # a sample's smallest step is no smaller: most floats fail on it
        quanta = [_quantum(channel, exact=exact) for channel in channels]
        encoding = _fitting(channels, quanta)
        if encoding.dtype == "float32":
            break
    quantum = min(quanta)
    decision = Decision(
        subject="image.dtype",
        value=encoding.dtype,
        rule=_RULE,
        numbers=(
            ("smallest step", "none" if quantum == inf else f"{quantum:.3g}"),
            ("largest magnitude", f"{largest:.3g}"),
            ("largest error", f"{max(_errors(channels, encoding)):.2g}"),
        ),
    )
    return encoding, decision


def smallest_step(voxels: Floats) -> float:
    """Return the smallest difference between two distinct intensities; infinity if there is one."""
    flat = voxels.reshape(-1)
    if not _is_whole(flat):
        return _step(np.unique(flat))
    if _whole_step(_sample(flat)) == 1.0:
        return 1.0
    return _whole_step(flat)


def _quantum(channel: Channel, *, exact: bool) -> float:
    flat = channel.raw.reshape(-1)
    return smallest_step(flat if exact else _sample(flat)) / channel.divisor


def _sample(flat: Floats) -> Floats:
    return flat[:: max(1, flat.size // SAMPLED_VOXELS)]


def _step(ascending: npt.NDArray[np.generic]) -> float:
    # In double precision: the difference of two float32 need not be one.
    steps = np.diff(ascending.astype(np.float64))
    return float(steps.min()) if steps.size else inf


def _whole_step(flat: Floats) -> float:
    """Return the smallest step between whole numbers: they are marked off rather than sorted."""
    low, high = float(flat.min()), float(flat.max())
    if high - low >= MARKED_NUMBERS:
        return _step(np.unique(flat))
    occurs = np.zeros(int(high - low) + 1, bool)
    for start in range(0, flat.size, PIECE_VOXELS):
        occurs[(flat[start : start + PIECE_VOXELS] - low).astype(np.int32)] = True
    return _step(np.flatnonzero(occurs))


def _is_whole(flat: Floats) -> bool:
    pieces = (flat[start : start + PIECE_VOXELS] for start in range(0, flat.size, PIECE_VOXELS))
    return all(bool((np.rint(piece) == piece).all()) for piece in pieces)


def _fitting(channels: Sequence[Channel], quanta: Sequence[float]) -> Encoding:
    ranged = _scaled(channels)
    for encoding in (Encoding(dtype="float16"), ranged):
        errors = _errors(channels, encoding)
        if all(e <= quantum / 2 and e < inf for e, quantum in zip(errors, quanta, strict=True)):
            return encoding
    return AS_THEY_ARE


def _scaled(channels: Sequence[Channel]) -> Encoding:
    """Return the int16 encoding that spreads its codes over the range of each channel."""
    # The middle falls on a whole number of steps: one code more on one side. A narrow range far
    # from 0 has no use for steps that float32 cannot tell apart.
    scales = [
        max((c.high - c.low) / (2 * LARGEST_CODE - 2), _magnitude(c) * 2.0**-24, 1e-30)
        for c in channels
    ]
    shifts = [
        round((c.high + c.low) / 2 / scale) for c, scale in zip(channels, scales, strict=True)
    ]
    return Encoding(dtype="int16", scales=tuple(scales), shifts=tuple(shifts))


def _magnitude(channel: Channel) -> float:
    return max(abs(channel.low), abs(channel.high))


def _errors(channels: Sequence[Channel], encoding: Encoding) -> list[float]:
    """Return by channel the largest error of a voxel."""
    magnitudes = [_magnitude(channel) for channel in channels]
    if encoding.dtype == "float32":
        return [0.0 for _ in channels]
    if encoding.dtype == "float16":
        return [_last_place(m, 11, -24) / 2 if m <= _LARGEST_FLOAT16 else inf for m in magnitudes]
    return [
        scale / 2 + FLOAT32_ROUNDINGS * _last_place(m, 24, -149) / 2
        for scale, m in zip(encoding.scales, magnitudes, strict=True)
    ]


def _last_place(magnitude: float, digits: int, least: int) -> float:
    """Return the distance of neighboring numbers at a magnitude, by binary digits."""
    return 2.0 ** max(frexp(magnitude)[1] - digits, least)
