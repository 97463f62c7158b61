"""What the measurements of all cases together are worth saying; nothing here refuses a case."""

import re
from collections import defaultdict
from collections.abc import Sequence
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
        extent_notes(ordered, description.labels),
        intensity_notes(ordered, description),
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


def plain(value: float, digits: int = 3) -> str:
    """Write a number with some digits, and below 1e10 without an exponent.

    Examples
    --------
    >>> plain(57_243.0), plain(0.78125, 4), plain(1e12)
    ('57200', '0.7812', '1e+12')
    """
    return f"{float(f'{value:.{digits}g}'):.10g}"


def counted(number: int, noun: str) -> str:
    """Write a number of things, such as ``1 case`` and ``2 cases``."""
    return f"{number} {noun if number == 1 else noun + 's'}"


def extent_notes(ordered: Measurements, labels: Labels, *, also_empty: bool = True) -> list[str]:
    """Return a note on cases without foreground, if wanted, and one on cases without background."""

    def foreground(measured: CaseMeasurement) -> int:
        return sum(measured.class_voxels[1 : labels.count])  # ignored voxels are neither

    empty = [measured.name for measured in ordered if not foreground(measured)]
    full = [m.name for m in ordered if foreground(m) == sum(m.class_voxels)]
    return [
        f"{len(names)} of {counted(len(ordered), 'case')} {'has' if len(names) == 1 else 'have'} "
        f"no {what}: {_listed(names)}"
        for what, names in (("foreground", empty if also_empty else []), ("background", full))
        if names
    ]


def odd_intensities(
    measurements: Measurements, channel: int, name: str
) -> tuple[Measurements, str]:
    """Return the cases whose intensities are not those that a channel's name promises, and why.

    Parameters
    ----------
    measurements : sequence of CaseMeasurement
        One per case.
    channel : int
        Position of the channel.
    name : str
        Its name, such as ``CT`` or ``T1``; of other names nothing is asked.
    """
    if name.casefold() == "ct":
        is_odd, reason = _is_no_hu, "no intensity is below 0, but in HU air is about -1000"
    elif MR_NAMES.intersection(re.split("[^a-z0-9]+", name.casefold())):
        is_odd, reason = _is_shifted, "intensities reach below 0, but magnitudes of MR do not"
    else:
        return (), ""
    return [m for m in measurements if m.extremes and is_odd(*m.extremes[channel])], reason


def intensity_notes(
    measurements: Measurements, description: DatasetDescription, *, most: int = 0
) -> tuple[str, ...]:
    """Return a note for each channel with odd intensities in more than ``most`` cases."""
    ordered = sorted(measurements, key=lambda measured: measured.name)
    notes = []
    for index, name in enumerate(description.channels):
        found, reason = odd_intensities(ordered, index, name)
        ranges = [
            f"{measured.name} ({' to '.join(plain(edge, 6) for edge in measured.extremes[index])})"
            for measured in found
        ]
        if len(found) > most:
            notes.append(
                f"channel {name!r}: in {len(found)} of {counted(len(ordered), 'case')} {reason}; "
                f"was a slope, an offset or another normalization left in? {_listed(ranges)}"
            )
    return tuple(notes)


def _is_no_hu(low: float, high: float) -> bool:
    return 0 <= low < high


def _is_shifted(low: float, high: float) -> bool:
    return low < high and low < -UNDERSHOOT_FRACTION * max(high, 0.0)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMED_CASES
    return ", ".join(names[:NAMED_CASES]) + (f" and {more} more" if more > 0 else "")
