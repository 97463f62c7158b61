"""Files of folds and patients, in autoseg's form and in nnU-Net's."""

import json
from pathlib import Path
from typing import Any

import pytest

from autoseg.core.errors import DatasetError, DocumentError, RefusedCasesError, UsageError
from autoseg.core.folds import split_cases
from autoseg.io import documents
from autoseg.io.raw.splits import own_splits, read_patients, splits_beside

NAMES = ("a", "b", "c")
NNUNET = [{"train": ["b", "a"], "val": ["c"]}, {"train": ["c"], "val": ["a", "b"]}]


def written(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_the_folds_of_nnunet_are_read(tmp_path: Path):
    splits = own_splits(written(tmp_path / "splits_final.json", NNUNET), NAMES)
    assert [(fold.training, fold.validation) for fold in splits.folds] == [
        (("a", "b"), ("c",)),
        (("c",), ("a", "b")),
    ]
    assert splits.decisions[0].rule == f"given by the user: {tmp_path / 'splits_final.json'}"


def test_the_folds_that_autoseg_wrote_are_read(tmp_path: Path):
    made = split_cases(NAMES)
    documents.write(tmp_path / "splits.json", made)
    assert own_splits(tmp_path / "splits.json", NAMES).folds == made.folds


def test_folds_that_do_not_fit_name_the_file(tmp_path: Path):
    path = written(tmp_path / "x.json", NNUNET)
    with pytest.raises(RefusedCasesError, match=r"x\.json: fold 0: training names 'b'") as caught:
        own_splits(path, ("a", "c"))
    assert caught.value.rule == "E-SET-48"
    kept = own_splits(path, ("a", "c"), excluded=("b",))
    assert kept.folds[0].training == ("a",)
    with pytest.raises(RefusedCasesError, match="the patients 'P1' have cases on both sides"):
        own_splits(path, NAMES, patients={"a": "P1", "b": "P2", "c": "P1"})


@pytest.mark.parametrize(
    ("content", "kind", "says"),
    [
        pytest.param([{"train": ["a"]}], DatasetError, "fold 0 is .* 'train' and 'val'", id="key"),
        pytest.param(["a"], DatasetError, "fold 0 is 'a'", id="no-object"),
        pytest.param(
            [NNUNET[0], {"train": "abc", "val": ["c"]}],
            DatasetError,
            "1: train is 'abc'",
            id="text",
        ),
        pytest.param(
            [{"train": ["a"], "val": [2]}], DatasetError, r"0: val is '\[2\]'", id="number"
        ),
        pytest.param("a", DatasetError, "needed is a list of folds", id="no-list"),
        pytest.param({"folds": [], "k": 1}, DocumentError, "k: ", id="own-form"),
    ],
)
def test_a_file_that_holds_no_folds_is_refused(
    content: Any, kind: type[Exception], says: str, tmp_path: Path
):
    with pytest.raises(kind, match=rf"x\.json: .*{says}") as caught:
        own_splits(written(tmp_path / "x.json", content), NAMES)
    assert caught.value.rule == "E-SET-46"


def test_folds_beside_the_description_are_found(tmp_path: Path):
    assert splits_beside(tmp_path) is None
    path = written(tmp_path / "splits_final.json", NNUNET)
    assert splits_beside(tmp_path) == path


def test_patients_are_read(tmp_path: Path):
    assert read_patients(written(tmp_path / "p.json", {"a": "P1", "b": "P2"})) == {
        "a": "P1",
        "b": "P2",
    }


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(["a"], "is .*, needed is an object", id="list"),
        pytest.param({"a": 7}, "'a' is 7, needed is a text", id="number"),
        pytest.param({"a": ""}, "'a' is ''", id="empty"),
    ],
)
def test_patients_of_another_form_are_refused(content: Any, says: str, tmp_path: Path):
    with pytest.raises(DatasetError, match=rf"p\.json: {says}") as caught:
        read_patients(written(tmp_path / "p.json", content))
    assert caught.value.rule == "E-SET-46"


def test_a_missing_file_is_a_usage_error(tmp_path: Path):
    with pytest.raises(UsageError, match=r"none\.json: cannot be read \(No such file"):
        own_splits(tmp_path / "none.json", NAMES)
    with pytest.raises(UsageError, match=r"none\.json: cannot be read"):
        read_patients(tmp_path / "none.json")
