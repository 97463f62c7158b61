"""Manifests: cases listed in CSV or JSON, wherever their files lie, and labels mapped by name."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoseg.core.dataset import Case
from autoseg.core.errors import (
    AutosegError,
    DatasetError,
    DocumentError,
    RefusedCasesError,
    UsageError,
)
from autoseg.core.geometry import Geometry
from autoseg.io.datasets import read_dataset
from autoseg.io.voxels import Decoded, label_map

ABOUT = {"channels": ["CT"], "labels": {"background": 0, "liver": 1, "spleen": 2}}
GRID = Geometry(
    file_shape=(1, 2, 3),
    file_affine=((3, 0, 0, 0), (0, 1.5, 0, 0), (0, 0, 0.5, 0), (0, 0, 0, 1)),
    file_axes=(0, 1, 2),
    reversed_axes=(False, False, False),
)
TABLE = "case,image,segmentation,patient\nb,x/b.nii.gz,y/b.nii.gz,P1\na,x/a.nii,y/a.nii.gz,P2\n"


def touch(folder: Path, *names: str) -> Path:
    """Create empty files: layouts are told by names alone."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Build a folder with the images and segmentations of two cases."""
    return touch(
        tmp_path / "study", "x/a.nii", "x/b.nii.gz", "x/b_pet.nrrd", "y/a.nii.gz", "y/b.nii.gz"
    )


def write(path: Path, content: Any) -> Path:
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_bytes(text.encode())
    return path


def tabled(folder: Path, table: str, **about: Any) -> Path:
    """Write a table and the description beside it; keys that are None are left out."""
    entries = {key: value for key, value in (ABOUT | about).items() if value is not None}
    write(folder / "cohort.json", entries)
    return write(folder / "cohort.csv", table)


def listed(folder: Path, *cases: Any, **about: Any) -> Path:
    """Write a manifest of JSON; keys that are None are left out."""
    entries = ABOUT | {"cases": [*cases]} | about
    kept = {key: value for key, value in entries.items() if value is not None}
    return write(folder / "cohort.json", kept)


def case(name: str = "a", **changes: Any) -> dict[str, Any]:
    files = {"images": ["x/a.nii"], "segmentation": "y/a.nii.gz"}
    return {"name": name} | files | changes


def refused(path: Path, says: str | None = None) -> RefusedCasesError:
    with pytest.raises(RefusedCasesError, match=says) as caught:
        read_dataset(path)
    assert all(problem.hint for problem in caught.value.problems)
    return caught.value


def texts(error: RefusedCasesError) -> list[str]:
    return [problem.text for problem in error.problems]


def test_a_table_lists_cases_and_the_json_beside_it_says_what_they_are(folder: Path):
    dataset = read_dataset(tabled(folder, TABLE))
    assert dataset.description.name == "cohort"
    assert dataset.description.channels == ("CT",)
    assert dataset.description.labels.names == ("background", "liver", "spleen")
    assert dataset.description.file_ending == ".nii.gz"  # the images end in two ways
    assert dataset.cases == (
        Case(name="a", images=("x/a.nii",), segmentation="y/a.nii.gz", patient="P2"),
        Case(name="b", images=("x/b.nii.gz",), segmentation="y/b.nii.gz", patient="P1"),
    )
    assert (dataset.folder, dataset.origin) == (str(folder), str(folder / "cohort.csv"))
    assert read_dataset(folder / "cohort.json") == dataset


def test_json_says_everything(folder: Path):
    about = {
        "name": "Organs 2",
        "description": "two sites",
        "channels": ["CT", "PET"],
        "labels": {"background": 0, "both": [1, 2], "spleen": 2, "ignore": 9},
        "regions_class_order": [1, 2],
        "file_ending": ".nrrd",
    }
    images = [str(folder / "x/b.nii.gz"), "x/b_pet.nrrd"]
    path = listed(folder, case("b", images=images), case("a", patient=None), **about)
    dataset = read_dataset(path)
    assert (dataset.description.name, dataset.description.file_ending) == ("Organs 2", ".nrrd")
    assert dataset.description.labels.ignore == 9
    assert [region.name for region in dataset.description.labels.regions] == ["both", "spleen"]
    assert dataset.cases[1].images == (str(folder / "x/b.nii.gz"), "x/b_pet.nrrd")
    assert dataset.cases[0].images == ("x/a.nii",)  # one file that holds both channels
    assert dataset.patients is None


@pytest.mark.parametrize(
    "spelling",
    [
        pytest.param(TABLE.replace("\n", "\r\n"), id="windows"),
        pytest.param("\ufeff" + TABLE, id="byte-order-mark"),
        pytest.param(TABLE.replace(",", ";"), id="semicolons"),
        pytest.param(TABLE.replace(",", "\t"), id="tabs"),
        pytest.param(TABLE.replace(",", " , "), id="spaces"),
        pytest.param(TABLE.replace("\n", "\n\n").replace("P2\n", "P2,,\n"), id="blank"),
        pytest.param(TABLE.replace("x/b.nii.gz", '"x/b.nii.gz"'), id="quotes"),
        pytest.param(TABLE.rstrip("\n"), id="no-last-line-break"),
        pytest.param(
            "patient,#age,segmentation,case,image\nP1,,y/b.nii.gz,b,x/b.nii.gz\n"
            'P2,"6,5",y/a.nii.gz,a,./x/a.nii\n',
            id="order-and-comment",
        ),
    ],
)
def test_tables_may_be_spelled_as_spreadsheets_do(spelling: str, folder: Path):
    expected = read_dataset(tabled(folder, TABLE)).cases
    assert read_dataset(tabled(folder, spelling)).cases == expected


def test_each_channel_may_have_a_column(folder: Path):
    table = (
        "case,image:PET,image:CT,segmentation\n"
        "b,x/b_pet.nrrd,x/b.nii.gz,y/b.nii.gz\na,x/b_pet.nrrd,x/a.nii,y/a.nii.gz\n"
    )
    dataset = read_dataset(tabled(folder, table, channels=None))
    assert dataset.description.channels == ("PET", "CT")
    assert dataset.cases[1].images == ("x/b_pet.nrrd", "x/b.nii.gz")
    dataset = read_dataset(tabled(folder, table, channels=["CT", "PET"]))
    assert dataset.description.channels == ("CT", "PET")
    assert dataset.cases[1].images == ("x/b.nii.gz", "x/b_pet.nrrd")


def test_spaces_around_the_colon_of_a_column_do_not_count(folder: Path):
    row = "a,x/a.nii,y/a.nii.gz,3\n"
    path = tabled(folder, "case,image : CT,segmentation,label: liver\n" + row, channels=None)
    dataset = read_dataset(path)
    assert dataset.description.channels == ("CT",)
    assert dataset.cases[0].label_values[1] == 3


def test_a_file_that_is_listed_twice_for_a_case_is_refused(folder: Path):
    error = refused(listed(folder, case(segmentation="x/a.nii")))
    assert "segmentation: 'x/a.nii' is the file of " in texts(error)[0]


def test_a_header_that_no_reader_takes_is_refused(folder: Path):
    with pytest.raises(DocumentError, match=r"is no table at row 1: field larger than"):
        read_dataset(tabled(folder, "case,image," + "x" * 140_000 + "\n"))


def test_the_folder_of_a_manifest_may_be_named(folder: Path):
    tabled(folder, TABLE)
    for ending in ("csv", "json"):
        (folder / f"cohort.{ending}").rename(folder / f"manifest.{ending}")
    dataset = read_dataset(folder)
    assert (dataset.description.name, len(dataset.cases)) == ("study", 2)
    assert dataset.manifest == str(folder / "manifest.csv")
    assert read_dataset(Path(dataset.origin)) == dataset


def test_an_image_may_be_a_folder_of_slices(folder: Path):
    touch(folder, "dicom/7/IM0001", "dicom/7/IM0002")
    dataset = read_dataset(listed(folder, case(images=["dicom/7/"])))
    assert dataset.cases[0].images == ("dicom/7",)
    assert dataset.description.file_ending == ".nii.gz"
    error = refused(listed(folder, case(segmentation="dicom/7"), case("b", images=["dicom/8"])))
    assert "cases[0].segmentation is 'dicom/7', allowed endings are .nii.gz" in texts(error)[0]
    assert f"cases[1].images[0]: {folder}/dicom/8: there is no such file" in texts(error)[1]


def test_a_label_has_the_value_that_a_case_says_for_its_name(folder: Path):
    table = (
        "case,image,segmentation,label:spleen,label:liver\n"
        "b,x/b.nii.gz,y/b.nii.gz,,\na,x/a.nii,y/a.nii.gz,1,2\n"
    )
    dataset = read_dataset(tabled(folder, table))
    labels = dataset.description.labels
    assert [case.label_values for case in dataset.cases] == [(0, 2, 1), ()]
    assert dataset.cases[1].labels_in_file(labels) == labels
    own = dataset.cases[0].labels_in_file(labels)
    assert own.file_values == (0, 2, 1)
    assert (own.names, own.dtype) == (labels.names, labels.dtype)


@pytest.mark.parametrize(
    ("values", "stored"),
    [
        pytest.param((2, 3, 40, 1), [[2, 3, 40], [1, 2, 40]], id="others"),
        pytest.param((3, 0, 2, 1), [[3, 0, 2], [1, 3, 2]], id="the-same-in-another-order"),
    ],
)
def test_voxels_are_read_by_the_names_of_their_labels(
    values: tuple[int, ...], stored: list[list[int]], folder: Path
):
    names = ("background", "liver", "spleen", "ignore")
    entry = case(labels=dict(zip(names, values, strict=True)))
    about = {"labels": {"background": 0, "liver": 1, "spleen": 2, "ignore": 3}}
    dataset = read_dataset(listed(folder, entry, **about))
    assert dataset.cases[0].label_values == values
    decoded = Decoded(stored=np.array([[stored]], np.int16), geometry=GRID)
    own = dataset.cases[0].labels_in_file(dataset.description.labels)
    # In arrays: background 0, liver 1, spleen 2, to ignore 3.
    np.testing.assert_array_equal(label_map(decoded, own, "a")[0], [[[0, 1, 2], [3, 0, 2]]])


@pytest.mark.parametrize(
    ("labels", "rule", "says"),
    [
        pytest.param({"liver": 2}, "E-VAL-40", r"'liver' and 'spleen' would both be 2", id="taken"),
        pytest.param({"Liver": 5}, "E-SET-46", r"called 'Liver' \(meant 'liver'\?\)", id="name"),
        pytest.param(
            {"liver": -1}, "E-SET-46", r"labels\.liver is -1, allowed is a whole", id="-1"
        ),
        pytest.param({"liver": True}, "E-SET-46", "labels.liver is True", id="bool"),
        pytest.param({"liver": 65536}, "E-SET-46", "from 0 to 65535", id="large"),
        pytest.param([1], "E-SET-46", r"labels is \[1\], needed is an object", id="list"),
        pytest.param({"ignore": 9}, "E-SET-46", "no label is called 'ignore'", id="no-ignore"),
    ],
)
def test_values_of_a_case_that_cannot_be_are_refused(
    labels: Any, rule: str, says: str, folder: Path
):
    error = refused(listed(folder, case(labels=labels)), rf"cohort\.json: cases\[0\].*{says}")
    assert [problem.rule for problem in error.problems] == [rule]


def test_all_faults_of_a_table_are_told_with_row_and_column(folder: Path):
    table = (
        "case,image:CT,image:PET,segmentation,patient,label:liver\n"
        "a,x/a.nii,x/b_pet.nrrd,y/a.nii.gz,P1,x\n"
        "\n"
        "A,~/a.nii,$D/b.nrrd,y/c.nii.gz,P1,\n"
        ".b,x/b.nii.gz,,y/b.txt,,7\n"
        ",x/b.nii.gz,x/b_pet.nrrd,y/b.nii.gz,P2,1,one more\n"
    )
    error = refused(tabled(folder, table, channels=None))
    where = f"{folder}/cohort.csv: "
    assert f"{folder}/cohort.csv: the layout has 11 problems" in str(error)
    rules, places = zip(*(text.split(" ", 1) for text in texts(error)), strict=True)
    assert [place.removeprefix(where) for place in places] == [
        "row 6 has 7 cells, the header names 6 columns",
        "row 2, column 'label:liver' is 'x', allowed is a whole number from 0 to 65535",
        "row 4, column 'image:CT' is '~/a.nii'; allowed are paths without variables and '~', "
        "which mean other files to other readers",
        "row 4, column 'image:PET' is '$D/b.nrrd'; allowed are paths without variables and '~', "
        "which mean other files to other readers",
        f"row 4, column 'segmentation': {folder}/y/c.nii.gz: there is no such file, though its "
        "case needs it",
        "row 5, column 'case': '.b' is the name of a case; allowed are names that a file can "
        "have, without '/' and a dot in front",
        "row 5, column 'image:PET' is empty, needed is a path",
        "row 5, column 'segmentation' is 'y/b.txt', allowed endings are .nii.gz, .nii, .nrrd, "
        ".mha, .mhd, .gipl",
        "row 6, column 'case' is empty, needed is a name",
        "row 2, row 4 are the same case, 'A' and 'a'; allowed is one entry for a case",
        "row 5, column 'patient' is empty, though other cases have a patient; every case needs one",
    ]
    assert rules == (
        *("E-SET-46", "E-SET-46", "E-SET-46", "E-SET-46", "E-SET-42", "E-SET-45", "E-SET-46"),
        *("E-SET-46", "E-SET-46", "E-SET-43", "E-SET-48"),
    )


def test_all_faults_of_a_list_are_told_with_their_place(folder: Path):
    path = listed(
        folder,
        case(images=["x/a.nii", "x/b.nii.gz", "x/b_pet.nrrd"]),
        case("b", image=["x/b.nii.gz"]),
        case("c", images="x/b.nii.gz"),
        "d",
        case("e", patient=7),
        case("f\n"),
        {"name": "g", "images": ["x/a.nii"]},
        channels=["CT", "PET"],
    )
    found = [text.split("cohort.json: ")[1] for text in texts(refused(path))]
    assert found == [
        "cases[1] has the unknown keys 'image' (meant 'images'?); allowed are name, images, "
        "segmentation, patient, labels",
        "cases[2].images is 'x/b.nii.gz', needed is a list of paths",
        "cases[3] is 'd', needed is an object",
        "cases[0]: 3 images found, 2 channels expected",
        "cases[4].patient is 7, needed is a name",
        "cases[5].name: the name 'f\\n' holds a control or undecodable character; allowed are "
        "printable ones",
        "cases[6].segmentation is None, needed is a path",
        *(
            f"cases[{k}].patient is empty, though other cases have a patient; every case needs one"
            for k in (0, 1, 2, 5, 6)
        ),
    ]


HEADER_FAULTS = [
    pytest.param("case,image,mask\n", "unknown columns 'mask'; allowed are case", id="unknown"),
    pytest.param(
        "case,image,segmentation,patients\n", r"'patients' \(meant 'patient'\?\)", id="near-miss"
    ),
    pytest.param("Case,image,segmentation\n", r"'Case' \(meant 'case'\?\)", id="capital"),
    pytest.param("case,image,segmentation,image\n", r"\['image'\] occur more", id="twice"),
    pytest.param("case,image\n", "columns segmentation are missing", id="missing"),
    pytest.param("case,segmentation\n", "needed is one column 'image', or", id="no-image"),
    pytest.param("case,image,image:CT,segmentation\n", "needed is one column", id="both"),
    pytest.param("case,,image,segmentation\n", "unknown columns ''", id="nameless"),
    pytest.param("", "columns case, segmentation are missing", id="empty"),
    pytest.param("case,image:MR,segmentation\n", r"\['MR'\], but cohort\.json", id="channels"),
    pytest.param("case,image,segmentation,label:livr\n", r"'livr' \(meant 'liver'\?\)", id="label"),
    pytest.param("case,image,segmentation,label:\n", "unknown columns 'label:'", id="no-label"),
]


@pytest.mark.parametrize(("table", "says"), HEADER_FAULTS)
def test_a_header_that_is_none_of_a_manifest_is_refused(table: str, says: str, folder: Path):
    with pytest.raises(DatasetError, match=rf"cohort\.csv: .*{says}") as caught:
        read_dataset(tabled(folder, table))
    assert caught.value.rule == "E-SET-46"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(TABLE.encode("utf-16"), "is no UTF-8 text", id="utf-16"),
        pytest.param(TABLE.replace("P1", "Jörg").encode("cp1252"), "no UTF-8", id="cp1252"),
        pytest.param(TABLE.replace(",P1", ',"P1').encode(), "is no table at row 2", id="quote"),
        pytest.param(TABLE.replace(",P1", ',"P"1').encode(), "no table at row 2", id="behind"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused(data: bytes, says: str, folder: Path):
    tabled(folder, TABLE).write_bytes(data)
    with pytest.raises(DocumentError, match=says) as caught:
        read_dataset(folder / "cohort.csv")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("about", "rule", "says"),
    [
        pytest.param({"channel": ["CT"]}, "E-SET-46", r"'channel' \(meant 'channels'", id="key"),
        pytest.param({"channels": None}, "E-SET-46", "channels is None, needed", id="channels"),
        pytest.param({"channels": ["CT", 2]}, "E-SET-46", "allowed are texts", id="number"),
        pytest.param({"labels": None}, "E-SET-46", "labels is None, needed", id="labels"),
        pytest.param({"labels": {"liver": 1}}, "E-VAL-40", r"\[1\]; needed are 0", id="background"),
        pytest.param({"file_ending": ".jpg"}, "E-SET-46", "file_ending is '.jpg'", id="ending"),
        pytest.param({"name": "../b"}, "E-SET-45", r"name is '\.\./b'; allowed", id="name"),
        pytest.param({"name": "a\tb"}, "E-SET-45", r"name is 'a\\tb'; allowed", id="control"),
        pytest.param({"name": 5}, "E-SET-46", "name is 5, needed is a text", id="no-text"),
        pytest.param({"cases": None}, "E-SET-46", "cases is None, needed is a list", id="none"),
        pytest.param({"cases": {}}, "E-SET-46", "cases is {}, needed is a list", id="object"),
    ],
)
def test_a_description_that_cannot_be_is_refused(
    about: dict[str, Any], rule: str, says: str, folder: Path
):
    with pytest.raises(DatasetError, match=rf"cohort\.json: .*{says}") as caught:
        read_dataset(listed(folder, case(), **about))
    assert caught.value.rule == rule
    assert caught.value.hint


def test_a_manifest_without_cases_is_refused(folder: Path):
    says = "lists 0 cases, needed is at least 1"
    assert refused(listed(folder), rf"cohort\.json: {says}").rule == "E-SET-47"
    table = tabled(folder, "case,image,segmentation\n")
    assert refused(table, rf"cohort\.csv: {says}").rule == "E-SET-47"


def test_a_table_needs_its_description(folder: Path):
    write(folder / "cohort.csv", TABLE)
    with pytest.raises(DatasetError, match=r"cohort\.csv: cohort\.json, which says") as caught:
        read_dataset(folder / "cohort.csv")
    assert '"labels": {"background": 0' in caught.value.hint


def test_two_lists_of_cases_are_refused(folder: Path):
    tabled(folder, TABLE, cases=[case()])
    for name in ("cohort.csv", "cohort.json"):
        with pytest.raises(DatasetError, match=r"lists cases, and so does cohort\.csv"):
            read_dataset(folder / name)


def test_a_file_that_is_no_manifest_is_none(folder: Path):
    with pytest.raises(UsageError, match=r"a\.nii: there is no such folder or file"):
        read_dataset(folder / "x/a.nii")
    os.mkfifo(folder / "pipe.json")
    with pytest.raises(AutosegError, match=r"pipe\.json: there is no such folder or file"):
        read_dataset(folder / "pipe.json")


def test_pictures_keep_their_ending(folder: Path):
    touch(folder, "a.tif", "b.tif", "c.bmp", "m.png")
    cases = [case(name, images=[f"{name}.tif"], segmentation="m.png") for name in "ab"]
    assert read_dataset(listed(folder, *cases)).description.file_ending == ".tif"
    cases.append(case("c", images=["c.bmp"], segmentation="m.png"))
    assert read_dataset(listed(folder, *cases)).description.file_ending == ".png"


def test_nothing_is_asked_of_a_case_that_is_left_out(folder: Path):
    table = TABLE + "broken,~/q.nii,,\n"
    dataset = read_dataset(tabled(folder, table), exclude=["broken"])
    assert [case.name for case in dataset.cases] == ["a", "b"]
    assert dataset.excluded == ("broken",)
    (folder / "cohort.csv").unlink()
    path = listed(folder, case(), {"name": "broken", "image": 3})
    assert read_dataset(path, exclude=["broken"]).cases == (
        replace(dataset.cases[0], patient=None),
    )
    with pytest.raises(UsageError, match=r"no case 'brokn' \(meant 'broken'\?\)"):
        read_dataset(path, exclude=["brokn"])


def test_the_examples_of_the_page_say_the_same(tmp_path: Path):
    page = Path(__file__).parents[4] / "docs" / "reference" / "dataset-format.md"
    section = page.read_text().split("## Manifests\n")[1].split("\n## ")[0]
    about = re.findall(r"`(\{\"channels.*?\})`", section)[0]
    code = [
        text.replace("/archive", str(tmp_path))
        for text in re.findall(r"```\w*\n(.*?)```", section, re.DOTALL)
    ]
    touch(tmp_path, "scans/a1.nii.gz", "x/masks/a1.nii.gz", "b7.mha", "b7_seg.mha")
    from_json = read_dataset(write(tmp_path / "x" / "liver.json", code[0]))
    assert (from_json.description.name, from_json.cases[1].label_values) == ("liver", (0, 7, 8))
    write(tmp_path / "x" / "liver.json", about)
    from_table = read_dataset(write(tmp_path / "x" / "liver.csv", code[1]))
    assert replace(from_table, manifest=from_json.manifest) == from_json
