"""Which cases and which file each fault of a layout is about, and which cases it leaves whole."""

import json
from pathlib import Path
from typing import Any

import pytest

from autoseg.core.errors import DatasetError, UsageError
from autoseg.io.datasets import Found, find_dataset, read_dataset

CASES = ("c_1", "c_2", "c_3", "c_4")
LABELS = {"background": 0, "left": 1}
NNUNET = {"channel_names": {"0": "T1", "1": "T2"}, "labels": LABELS, "file_ending": ".nii.gz"}


def touch(folder: Path, *names: str) -> Path:
    """Create empty files: layouts are told by names alone."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def describe(folder: Path, file: str = "dataset.json", **entries: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(json.dumps(entries))
    return folder


def nnunet(folder: Path, **changes: Any) -> Path:
    """Four cases of two channels, in the layout of nnU-Net 2."""
    describe(folder, **NNUNET | changes)
    for case in CASES:
        touch(folder, *(f"imagesTr/{case}_000{k}.nii.gz" for k in (0, 1)))
        touch(folder, f"labelsTr/{case}.nii.gz")
    return folder


def decathlon(folder: Path, **changes: Any) -> Path:
    """Four cases in the layout of the Decathlon."""
    files = [{"image": f"imagesTr/{c}.nii.gz", "label": f"labelsTr/{c}.nii.gz"} for c in CASES]
    labels = {"0": "background", "1": "left"}
    describe(folder, **{"modality": {"0": "CT"}, "labels": labels, "training": files} | changes)
    return touch(folder, *(path for entry in files for path in entry.values()))


def named(folder: Path, **changes: Any) -> Path:
    """Four cases that the key ``dataset`` lists; the keywords change them."""
    cases = {
        c: {"images": [f"x/{c}_t1.nii.gz", f"x/{c}_t2.nii"], "label": f"y/{c}.nii.gz"}
        for c in CASES
    }
    describe(folder, **NNUNET, dataset=cases | changes)
    for case in cases.values():
        touch(folder, *case["images"], str(case["label"]))
    return folder


def manifest(folder: Path, **changes: Any) -> Path:
    """Four cases of a JSON manifest; the keywords change them or add others."""
    touch(folder, *(f"{part}/{c}.nii.gz" for c in CASES for part in "xy"))
    cases = {
        c: {"name": c, "images": [f"x/{c}.nii.gz"], "segmentation": f"y/{c}.nii.gz"} for c in CASES
    }
    listed = [*(cases | changes).values()]
    return describe(folder, "manifest.json", channels=["CT"], labels=LABELS, cases=listed)


def told(found: Found, folder: Path) -> list[tuple[str, str, str]]:
    """Return rule, cases and file of each problem."""
    return [
        (problem.rule, " ".join(problem.cases), problem.file.removeprefix(f"{folder}/"))
        for problem in found.problems
    ]


def names(found: Found) -> list[str]:
    return [] if found.dataset is None else [case.name for case in found.dataset.cases]


def test_a_whole_dataset_is_what_the_strict_reader_reads(tmp_path: Path):
    for build in (nnunet, decathlon, named, manifest):
        folder = build(tmp_path / build.__name__)
        found = find_dataset(folder, exclude=["c_2"])
        assert found == Found(dataset=read_dataset(folder, exclude=["c_2"]), problems=())
        assert names(found) == ["c_1", "c_3", "c_4"]


@pytest.mark.parametrize(
    ("added", "rule", "cases", "file"),
    [
        pytest.param("imagesTr/c_2_0002.nii.gz", "42", "c_2", "", id="channel"),
        pytest.param("imagesTr/c_2.nii.gz", "42", "c_2", "", id="without-a-number"),
        pytest.param("labelsTr/c_2.nrrd", "42", "c_2", "", id="label-of-another-ending"),
        pytest.param("imagesTr/c_2_0005.nrrd", "42", "c_2", "", id="image-of-another-ending"),
        pytest.param("labelsTr/c_5.nii.gz", "42", "c_5", "", id="label-of-another-case"),
        pytest.param("imagesTr/c_5.nii.gz", "42", "c_5", "", id="image-of-another-case"),
        pytest.param("imagesTr/c_5_0000.nrrd", "42", "c_5", "", id="number-and-ending"),
        pytest.param("imagesTr/notes.txt", "42", "", "", id="text-among-images"),
        pytest.param("labelsTr/c_2.txt", "42", "", "", id="text-among-labels"),
        pytest.param("imagesTr/c_2_0000.nii", "43", "c_2", None, id="two-endings"),
        pytest.param("imagesTr/C_2_0000.nii.gz", "43", "C_2 c_2", None, id="two-spellings"),
        pytest.param("imagesTr/c\t5.nii.gz", "45", "c\t5", "", id="tabulator"),
    ],
)
def test_a_file_of_nnunet_too_many_is_about_its_case(
    added: str, rule: str, cases: str, file: str | None, tmp_path: Path
):
    folder = touch(nnunet(tmp_path / "D"), added)
    found = find_dataset(folder)
    assert (f"E-SET-{rule}", cases, "" if file is None else added) in told(found, folder)
    assert names(found) == [name for name in CASES if name not in cases.split(" ")]
    assert found.at_fault == set(filter(None, cases.split(" ")))


def test_several_missing_channels_are_no_single_file(tmp_path: Path):
    folder = nnunet(tmp_path / "D", channel_names={"0": "T1", "1": "T2", "2": "T1c"})
    touch(folder, *(f"imagesTr/{case}_0002.nii.gz" for case in CASES))
    (folder / "imagesTr" / "c_2_0001.nii.gz").unlink()
    (folder / "imagesTr" / "c_4_0000.nii.gz").unlink()
    (folder / "imagesTr" / "c_4_0002.nii.gz").unlink()
    found = find_dataset(folder)
    assert told(found, folder) == [
        ("E-SET-42", "c_2", "imagesTr/c_2_0001.nii.gz"),
        ("E-SET-42", "c_4", ""),
    ]
    assert names(found) == ["c_1", "c_3"]


@pytest.mark.parametrize(
    ("entry", "rule", "cases", "file"),
    [
        pytest.param({"image": "imagesTr/c_2.nii.gz"}, "46", "c_2", "dataset.json", id="key"),
        pytest.param(7, "46", "", "dataset.json", id="number"),
        pytest.param({"image": "imagesTr/c_9.nii.gz", "label": "labelsTr/c_2.nii.gz"},
                     "42", "c_9", "imagesTr/c_9.nii.gz", id="missing"),
        pytest.param({"image": "imagesTr/c_3.nii.gz", "label": "labelsTr/c_3.nii.gz"},
                     "43", "c_3", "", id="listed-twice"),
    ],
)  # fmt: skip
def test_an_entry_of_the_decathlon_is_about_its_case(
    entry: Any, rule: str, cases: str, file: str, tmp_path: Path
):
    folder = decathlon(tmp_path / "D")
    training = json.loads((folder / "dataset.json").read_text())["training"]
    decathlon(folder, training=[training[0], entry, *training[2:]])
    found = find_dataset(folder)
    assert (f"E-SET-{rule}", cases, file) in told(found, folder)
    # Nothing lists the image of the second case any more, which is told as well.
    assert ("E-SET-42", "c_2", "imagesTr/c_2.nii.gz") in told(found, folder)
    assert names(found) == [name for name in CASES if name not in ("c_2", cases)]


def test_another_ending_is_about_no_case(tmp_path: Path):
    folder = decathlon(tmp_path / "D")
    text = (folder / "dataset.json").read_text()
    (folder / "dataset.json").write_text(text.replace("imagesTr/c_2.nii.gz", "imagesTr/c_2.nii"))
    (folder / "imagesTr" / "c_2.nii.gz").rename(folder / "imagesTr" / "c_2.nii")
    found = find_dataset(folder)
    assert told(found, folder) == [("E-SET-46", "", "dataset.json")]
    assert names(found) == [*CASES]


@pytest.mark.parametrize(
    ("entry", "problems"),
    [
        pytest.param({"images": ["x/9.nii.gz", "x/c_1_t2.nii"], "label": "y/9.nii.gz"},
                     [("42", "x/9.nii.gz"), ("42", "y/9.nii.gz")], id="missing"),
        pytest.param({"images": ["x/a.nii.gz"] * 3, "label": "y/c_2.nii.gz"},
                     [("42", "dataset.json")], id="channels"),
        pytest.param({"images": ["~/a.nii.gz"], "label": "y/c_2.nii.gz"},
                     [("46", "dataset.json")], id="path"),
        pytest.param({"images": ["x/a\n.nii.gz"], "label": "y/c_2.nii.gz"},
                     [("45", "dataset.json")], id="newline"),
        pytest.param(7, [("46", "dataset.json")], id="number"),
    ],
)  # fmt: skip
def test_an_entry_of_the_list_of_paths_is_about_its_case(
    entry: Any, problems: list[tuple[str, str]], tmp_path: Path
):
    folder = named(tmp_path / "D", c_2=entry)
    found = find_dataset(folder)
    assert told(found, folder) == [(f"E-SET-{rule}", "c_2", file) for rule, file in problems]
    assert names(found) == ["c_1", "c_3", "c_4"]


def test_named_cases_that_look_alike_are_both_at_fault(tmp_path: Path):
    entry = {"images": ["x/c_1_t1.nii.gz", "x/c_1_t2.nii"], "label": "y/c_1.nii.gz"}
    folder = named(tmp_path / "D", C_1=entry)
    found = find_dataset(folder)
    assert told(found, folder) == [("E-SET-43", "c_1 C_1", "")]
    assert names(found) == ["c_2", "c_3", "c_4"]
    assert found.problems[0].case == ""


@pytest.mark.parametrize(
    ("entry", "rule", "cases", "file"),
    [
        pytest.param({"name": "c_5", "images": ["x/9.nii.gz"], "segmentation": "y/c_1.nii.gz"},
                     "42", "c_5", "x/9.nii.gz", id="missing"),
        pytest.param({"name": "c_5", "images": ["x/c_1.nii.gz"] * 2,
                      "segmentation": "y/c_1.nii.gz"}, "42", "c_5", "manifest.json", id="channels"),
        pytest.param({"name": "C_2", "images": ["x/c_1.nii.gz"], "segmentation": "y/c_1.nii.gz"},
                     "43", "C_2 c_2", "manifest.json", id="look-alike"),
        pytest.param({"name": "c_5", "images": "x"}, "46", "c_5", "manifest.json", id="form"),
        pytest.param({"images": ["x/c_1.nii.gz"], "segmentation": "y/c_1.nii.gz"},
                     "46", "", "manifest.json", id="no-name"),
        pytest.param({"name": "c_2", "images": ["x/c_1.nii.gz"], "segmentation": "y/c_1.nii.gz",
                      "labels": {"left": 0}}, "40", "c_2", "manifest.json", id="label"),
        pytest.param(7, "46", "", "manifest.json", id="number"),
    ],
)  # fmt: skip
def test_an_entry_of_a_manifest_is_about_its_case(
    entry: Any, rule: str, cases: str, file: str, tmp_path: Path
):
    folder = manifest(tmp_path / "D", other=entry)
    found = find_dataset(folder)
    group = "VAL" if rule == "40" else "SET"
    assert (f"E-{group}-{rule}", cases, file) in told(found, folder)
    assert names(found) == [name for name in CASES if name not in cases.split(" ")]


def test_a_row_of_a_table_is_about_its_case(tmp_path: Path):
    folder = describe(tmp_path / "D", "manifest.json", channels=["CT"], labels=LABELS)
    touch(folder, *(f"{part}/{case}.nii.gz" for case in CASES for part in "xy"))
    rows = [f"{case},x/{case}.nii.gz,y/{case}.nii.gz,P{case}" for case in CASES]
    rows[0] += ",one more"
    rows[2] = rows[2].replace("y/c_3", "y/c_9")
    rows[3] = "c_4,x/c_4.nii.gz,y/c_4.nii.gz,"
    table = "case,image,segmentation,patient\n" + "\n".join(rows)
    (folder / "manifest.csv").write_text(table)
    found = find_dataset(folder)
    assert told(found, folder) == [
        ("E-SET-46", "c_1", "manifest.csv"),
        ("E-SET-42", "c_3", "y/c_9.nii.gz"),
        ("E-SET-48", "c_4", "manifest.csv"),
    ]
    assert names(found) == ["c_2"]
    fewer = read_dataset(folder, exclude=["c_1", "c_3", "c_4"])
    assert [case.name for case in fewer.cases] == ["c_2"]


def test_a_file_of_bids_is_about_its_session(tmp_path: Path):
    folder = describe(tmp_path / "D", "dataset_description.json", Name="D")
    for sub in ("sub-1", "sub-2", "sub-3", "sub-4"):
        touch(folder, f"{sub}/anat/{sub}_T1w.nii.gz", f"{sub}/anat/{sub}_label-cyst_mask.nii.gz")
    second, third = folder / "sub-2" / "anat", folder / "sub-3" / "anat"
    touch(second, "sub-2_run-2_T1w.nii.gz")
    (third / "sub-3_T1w.nii.gz").unlink()
    (third / "sub-3_T1w.nii.gz").symlink_to("gone")
    touch(folder, "sub-9/anat/sub-9_label-cyst_mask.nii.gz")
    found = find_dataset(folder)
    assert told(found, folder) == [
        ("E-SET-42", "sub-9", "sub-9/anat/sub-9_label-cyst_mask.nii.gz"),
        ("E-SET-43", "sub-2", ""),
        ("E-SET-42", "sub-3", "sub-3/anat/sub-3_T1w.nii.gz"),
    ]
    assert names(found) == ["sub-1", "sub-4"]


def test_cases_without_a_patient_are_at_fault_where_others_have_one(tmp_path: Path):
    folder = nnunet(tmp_path / "D", patients={"c_1": "P1", "c_2": "P1", "c_4": "P2"})
    (folder / "labelsTr" / "c_1.nii.gz").unlink()
    found = find_dataset(folder)
    assert told(found, folder) == [
        ("E-SET-42", "c_1", "labelsTr/c_1.nii.gz"),
        ("E-SET-48", "c_3", "dataset.json"),
    ]
    assert found.dataset is not None
    assert found.dataset.patients == {"c_2": "P1", "c_4": "P2"}
    found = find_dataset(nnunet(tmp_path / "E", patients={"c_5": "P1"}))
    assert (found.dataset, found.at_fault) == (None, set(CASES))


def test_what_is_wrong_with_all_cases_leaves_no_dataset(tmp_path: Path):
    folder = nnunet(tmp_path / "D", file_ending=".jpg")
    found = find_dataset(folder)
    assert (found.dataset, told(found, folder)) == (None, [("E-SET-46", "", "dataset.json")])
    folder = decathlon(tmp_path / "E", training={})
    found = find_dataset(folder)
    assert (found.dataset, told(found, folder)[0]) == (None, ("E-SET-46", "", "dataset.json"))
    with pytest.raises(DatasetError, match="all of its 4 cases are excluded"):
        find_dataset(nnunet(tmp_path / "F"), exclude=CASES)
    with pytest.raises(UsageError, match="no case 'c_9'"):
        find_dataset(folder.parent / "F", exclude=["c_9"])


def test_cases_left_out_on_request_are_not_at_fault(tmp_path: Path):
    folder = nnunet(tmp_path / "D", numTraining=4)
    (folder / "labelsTr" / "c_1.nii.gz").unlink()
    found = find_dataset(folder, exclude=["c_1"])
    assert (names(found), found.problems) == (["c_2", "c_3", "c_4"], ())
    assert found.dataset is not None
    assert found.dataset.excluded == ("c_1",)
