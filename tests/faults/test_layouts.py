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
    pytest.param(change(file_ending=".jpg"), "E-SET-46", r"file_ending is '\.jpg'", id="46-ending"),
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
    pytest.param(
        change(channel_names=None, training=[], dataset={}),
        "E-SET-46",
        DatasetError,
        "'training' and 'dataset' contradict",
        id="46-two-lists",
    ),
    pytest.param(
        change(labels={"background": 0, "both": [1, 2], "left": 1}),
        "E-VAL-39",
        DatasetError,
        "regions_class_order is missing",
        id="39-region-order",
    ),
    pytest.param(
        change(labels={"background": 0, "left": 1, "ignore": 1}),
        "E-VAL-39",
        DatasetError,
        "ignore label 1 must differ",
        id="39-ignore",
    ),
    pytest.param(
        change(labels={"background": 0, "left": 1, "right": 1}),
        "E-VAL-40",
        DatasetError,
        r"\['left', 'right'\] share",
        id="40-value-twice",
    ),
    pytest.param(
        change(labels={"left": 1, "right": 2}),
        "E-VAL-40",
        DatasetError,
        r"\[1, 2\]; needed are 0",
        id="40-no-background",
    ),
    pytest.param(
        change(patients={"a": "P1", "b": "P1"}),
        "E-SET-48",
        DatasetError,
        "names no patient of 1 of 3 cases: 'c'",
        id="48-patient-missing",
    ),
    pytest.param(
        change(patients={"a": 1}), "E-SET-46", DatasetError, "patients: 'a' is 1", id="46-patients"
    ),
    pytest.param(change(patient={}), "E-SET-46", DatasetError, "meant 'patients'", id="46-patient"),
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
        pytest.param(decathlon_entry("imagesTr/a.jpg"), "E-SET-46", "allowed endings", id="ending"),
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


def named(*images: Any, name: str = "a", label: Any = "labelsTr/a.nii.gz") -> dict[str, Any]:
    """Describe one case by the key 'dataset'."""
    return {"numTraining": 1, "dataset": {name: {"images": [*images], "label": label}}}


PAIR = ("imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz")


@pytest.mark.parametrize(
    ("changes", "rule", "says"),
    [
        pytest.param(
            named("imagesTr/q.nii.gz"),
            "E-SET-42",
            r"imagesTr/q\.nii\.gz: there is no",
            id="missing",
        ),
        pytest.param(
            named(*PAIR, "imagesTr/b_0000.nii.gz"), "E-SET-42", "3 files found, 2 ch", id="channels"
        ),
        pytest.param(
            named("$DATA/a.nii.gz"), "E-SET-46", r"\.a\.images\[0\] is '\$DATA/a", id="variable"
        ),
        pytest.param(named("x/${D}/a.nii.gz"), "E-SET-46", "without variables", id="braces"),
        pytest.param(named(*PAIR, label="~/a.nii.gz"), "E-SET-46", "label is '~/a", id="home"),
        pytest.param(
            named("imagesTr/a.png"), "E-SET-46", "allowed endings are .nii.gz", id="family"
        ),
        pytest.param(named(*PAIR, label=None), "E-SET-46", "label is None, needed", id="no-path"),
        pytest.param(named(), "E-SET-46", r"images is \[\], needed is a list", id="no-images"),
        pytest.param(named(*PAIR, name="../a"), "E-SET-45", r"'\.\./a' is the name", id="name"),
        pytest.param(
            named(*PAIR, name="a\nb"), "E-SET-45", r"'a\\nb' holds a control", id="newline"
        ),
        pytest.param({"dataset": []}, "E-SET-46", "dataset is '\\[\\]', needed", id="list"),
        pytest.param({"dataset": {"a": 3}}, "E-SET-46", "dataset.a is '3'", id="no-object"),
        pytest.param({"dataset": {}, "numTraining": 0}, "E-SET-47", "0 training cases", id="none"),
        pytest.param(
            named(*PAIR) | {"file_ending": ".jpg"}, "E-SET-46", "file_ending is '.jpg'", id="ending"
        ),
        pytest.param(named(*PAIR) | {"numTraining": 3}, "E-SET-46", "3, but 1 cases", id="count"),
    ],
)
def test_a_fault_of_named_files_is_refused(
    changes: dict[str, Any], rule: str, says: str, make: ModuleType, tmp_path: Path
):
    folder = make.nnunet(tmp_path / "Dataset007_Test", **changes)
    with pytest.raises(RefusedCasesError, match=says) as caught:
        read_dataset(folder)
    assert rule in [problem.rule for problem in caught.value.problems]
    assert all(problem.hint for problem in caught.value.problems)


def test_two_named_cases_that_look_alike_are_refused(make: ModuleType, tmp_path: Path):
    entry = {"images": PAIR, "label": "labelsTr/a.nii.gz"}
    changes = {"dataset": {"a": entry, "A": entry}, "numTraining": 2}
    folder = make.nnunet(tmp_path / "Dataset007_Test", **changes)
    with pytest.raises(RefusedCasesError, match="belong to the same case") as caught:
        read_dataset(folder)
    assert caught.value.rule == "E-SET-43"


def test_a_missing_channel_and_an_extra_file_of_nnunet_1_are_refused(
    make: ModuleType, tmp_path: Path
):
    modality = {"0": "T1", "1": "FLAIR"}
    folder = make.decathlon(tmp_path / "Task007_Test", modality=modality)
    for case in "abc":
        (folder / "imagesTr" / f"{case}.nii.gz").rename(folder / f"imagesTr/{case}_0000.nii.gz")
        make.write(folder / f"imagesTr/{case}_0001.nii.gz", b"x")
    make.write(folder / "imagesTr/a_0002.nii.gz", b"x")
    remove("imagesTr/b_0001.nii.gz")(make, folder)
    with pytest.raises(RefusedCasesError, match="has 2 problems") as caught:
        read_dataset(folder)
    assert "b_0001.nii.gz: there is no such file" in str(caught.value)
    assert "a_0002.nii.gz: belongs to no case" in str(caught.value)
