"""What the measurements of all cases together are worth saying; nothing here refuses a case."""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Final

from autoseg.core.dataset import DatasetDescription
from autoseg.core.fingerprint import CaseMeasurement
from autoseg.core.labels import Labels

Measurements = Sequence[CaseMeasurement]

MR_NAMES: Final = frozenset(
    ("mr", "mri", "t1", "t1w", "t1c", "t1ce", "t1gd", "t2", "t2w", "flair", "pd", "dwi", "adc")
)
"""Words of channel names that stand for magnitudes of magnetic resonance."""
UNDERSHOOT_FRACTION: Final = 0.05
"""Share of the largest intensity down to which a channel of magnitudes may fall below 0:
interpolation with splines undershoots next to bright edges."""
NAMED_CASES: Final = 5
"""Cases that a note names."""


def dataset_notes(measurements: Measurements, description: DatasetDescription) -> tuple[str, ...]:
    """Return what stands out among the cases of a dataset.

    Parameters
    ----------
    measurements : sequence of CaseMeasurement
        One per case.
    description : DatasetDescription
        Names of labels and channels.

    Returns
    -------
    tuple of str
        Labels that no case or a single one has, cases without foreground or without background,
        and channels whose intensities are not those of their name: CT without a negative number,
        which no image in HU with air in it is, and MR that reaches far below 0.
    """
    ordered = sorted(measurements, key=lambda measured: measured.name)
    notes = chain(
        _label_notes(ordered, description.labels),
        _extent_notes(ordered, description.labels),
        *(_channel_notes(ordered, index, name) for index, name in enumerate(description.channels)),
    )
    return tuple(notes)


def equal_images(measurements: Measurements) -> tuple[tuple[str, ...], ...]:
    """Return the names of cases whose image files are byte by byte the same, by groups.

    Parameters
    ----------
    measurements : sequence of CaseMeasurement
        One per case.

    Returns
    -------
    tuple of tuple of str
        Each group has at least two names, sorted. Cases that share some channels only are not
        listed.
    """
    groups: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for measured in sorted(measurements, key=lambda measured: measured.name):
        groups[measured.image_digests].append(measured.name)
    return tuple(tuple(names) for names in groups.values() if len(names) > 1)


def _label_notes(ordered: Measurements, labels: Labels) -> list[str]:
    notes = []
    for position in labels.foreground:
        name = f"label {labels.names[position]!r} (value {labels.file_values[position]})"
        holders = [measured.name for measured in ordered if measured.class_voxels[position]]
        if not holders:
            notes.append(f"{name} is in no case")
        elif len(holders) == 1 < len(ordered):
            notes.append(f"{name} is in a single case: {holders[0]}")
    return notes


def _extent_notes(ordered: Measurements, labels: Labels) -> list[str]:
    def foreground(measured: CaseMeasurement) -> int:
        return sum(measured.class_voxels[1 : labels.count])  # ignored voxels are neither

    empty = [measured.name for measured in ordered if not foreground(measured)]
    full = [m.name for m in ordered if foreground(m) == sum(m.class_voxels)]
    share = f"of {len(ordered)} cases have no"
    return [
        f"{len(names)} {share} {what}: {_listed(names)}"
        for what, names in (("foreground", empty), ("background", full))
        if names
    ]


def _channel_notes(ordered: Measurements, channel: int, name: str) -> list[str]:
    if name.casefold() == "ct":
        odd, reason = _is_no_hu, "no intensity is below 0, but in HU air is about -1000"
    elif MR_NAMES.intersection(re.split("[^a-z0-9]+", name.casefold())):
        odd, reason = _is_shifted, "intensities reach below 0, but magnitudes of MR do not"
    else:
        return []
    return _odd_cases(ordered, channel, name, odd=odd, reason=reason)


def _odd_cases(
    ordered: Measurements,
    channel: int,
    name: str,
    *,
    odd: Callable[[float, float], bool],
    reason: str,
) -> list[str]:
    found = [m for m in ordered if m.extremes and odd(*m.extremes[channel])]
    if not found:
        return []
    ranges = [
        f"{measured.name} ({' to '.join(f'{edge:g}' for edge in measured.extremes[channel])})"
        for measured in found
    ]
    return [
        f"channel {name!r}: in {len(found)} of {len(ordered)} cases {reason}; was a slope, an "
        f"offset or another normalization left in? {_listed(ranges)}"
    ]


def _is_no_hu(low: float, high: float) -> bool:
    return 0 <= low < high


def _is_shifted(low: float, high: float) -> bool:
    return low < high and low < -UNDERSHOOT_FRACTION * max(high, 0.0)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMED_CASES
    return ", ".join(names[:NAMED_CASES]) + (f" and {more} more" if more > 0 else "")
