"""What the fingerprint holds that a plan can be made with, yet hardly a good model."""

from autoseg.core.dataset import DatasetDescription
from autoseg.core.fingerprint import Fingerprint


def doubts(fingerprint: Fingerprint, description: DatasetDescription) -> tuple[str, ...]:
    """Return one line for each thing that no training can make up for.

    Parameters
    ----------
    fingerprint : Fingerprint
        What was measured.
    description : DatasetDescription
        Names of channels and labels.

    Returns
    -------
    tuple of str
        Labels that no case has, and channels whose foreground is constant.
    """
    return (
        *_absent_labels(fingerprint, description),
        *_constant_channels(fingerprint, description),
    )


def _absent_labels(fingerprint: Fingerprint, description: DatasetDescription) -> list[str]:
    labels, count = description.labels, len(fingerprint.cases)
    return [
        f"label {labels.names[position]!r} (value {labels.file_values[position]}) is in none of "
        f"{count} cases: the network gets an output for it that it never learns to use"
        for position in labels.foreground
        if not any(case.class_voxels[position] for case in fingerprint.cases)
    ]


def _constant_channels(fingerprint: Fingerprint, description: DatasetDescription) -> list[str]:
    return [
        f"channel {name!r} is {statistics.mean:.4g} in all foreground: it tells no label from "
        "another"
        for name, statistics in zip(description.channels, fingerprint.channels, strict=True)
        if statistics.minimum == statistics.maximum
    ]
