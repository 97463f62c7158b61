"""Leaving cases out of a dataset: nothing is asked of their files and entries, in any layout."""

import json
from pathlib import Path
from typing import Any

import pytest

from autoseg.core.dataset import exclude_cases
from autoseg.core.errors import DatasetError, RefusedCasesError, UsageError
from autoseg.io.datasets import read_dataset


def touch(folder: Path, *names: str) -> Path:
    """Create empty files: layouts are told by names alone."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def describe(folder: Path, **entries: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps(entries))
    return folder


def without(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).unlink()


NNUNET = {
    "channel_names": {"0": "T1", "1": "T2"},
    "labels": {"background": 0, "left": 1},
    "numTraining": 3,
    "file_ending": ".nii.gz",
}


def nnunet(folder: Path, **changes: Any) -> Path:
    """Three cases of two channels, in the layout of nnU-Net 2."""
    describe(folder, **NNUNET | changes)
    for case in ("c_1", "c_2", "c_3"):
        touch(folder, *(f"imagesTr/{case}_000{k}.nii.gz" for k in (0, 1)))
        touch(folder, f"labelsTr/{case}.nii.gz")
    return folder


def decathlon(folder: Path, **changes: Any) -> Path:
    """Three cases in the layout of the Decathlon; the first one's files are named otherwise."""
    names = {"c_1": ("c_1", "mask_1"), "c_2": ("c_2", "c_2"), "c_3": ("c_3", "c_3")}
    entries: dict[str, Any] = {
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "left"},
        "numTraining": 3,
        "training": [
            {"image": f"./imagesTr/{image}.nii.gz", "label": f"./labelsTr/{label}.nii.gz"}
            for image, label in names.values()
        ],
    }
    describe(folder, **entries | changes)
    for image, label in names.values():
        touch(folder, f"imagesTr/{image}.nii.gz", f"labelsTr/{label}.nii.gz")
    return folder


def named(folder: Path, **changes: Any) -> Path:
    """Three cases that the key ``dataset`` lists."""
    cases = {
        f"c_{n}": {"images": [f"x/{n}a.nii.gz", f"x/{n}b.nii"], "label": f"y/{n}.nii.gz"}
        for n in (1, 2, 3)
    }
    describe(folder, **NNUNET, dataset=cases | changes)
    for case in cases.values():
        touch(folder, *case["images"], str(case["label"]))
    return folder


def test_leaving_sound_cases_out_is_what_exclude_cases_does(tmp_path: Path):
    for build in (nnunet, decathlon, named):
        folder = build(tmp_path / build.__name__)
        fewer = read_dataset(folder, exclude=["c_3", "c_1", "c_3"])
        assert fewer == exclude_cases(read_dataset(folder), ["c_1", "c_3"])
        assert [case.name for case in fewer.cases] == ["c_2"]
        assert fewer.excluded == ("c_1", "c_3")


@pytest.mark.parametrize(
    "gone",
    [
        pytest.param(("labelsTr/c_1.nii.gz",), id="label"),
        pytest.param(("imagesTr/c_1_0001.nii.gz",), id="channel"),
        pytest.param(("imagesTr/c_1_0000.nii.gz", "imagesTr/c_1_0001.nii.gz"), id="images"),
        pytest.param(("labelsTr/c_1.nii.gz", "imagesTr/c_1_0000.nii.gz"), id="both"),
    ],
)
def test_a_case_that_lacks_files_may_be_left_out(gone: tuple[str, ...], tmp_path: Path):
    folder = nnunet(tmp_path / "D", patients={"c_2": "P2", "c_3": "P3"})
    without(folder, *gone)
    with pytest.raises(RefusedCasesError, match="c_1"):
        read_dataset(folder)
    fewer = read_dataset(folder, exclude={"c_1"})
    assert [case.name for case in fewer.cases] == ["c_2", "c_3"]
    assert fewer.excluded == ("c_1",)
    assert fewer.patients == {"c_2": "P2", "c_3": "P3"}
    with pytest.raises(UsageError, match=r"no case 'cc_1' \(meant 'c_1'\?\), .* it has 3 others"):
        read_dataset(folder, exclude=["cc_1"])


@pytest.mark.parametrize(
    "stray",
    [
        pytest.param("imagesTr/c_1_0002.nii.gz", id="channel"),
        pytest.param("imagesTr/c_1_0000.nrrd", id="ending"),
        pytest.param("imagesTr/c_1.nii.gz", id="without-a-number"),
        pytest.param("labelsTr/c_1.nrrd", id="label"),
        pytest.param("imagesTr/c_4_0000.nii.gz", id="other"),
        pytest.param("labelsTr/c_4.nii.gz", id="other-label"),
    ],
)
def test_left_over_files_of_a_case_are_left_out_with_it(stray: str, tmp_path: Path):
    folder = touch(nnunet(tmp_path / "D"), stray)
    with pytest.raises(RefusedCasesError, match=Path(stray).name.split(".", maxsplit=1)[0][:3]):
        read_dataset(folder)
    left_out = Path(stray).name[:3]
    assert read_dataset(folder, exclude=[left_out]).excluded == (left_out,)


def test_files_of_other_cases_are_still_refused(tmp_path: Path):
    folder = touch(nnunet(tmp_path / "D"), "imagesTr/c_2_0007.nii.gz", "imagesTr/notes.txt")
    without(folder, "labelsTr/c_1.nii.gz", "labelsTr/c_3.nii.gz")
    with pytest.raises(RefusedCasesError, match="the layout has 3 problems") as caught:
        read_dataset(folder, exclude=["c_1"])
    problems = " ".join(problem.text for problem in caught.value.problems)
    assert all(name in problems for name in ("notes.txt", "c_2_0007", "labelsTr/c_3"))
    with pytest.raises(UsageError, match=r"no case 'notes\.txt'"):
        read_dataset(folder, exclude=["notes.txt", "c_1"])


def test_a_case_of_a_longer_name_is_not_left_out_with_another(tmp_path: Path):
    folder = describe(
        tmp_path / "D",
        channel_names={"0": "CT"},
        labels={"background": 0, "left": 1},
        file_ending=".nii.gz",
    )
    for case in ("a", "a_0001", "a_0002"):  # numbers of years or patients, not of channels
        touch(folder, f"imagesTr/{case}.nii.gz", f"labelsTr/{case}.nii.gz")
    fewer = read_dataset(folder, exclude=["a"])
    assert [case.name for case in fewer.cases] == ["a_0001", "a_0002"]


@pytest.mark.parametrize(
    ("entry", "gone", "stray"),
    [
        pytest.param(None, ("labelsTr/mask_1.nii.gz",), None, id="no-label"),
        pytest.param(None, ("imagesTr/c_1.nii.gz",), None, id="no-image"),
        pytest.param({"image": "./imagesTr/c_1.nii.gz"},
                     ("labelsTr/mask_1.nii.gz",), None, id="key"),
        pytest.param({"image": "/else/c_1.nrrd", "label": "labelsTr/mask_1.nii.gz"},
                     (), None, id="path"),
        pytest.param({"image": 7, "label": "c_1.nii.gz"},
                     ("labelsTr/mask_1.nii.gz",), None, id="no-path"),
        pytest.param(None, (), "imagesTr/c_1_0000.nii.gz", id="stray"),
    ],
)  # fmt: skip
def test_a_wrong_entry_of_the_decathlon_may_be_left_out(
    entry: dict[str, Any] | None, gone: tuple[str, ...], stray: str | None, tmp_path: Path
):
    folder = decathlon(tmp_path / "D")
    training = json.loads((folder / "dataset.json").read_text())["training"]
    decathlon(folder, training=[entry or training[0], *training[1:]])
    without(folder, *gone)
    touch(folder, *filter(None, [stray]))
    with pytest.raises(RefusedCasesError, match=r"c_1|mask_1|training\[0\]"):
        read_dataset(folder)
    fewer = read_dataset(folder, exclude=["c_1"])
    assert [case.name for case in fewer.cases] == ["c_2", "c_3"]
    assert fewer.description.file_ending == ".nii.gz"
    with pytest.raises(UsageError, match=r"no case 'cc_1' \(meant 'c_1'\?\)"):
        read_dataset(folder, exclude=["cc_1"])


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param({"images": ["x/9a.nii.gz", "x/9b.nii"], "label": "y/9.nii.gz"}, id="missing"),
        pytest.param({"images": ["x/1a.nii.gz"] * 3, "label": "y/1.nii.gz"}, id="channels"),
        pytest.param({"images": ["~/a.png"]}, id="key"),
        pytest.param(7, id="number"),
    ],
)
def test_a_wrong_entry_of_a_list_of_paths_may_be_left_out(entry: object, tmp_path: Path):
    folder = named(tmp_path / "D", c_1=entry)
    with pytest.raises(RefusedCasesError, match=r"c_1|9a"):
        read_dataset(folder)
    assert read_dataset(folder, exclude=["c_1"]).excluded == ("c_1",)
    with pytest.raises(UsageError, match=r"no case 'cc_1' \(meant 'c_1'\?\)"):
        read_dataset(folder, exclude=["cc_1"])


@pytest.mark.parametrize(("announced", "is_taken"), [(1, False), (2, True), (3, True), (4, False)])
def test_the_number_of_cases_may_count_those_left_out(
    announced: int, is_taken: bool, tmp_path: Path
):
    folder = nnunet(tmp_path / "D", numTraining=announced)
    if is_taken:
        assert len(read_dataset(folder, exclude=["c_2"]).cases) == 2
        return
    with pytest.raises(RefusedCasesError, match=f"numTraining is {announced}, but 2 cases"):
        read_dataset(folder, exclude=["c_2"])


def test_a_folder_of_which_all_cases_are_left_out_is_refused(tmp_path: Path):
    for build in (nnunet, decathlon, named):
        folder = build(tmp_path / build.__name__)
        with pytest.raises(DatasetError, match="all of its 3 cases are excluded") as caught:
            read_dataset(folder, exclude=["c_1", "c_2", "c_3"])
        assert caught.value.rule == "E-SET-47"


def test_what_is_wrong_with_all_cases_is_said_before_their_names(tmp_path: Path):
    folder = nnunet(tmp_path / "D", file_ending=".jpg")
    with pytest.raises(RefusedCasesError, match=r"file_ending is '\.jpg'"):
        read_dataset(folder, exclude=["c_1"])
    with pytest.raises(RefusedCasesError, match="there are 0 training cases"):
        read_dataset(nnunet(tmp_path / "E", dataset={}), exclude=["c_1"])
