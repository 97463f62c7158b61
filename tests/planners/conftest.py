"""Builds fingerprints and descriptions of datasets that were never scanned."""

from collections.abc import Callable

import pytest

from autoseg.core.dataset import DatasetDescription
from autoseg.core.fingerprint import CaseGrid, ChannelStatistics, Fingerprint
from autoseg.core.labels import Labels

Grids = list[tuple[tuple[float, ...], tuple[int, ...]]]


@pytest.fixture
def fingerprint_of() -> Callable[..., Fingerprint]:
    """Build a fingerprint from one (spacing, shape) per case."""

    def build(grids: Grids, *, channels: int = 1, margin: int = 0) -> Fingerprint:
        cases = tuple(
            CaseGrid(
                name=f"case_{index:04d}",
                shape=tuple(n + margin for n in shape),
                shape_after_crop=shape,
                spacing=spacing,
                class_voxels=(900, *(10,) * 130),  # of as many labels as any test has
            )
            for index, (spacing, shape) in enumerate(grids)
        )
        statistics = ChannelStatistics(
            mean=95.0,
            median=99.0,
            std=41.0,
            minimum=-900.0,
            maximum=1500.0,
            percentile_00_5=-15.0,
            percentile_99_5=197.0,
        )
        return Fingerprint(dataset="Task99_Test", cases=cases, channels=(statistics,) * channels)

    return build


@pytest.fixture
def description_of() -> Callable[..., DatasetDescription]:
    """Build a description from the number of labels and the channels' names."""

    def build(labels: int, *channels: str) -> DatasetDescription:
        return DatasetDescription(
            name="Task99_Test",
            channels=channels or ("MRI",),
            labels=Labels(names=("background", *(f"organ {n}" for n in range(1, labels)))),
            file_ending=".nii.gz",
        )

    return build
