"""Which cases look wrong beside the others, although every rule lets them pass.

`preprocessing.outliers` says when a number counts as one, `preprocessing.sides` looks for what is
mirrored.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from math import exp, prod
from typing import Final, get_args

import numpy as np

from autoseg.core.check_report import Finding, Kind
from autoseg.core.dataset import DatasetDescription
from autoseg.core.fingerprint import CaseMeasurement
from autoseg.core.labels import Labels
from preprocessing.findings import counted, odd_intensities, plain
from preprocessing.outliers import LEAST_CASES, most_rare, outliers
from preprocessing.sides import side_findings

Measurements = Sequence[CaseMeasurement]

SPACING_RATIO: Final = 2.0
"""How far a voxel edge must be from the median: half or double."""
VOLUME_RATIO: Final = 4.0
"""How far the volume of a label must be from the median. Hippocampi differ by up to 1.6."""
EXCLUDE: Final = "or leave it out: --exclude"
"""How the advice ends; the case's name follows."""


def suspicious_cases(
    measurements: Measurements,
    description: DatasetDescription,
    *,
    patients: Mapping[str, str] | None = None,
) -> tuple[Finding, ...]:
    """Return what looks wrong beside the other cases.

    Parameters
    ----------
    measurements : sequence of CaseMeasurement
        One per case.
    description : DatasetDescription
        Names of labels and channels.
    patients : mapping of str to str, optional
        The patient of each case; those of one may hold the same voxels.

    Returns
    -------
    tuple of Finding
        The gravest kind first, then by case.
    """
    ordered = sorted(measurements, key=lambda measured: measured.name)
    labels = description.labels
    found = [
        *side_findings(ordered, labels),
        *_constant_images(ordered, description.channels),
        *_same_voxels(ordered, patients or {}),
        *_without_foreground(ordered, labels),
        *_missing_labels(ordered, labels),
        *_label_volumes(ordered, labels),
        *_spacings(ordered),
        *_orientations(ordered),
        *_intensities(ordered, description.channels),
        *_rare_labels(ordered, labels),
    ]
    kinds = get_args(Kind)
    return tuple(sorted(found, key=lambda finding: (kinds.index(finding.kind), finding.case)))


def _constant_images(ordered: Measurements, channels: Sequence[str]) -> Iterator[Finding]:
    for measured in ordered:
        for index, (channel, (low, high)) in enumerate(
            zip(channels, measured.extremes, strict=False)
        ):
            if low == high:
                yield Finding(
                    kind="constant image",
                    case=measured.name,
                    channel=index,
                    what=f"channel {channel!r} is the same everywhere",
                    measured=f"every {_voxel(measured)} is {plain(low, 6)}",
                    usual="an image has at least two intensities",
                    why="there is nothing to see in it: a network learns to guess",
                    fix=f"export the image again from its source, {EXCLUDE} {measured.name}",
                )
                break


def _same_voxels(ordered: Measurements, patients: Mapping[str, str]) -> Iterator[Finding]:
    groups: defaultdict[str, list[CaseMeasurement]] = defaultdict(list)
    for measured in ordered:
        if any(low < high for low, high in measured.extremes):
            groups[measured.voxel_digest].append(measured)
    for digest, (first, *others) in groups.items():
        for other in others if digest else ():
            of_one = other.name in patients and patients[other.name] == patients.get(first.name)
            if of_one or other.image_digests == first.image_digests:
                continue  # equal files are refused as such
            same = "with another header or compression"
            if other.spacing != first.spacing:
                same = f"with spacing {_edges(other.spacing)} mm, there {_edges(first.spacing)} mm"
            yield Finding(
                kind="same voxels",
                case=other.name,
                what=f"holds the {_voxel(first)}s of case {first.name}",
                measured=f"all intensities are those of {first.name}, {same}",
                usual="every case is an image of its own",
                why="in cross-validation one of them trains on what the other validates: scores "
                "come out too good",
                fix=f"remove one of the two ({EXCLUDE} {other.name}), or name both as one patient",
            )


def _without_foreground(ordered: Measurements, labels: Labels) -> Iterator[Finding]:
    empty = [m for m in ordered if not _foreground(m, labels)]
    if len(ordered) < LEAST_CASES or len(empty) > most_rare(len(ordered)):
        return
    for measured in empty:
        yield Finding(
            kind="no foreground",
            case=measured.name,
            what="has no foreground",
            measured=f"every {_voxel(measured)} of the segmentation is background or ignored",
            usual=f"{len(ordered) - len(empty)} of {len(ordered)} cases have foreground",
            why="if it was never segmented, a network learns to overlook what is there",
            fix=f"if the structures are in the image, segment them, {EXCLUDE} {measured.name}",
        )


def _missing_labels(ordered: Measurements, labels: Labels) -> Iterator[Finding]:
    shown = [measured for measured in ordered if _foreground(measured, labels)]
    lacking: defaultdict[str, list[int]] = defaultdict(list)
    for label in labels.foreground if len(shown) >= LEAST_CASES else ():
        without = [m.name for m in shown if not m.class_voxels[label]]
        if len(without) <= most_rare(len(shown)) and len(without) < len(shown):
            for name in without:
                lacking[name].append(label)
    for name, missing in lacking.items():
        names = ", ".join(repr(labels.names[label]) for label in missing)
        have = min(sum(m.class_voxels[label] > 0 for m in shown) for label in missing)
        yield Finding(
            kind="label missing",
            case=name,
            labels=tuple(missing),
            what=f"lacks {names}",
            measured=f"no {_voxel(shown[0])} of {names}",
            usual=f"{have} of {len(shown)} cases with foreground have it",
            why="if it was forgotten, a network learns to overlook it",
            fix=f"if it is in the image, segment it, {EXCLUDE} {name}",
        )


def _label_volumes(ordered: Measurements, labels: Labels) -> Iterator[Finding]:
    for label in labels.foreground:
        holders = [measured for measured in ordered if measured.class_voxels[label]]
        volumes = [m.class_voxels[label] * prod(m.spacing) for m in holders]
        middle = exp(float(np.median(np.log(volumes)))) if volumes else 0.0
        unit = "ml" if holders and len(holders[0].spacing) > 2 else "mm²"
        scale = 1000 if unit == "ml" else 1
        for position in outliers(volumes, ratio=VOLUME_RATIO):
            holder, volume = holders[position], volumes[position]
            size, by = ("large", volume / middle) if volume > middle else ("small", middle / volume)
            yield Finding(
                kind="label volume",
                case=holder.name,
                labels=(label,),
                what=f"{labels.names[label]!r} is {plain(by)} times too {size}",
                measured=f"{plain(volume / scale)} {unit}, "
                + counted(holder.class_voxels[label], _voxel(holder)),
                usual=f"{plain(middle / scale)} {unit}, the median of {len(holders)} cases",
                why="labels may be exchanged, the segmentation unfinished or the spacing wrong",
                fix=f"compare it with the image, correct the segmentation, {EXCLUDE} {holder.name}",
            )


def _spacings(ordered: Measurements) -> Iterator[Finding]:
    counts = Counter(len(measured.spacing) for measured in ordered)
    ndim = max(counts, key=lambda count: counts[count], default=0)
    alike = [measured for measured in ordered if len(measured.spacing) == ndim]
    edges = np.array([measured.spacing for measured in alike]).reshape(len(alike), ndim)
    odd = {case for axis in edges.T for case in outliers(axis.tolist(), ratio=SPACING_RATIO)}
    usual = _edges(np.median(edges, axis=0).tolist()) if odd else ""
    for case in sorted(odd):
        name = alike[case].name
        yield Finding(
            kind="spacing",
            case=name,
            what=f"{_voxel(alike[case])}s of another size",
            measured=f"{_edges(edges[case].tolist())} mm {_axes(len(edges[case]))}",
            usual=f"{usual} mm, the medians of {len(alike)} cases",
            why="with a wrong spacing the case is resampled to a wrong shape; volumes are wrong",
            fix=f"compare the spacing with the source, correct the header, {EXCLUDE} {name}",
        )


def _orientations(ordered: Measurements) -> Iterator[Finding]:
    codes = Counter(measured.orientation for measured in ordered)
    (common, count), *_ = codes.most_common(1) or [("", 0)]
    few = len(ordered) - count <= most_rare(len(ordered))
    if not common or len(ordered) < LEAST_CASES or not few:
        return
    for measured in ordered:
        if measured.orientation != common:
            yield Finding(
                kind="orientation",
                case=measured.name,
                what=f"axes {measured.orientation or 'unknown'}, those of others {common}",
                measured=f"the axes of its file lead to {measured.orientation or 'nowhere known'}",
                usual=f"{common} in {count} of {len(ordered)} cases",
                why="images are turned by their headers: if this header is wrong, left and right "
                "or top and bottom are exchanged",
                fix="look whether the picture shows the patient the right way round; if not, "
                f"correct the header, {EXCLUDE} {measured.name}",
            )


def _intensities(ordered: Measurements, channels: Sequence[str]) -> Iterator[Finding]:
    for index, channel in enumerate(channels):
        odd, reason = odd_intensities(ordered, index, channel)
        is_rare = len(odd) <= most_rare(len(ordered))  # else it is noted of the dataset
        for measured in odd if is_rare and len(ordered) >= LEAST_CASES else ():
            low, high = measured.extremes[index]
            yield Finding(
                kind="intensities",
                case=measured.name,
                channel=index,
                what=f"channel {channel!r}: {reason}",
                measured=f"{plain(low, 6)} to {plain(high, 6)}",
                usual=f"{len(ordered) - len(odd)} of {len(ordered)} cases are not so",
                why="intensities of another scale are normalized wrongly",
                fix="export it again with slope and offset applied and no normalization, "
                f"{EXCLUDE} {measured.name}",
            )


def _rare_labels(ordered: Measurements, labels: Labels) -> Iterator[Finding]:
    for label in labels.foreground:
        holders = [measured.name for measured in ordered if measured.class_voxels[label]]
        name, value = labels.names[label], labels.file_values[label]
        if len(holders) == 1 < len(ordered):
            yield Finding(
                kind="label in one case",
                case=holders[0],
                labels=(label,),
                what=f"alone has {name!r}",
                measured=f"label {name!r} (value {value}) is in this case only",
                usual=f"{len(ordered)} cases were read",
                why="the fold that validates it never saw the label in training",
                fix="add cases that have it, correct this one, or leave the label out",
            )
        elif not holders and ordered:
            yield Finding(
                kind="label in no case",
                case="",
                labels=(label,),
                what=f"label {name!r} (value {value}) is in no case",
                measured=f"0 {_voxel(ordered[0])}s in {counted(len(ordered), 'case')}",
                usual="every label is in several cases",
                why="it takes a channel of the network and can never be learned",
                fix="check the value in dataset.json, or remove the label",
            )


def _foreground(measured: CaseMeasurement, labels: Labels) -> int:
    return sum(measured.class_voxels[1 : labels.count])  # ignored voxels are none


def _edges(spacing: Sequence[float]) -> str:
    return " x ".join(plain(edge, 4) for edge in spacing)


def _voxel(measured: CaseMeasurement) -> str:
    return "voxel" if len(measured.spacing) > 2 else "pixel"


def _axes(count: int) -> str:
    return "(z, y, x)" if count > 2 else "(y, x)"
