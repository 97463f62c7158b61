"""BIDS datasets: sessions, kinds of images, pipelines of segmentations, and names of labels."""

import json
from pathlib import Path

import pytest

from autoseg.core.dataset import Case
from autoseg.core.errors import DatasetError, DocumentError, RefusedCasesError
from autoseg.io.datasets import read_dataset

TABLE = "index\tname\tcolor\n0\tnothing\t#000000\n2\tcyst\tn/a\n1\tlesion\t#ff0000\n"
MANUAL = "derivatives/manual"


def touch(folder: Path, *names: str) -> Path:
    """Create empty files: layouts are told by names alone."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def image(session: str, suffix: str) -> str:
    """Path of a file of a session such as ``sub-1`` or ``sub-1/ses-2``."""
    return f"{session}/anat/{session.replace('/', '_')}_{suffix}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Build a dataset of three sessions, two of them of one patient, with labels in a pipeline."""
    sessions = ("sub-1/ses-a", "sub-1/ses-b", "sub-2")
    bids = tmp_path / "Lesions"
    for session in sessions:
        touch(bids, image(session, "T1w.nii.gz"), image(session, "FLAIR.nii.gz"))
        touch(bids, image(session, "T1w.json"), f"{MANUAL}/{image(session, 'dseg.nii.gz')}")
    write(bids / "dataset_description.json", '{"Name": "Lesions", "BIDSVersion": "1.8.0"}')
    write(bids / MANUAL / "dseg.tsv", TABLE)
    touch(bids, "participants.tsv", "sub-1/ses-a/func/sub-1_ses-a_bold.nii.gz", "README")
    return bids


def remove(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).unlink()


def test_sessions_are_cases_and_subjects_patients(folder: Path):
    dataset = read_dataset(folder)
    assert dataset.description.name == "Lesions"
    assert dataset.description.channels == ("FLAIR", "T1w")
    assert dataset.description.labels.names == ("nothing", "lesion", "cyst")
    assert dataset.description.file_ending == ".nii.gz"
    assert (dataset.folder, dataset.notes) == (str(folder), ())
    assert dataset.cases[0] == Case(
        name="sub-1_ses-a",
        images=(image("sub-1/ses-a", "FLAIR.nii.gz"), image("sub-1/ses-a", "T1w.nii.gz")),
        segmentation=f"{MANUAL}/{image('sub-1/ses-a', 'dseg.nii.gz')}",
        patient="sub-1",
    )
    assert dataset.patients == {"sub-1_ses-a": "sub-1", "sub-1_ses-b": "sub-1", "sub-2": "sub-2"}


def test_segmentations_may_lie_beside_the_images(folder: Path):
    for session in ("sub-1/ses-a", "sub-1/ses-b", "sub-2"):
        name = image(session, "dseg.nii.gz")
        (folder / MANUAL / name).rename(folder / name)
    (folder / MANUAL / "dseg.tsv").rename(folder / "dseg.tsv")
    dataset = read_dataset(folder)
    assert dataset.cases[2].segmentation == "sub-2/anat/sub-2_dseg.nii.gz"
    assert dataset.description.channels == ("FLAIR", "T1w")


def test_cases_without_a_segmentation_and_images_that_some_lack_are_left_out_and_noted(
    folder: Path,
):
    touch(folder, image("sub-3", "T1w.nii.gz"), image("sub-4/ses-x", "T1w.nii.gz"))
    remove(folder, image("sub-1/ses-b", "FLAIR.nii.gz"))
    dataset = read_dataset(folder)
    assert [case.name for case in dataset.cases] == ["sub-1_ses-a", "sub-1_ses-b", "sub-2"]
    assert dataset.description.channels == ("T1w",)
    assert dataset.notes == (
        "2 cases without a segmentation are left out: 'sub-3', 'sub-4_ses-x'",
        "images FLAIR are left out: 1 cases lack them: 'sub-1_ses-b'",
    )


def test_kinds_of_one_suffix_that_all_cases_have_are_channels(folder: Path):
    for session in ("sub-1/ses-a", "sub-1/ses-b", "sub-2"):
        touch(folder, image(session, "acq-axial_run-1_ce-gd_T1w.nii.gz"))
    dataset = read_dataset(folder)
    assert dataset.description.channels == ("FLAIR", "T1w", "acq-axial_ce-gd_T1w")
    assert dataset.cases[2].images[2].endswith("sub-2_acq-axial_run-1_ce-gd_T1w.nii.gz")


def test_one_image_of_a_suffix_in_every_case_is_a_channel_however_it_was_acquired(folder: Path):
    for session, kind in (("sub-1/ses-a", "acq-a"), ("sub-1/ses-b", "acq-b"), ("sub-2", "acq-a")):
        old, new = image(session, "T1w.nii.gz"), image(session, f"{kind}_T1w.nii.gz")
        (folder / old).rename(folder / new)
    dataset = read_dataset(folder)
    assert dataset.description.channels == ("FLAIR", "T1w")
    assert dataset.notes == ("images acq-a_T1w, acq-b_T1w count as one channel, T1w",)


def test_files_that_cannot_be_told_apart_are_listed_and_refused(folder: Path):
    touch(folder, image("sub-2", "run-1_T1w.nii.gz"), image("sub-2", "run-2_T1w.nii.gz"))
    touch(folder, image("sub-1/ses-a", "FLAIR.nii"))
    touch(folder, f"{MANUAL}/{image('sub-1/ses-b', 'desc-second_dseg.nii.gz')}")
    with pytest.raises(RefusedCasesError, match="the layout has 3 problems") as caught:
        read_dataset(folder)
    found = [problem.text.split(": case ")[1] for problem in caught.value.problems]
    assert found == [
        "'sub-1_ses-a' has several files for its FLAIR: "
        "sub-1/ses-a/anat/sub-1_ses-a_FLAIR.nii, "
        "sub-1/ses-a/anat/sub-1_ses-a_FLAIR.nii.gz; allowed is one",
        "'sub-1_ses-b' has several files for its segmentation: "
        f"{MANUAL}/sub-1/ses-b/anat/sub-1_ses-b_desc-second_dseg.nii.gz, "
        f"{MANUAL}/sub-1/ses-b/anat/sub-1_ses-b_dseg.nii.gz; allowed is one",
        "'sub-2' has several files for its T1w: sub-2/anat/sub-2_T1w.nii.gz, "
        "sub-2/anat/sub-2_run-1_T1w.nii.gz, sub-2/anat/sub-2_run-2_T1w.nii.gz; allowed is one",
    ]
    assert {problem.rule for problem in caught.value.problems} == {"E-SET-43"}
    assert all("manifest" in problem.hint for problem in caught.value.problems)


def test_segmentations_of_several_pipelines_are_refused(folder: Path):
    touch(folder, f"derivatives/auto/{image('sub-2', 'dseg.nii.gz')}")
    touch(folder, f"derivatives/fmriprep/{image('sub-2', 'desc-preproc_T1w.nii.gz')}")
    says = r"in derivatives/auto \(1 cases\), derivatives/manual \(3 cases\); allowed is one"
    with pytest.raises(DatasetError, match=says) as caught:
        read_dataset(folder)
    assert caught.value.rule == "E-SET-43"
    assert "manifest" in caught.value.hint


def test_a_dataset_without_segmentations_says_where_they_are_looked_for(folder: Path):
    (folder / "derivatives").rename(folder / "sourcedata")
    with pytest.raises(DatasetError, match=r"no segmentations; looked for .*_dseg") as caught:
        read_dataset(folder)
    assert caught.value.rule == "E-SET-42"


def test_a_segmentation_without_images_and_a_dangling_link_are_refused(folder: Path):
    touch(folder, f"{MANUAL}/{image('sub-9', 'dseg.nii.gz')}")
    link = folder / image("sub-2", "T1w.nii.gz")
    link.unlink()
    link.symlink_to("../../.git/annex/gone")
    with pytest.raises(RefusedCasesError, match="has 2 problems") as caught:
        read_dataset(folder)
    assert "sub-9_dseg.nii.gz: belongs to no case" in str(caught.value)
    assert "sub-2_T1w.nii.gz: there is no such file" in str(caught.value)
    dataset = read_dataset(folder, exclude=["sub-9", "sub-2"])
    assert [case.name for case in dataset.cases] == ["sub-1_ses-a", "sub-1_ses-b"]


def test_nothing_in_common_is_refused(folder: Path):
    for session, suffix in (("sub-1/ses-a", "T1w"), ("sub-1/ses-b", "FLAIR"), ("sub-2", "T1w")):
        remove(folder, image(session, f"{suffix}.nii.gz"))
    says = r"no kind of image that all 3 cases with a segmentation have, but FLAIR \(2\), T1w \(1\)"
    with pytest.raises(DatasetError, match=says) as caught:
        read_dataset(folder)
    assert caught.value.rule == "E-SET-42"


def test_all_cases_left_out_are_refused(folder: Path):
    with pytest.raises(DatasetError, match="all cases are excluded") as caught:
        read_dataset(folder, exclude=["sub-1_ses-a", "sub-1_ses-b", "sub-2"])
    assert caught.value.rule == "E-SET-47"


def test_without_names_of_labels_the_hint_shows_the_table(folder: Path):
    remove(folder, f"{MANUAL}/dseg.tsv")
    with pytest.raises(DatasetError, match=r"nothing says what the labels of .*dseg") as caught:
        read_dataset(folder)
    assert caught.value.rule == "E-SET-42"
    assert caught.value.hint == (
        "write dseg.tsv into one of them: index<tab>name, 0<tab>background, 1<tab>lesion"
    )


def test_the_nearest_and_most_particular_table_applies(folder: Path):
    for session in ("sub-1/ses-a", "sub-1/ses-b", "sub-2"):
        old = folder / MANUAL / image(session, "dseg.nii.gz")
        old.rename(folder / MANUAL / image(session, "desc-fine_dseg.nii.gz"))
    write(folder / MANUAL / "desc-fine_dseg.tsv", "index\tname\n1\tcore\n")
    write(folder / MANUAL / "desc-coarse_dseg.tsv", "index\tname\n1\tall\n")
    write(folder / "dseg.tsv", "index\tname\n1\tfar\n")
    assert read_dataset(folder).description.labels.names == ("background", "core")
    remove(folder, f"{MANUAL}/desc-fine_dseg.tsv")
    assert read_dataset(folder).description.labels.names == ("nothing", "lesion", "cyst")
    remove(folder, f"{MANUAL}/dseg.tsv")
    assert read_dataset(folder).description.labels.names == ("background", "far")


def test_a_sidecar_may_declare_regions_and_others_are_ignored(folder: Path):
    remove(folder, f"{MANUAL}/dseg.tsv")
    sidecar = folder / MANUAL / image("sub-2", "dseg.json")
    write(sidecar, '{"Manual": true}')
    labels = {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}
    entries = {"Manual": True, "labels": labels, "regions_class_order": [1, 2]}
    write(folder / MANUAL / "dseg.json", json.dumps(entries))
    found = read_dataset(folder).description.labels
    assert [region.name for region in found.regions] == ["whole", "core"]
    assert found.ignore == 3


def test_tables_that_differ_and_segmentations_without_one_are_refused(folder: Path):
    (folder / MANUAL / "dseg.tsv").rename(folder / MANUAL / "sub-1" / "sub-1_dseg.tsv")
    with pytest.raises(DatasetError, match=r"labels of 1 segmentations mean, .*sub-2_dseg"):
        read_dataset(folder)
    own = image("sub-2", "dseg.tsv")
    write(folder / MANUAL / own, TABLE.replace("cyst", "scar"))
    with pytest.raises(DatasetError, match=r"sub-1_dseg\.tsv and .*sub-2_dseg\.tsv give") as caught:
        read_dataset(folder)
    assert "manifest" in caught.value.hint
    write(folder / MANUAL / own, TABLE)
    assert len(read_dataset(folder).cases) == 3


@pytest.mark.parametrize(
    ("table", "says"),
    [
        pytest.param("", r"has the columns \[\], needed are 'index' and 'name'", id="empty"),
        pytest.param("index,name\n1,a\n", r"has the columns \['index,name'\]", id="commas"),
        pytest.param("index\tname\n1.0\ta\n", "row 2 has the index '1.0'", id="float"),
        pytest.param("index\tname\n1\ta\n\n2\ta\n", "row 4 has .* the name 'a'", id="twice"),
        pytest.param("index\tname\n1\n", "row 2 has the index '1' and the name ''", id="nameless"),
        pytest.param("index\tname\n1\ta\n1\tb\n", r"\['a', 'b'\] share", id="value-twice"),
        pytest.param("index\tname\n1\tbackground\n2\ta\n", "needed are 0", id="background"),
    ],
)
def test_a_table_that_names_no_labels_is_refused(table: str, says: str, folder: Path):
    write(folder / MANUAL / "dseg.tsv", table)
    with pytest.raises(DatasetError, match=rf"manual/dseg\.tsv: .*{says}") as caught:
        read_dataset(folder)
    assert caught.value.hint


def test_a_sidecar_that_is_no_json_is_refused(folder: Path):
    write(folder / MANUAL / "dseg.json", "{")
    with pytest.raises(DocumentError, match=r"manual/dseg\.json: is no JSON"):
        read_dataset(folder)


def test_masks_are_taken_where_there_is_no_dseg_and_named_by_their_label(folder: Path):
    remove(folder, f"{MANUAL}/dseg.tsv")
    for session in ("sub-1/ses-a", "sub-1/ses-b", "sub-2"):
        old = folder / MANUAL / image(session, "dseg.nii.gz")
        touch(folder, f"{MANUAL}/{image(session, 'label-tumor_mask.nii.gz')}")
        old.unlink()
    dataset = read_dataset(folder)
    assert dataset.description.labels.names == ("background", "tumor")
    assert (dataset.cases[2].segmentation or "").endswith("sub-2_label-tumor_mask.nii.gz")
    (folder / MANUAL / image("sub-2", "label-tumor_mask.nii.gz")).rename(
        folder / MANUAL / image("sub-2", "label-cyst_mask.nii.gz")
    )
    with pytest.raises(DatasetError, match=r"looked for were mask\.tsv and mask\.json"):
        read_dataset(folder)


def test_a_file_of_another_session_than_its_folder_belongs_to_no_case(folder: Path):
    remove(folder, image("sub-2", "T1w.nii.gz"))
    touch(folder, "sub-2/anat/sub-2_ses-9_T1w.nii.gz")
    dataset = read_dataset(folder)
    assert all("ses-9" not in path for each in dataset.cases for path in each.images)
