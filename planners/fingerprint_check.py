"""Whether a fingerprint can be planned with at all."""

from math import isfinite

from autoseg.core.dataset import DatasetDescription
from autoseg.core.errors import PlanError
from autoseg.core.fingerprint import CaseGrid, ChannelStatistics, Fingerprint
from autoseg.core.labels import Labels


def check_fingerprint(fingerprint: Fingerprint, description: DatasetDescription) -> None:
    """Refuse a fingerprint that cannot be planned with.

    Parameters
    ----------
    fingerprint : Fingerprint
        What was measured.
    description : DatasetDescription
        What it must fit.

    Raises
    ------
    PlanError
        E-SET-47 if there is no case; else if a case's shapes, spacing, stored axes or counts of
        voxels are impossible or of other labels, if the channels are not those of the description,
        or if a channel's statistics are not finite, its std is negative, or its minimum is above
        its maximum.

    Notes
    -----
    More counts of voxels than the description has labels are let pass: none of them is read.
    """
    where = f"dataset {description.name!r}"
    if not fingerprint.cases:
        raise PlanError(
            f"{where}: the fingerprint has 0 cases; planning needs at least 1",
            rule="E-SET-47",
            hint="run `autoseg fingerprint` to see which cases are refused, and why",
        )
    hint = f"measure the fingerprint again: autoseg fingerprint -d {description.name}"
    for case in fingerprint.cases:
        wrong = _wrong_axes(case, fingerprint.ndim) or _wrong_sizes(case)
        wrong = wrong or _wrong_counts(case, description.labels)
        if wrong:
            raise PlanError(f"{where}, case {case.name!r}: {wrong}", hint=hint)
    if len(fingerprint.channels) != len(description.channels):
        raise PlanError(
            f"{where}: the fingerprint has statistics of {len(fingerprint.channels)} channels; "
            f"the description names {len(description.channels)}: {', '.join(description.channels)}",
            hint="measure the fingerprint again; statistics need at least one foreground voxel",
        )
    for channel, statistics in zip(description.channels, fingerprint.channels, strict=True):
        _check_statistics(statistics, f"{where}, channel {channel!r}", hint)


def _wrong_axes(case: CaseGrid, ndim: int) -> str:
    """Say what is wrong with the number or the order of the axes, or nothing."""
    axes = {len(case.spacing), len(case.shape), len(case.shape_after_crop)}
    if axes != {ndim} or ndim not in (2, 3):
        return (
            f"shape {case.shape}, after cropping {case.shape_after_crop}, spacing {case.spacing} "
            f"mm; every case must have the same 2 or 3 axes, the first has {ndim}"
        )
    if case.stored_axes and sorted(case.stored_axes) != list(range(ndim)):
        return (
            f"stored axes {case.stored_axes}; they must be empty or name each of "
            f"{tuple(range(ndim))} once"
        )
    return ""


def _wrong_sizes(case: CaseGrid) -> str:
    """Say what is wrong with shapes and spacing, or nothing."""
    if min(case.shape_after_crop) < 1 or not all(
        isfinite(edge) and edge > 0 for edge in case.spacing
    ):
        return (
            f"shape after cropping {case.shape_after_crop}, spacing {case.spacing} mm; voxels and "
            "spacings must be positive and finite"
        )
    if any(n > whole for n, whole in zip(case.shape_after_crop, case.shape, strict=True)):
        return (
            f"shape {case.shape}, after cropping {case.shape_after_crop}; cropping must leave at "
            "most the whole shape on every axis"
        )
    return ""


def _wrong_counts(case: CaseGrid, labels: Labels) -> str:
    """Say that voxels of some labels were not counted, or nothing."""
    wanted = labels.count + (labels.ignored is not None)
    if len(case.class_voxels) >= wanted:
        return ""
    ignored = "" if labels.ignored is None else ", ignored voxels included"
    return (
        f"class_voxels {case.class_voxels} counts the voxels of {len(case.class_voxels)} labels; "
        f"the description has {wanted}{ignored}"
    )


def _check_statistics(statistics: ChannelStatistics, where: str, hint: str) -> None:
    """Refuse intensities that no image has."""
    for field in statistics.__slots__:
        value = getattr(statistics, field)
        if not isfinite(value):
            raise PlanError(
                f"{where}: the foreground's {field} is {value}; it must be finite",
                hint=hint,
            )
    if statistics.std < 0:
        raise PlanError(
            f"{where}: the foreground's std is {statistics.std:g}; it must be at least 0", hint=hint
        )
    if statistics.minimum > statistics.maximum:
        raise PlanError(
            f"{where}: the foreground's minimum is {statistics.minimum:g}, its maximum "
            f"{statistics.maximum:g}; the minimum must not be above the maximum",
            hint=hint,
        )
