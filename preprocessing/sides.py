"""Which cases, or labels in them, lie on the wrong side: mirrored, or exchanged.

Where a label lies relative to another one, or to the middle of the body, is the same in nearly
all patients. A case in which it is the other way round was probably mirrored, image and
segmentation together or one of them. Names with left and right say themselves what belongs where.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt

from autoseg.core.check_report import Finding
from autoseg.core.fingerprint import CaseMeasurement
from autoseg.core.labels import Labels
from preprocessing.findings import plain
from preprocessing.outliers import LEAST_CASES, RARE_FRACTION, SD_OF_MAD, most_rare

Floats = npt.NDArray[np.float64]

SIDES: Final = (("above", "below"), ("in front of", "behind"), ("right of", "left of"))
"""What lies ahead and behind on each array axis, the patient's right and left on the last."""
ACROSS: Final = 2
"""Array axis from the patient's left to the right."""
TRUSTED_SDS: Final = 4.0
"""How far apart two labels lie at the median, in standard deviations over the cases, where their
order is trusted. Of 20000 simulated datasets of 6 to 50 normal distances, at most 0.4 % had a case
on the wrong side, in the tails of a t distribution with 4 degrees of freedom 2.6 %. Left and right
of the two ends of the hippocampus, 1.7 standard deviations apart, are thus not judged."""
LEAST_SHARE: Final = 0.5
"""Share of the median distance by which a case must lie on the other side: a mirrored one lies
there by all of it."""
NAMED_SIDES: Final = {"left": 0, "l": 0, "lt": 0, "right": 1, "r": 1, "rt": 1}
"""Words in names of labels that tell a side."""
LEAST_VOXELS: Final = 2.0
"""How far right of the right label the left one must lie to contradict the names, in voxels."""

WHY: Final = (
    "images and segmentations are mirrored more often than patients are, no header shows it, and a "
    "network learns the wrong side from it"
)
"""Why a side matters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """On which side of another label, or of the body's center, a label lies in nearly all cases."""

    axis: int
    """Array axis."""
    label: int
    """The label."""
    other: int
    """The other label; 0 stands for the center of the body."""
    distances: Floats
    """(cases,) From the other to the label along the axis, mm; NaN where a case lacks one."""
    usual: float
    """Their median."""

    @property
    def agreeing(self) -> int:
        """Cases with the usual side."""
        return int(np.count_nonzero(self.distances * self.usual > 0))

    @property
    def odd(self) -> npt.NDArray[np.bool_]:
        """(cases,) Whether a case lies clearly on the other side."""
        side = -np.sign(self.usual) * self.distances
        return np.asarray(np.nan_to_num(side, nan=-1.0) >= LEAST_SHARE * abs(self.usual))


def side_findings(measurements: Sequence[CaseMeasurement], labels: Labels) -> tuple[Finding, ...]:
    """Return the cases in which something lies on the wrong side.

    Parameters
    ----------
    measurements : sequence of CaseMeasurement
        One per case. Pictures and formats that know no sides of a patient are left out.
    labels : Labels
        Names of the labels.

    Returns
    -------
    tuple of Finding
        At most one per case, in the order given, and one for the dataset where its names of sides
        are at odds with most cases.
    """
    cases = [m for m in measurements if m.orientation and len(m.label_centers) == labels.count - 1]
    if not cases:
        return ()
    centers = _centers(cases, labels.count)
    against = _against_names(cases, centers, labels)
    contradicted = _contradicted(trusted_orders(centers), len(cases))
    findings = [f for pair in against if (f := _wrong_names(pair, labels)) is not None]
    for position, measured in enumerate(cases):
        if orders := contradicted.get(position):
            findings.append(_odd_case(measured, position, orders, labels))
            continue
        pairs = [pair for pair in against if not pair.is_common and position in pair.odd]
        findings += [_odd_pair(measured, position, pair, labels) for pair in pairs[:1]]
    return tuple(findings)


def trusted_orders(centers: Floats) -> tuple[Order, ...]:
    """Return where labels lie relative to each other and to the body in nearly all cases.

    Parameters
    ----------
    centers : (cases, labels, axes) array
        Centroids, mm; those of the body in place of the background's. NaN where there is none.

    Returns
    -------
    tuple of Order
        By axis, label and other label. The body's center counts from left to right only: how much
        of a body an image shows moves it along the other axes.
    """
    found = []
    for axis in range(centers.shape[2]):
        for other, label in combinations(range(centers.shape[1]), 2):
            if other == 0 and axis != ACROSS:
                continue
            distances = centers[:, label, axis] - centers[:, other, axis]
            known = distances[np.isfinite(distances)]
            if len(known) < LEAST_CASES:
                continue
            usual = float(np.median(known))
            spread = SD_OF_MAD * float(np.median(np.abs(known - usual)))
            order = Order(axis=axis, label=label, other=other, distances=distances, usual=usual)
            same = order.agreeing >= (1 - RARE_FRACTION) * (len(known) - 1)
            if same and abs(usual) >= TRUSTED_SDS * spread and usual:
                found.append(order)
    return tuple(found)


def paired_labels(labels: Labels) -> tuple[tuple[int, int], ...]:
    """Return the labels whose names differ in left and right only, the left one first.

    Examples
    --------
    >>> paired_labels(Labels(names=("background", "kidney_R", "liver", "Kidney L")))
    ((3, 1),)
    """
    pairs: defaultdict[tuple[str, ...], dict[int, int]] = defaultdict(dict)
    for label in labels.foreground:
        parted = re.sub("(?<=[a-z])(?=[A-Z])", " ", labels.names[label])
        words = [word for word in re.split(r"[\W_]+", parted.casefold()) if word]
        sides = [NAMED_SIDES[word] for word in words if word in NAMED_SIDES]
        if len(sides) == 1:
            rest = tuple("" if word in NAMED_SIDES else word for word in words)
            pairs[rest][sides[0]] = label
    return tuple((pair[0], pair[1]) for pair in pairs.values() if len(pair) == 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """Two labels named left and right, and the cases in which they are not so."""

    left: int
    """The label named left."""
    right: int
    """The label named right."""
    known: int
    """Cases that have both."""
    odd: dict[int, float]
    """How far right of the right label the left one lies, mm, by the position of the case."""

    @property
    def is_common(self) -> bool:
        """Whether most cases are at odds with the names: then these are wrong, or all cases."""
        return 2 * len(self.odd) > self.known


def _centers(cases: Sequence[CaseMeasurement], count: int) -> Floats:
    centers = np.full((len(cases), count, len(SIDES)), np.nan)
    for row, measured in zip(centers, cases, strict=True):
        for at, center in enumerate((measured.body_center or None, *measured.label_centers)):
            if center is not None:
                row[at] = center
    return centers


def _against_names(
    cases: Sequence[CaseMeasurement], centers: Floats, labels: Labels
) -> list[_Pair]:
    found = []
    for left, right in paired_labels(labels):
        beyond = centers[:, left, ACROSS] - centers[:, right, ACROSS]
        odd = {
            position: float(by)
            for position, (measured, by) in enumerate(zip(cases, beyond, strict=True))
            if by > LEAST_VOXELS * measured.spacing[ACROSS]
        }
        known = int(np.count_nonzero(np.isfinite(beyond)))
        found.append(_Pair(left=left, right=right, known=known, odd=odd))
    return found


def _contradicted(orders: Sequence[Order], cases: int) -> dict[int, list[Order]]:
    """Return the orders that a case contradicts, by its position, those of the worst axis."""
    found: dict[int, list[Order]] = {}
    for axis in range(len(SIDES)):
        along = [order for order in orders if order.axis == axis]
        by_case: defaultdict[int, list[Order]] = defaultdict(list)
        for order in along:
            for position in np.flatnonzero(order.odd).tolist():
                by_case[position].append(order)
        # One of very many orders may be odd by chance.
        least = 1 + len(along) // 10
        odd = {at: held for at, held in by_case.items() if len(held) >= least}
        for position, held in odd.items() if len(odd) <= most_rare(cases) else ():
            # On a tie left and right win: mirrored there, a body still looks like one.
            if len(held) >= len(found.get(position, ())):
                found[position] = sorted(held, key=lambda order: -abs(order.usual))
    return found


def _wrong_names(pair: _Pair, labels: Labels) -> Finding | None:
    if not pair.is_common:
        return None
    left, right = labels.names[pair.left], labels.names[pair.right]
    return Finding(
        kind="side",
        case="",
        labels=(pair.left, pair.right),
        what=f"names against sides: {left!r} lies right of {right!r} in most cases",
        measured=f"so in {len(pair.odd)} of {pair.known} cases that have both",
        usual="left and right are the patient's, as in the headers of the files",
        why="either the names are exchanged, or all images, or their headers, are mirrored",
        fix="compare one case with its source, then exchange the names in dataset.json or correct "
        "the headers",
    )


def _odd_pair(measured: CaseMeasurement, position: int, pair: _Pair, labels: Labels) -> Finding:
    left, right = labels.names[pair.left], labels.names[pair.right]
    return Finding(
        kind="side",
        case=measured.name,
        labels=(pair.left, pair.right),
        what=f"{left!r} lies right of {right!r}",
        measured=f"{plain(pair.odd[position])} mm right of {right!r}",
        usual=f"left of it, as the names say, in {pair.known - len(pair.odd)} of {pair.known} "
        "cases that have both",
        why=WHY,
        fix=_fix(measured.name),
    )


def _odd_case(
    measured: CaseMeasurement, position: int, orders: Sequence[Order], labels: Labels
) -> Finding:
    named = {frozenset(pair) for pair in paired_labels(labels)}
    # Whoever reads it sees at once that a left kidney lies on the right.
    of_names = (each for each in orders if frozenset((each.label, each.other)) in named)
    first = next(of_names, orders[0]) if orders[0].axis == ACROSS else orders[0]
    distance, ahead = float(first.distances[position]), SIDES[first.axis]
    label, other = labels.names[first.label], labels.names[first.other]
    other = repr(other) if first.other else "the middle of the body"
    here, there = (ahead[0], ahead[1]) if distance > 0 else (ahead[1], ahead[0])
    known = int(np.count_nonzero(np.isfinite(first.distances)))
    others = len(orders) - 1
    more = f"; so {'is 1 more pair' if others == 1 else f'are {others} more pairs'}"
    return Finding(
        kind="side",
        case=measured.name,
        labels=tuple(filter(None, (first.label, first.other))),
        what=f"{label!r} lies {here} {other}",
        measured=f"{plain(abs(distance))} mm {here} {other}{more if others else ''}",
        usual=f"{there} it in {first.agreeing} of {known} cases, by {plain(abs(first.usual))} mm "
        "at the median",
        why=WHY,
        fix=_fix(measured.name),
    )


def _fix(case: str) -> str:
    return (
        "compare image and segmentation with their source, mirror back what is mirrored or "
        f"exchange the labels, or leave it out: --exclude {case}"
    )
