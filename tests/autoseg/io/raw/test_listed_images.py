import json
from pathlib import Path

import pytest

from autoseg.core.dataset import Case, DatasetDescription
from autoseg.core.errors import DatasetError, RefusedCasesError
from autoseg.core.labels import Labels
from autoseg.io.datasets import images_for_prediction

MODEL = DatasetDescription(
    name="Task99_Test",
    channels=("T1", "FLAIR"),
    labels=Labels(names=("background", "lesion")),
    file_ending=".nii.gz",
)


@pytest.fixture
def folder(tmp_path):
    for name in ("a_t1", "a_flair", "b_t1", "b_flair", "c"):
        (tmp_path / "somewhere" / f"{name}.nii.gz").parent.mkdir(exist_ok=True)
        (tmp_path / "somewhere" / f"{name}.nii.gz").write_bytes(b"x")
    return tmp_path


def write(folder, text, name="list.csv"):
    (folder / name).write_text(text)
    return folder / name


def found(folder, *names):
    return tuple(str(folder / "somewhere" / f"{name}.nii.gz") for name in names)


def test_channels_are_taken_by_their_names_in_whichever_order(folder):
    path = write(
        folder,
        "case,image:FLAIR,image:T1\n"
        "b,somewhere/b_flair.nii.gz,somewhere/b_t1.nii.gz\n"
        "a,somewhere/a_flair.nii.gz,somewhere/a_t1.nii.gz\n",
    )
    assert images_for_prediction(path, MODEL) == (
        Case(name="a", images=found(folder, "a_t1", "a_flair")),
        Case(name="b", images=found(folder, "b_t1", "b_flair")),
    )


def test_one_file_may_hold_all_channels(folder):
    path = write(folder, "case;image\nc;somewhere/c.nii.gz\n")
    assert images_for_prediction(path, MODEL) == (Case(name="c", images=found(folder, "c")),)


def test_json_lists_images_too(folder):
    images = ["somewhere/a_t1.nii.gz", "somewhere/a_flair.nii.gz"]
    path = write(folder, json.dumps({"cases": [{"name": "a", "images": images}]}), "list.json")
    cases = images_for_prediction(path, MODEL)
    assert cases == (Case(name="a", images=found(folder, "a_t1", "a_flair")),)


def test_a_manifest_of_a_dataset_will_do(folder):
    path = write(folder, "case,image,segmentation,patient\nc,somewhere/c.nii.gz,gone.nii.gz,p1\n")
    assert images_for_prediction(path, MODEL) == (Case(name="c", images=found(folder, "c")),)


def test_other_channels_than_the_models_are_refused(folder):
    path = write(folder, "case,image:T1,image:T2\na,somewhere/a_t1.nii.gz,somewhere/c.nii.gz\n")
    with pytest.raises(
        DatasetError, match=r"channels \['T1', 'T2'\], but the model takes \['T1', 'FLAIR'\]"
    ):
        images_for_prediction(path, MODEL)


def test_every_fault_is_listed_with_its_place(folder):
    path = write(
        folder,
        "case,image:T1,image:FLAIR\n"
        "a,somewhere/a_t1.nii.gz,somewhere/gone.nii.gz\n"
        "b,somewhere/b_t1.nii.gz,somewhere/b_t1.nii.gz\n"
        "../c,somewhere/a_t1.nii.gz,somewhere/a_flair.nii.gz\n",
    )
    with pytest.raises(RefusedCasesError, match="the images have 3 problems") as error:
        images_for_prediction(path, MODEL)
    told = [problem.text for problem in error.value.problems]
    assert "gone.nii.gz" in told[0]
    assert "is the file of row 3, column 'image:T1' too" in told[1]
    assert "row 4" in told[2]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("list.csv", "case,picture\na,b\n", "unknown columns 'picture'"),
        ("list.csv", "image\nb\n", "columns case are missing"),
        ("list.csv", "case,image\n", "lists 0 cases"),
        ("list.json", "{}", "has no list 'cases'"),
        (
            "list.json",
            '{"channels": ["FLAIR", "T1"], "cases": []}',
            r"names the channels \['FLAIR', 'T1'\], but the model takes \['T1', 'FLAIR'\]",
        ),
        ("list.json", '{"cases": []}', "lists 0 cases"),
    ],
)
def test_what_is_no_list_of_images_is_refused(name, text, message, folder):
    with pytest.raises((DatasetError, RefusedCasesError), match=message) as error:
        images_for_prediction(write(folder, text, name), MODEL)
    assert error.value.hint


def test_the_list_may_lie_elsewhere(folder, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    path = write(folder, "case,image\nc,somewhere/c.nii.gz\n")
    (case,) = images_for_prediction(path, MODEL)
    assert Path(case.images[0]).is_file()
