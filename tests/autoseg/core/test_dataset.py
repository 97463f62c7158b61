"""What a description must hold."""

import pytest

from autoseg.core.dataset import DatasetDescription
from autoseg.core.errors import DatasetError
from autoseg.core.labels import Labels


def test_a_dataset_has_a_channel():
    with pytest.raises(DatasetError, match=r"dataset 'Task07_Pancreas': .* at least one image"):
        DatasetDescription(
            name="Task07_Pancreas",
            channels=(),
            labels=Labels(names=("background", "pancreas")),
            file_ending=".nii.gz",
        )
