"""Part D of the fault catalogue: folders whose files and description do not fit together."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from autoseg.core.errors import AutosegError, DatasetError, DocumentError, RefusedCasesError
from autoseg.io.datasets import read_dataset


def remove(name: str) -> Callable[[Any, Path], None]:
    return lambda make, folder: (folder / name).unlink()


def add(name: str) -> Callable[[Any, Path], None]:
    return lambda make, folder: make.write(folder / name, b"x")


def twice(key: str) -> Callable[[Any, Path], None]:
    """Repeat a key of dataset.json."""

    def fault(make: Any, folder: Path) -> None:
        text = json.dumps(make.description())
        make.write(folder / "dataset.json", f'{text[:-1]}, "{key}": 1}}'.encode())

    return fault


def replace(text: bytes) -> Callable[[Any, Path], None]:
    return lambda make, folder: make.write(folder / "dataset.json", text)


def change(**changes: Any) -> Callable[[Any, Path], None]:
    return lambda make, folder: make.nnunet(folder, **changes)


LAYOUT_FAULTS = [
    pytest.param(remove("labelsTr/b.nii.gz"), "E-SET-42", r"labelsTr/b\.nii\.gz", id="42-label"),
    pytest.param(
        remove("imagesTr/b_0001.nii.gz"),
        "E-SET-42",
        r"'b' lacks the channels 0001",
        id="42-channel",
    ),
    pytest.param(
        add("labelsTr/d.nii.gz"), "E-SET-42", r"d\.nii\.gz: belongs to no case", id="42-extra-label"
    ),
    pytest.param(
        add("imagesTr/notes.txt"), "E-SET-42", r"notes\.txt: belongs to no case", id="42-extra-file"
    ),
    pytest.param(
        add("imagesTr/a_0002.nii.gz"),
        "E-SET-42",
        r"a_0002\.nii\.gz: belongs",
        id="42-extra-channel",
    ),
    pytest.param(
        add("imagesTr/a_0000.nii"), "E-SET-43", r"'a_0000\.nii', 'a_0000\.nii\.gz'", id="43-endings"
    ),
    pytest.param(
        add("labelsTr/A.nii.gz"), "E-SET-43", r"'A\.nii\.gz', 'a\.nii\.gz'", id="43-case-fold"
    ),
    pytest.param(
        add("imagesTr/x\ny_0000.nii.gz"), "E-SET-45", r"'x\\ny_0000\.nii\.gz'", id="45-newline"
    ),
    pytest.param(change(numTraining=4), "E-SET-46", r"numTraining is 4, but 3", id="46-count"),
    pytest.param(change(file_ending=".mha"), "E-SET-46", r"file_ending is '\.mha'", id="46-ending"),
]


@pytest.mark.parametrize(("fault", "rule", "says"), LAYOUT_FAULTS)
def test_a_fault_of_the_layout_is_refused_by_its_rule(
    fault: Callable[[Any, Path], None], rule: str, says: str, make: ModuleType, tmp_path: Path
):
    folder = make.nnunet(tmp_path / "Dataset007_Test")
    fault(make, folder)
    with pytest.raises(RefusedCasesError, match=says) as caught:
        read_dataset(folder)
    assert rule in [problem.rule for problem in caught.value.problems]
    assert str(folder) in str(caught.value)
    assert caught.value.hint
    assert all(problem.hint for problem in caught.value.problems)


JSON_FAULTS = [
    pytest.param(remove("dataset.json"), "E-SET-42", DatasetError, "cannot be read", id="42-none"),
    pytest.param(replace(b'{"a": 1,'), "E-SET-46", DocumentError, "line 1", id="46-invalid"),
    pytest.param(replace(b'{"a": NaN}'), "E-SET-46", DocumentError, "NaN", id="46-nan"),
    pytest.param(twice("labels"), "E-SET-46", DocumentError, "'labels'", id="46-duplicate-key"),
    pytest.param(replace(b"[" * 200_000), "E-SET-46", DocumentError, "deep", id="46-nested"),
    pytest.param(replace(b"[1, 2]"), "E-SET-46", DatasetError, r"\[1, 2\]", id="46-list"),
    pytest.param(
        change(labels=None, label={}),
        "E-SET-46",
        DatasetError,
        "meant 'labels'",
        id="46-misspelled",
    ),
    pytest.param(
        change(training=[]), "E-SET-46", DatasetError, "contradict each other", id="46-two-layouts"
    ),
    pytest.param(
        change(modality={"0": "CT"}), "E-SET-46", DatasetError, "contradict", id="46-two-names"
    ),
    pytest.param(
        change(channel_names={"0": "a", "2": "b"}), "E-SET-46", DatasetError, "'2'", id="46-numbers"
    ),
    pytest.param(change(channel_names=None), "E-SET-46", DatasetError, "no known", id="46-neither"),
    pytest.param(change(numTraining="3"), "E-SET-46", DatasetError, "'3'", id="46-text-for-number"),
    pytest.param(
        change(file_ending=None), "E-SET-46", DatasetError, "file_ending", id="46-missing"
    ),
    pytest.param(change(dataset={}), "E-SET-46", DatasetError, "'dataset'", id="46-file-list"),
    pytest.param(
        change(labels={"background": 0, "both": [1, 2], "left": 1}),
        "E-VAL-39",
        DatasetError,
        r"labels\.both = \[1, 2\]",
        id="39-region",
    ),
    pytest.param(
        change(regions_class_order=[1, 2]),
        "E-VAL-39",
        DatasetError,
        "regions_class_order",
        id="39-region-order",
    ),
    pytest.param(
        change(labels={"background": 0, "left": 1, "ignore": 2}),
        "E-VAL-39",
        DatasetError,
        "ignore label is not supported",
        id="39-ignore",
    ),
    pytest.param(
        change(labels={"background": 0, "left": 1, "right": 3}),
        "E-VAL-40",
        DatasetError,
        r"\[0, 1, 3\]",
        id="40-gap",
    ),
    pytest.param(
        change(labels={"left": 0, "background": 1}),
        "E-VAL-40",
        DatasetError,
        "'background' is not 0",
        id="40-background",
    ),
    pytest.param(
        change(labels={"background": 0, "left": True}),
        "E-SET-46",
        DatasetError,
        "True",
        id="46-bool",
    ),
]


@pytest.mark.parametrize(("fault", "rule", "kind", "says"), JSON_FAULTS)
def test_a_fault_of_dataset_json_is_refused_with_the_place(
    fault: Callable[[Any, Path], None],
    rule: str,
    kind: type[AutosegError],
    says: str,
    make: ModuleType,
    tmp_path: Path,
):
    folder = make.nnunet(tmp_path / "Dataset007_Test")
    fault(make, folder)
    with pytest.raises(kind, match=says) as caught:
        read_dataset(folder)
    assert caught.value.rule == rule
    assert str(folder) in str(caught.value)


def test_all_faults_of_a_layout_are_listed_at_once(make: ModuleType, tmp_path: Path):
    folder = make.nnunet(tmp_path / "Dataset007_Test", numTraining=5)
    remove("labelsTr/a.nii.gz")(make, folder)
    remove("imagesTr/c_0000.nii.gz")(make, folder)
    add("labelsTr/z.nii.gz")(make, folder)
    with pytest.raises(RefusedCasesError, match="has 4 problems") as caught:
        read_dataset(folder)
    found = [problem.rule for problem in caught.value.problems]
    assert found == ["E-SET-42", "E-SET-42", "E-SET-42", "E-SET-46"]
    for name in ("labelsTr/a.nii.gz", "'c' lacks the channels 0000", "labelsTr/z.nii.gz"):
        assert name in str(caught.value)


def test_a_message_lists_ten_problems_and_counts_the_others(make: ModuleType, tmp_path: Path):
    folder = make.nnunet(tmp_path / "Dataset007_Test")
    for number in range(12):
        add(f"labelsTr/extra_{number:02d}.nii.gz")(make, folder)
    with pytest.raises(RefusedCasesError, match=r"has 12 problems: .*extra_09.* and 2 more$"):
        read_dataset(folder)


def decathlon_entry(image: str, label: str = "labelsTr/a.nii.gz") -> dict[str, Any]:
    return {"training": [{"image": image, "label": label}], "numTraining": 1}


@pytest.mark.parametrize(
    ("changes", "rule", "says"),
    [
        pytest.param(
            decathlon_entry("../a.nii.gz"), "E-SET-46", r"\[0\]\.image is '\.\./a", id="up"
        ),
        pytest.param(decathlon_entry("/data/a.nii.gz"), "E-SET-46", "paths inside", id="absolute"),
        pytest.param(decathlon_entry("C:\\a.nii.gz"), "E-SET-46", "paths inside", id="drive"),
        pytest.param(
            decathlon_entry("imagesTr/q.nii.gz"), "E-SET-42", "q.nii.gz: there", id="none"
        ),
        pytest.param(decathlon_entry("imagesTr/a.mha"), "E-SET-46", "allowed endings", id="ending"),
        pytest.param(decathlon_entry("imagesTr/a\0.nii.gz"), "E-SET-45", r"a\\x00", id="nul"),
        pytest.param({"training": {}}, "E-SET-46", "needed is a list", id="no-list"),
        pytest.param({"training": [3]}, "E-SET-46", r"\[0\] is '3'", id="no-object"),
        pytest.param({"training": [], "numTraining": 0}, "E-SET-47", "0 training cases", id="zero"),
        pytest.param(
            {"training": 2 * decathlon_entry("imagesTr/a.nii.gz")["training"]},
            "E-SET-43",
            "same case",
            id="listed-twice",
        ),
        pytest.param({"numTraining": 30}, "E-SET-46", "numTraining is 30, but 3", id="count"),
    ],
)
def test_a_fault_of_a_decathlon_layout_is_refused(
    changes: dict[str, Any], rule: str, says: str, make: ModuleType, tmp_path: Path
):
    folder = make.decathlon(tmp_path / "Task07_Test", **changes)
    with pytest.raises(RefusedCasesError, match=says) as caught:
        read_dataset(folder)
    assert rule in [problem.rule for problem in caught.value.problems]
    assert all(problem.hint for problem in caught.value.problems)
