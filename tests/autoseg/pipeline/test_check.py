"""A check of a raw dataset: faults of every kind at once, on real files."""

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from autoseg.core.acceptance import parse_accepted
from autoseg.core.check_report import CheckReport
from autoseg.core.errors import DatasetError, UsageError
from autoseg.execution.progress import Silence
from autoseg.io import documents
from autoseg.io.workspace import Workspace
from autoseg.pipeline import check_pictures
from autoseg.pipeline.check import check_dataset
from autoseg.pipeline.fingerprint import measure_dataset

COUNT = 8
AFFINE = np.diag([0.5, 0.75, 2.5, 1.0])


def write_case(raw: Path, number: int, *, affine=AFFINE, flip=False, offset=0) -> None:
    """Write a case with a liver on the right and a spleen on the left (x is the first axis)."""
    rng = np.random.default_rng(number)
    image = np.rint(rng.normal(-900, 30, (30, 16, 9))).astype(np.int16) + offset
    labels = np.zeros(image.shape, np.uint8)
    labels[18:27, 3:11, 2:7], labels[3:8, 4:10, 4:8] = 1, 2
    image[labels > 0] = rng.integers(0, 90, np.count_nonzero(labels))
    for voxels, path in (
        (image, f"imagesTr/case_{number}_0000.nii.gz"),
        (labels[::-1] if flip else labels, f"labelsTr/case_{number}.nii.gz"),
    ):
        file = nibabel.Nifti1Image(voxels, affine)
        file.header.set_xyzt_units("mm")
        nibabel.save(file, raw / path)


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "Dataset007_Abdomen"
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for number in range(COUNT):
        write_case(folder, number)
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "liver": 1, "spleen": 2},
        "numTraining": COUNT,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(description))
    return folder


@pytest.fixture
def workspace(tmp_path):
    return Workspace(path=tmp_path / "workspace")


def check(raw, workspace, **options):
    options = {"workers": 0, "progress": Silence()} | options
    report, place = check_dataset(raw, workspace, **options)
    assert documents.read(place / "check.json", CheckReport) == report
    return report, place


def test_nothing_is_wrong_with_a_sound_dataset(raw, workspace):
    report, place = check(raw, workspace)
    assert (report.refused, report.suspicious, report.notes) == ((), (), ())
    assert (report.dataset, report.cases, report.read) == ("Dataset007_Abdomen", COUNT, COUNT)
    assert place == workspace.path / "Dataset007_Abdomen" / "check"
    assert [path.name for path in place.iterdir()] == ["check.json"]
    assert not (workspace.path / "Dataset007_Abdomen" / "dataset.json").exists()


def test_planning_need_not_measure_what_was_checked(raw, workspace):
    check(raw, workspace)
    kept = {path: path.stat().st_mtime_ns for path in workspace.path.rglob("measured/*.json")}
    assert len(kept) == COUNT
    measure_dataset(raw, workspace, workers=0, progress=Silence())
    assert kept == {path: path.stat().st_mtime_ns for path in kept}


def test_a_mirrored_segmentation_is_suspicious_and_drawn(raw, workspace):
    write_case(raw, 3, flip=True)
    report, place = check(raw, workspace)
    (found,) = report.suspicious
    assert (report.refused, found.kind, found.case) == ((), "side", "case_3")
    assert found.what == "'spleen' lies right of 'liver'"
    assert found.picture == "case_3.png"
    assert (place / "case_3.png").read_bytes().startswith(b"\x89PNG")


def test_pictures_of_what_was_mended_go(raw, workspace):
    write_case(raw, 3, flip=True)
    _, place = check(raw, workspace)
    write_case(raw, 3)
    (place / "notes.txt").write_text("mine")
    report, _ = check(raw, workspace)
    assert report.suspicious == ()
    assert sorted(path.name for path in place.iterdir()) == ["check.json", "notes.txt"]


def test_faults_of_layout_and_cases_are_found_in_one_go(raw, workspace):
    (raw / "labelsTr" / "case_0.nii.gz").unlink()
    image = raw / "imagesTr" / "case_1_0000.nii.gz"
    image.write_bytes(image.read_bytes()[:-500])
    shutil.copy(raw / "imagesTr" / "case_2_0000.nii.gz", raw / "imagesTr" / "case_3_0000.nii.gz")
    write_case(raw, 4, affine=np.diag([0.5, 0.75, 5.0, 1.0]))
    report, _ = check(raw, workspace)
    assert [(r.rule, r.case) for r in report.refused] == [
        ("E-SET-42", "case_0"),
        ("E-FILE-03", "case_1"),
        ("E-SET-44", "case_3"),
    ]
    assert [refusal.file for refusal in report.refused] == [
        str(raw / "labelsTr" / "case_0.nii.gz"),
        str(image),
        "",
    ]
    assert all(refusal.problem and refusal.fix for refusal in report.refused)
    assert (report.cases, report.read) == (COUNT, COUNT - 2)
    assert [(f.kind, f.case) for f in report.suspicious] == [("spacing", "case_4")]


def test_copies_of_one_patient_are_noted(raw, workspace):
    shutil.copy(raw / "imagesTr" / "case_2_0000.nii.gz", raw / "imagesTr" / "case_3_0000.nii.gz")
    report, _ = check(raw, workspace, accepted=parse_accepted(["E-SET-44=group"]))
    assert (report.refused, report.suspicious) == ((), ())
    assert report.accepted == ("E-SET-44=group",)
    assert any("'case_3'" in note and "one patient" in note for note in report.notes)


def test_the_same_voxels_in_another_file_are_suspicious(raw, workspace):
    file = nibabel.load(raw / "imagesTr" / "case_2_0000.nii.gz")
    voxels = np.asarray(file.dataobj).astype(np.float32)  # another type, the same numbers
    copy = nibabel.Nifti1Image(voxels, file.affine)
    copy.header.set_xyzt_units("mm")
    nibabel.save(copy, raw / "imagesTr" / "case_5_0000.nii.gz")
    report, _ = check(raw, workspace)
    assert [(f.kind, f.case) for f in report.suspicious] == [("same voxels", "case_5")]


def test_a_dataset_without_any_foreground_is_refused_as_in_planning(raw, workspace):
    for path in (raw / "labelsTr").iterdir():
        file = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(np.zeros((30, 16, 9), np.uint8), file.affine), path)
    report, _ = check(raw, workspace)
    assert [refusal.rule for refusal in report.refused] == ["E-VAL-37"]
    assert {finding.kind for finding in report.suspicious} == {"label in no case"}


def test_a_layout_that_leaves_nothing_to_read_is_reported_in_full(raw, workspace):
    for number in range(COUNT):
        (raw / "labelsTr" / f"case_{number}.nii.gz").unlink()
    report, _ = check(raw, workspace)
    assert [refusal.case for refusal in report.refused] == [f"case_{n}" for n in range(COUNT)]
    assert (report.cases, report.read) == (COUNT, 0)
    assert "no image was read" in report.notes[0]


def test_a_dataset_without_description_is_refused(raw, workspace):
    (raw / "dataset.json").unlink()
    with pytest.raises(DatasetError, match=r"dataset\.json"):
        check(raw, workspace)


def test_cases_left_out_are_not_checked(raw, workspace):
    (raw / "labelsTr" / "case_0.nii.gz").unlink()
    report, _ = check(raw, workspace, exclude=("case_0",))
    assert (report.refused, report.cases) == ((), COUNT - 1)
    with pytest.raises(UsageError, match="case_9"):
        check(raw, workspace, exclude=("case_9",))


def test_report_and_pictures_do_not_go_among_other_files(raw, workspace, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"full: is not empty and holds no check\.json"):
        check(raw, workspace, pictures=tmp_path / "full")
    with pytest.raises(UsageError, match="lies in the dataset that is to be checked"):
        check(raw, workspace, pictures=raw / "imagesTr")
    assert not list(workspace.path.rglob("measured/*.json"))
    write_case(raw, 3, flip=True)
    for _ in range(2):
        _, place = check(raw, workspace, pictures=tmp_path / "own")
        assert sorted(p.name for p in place.iterdir()) == ["case_3.png", "check.json"]
    assert not (workspace.path / "Dataset007_Abdomen" / "check").exists()


def test_pictures_are_drawn_of_the_gravest_only(raw, workspace, monkeypatch):
    monkeypatch.setattr(check_pictures, "MOST_PICTURES", 1)
    write_case(raw, 3, affine=np.diag([0.5, 0.75, 5.0, 1.0]))
    write_case(raw, 5, flip=True)
    report, place = check(raw, workspace)
    assert [(f.case, f.picture) for f in report.suspicious] == [
        ("case_5", "case_5.png"),
        ("case_3", ""),
    ]
    assert [path.name for path in place.glob("*.png")] == ["case_5.png"]
    assert report.notes[-1] == "pictures are drawn of 1 case; 1 more is suspicious"


def test_a_stopped_check_keeps_what_was_measured(raw, workspace):
    class Impatient(Silence):
        def advance(self, item):
            if item == "case 'case_4'":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(raw, workspace, progress=Impatient())
    kept = sorted(path.stem for path in workspace.path.rglob("measured/*.json"))
    assert kept == [f"case_{n}" for n in range(5)]
    assert check(raw, workspace)[0].read == COUNT


def test_a_check_stopped_while_drawing_can_be_run_again(raw, workspace):
    class Impatient(Silence):
        def start(self, stage, total):
            self.stage = stage

        def advance(self, item):
            if self.stage == "drawing":
                raise KeyboardInterrupt

    write_case(raw, 3, flip=True)
    with pytest.raises(KeyboardInterrupt):
        check(raw, workspace, progress=Impatient())
    assert check(raw, workspace)[0].suspicious[0].picture == "case_3.png"


def test_workers_find_the_same(raw, workspace, tmp_path):
    write_case(raw, 3, flip=True)
    (raw / "labelsTr" / "case_0.nii.gz").write_bytes(b"")
    alone, _ = check(raw, workspace)
    shared, _ = check(raw, Workspace(path=tmp_path / "other"), workers=2)
    assert alone == shared
    assert [refusal.rule for refusal in alone.refused] == ["E-FILE-01"]


def test_a_count_and_a_stray_file_keep_no_image_from_being_read(raw, workspace):
    (raw / "imagesTr" / "readme.txt").write_text("x")
    (raw / "imagesTr" / "case_6_0000.nii.gz").unlink()
    report, _ = check(raw, workspace)
    assert [(r.rule, r.case, r.file) for r in report.refused] == [
        ("E-SET-42", "", str(raw / "imagesTr" / "readme.txt")),
        ("E-SET-42", "case_6", str(raw / "labelsTr" / "case_6.nii.gz")),
        ("E-SET-46", "", str(raw / "dataset.json")),
    ]
    assert "numTraining is 8, but 7 cases" in report.refused[-1].problem
    assert (report.cases, report.read) == (COUNT, COUNT - 1)


def test_an_error_that_knows_its_file_is_believed(raw, workspace, monkeypatch):
    def refuse(task):
        first = task.folder / task.case.images[0]
        raise DatasetError(f"{first.name}: 3 files").about(file=str(first.with_name("0001.dcm")))

    monkeypatch.setattr("autoseg.pipeline.fingerprint.measure_case", refuse)
    report, _ = check(raw, workspace)
    files = {str(raw / "imagesTr" / "0001.dcm")}
    assert {refusal.file for refusal in report.refused} == files
    assert [refusal.case for refusal in report.refused] == [f"case_{n}" for n in range(COUNT)]


def blank(raw, folder, name, value):
    file = nibabel.load(raw / folder / name)
    voxels = np.full((30, 16, 9), value, np.int16 if folder == "imagesTr" else np.uint8)
    nibabel.save(nibabel.Nifti1Image(voxels, file.affine, file.header), raw / folder / name)


def test_notes_do_not_repeat_findings(raw, workspace):
    blank(raw, "imagesTr", "case_2_0000.nii.gz", -5)
    blank(raw, "labelsTr", "case_4.nii.gz", 0)
    report, _ = check(raw, workspace)
    assert [(f.kind, f.case) for f in report.suspicious] == [
        ("constant image", "case_2"),
        ("no foreground", "case_4"),
    ]
    assert report.notes == ()


def test_what_no_finding_says_is_noted(raw, workspace):
    for number in (2, 4):  # two of eight: a group, not outliers
        blank(raw, "labelsTr", f"case_{number}.nii.gz", 0)
    report, _ = check(raw, workspace)
    assert report.suspicious == ()
    assert report.notes == ("2 of 8 cases have no foreground: case_2, case_4",)


def test_the_report_tells_what_was_left_out_and_what_a_copy_would_hold(raw, workspace):
    (raw / "labelsTr" / "case_0.nii.gz").unlink()
    shutil.copy(raw / "imagesTr" / "case_2_0000.nii.gz", raw / "imagesTr" / "case_3_0000.nii.gz")
    report, _ = check(raw, workspace, exclude=("case_6", "case_5"))
    assert report.excluded == ("case_5", "case_6")
    # Of eight two are left out, one has no segmentation and one is a copy.
    assert (report.read, report.mendable) == (5, 4)
    for path in (raw / "labelsTr").iterdir():
        blank(raw, "labelsTr", path.name, 0)
    assert check(raw, workspace, exclude=("case_0",))[0].mendable == 0


def test_without_a_whole_case_the_report_tells_what_was_asked_for(raw, workspace):
    for number in range(1, COUNT):
        (raw / "labelsTr" / f"case_{number}.nii.gz").unlink()
    report, _ = check(
        raw, workspace, exclude=("case_0",), accepted=parse_accepted(["E-VAL-28=fill"])
    )
    assert (report.excluded, report.accepted) == (("case_0",), ("E-VAL-28=fill",))
    assert (report.read, report.mendable) == (0, 0)
    with pytest.raises(UsageError, match="lies in the dataset"):
        check(raw, workspace, exclude=("case_0",), pictures=raw / "look")
    assert not (raw / "look").exists()


def test_a_series_that_is_called_like_its_case_is_named_once():
    assert check_pictures.named_once("p0", "p0: no slice") == "p0: no slice"
    assert check_pictures.named_once("p0", "p0.nii: no units") == "p0: p0.nii: no units"
    assert check_pictures.named_once("p0", "p01: no slice") == "p0: p01: no slice"
