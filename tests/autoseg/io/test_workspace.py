"""Which workspace and which dataset a command means."""

import os
from dataclasses import replace

import pytest

from autoseg.core.dataset import Dataset, DatasetDescription
from autoseg.core.errors import DamagedError, DatasetError, UsageError
from autoseg.core.folds import split_cases
from autoseg.core.labels import Labels
from autoseg.io import documents
from autoseg.io.workspace import (
    Workspace,
    find_planned_dataset,
    find_raw_dataset,
    find_workspace,
    matching_names,
)

NAMES = ("Task04_Hippocampus", "Task40_Liver", "Task004", "Dataset014_Heart", "mine")


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch, tmp_path):
    monkeypatch.delenv("AUTOSEG_WORKSPACE", raising=False)
    monkeypatch.chdir(tmp_path)


def _datasets(folder, *names):
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "dataset.json").write_text("{}")
    return folder


def test_the_workspace_asked_for_wins(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOSEG_WORKSPACE", str(tmp_path / "variable"))
    assert find_workspace(tmp_path / "asked").path == tmp_path / "asked"


def test_the_variable_wins_over_the_search(tmp_path, monkeypatch):
    (tmp_path / "autoseg_workspace").mkdir()
    monkeypatch.setenv("AUTOSEG_WORKSPACE", str(tmp_path / "variable"))
    assert find_workspace(start=tmp_path).path == tmp_path / "variable"


def test_an_empty_variable_counts_as_none(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOSEG_WORKSPACE", "")
    assert find_workspace(start=tmp_path).path == tmp_path / "autoseg_workspace"


def test_the_workspace_is_searched_upward_and_the_nearest_counts(tmp_path):
    deep = tmp_path / "study" / "raw" / "Task04"
    deep.mkdir(parents=True)
    (tmp_path / "autoseg_workspace").mkdir()
    assert find_workspace(start=deep).path == tmp_path / "autoseg_workspace"
    (tmp_path / "study" / "autoseg_workspace").mkdir()
    assert find_workspace(start=deep).path == tmp_path / "study" / "autoseg_workspace"


def test_a_file_of_that_name_is_no_workspace(tmp_path):
    (tmp_path / "autoseg_workspace").write_text("")
    deep = tmp_path / "study"
    deep.mkdir()
    assert find_workspace(start=deep).path == deep / "autoseg_workspace"


def test_without_any_the_workspace_is_made_here(tmp_path):
    assert find_workspace().path == tmp_path / "autoseg_workspace"
    assert not (tmp_path / "autoseg_workspace").exists()


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param("Task04_Hippocampus", ("Task04_Hippocampus",), id="whole"),
        pytest.param("Task04", ("Task04_Hippocampus",), id="front"),
        pytest.param("Task004", ("Task004",), id="whole-without-underscore"),
        pytest.param("4", ("Task004", "Task04_Hippocampus"), id="number-twice"),
        pytest.param("004", ("Task004", "Task04_Hippocampus"), id="number-with-zeros"),
        pytest.param("40", ("Task40_Liver",), id="not-a-prefix"),
        pytest.param("14", ("Dataset014_Heart",), id="dataset"),
        pytest.param("mine", ("mine",), id="plain"),
        pytest.param("Task", (), id="front-in-part"),
        pytest.param("Hippocampus", (), id="back"),
        pytest.param("0", (), id="no-such-number"),
        pytest.param("²", (), id="digit-that-is-no-number"),
        pytest.param("", (), id="empty"),
    ],
)
def test_short_names_match(asked, expected):
    assert matching_names(asked, NAMES) == expected


def test_a_raw_dataset_is_found_by_path_and_by_name(tmp_path):
    data = _datasets(tmp_path / "data", *NAMES)
    assert find_raw_dataset(str(data / "mine")) == data / "mine"
    assert find_raw_dataset("Task40", data=data) == data / "Task40_Liver"
    assert find_raw_dataset("Dataset014_Heart", data=data) == data / "Dataset014_Heart"


def test_the_data_folder_is_looked_in_before_the_current_one(tmp_path):
    _datasets(tmp_path, "Task04_Here")
    data = _datasets(tmp_path / "data", "Task04_There")
    assert find_raw_dataset("4", data=data) == data / "Task04_There"
    assert find_raw_dataset("4") == tmp_path / "Task04_Here"
    assert find_raw_dataset("Task04_Here", data=data) == tmp_path / "Task04_Here"
    _datasets(data, "Task04_Here")
    assert find_raw_dataset("Task04_Here", data=data) == data / "Task04_Here"


def test_the_current_folder_may_be_the_dataset(tmp_path, monkeypatch):
    monkeypatch.chdir(_datasets(tmp_path, "Task04_Here") / "Task04_Here")
    assert find_raw_dataset(".").resolve() == tmp_path / "Task04_Here"


def test_a_folder_without_a_description_is_found_by_path_only(tmp_path):
    (tmp_path / "loose").mkdir()
    assert find_raw_dataset(f"{tmp_path}{os.sep}loose") == tmp_path / "loose"
    with pytest.raises(
        DatasetError, match=r"dataset 'loose': neither a folder with a dataset\.json"
    ):
        find_raw_dataset("loose")


def test_an_unknown_raw_dataset_says_where_was_looked(tmp_path):
    data = _datasets(tmp_path / "data", "Task04_Hippocampus")
    with pytest.raises(DatasetError, match=rf"'Task05'.*{data}, {tmp_path}") as caught:
        find_raw_dataset("Task05", data=data, start=tmp_path)
    assert caught.value.rule == "E-SET-42"


def test_a_name_of_several_raw_datasets_lists_them(tmp_path):
    _datasets(tmp_path, "Task04_Hippocampus", "Dataset004_Liver")
    with pytest.raises(UsageError, match="'4' may mean Dataset004_Liver, Task04_Hippocampus in"):
        find_raw_dataset("4")


@pytest.mark.parametrize(
    "name", ["dataset.json", "manifest.json", "manifest.csv", "dataset_description.json"]
)
def test_folders_of_every_layout_are_found_by_name(tmp_path, name):
    (tmp_path / "data" / "Task04_Organs").mkdir(parents=True)
    found = tmp_path / "data" / "Task04_Organs"
    (found / name).write_text("{}")
    (tmp_path / "data" / "Task05_Loose").mkdir()
    assert find_raw_dataset("4", data=tmp_path / "data") == found
    assert find_raw_dataset("Task04", start=tmp_path / "data") == found
    with pytest.raises(DatasetError, match="'Task05'"):
        find_raw_dataset("Task05", data=tmp_path / "data")


def test_a_file_may_be_named_in_place_of_its_folder(tmp_path):
    folder = _datasets(tmp_path, "Task04_Here") / "Task04_Here"
    for name in ("cohort.csv", "Cohort.JSON", "dataset_description.json", "notes.txt"):
        (folder / name).write_text("{}")
    assert find_raw_dataset(str(folder / "cohort.csv")) == folder / "cohort.csv"
    assert find_raw_dataset(str(folder / "Cohort.JSON")) == folder / "Cohort.JSON"
    assert find_raw_dataset(str(folder / "dataset.json")) == folder
    assert find_raw_dataset(str(folder / "dataset_description.json")) == folder
    with pytest.raises(DatasetError, match=r"Task04_Here/notes\.txt': neither"):
        find_raw_dataset(str(folder / "notes.txt"))
    with pytest.raises(UsageError, match=r"Task04_Here/gone\.csv: there is no such file or folder"):
        find_raw_dataset(str(folder / "gone.csv"))


@pytest.fixture
def workspace(tmp_path):
    """Build a workspace with two planned datasets."""
    _datasets(tmp_path / "ws", "Task04_Hippocampus", "Dataset120_Membrane")
    (tmp_path / "ws" / "half_made").mkdir()
    return Workspace(path=tmp_path / "ws")


def test_datasets_are_those_with_a_description(workspace):
    assert workspace.datasets() == ("Dataset120_Membrane", "Task04_Hippocampus")
    assert Workspace(path=workspace.path / "gone").datasets() == ()


def test_a_planned_dataset_is_found_by_name_or_path(workspace):
    for asked in ("4", "Task04", "Task04_Hippocampus", "raw/data/Task04_Hippocampus"):
        assert find_planned_dataset(workspace, asked).name == "Task04_Hippocampus"


def test_an_unknown_planned_dataset_lists_the_known(workspace):
    with pytest.raises(UsageError, match=r"'7' was not planned in .*: Dataset120_Membrane, Task04"):
        find_planned_dataset(workspace, "7")


def test_the_current_dataset_is_the_one_set_last(workspace):
    workspace.set_current("Task04_Hippocampus")
    workspace.set_current("Dataset120_Membrane")
    assert workspace.current() == "Dataset120_Membrane"
    assert find_planned_dataset(workspace, None) == workspace.dataset("Dataset120_Membrane")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(None, id="never-set"),
        pytest.param(b"", id="empty"),
        pytest.param(b"half_made\n", id="not-planned"),
        pytest.param(b"\xff\xfe\x00", id="garbage"),
    ],
)
def test_without_a_current_dataset_the_hint_says_how_to_name_one(workspace, content):
    if content is not None:
        (workspace.path / "current").write_bytes(content)
    with pytest.raises(UsageError, match="ws: no dataset was planned in this workspace") as caught:
        workspace.current()
    assert "plan_and_preprocess -d" in caught.value.hint


def test_everything_of_a_dataset_lies_in_its_folder(workspace):
    folder = workspace.dataset("Task04_Hippocampus")
    places = {
        str(path.relative_to(workspace.path / "Task04_Hippocampus"))
        for path in (
            folder.dataset_file,
            folder.fingerprint_file,
            folder.splits_file,
            folder.plan_file("default"),
            folder.store("0f"),
            folder.run("default", "3d_fullres", "mine"),
        )
    }
    assert places == {
        "dataset.json",
        "fingerprint.json",
        "splits.json",
        "plans/default.json",
        "preprocessed/0f",
        "models/default/3d_fullres/mine",
    }


def test_documents_of_a_dataset_come_back(workspace):
    folder = workspace.dataset("Task04_Hippocampus")
    dataset = Dataset(
        description=DatasetDescription(
            name="Task04_Hippocampus",
            channels=("MRI",),
            labels=Labels(names=("background", "anterior")),
            file_ending=".nii.gz",
        ),
        folder="raw",
        cases=(),
    )
    splits = split_cases(["a", "b", "c"])
    documents.write(folder.dataset_file, dataset)
    documents.write(folder.splits_file, splits)
    assert (folder.read_dataset(), folder.read_splits()) == (dataset, splits)
    with pytest.raises(DamagedError, match=r"fingerprint\.json: cannot be read"):
        folder.read_fingerprint()


def test_a_dataset_of_a_manifest_is_found_by_its_file_and_its_name(workspace, tmp_path):
    (tmp_path / "study").mkdir()
    for name in ("cohort.csv", "cohort.json", "other.csv"):
        (tmp_path / "study" / name).write_text("")
    dataset = Dataset(
        description=DatasetDescription(
            name="Organs",
            channels=("CT",),
            labels=Labels(names=("background", "liver")),
            file_ending=".nii.gz",
        ),
        folder=str(tmp_path / "study"),
        cases=(),
        manifest=str(tmp_path / "study" / "cohort.csv"),
    )
    for known in workspace.datasets():
        documents.write(workspace.dataset(known).dataset_file, replace(dataset, manifest=""))
    documents.write(workspace.dataset("Organs").dataset_file, dataset)
    for asked in ("study/cohort.csv", "study/cohort.json", "Organs"):
        assert find_planned_dataset(workspace, asked).name == "Organs"
    with pytest.raises(UsageError, match=r"'study/other\.csv' was not planned"):
        find_planned_dataset(workspace, "study/other.csv")
    assert find_raw_dataset("Organs", workspace=workspace) == tmp_path / "study" / "cohort.csv"
    (tmp_path / "study" / "cohort.csv").unlink()
    with pytest.raises(DatasetError, match="'Organs': neither"):
        find_raw_dataset("Organs", workspace=workspace)


def test_an_unknown_plan_lists_the_plans(workspace):
    folder = workspace.dataset("Task04_Hippocampus")
    with pytest.raises(UsageError, match=r"plan 'big' of dataset 'Task04_H.* there are none"):
        folder.read_plan("big")
    for name in ("small", "default"):
        folder.plan_file(name).parent.mkdir(exist_ok=True)
        folder.plan_file(name).write_text("{}")
    with pytest.raises(UsageError, match="does not exist; there are default, small"):
        folder.read_plan("big")
