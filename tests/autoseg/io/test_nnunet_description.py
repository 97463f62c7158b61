"""The description that is written reads back as the same labels, channels and patients."""

import json

import pytest

from autoseg.core.dataset import Case, Dataset, DatasetDescription
from autoseg.core.labels import Labels, Region
from autoseg.io.nnunet_description import nnunet_description
from autoseg.io.raw.declared_labels import parse_labels


def dataset_of(labels: Labels, *patients: str | None) -> Dataset:
    return Dataset(
        description=DatasetDescription(
            name="T", channels=("CT", "PET"), labels=labels, file_ending=".nrrd"
        ),
        folder="raw",
        cases=tuple(
            Case(name=f"c{n}", images=("x",), patient=patient) for n, patient in enumerate(patients)
        ),
    )


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param(Labels(names=("background", "liver", "Größe")), id="plain"),
        pytest.param(Labels(names=("air", "liver"), values=(0, 7), ignore=9), id="gap-and-ignore"),
        pytest.param(
            Labels(
                names=("background", "label 1", "label 2", "enhancing"),
                values=(0, 1, 2, 4),
                regions=(
                    Region(name="whole", labels=(1, 2, 3), written=2),
                    Region(name="core", labels=(2, 3), written=1),
                    Region(name="enhancing", labels=(3,), written=3),
                ),
                ignore=3,
            ),
            id="regions",
        ),
    ],
)
def test_labels_come_back(labels: Labels):
    entries = json.loads(nnunet_description(dataset_of(labels, None, None), ".nii.gz"))
    assert parse_labels(entries, "nnunet", "x") == labels
    assert entries["channel_names"] == {"0": "CT", "1": "PET"}
    assert (entries["numTraining"], entries["file_ending"]) == (2, ".nii.gz")
    assert "patients" not in entries


def test_patients_are_written_where_all_are_known():
    labels = Labels(names=("background", "liver"))
    known = json.loads(nnunet_description(dataset_of(labels, "x", "y", "x"), ".nii.gz"))
    assert known["patients"] == {"c0": "x", "c1": "y", "c2": "x"}
    partly = json.loads(nnunet_description(dataset_of(labels, "x", None), ".nii.gz"))
    assert "patients" not in partly
