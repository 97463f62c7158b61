"""What a description must hold, leaving cases out of a dataset, and naming their patients."""

from dataclasses import replace

import pytest

from autoseg.core.dataset import Case, Dataset, DatasetDescription, exclude_cases, set_patients
from autoseg.core.errors import DatasetError, UsageError
from autoseg.core.labels import Labels


@pytest.fixture
def dataset() -> Dataset:
    return Dataset(
        description=DatasetDescription(
            name="T",
            channels=("CT",),
            labels=Labels(names=("background", "organ")),
            file_ending=".nii.gz",
        ),
        folder="raw",
        cases=tuple(Case(name=f"case_{n}", images=(f"{n}.nii.gz",)) for n in (10, 11, 12)),
    )


def test_a_dataset_has_a_channel():
    with pytest.raises(DatasetError, match=r"dataset 'Task07_Pancreas': .* at least one image"):
        DatasetDescription(
            name="Task07_Pancreas",
            channels=(),
            labels=Labels(names=("background", "pancreas")),
            file_ending=".nii.gz",
        )


def test_excluded_cases_are_left_out_and_recorded(dataset: Dataset):
    fewer = exclude_cases(dataset, ["case_12"])
    assert [case.name for case in fewer.cases] == ["case_10", "case_11"]
    again = exclude_cases(fewer, ["case_12", "case_10"])
    assert [case.name for case in again.cases] == ["case_11"]
    assert again.excluded == ("case_10", "case_12")


def test_an_unknown_case_is_refused_with_the_one_that_may_be_meant(dataset: Dataset):
    says = r"no case 'Case_10' \(meant 'case_10'\?\), 'x', which should be excluded; it has 3"
    with pytest.raises(UsageError, match=says) as caught:
        exclude_cases(dataset, ["x", "Case_10"])
    assert "names of cases" in caught.value.hint


def test_not_all_cases_can_be_excluded(dataset: Dataset):
    with pytest.raises(DatasetError, match="all of its 3 cases are excluded") as caught:
        exclude_cases(dataset, ["case_10", "case_11", "case_12"])
    assert caught.value.rule == "E-SET-47"


def test_patients_are_kept_in_cases(dataset: Dataset):
    assert dataset.patients is None
    patients = {"case_10": "P1", "case_11": "P2", "case_12": "P1"}
    named = set_patients(dataset, patients | {"case_99": "P9"}, "x.json")
    assert [case.patient for case in named.cases] == ["P1", "P2", "P1"]
    assert named.patients == patients


def test_a_case_without_a_patient_is_refused(dataset: Dataset):
    says = r"^x.json: names no patient of 2 of 3 cases: 'case_11', 'case_12' \(meant 'case_l2'\?\)"
    with pytest.raises(DatasetError, match=says) as caught:
        set_patients(dataset, {"case_10": "P1", "case_l2": "P1"}, "x.json")
    assert caught.value.rule == "E-SET-48"


def test_a_case_may_have_values_of_its_own_for_the_labels(dataset: Dataset):
    labels = Labels(names=("background", "liver", "spleen"), values=(0, 1, 5), ignore=9)
    case = dataset.cases[0]
    assert case.labels_in_file(labels) is labels
    own = replace(case, label_values=(0, 5, 1, 2)).labels_in_file(labels)
    assert (own.names, own.file_values, own.ignore) == (labels.names, (0, 5, 1), 2)
    with pytest.raises(DatasetError, match=r"label values \(0, 5\) must be 4"):
        replace(case, label_values=(0, 5)).labels_in_file(labels)


def test_a_dataset_is_read_again_from_its_manifest_or_its_folder(dataset: Dataset):
    assert dataset.origin == "raw"
    assert replace(dataset, manifest="raw/cases.csv").origin == "raw/cases.csv"
