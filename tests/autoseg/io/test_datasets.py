"""Finding cases: both layouts, their spellings, and the folders given to predict."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from autoseg.core.dataset import Case, DatasetDescription
from autoseg.core.errors import DatasetError, RefusedCasesError, UsageError
from autoseg.core.labels import Labels
from autoseg.io.datasets import images_for_prediction, read_dataset

LABELS = Labels(names=("background", "left", "right"))


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


def description(*channels: str, ending: str = ".nii.gz") -> DatasetDescription:
    return DatasetDescription(name="T", channels=channels, labels=LABELS, file_ending=ending)


def test_a_decathlon_folder_is_read(tmp_path: Path):
    folder = describe(
        tmp_path / "Task09_Spleen",
        name="Spleen",
        relase="1.0 06/08/2018",  # so spelled in the original
        modality={"0": "CT"},
        labels={"2": "right", "0": "background", "1": "left"},
        numTraining=2,
        training=[
            {"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"}
            for case in ("spleen_9", "spleen_10")
        ],
    )
    files = [f"{part}/spleen_{n}.nii.gz" for part in ("imagesTr", "labelsTr") for n in (9, 10)]
    touch(folder, *files, "imagesTr/._spleen_9.nii.gz", "labelsTr/.DS_Store", "preview.png")
    dataset = read_dataset(folder)
    assert dataset.description == DatasetDescription(
        name="Task09_Spleen", channels=("CT",), labels=LABELS, file_ending=".nii.gz"
    )
    assert dataset.folder == str(folder)
    assert [case.name for case in dataset.cases] == ["spleen_10", "spleen_9"]
    assert dataset.cases[1] == Case(
        name="spleen_9",
        images=("imagesTr/spleen_9.nii.gz",),
        segmentation="labelsTr/spleen_9.nii.gz",
    )


def test_an_nnunet_folder_is_read(tmp_path: Path):
    folder = describe(
        tmp_path / "Dataset005_Prostate",
        channel_names={"1": "ADC", "0": "T2"},
        labels={"background": 0, "right": 2, "left": [1]},
        numTraining=1,
        file_ending=".nii",
        converted_by="someone",
        overwrite_image_reader_writer="SimpleITKIO",
    )
    touch(folder, "imagesTr/p_1_0000.nii", "imagesTr/p_1_0001.nii", "labelsTr/p_1.nii")
    touch(folder, "imagesTs/q_0000.nii", "splits_final.json")
    dataset = read_dataset(folder)
    assert dataset.description == DatasetDescription(
        name="Dataset005_Prostate", channels=("T2", "ADC"), labels=LABELS, file_ending=".nii"
    )
    assert dataset.cases == (
        Case(
            name="p_1",
            images=("imagesTr/p_1_0000.nii", "imagesTr/p_1_0001.nii"),
            segmentation="labelsTr/p_1.nii",
        ),
    )


def test_names_with_spaces_accents_and_dashes_are_accepted(tmp_path: Path):
    folder = describe(
        tmp_path / "D",
        channel_names={"0": "CT"},
        labels={"background": 0, "left": 1},
        file_ending=".png",
    )
    names = ("-x", "Jörg 2", "über.all")
    for name in names:
        touch(folder, f"imagesTr/{name}_0000.png", f"labelsTr/{name}.png")
    assert [case.name for case in read_dataset(folder).cases] == sorted(names)


def test_a_relative_folder_keeps_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = describe(
        tmp_path / "Dataset001_A",
        channel_names={"0": "CT"},
        labels={"background": 0, "left": 1},
        file_ending=".nii.gz",
    )
    touch(folder, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz")
    monkeypatch.chdir(folder)
    dataset = read_dataset(Path())
    assert (dataset.description.name, dataset.folder) == ("Dataset001_A", str(folder))


def test_a_missing_folder_is_a_usage_error_with_a_hint(tmp_path: Path):
    with pytest.raises(UsageError, match=r"Task99: there is no such folder") as caught:
        read_dataset(tmp_path / "Task99")
    assert "dataset.json" in caught.value.hint


def test_a_folder_without_description_says_what_it_holds(tmp_path: Path):
    touch(tmp_path, "imagesTr/a.nii.gz")
    with pytest.raises(DatasetError, match=r"dataset\.json cannot be read .*\['imagesTr'\]"):
        read_dataset(tmp_path)


def test_a_pipe_in_the_place_of_the_description_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "dataset.json")
    with pytest.raises(DatasetError, match=r"dataset\.json: is no regular file"):
        read_dataset(tmp_path)


def test_files_of_channels_are_grouped_to_cases(tmp_path: Path):
    names = ["b_0000.nii.gz", "b_0001.nii.gz", "a_2023_0001.nii.gz", "a_2023_0000.nii.gz"]
    cases = images_for_prediction(touch(tmp_path, *names, ".hidden"), description("T1", "T2"))
    assert [case.name for case in cases] == ["a_2023", "b"]
    assert cases[1].images == (str(tmp_path / "b_0000.nii.gz"), str(tmp_path / "b_0001.nii.gz"))
    assert cases[1].segmentation is None


@pytest.mark.parametrize("channels", [("CT",), ("T1", "T2")], ids=["one-channel", "4d"])
def test_plain_files_are_a_case_each(channels: tuple[str, ...], tmp_path: Path):
    # Numbers of four digits are no channels unless one of them is 0000.
    folder = touch(tmp_path, "scan_2024.nii.gz", "scan_2023.nii")
    cases = images_for_prediction(folder, description(*channels))
    assert [(case.name, case.images) for case in cases] == [
        ("scan_2023", (str(folder / "scan_2023.nii"),)),
        ("scan_2024", (str(folder / "scan_2024.nii.gz"),)),
    ]


def test_one_file_is_one_case(tmp_path: Path):
    touch(tmp_path, "a.nii.gz", "b_0000.nii.gz", "other.txt")
    (plain,) = images_for_prediction(tmp_path / "a.nii.gz", description("CT"))
    assert (plain.name, plain.images) == ("a", (str(tmp_path / "a.nii.gz"),))
    (channel,) = images_for_prediction(tmp_path / "b_0000.nii.gz", description("CT"))
    assert channel.name == "b"


@pytest.mark.parametrize(
    ("names", "channels", "rule", "says"),
    [
        pytest.param(
            ("a_0000.nii.gz",), ("T1", "T2"), "E-SET-42", "'a' lacks the channels 0001", id="lacks"
        ),
        pytest.param(
            ("a_0000.nii.gz", "a_0001.nii.gz"),
            ("T1",),
            "E-SET-42",
            "a_0001.*no case",
            id="too-many",
        ),
        pytest.param(
            ("a_0000.nii.gz", "b.nii.gz"), ("T1",), "E-SET-42", "b.nii.gz: has no", id="mixed"
        ),
        pytest.param(("a.nii.gz", "a.nii"), ("T1",), "E-SET-43", "'a.nii', 'a.nii.gz'", id="twice"),
        pytest.param(("a.nii", "A.nii"), ("T1",), "E-SET-43", "'A.nii', 'a.nii'", id="case-fold"),
        pytest.param(
            ("\u00fc.nii", "u\u0308.nii"), ("T1",), "E-SET-43", "same case", id="unicode-forms"
        ),
        pytest.param(("a.nii", "read.me"), ("T1",), "E-SET-42", "read.me: is no image", id="other"),
        pytest.param(("a.png",), ("T1",), "E-SET-42", "allowed endings are .nii.gz", id="png"),
        pytest.param(("a.nrrd", "a.mha"), ("T1",), "E-SET-43", "'a.mha', 'a.nrrd'", id="formats"),
        pytest.param(("a.mhd", "b.raw"), ("T1",), "E-SET-42", "b.raw: is no image", id="raw"),
        pytest.param(("a\n.nii",), ("T1",), "E-SET-45", r"'a\\n\.nii'", id="newline"),
    ],
)
def test_files_that_fit_no_case_are_refused(
    names: tuple[str, ...], channels: tuple[str, ...], rule: str, says: str, tmp_path: Path
):
    touch(tmp_path, *names)
    with pytest.raises(RefusedCasesError, match=says) as caught:
        images_for_prediction(tmp_path, description(*channels))
    assert caught.value.rule == rule
    assert caught.value.hint


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_nothing_to_predict_is_a_usage_error(name: str, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=f"{name}: (there is no|holds no)") as caught:
        images_for_prediction(tmp_path / name, description("CT"))
    assert caught.value.hint


def test_an_nnunet_1_folder_is_told_by_its_numbered_files(tmp_path: Path):
    folder = describe(
        tmp_path / "Task005_Prostate",
        modality={"0": "T2", "1": "ADC"},
        labels={"0": "background", "1": "left", "2": "right"},
        numTraining=2,
        tensorImageSize="4D",
        training=[
            {"image": f"./imagesTr/p_{n}.nii.gz", "label": f"./labelsTr/p_{n}.nii.gz"}
            for n in (2, 1)
        ],
    )
    touch(folder, *(f"imagesTr/p_{n}_000{c}.nii.gz" for n in (1, 2) for c in (0, 1)))
    touch(folder, *(f"labelsTr/p_{n}.nii.gz" for n in (1, 2)), "imagesTs/q_0000.nii.gz")
    dataset = read_dataset(folder)
    assert dataset.description.channels == ("T2", "ADC")
    assert dataset.description.file_ending == ".nii.gz"
    assert dataset.cases == tuple(
        Case(
            name=f"p_{n}",
            images=(f"imagesTr/p_{n}_0000.nii.gz", f"imagesTr/p_{n}_0001.nii.gz"),
            segmentation=f"labelsTr/p_{n}.nii.gz",
        )
        for n in (1, 2)
    )


def test_named_files_may_lie_anywhere_and_strays_are_not_looked_for(tmp_path: Path):
    touch(tmp_path, "scans/7.nii", "scans/8.nii.gz", "masks/7.nrrd", "scans/notes.txt")
    folder = describe(
        tmp_path / "Dataset005_Prostate",
        channel_names={"0": "CT"},
        labels={"background": 0, "left": 1, "right": 2},
        numTraining=2,
        file_ending=".nii.gz",
        dataset={
            "q": {"images": ["../scans/8.nii.gz"], "label": "own/8.nii.gz", "site": "B"},
            "p": {"images": [str(tmp_path / "scans/7.nii")], "label": "../masks/7.nrrd"},
        },
    )
    touch(folder, "own/8.nii.gz", "own/stray.nii.gz", "imagesTr/stray_0000.nii.gz")
    assert read_dataset(folder).cases == (
        Case(name="p", images=(str(tmp_path / "scans/7.nii"),), segmentation="../masks/7.nrrd"),
        Case(name="q", images=("../scans/8.nii.gz",), segmentation="own/8.nii.gz"),
    )


@pytest.mark.parametrize(
    ("images", "beside"),
    [
        pytest.param(("a_0000.png", "b_0000.png"), (), id="numbered"),
        pytest.param(("a.png", "b.png"), (), id="plain"),
        pytest.param(("a_0000.tif", "b_0000.tif"), ("a.json", "b_0000.json"), id="tiff"),
    ],
)
def test_a_color_picture_holds_all_channels(
    images: tuple[str, ...], beside: tuple[str, ...], tmp_path: Path
):
    ending = Path(images[0]).suffix
    folder = describe(
        tmp_path / "D",
        channel_names={"0": "R", "1": "G", "2": "B"},
        labels={"background": 0, "left": 1},
        file_ending=ending,
    )
    touch(folder, *(f"imagesTr/{name}" for name in (*images, *beside)))
    touch(folder, f"labelsTr/a{ending}", f"labelsTr/b{ending}")
    cases = read_dataset(folder).cases
    assert [(case.name, case.images) for case in cases] == [
        ("a", (f"imagesTr/{images[0]}",)),
        ("b", (f"imagesTr/{images[1]}",)),
    ]
    predicted = images_for_prediction(folder / "imagesTr", description(*"RGB", ending=ending))
    assert [(case.name, len(case.images)) for case in predicted] == [("a", 1), ("b", 1)]


def test_a_picture_of_each_channel_is_taken_too(tmp_path: Path):
    names = ("a_0000.bmp", "a_0001.bmp", "a_0002.bmp")
    (case,) = images_for_prediction(touch(tmp_path, *names), description(*"RGB", ending=".png"))
    assert [Path(image).name for image in case.images] == list(names)


def test_two_of_three_channels_are_refused(tmp_path: Path):
    touch(tmp_path, "a_0000.png", "a_0001.png")
    with pytest.raises(RefusedCasesError, match="'a' lacks the channels 0002"):
        images_for_prediction(tmp_path, description(*"RGB", ending=".png"))


def test_files_that_belong_to_others_are_no_strays(tmp_path: Path):
    folder = describe(
        tmp_path / "D",
        channel_names={"0": "CT"},
        labels={"background": 0, "left": 1},
        file_ending=".mhd",
    )
    touch(folder, "imagesTr/a_0000.mhd", "imagesTr/a_0000.raw", "labelsTr/a.mhd", "labelsTr/a.zraw")
    assert [case.name for case in read_dataset(folder).cases] == ["a"]
    (case,) = images_for_prediction(folder / "labelsTr", description("CT"))
    assert case.images == (str(folder / "labelsTr/a.mhd"),)


def test_a_model_takes_every_ending_of_its_family(tmp_path: Path):
    volumes = touch(tmp_path / "v", "a.nii.gz", "b.nii", "c.nrrd", "d.mha", "e.mhd", "f.gipl")
    pictures = touch(tmp_path / "p", "a.png", "b.bmp", "c.tif", "d.tiff")
    for ending in (".nrrd", ".nii"):
        found = images_for_prediction(volumes, description("CT", ending=ending))
        assert [case.name for case in found] == list("abcdef")
    for ending in (".tif", ".png"):
        found = images_for_prediction(pictures, description("CT", ending=ending))
        assert [case.name for case in found] == list("abcd")
        with pytest.raises(RefusedCasesError, match=r"are \.tif, \.tiff, \.png, \.bmp"):
            images_for_prediction(volumes, description("CT", ending=ending))


def test_regions_patients_and_ignored_voxels_are_read(tmp_path: Path):
    folder = describe(
        tmp_path / "D",
        channel_names={"0": "CT"},
        labels={"background": 0, "whole": [1, 5], "core": 5, "ignore": 9},
        regions_class_order=[1, 5],
        file_ending=".nii.gz",
        patients={"a": "P1", "b": "P1", "left_out": "P2"},
    )
    for case in "ab":
        touch(folder, f"imagesTr/{case}_0000.nii.gz", f"labelsTr/{case}.nii.gz")
    dataset = read_dataset(folder)
    labels = dataset.description.labels
    assert (labels.names, labels.values, labels.ignore) == (
        ("background", "label 1", "core"),
        (0, 1, 5),
        9,
    )
    assert [(r.name, r.labels, r.written) for r in labels.regions] == [
        ("whole", (1, 2), 1),
        ("core", (2,), 2),
    ]
    assert dataset.patients == {"a": "P1", "b": "P1"}


def slices(folder: Path) -> Path:
    """Make two files that begin as DICOM does; no more is looked at here."""
    folder.mkdir(parents=True)
    for name in ("IM0", "IM1.dcm"):
        (folder / name).write_bytes(bytes(128) + b"DICM")
    return folder


def test_a_folder_of_slices_is_a_case(tmp_path: Path):
    one = slices(tmp_path / "p01")
    (case,) = images_for_prediction(one, description("CT"))
    assert (case.name, case.images) == ("p01", (str(one),))
    slices(tmp_path / "p00")
    touch(tmp_path, "b.nii.gz")
    found = images_for_prediction(tmp_path, description("CT"))
    assert [case.name for case in found] == ["b", "p00", "p01"]
    assert found[1].images == (str(tmp_path / "p00"),)


def test_a_series_is_one_channel(tmp_path: Path):
    slices(tmp_path / "in" / "p00")
    with pytest.raises(RefusedCasesError) as caught:
        images_for_prediction(tmp_path / "in", description("T1", "T2"))
    (problem,) = caught.value.problems
    assert problem.text.endswith("p00: a series is one channel, the model takes 2")
    assert "convert the series of a case to <case>_0000.nii.gz" in problem.hint


def test_a_series_and_a_file_of_one_name_are_one_case_twice(tmp_path: Path):
    slices(tmp_path / "a")
    with pytest.raises(RefusedCasesError, match="'a'"):
        images_for_prediction(touch(tmp_path, "a.nii.gz"), description("CT"))
