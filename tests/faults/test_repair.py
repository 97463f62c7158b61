"""A mended copy: exactly the voxels that the reader gives, readable without accepting anything."""

import hashlib
import json
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest

from autoseg.core.acceptance import Accepted, parse_accepted
from autoseg.core.errors import RefusedCasesError, UsageError
from autoseg.core.repair_report import RepairReport
from autoseg.execution.progress import Silence
from autoseg.io import documents, images
from autoseg.io.datasets import read_dataset
from autoseg.io.workspace import Workspace
from autoseg.pipeline.fingerprint import Measured, measure_dataset
from autoseg.pipeline.repair import REPORT, repair_dataset

FLIPPED = np.diag([-1.0, 1.0, 1.0, 1.0])


@pytest.fixture
def raw(make: ModuleType, tmp_path: Path) -> Path:
    """Three whole cases a, b and c."""
    return make.decathlon(tmp_path / "Task03_Faults")


def put(raw: Path, make: ModuleType, file: str, array: np.ndarray, *args, **fields) -> None:
    make.write(raw / file, make.zipped(make.nifti(array, *args, **fields)))


def mend(raw: Path, *accept: str, output: str = "mended", **options) -> RepairReport:
    accepted: Accepted = parse_accepted(accept)
    return repair_dataset(
        raw, Path(output), accepted=accepted, workers=0, progress=Silence(), **options
    )


def measure(folder: Path) -> Measured:
    return measure_dataset(folder, Workspace(path=Path("ws")), workers=0, progress=Silence())


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def test_what_the_reader_mends_is_written_down_and_the_source_stays_as_it_is(raw, make):
    sheared = make.AFFINE.copy()
    sheared[1, 0] = 1e-3  # 1e-3 / (2 * 0.8) in the direction: noise that is straightened
    put(raw, make, "imagesTr/a.nii.gz", make.voxels(), sheared, codes=(1, 0), xyzt_units=0)
    put(raw, make, "labelsTr/b.nii.gz", make.mask(dtype="float32") * np.float32(1.00001))
    before = digests(raw)
    report = mend(raw)
    assert digests(raw) == before
    assert [mended.case for mended in report.cases] == ["a", "b", "c"]
    assert report.left_out == ()
    assert [note.split(": ")[1][:21] for note in report.cases[0].notes] == [
        "spatial units are not",
        "shear of 0.00062 in t",
    ]
    measured = measure(Path("mended"))
    assert measured.fingerprint.notes == ()
    assert measured.dataset.description.accepted == ()
    image = nib.load("mended/imagesTr/a_0000.nii.gz")
    axes = image.affine[:3, :3] / np.linalg.norm(image.affine[:3, :3], axis=0)
    assert np.abs(axes.T @ axes - np.eye(3)).max() < 1e-6
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 1)
    np.testing.assert_allclose(image.header.get_qform(), image.affine, atol=1e-5)
    assert image.header.get_xyzt_units()[0] == "mm"
    assert np.array_equal(np.asarray(image.dataobj), make.voxels())
    labels = nib.load("mended/labelsTr/b.nii.gz")
    assert labels.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(labels.dataobj), make.mask())


def test_whole_numbers_stay_whole_and_the_file_s_own_axes_stay(raw, make):
    affine = make.AFFINE[:, [1, 0, 2, 3]] @ np.diag([-1.0, 1.0, 1.0, 1.0])  # towards P, R and S
    stored = make.voxels(dtype="int16")
    put(raw, make, "imagesTr/c.nii.gz", stored, affine)
    put(raw, make, "labelsTr/c.nii.gz", make.mask(), affine)
    mend(raw)
    image = nib.load("mended/imagesTr/c_0000.nii.gz")
    assert np.array_equal(np.asarray(image.dataobj), stored)
    assert image.get_data_dtype() == np.uint8  # from 30 to 180
    np.testing.assert_allclose(image.affine, affine, rtol=1e-6)
    assert np.array_equal(np.asarray(nib.load("mended/labelsTr/c.nii.gz").dataobj), make.mask())


def test_what_is_accepted_becomes_part_of_the_copy(raw, make):
    gap = make.voxels()
    gap[1, 2, 3] = np.nan
    put(raw, make, "imagesTr/a.nii.gz", gap, qform=make.AFFINE @ FLIPPED)
    put(raw, make, "labelsTr/a.nii.gz", make.mask(), make.AFFINE @ FLIPPED)
    apart = make.AFFINE.copy()
    apart[2, 3] -= 2.5  # the labels lie one slice lower
    put(raw, make, "labelsTr/b.nii.gz", make.mask(), apart)
    refused = mend(raw)
    assert [each.case for each in refused.left_out] == ["a", "b"]
    assert [each.rule for each in refused.left_out] == ["E-GEO-13", "E-GEO-21"]
    assert "or --accept E-GEO-21=resample" in refused.left_out[1].fix
    assert [case.name for case in read_dataset(Path("mended")).cases] == ["c"]
    report = mend(raw, "E-GEO-13=qform", "E-VAL-28", "E-GEO-21")
    assert report.left_out == ()
    assert measure(Path("mended")).dataset.description.accepted == ()
    image = nib.load("mended/imagesTr/a_0000.nii.gz")
    np.testing.assert_allclose(image.affine, make.AFFINE @ FLIPPED, rtol=1e-6)
    gap[1, 2, 3] = np.nanmin(gap)
    assert np.array_equal(np.asarray(image.dataobj), gap)
    labels = nib.load("mended/labelsTr/b.nii.gz")
    np.testing.assert_allclose(labels.affine, make.AFFINE, rtol=1e-6)
    lower = np.zeros(make.SHAPE, np.uint8)
    lower[:, :, :-1] = make.mask()[:, :, 1:]
    assert np.array_equal(np.asarray(labels.dataobj), lower)


def test_other_formats_and_several_channels_become_one_file_each(make, tmp_path):
    raw = make.decathlon(tmp_path / "Task03_Faults", modality={"0": "T1", "1": "T2"})
    for case in "abc":
        put(raw, make, f"imagesTr/{case}.nii.gz", make.voxels((*make.SHAPE, 2), seed=ord(case)))
    mend(raw)
    dataset = read_dataset(Path("mended"))
    assert dataset.description.channels == ("T1", "T2")
    assert dataset.cases[1].images == ("imagesTr/b_0000.nii.gz", "imagesTr/b_0001.nii.gz")
    for k in range(2):
        found = np.asarray(nib.load(f"mended/imagesTr/b_000{k}.nii.gz").dataobj)
        assert np.array_equal(found, make.voxels((*make.SHAPE, 2), seed=ord("b"))[..., k])


def test_what_cannot_be_mended_is_left_out_and_listed(raw, make):
    (raw / "imagesTr" / "a.nii.gz").write_bytes(b"")
    (raw / "labelsTr" / "b.nii.gz").unlink()
    report = mend(raw)
    assert [(each.case, each.rule) for each in report.left_out] == [
        ("b", "E-SET-42"),
        ("a", "E-FILE-01"),
    ]
    assert sorted(digests(Path("mended"))) == [
        REPORT,
        "dataset.json",
        "imagesTr/c_0000.nii.gz",
        "labelsTr/c.nii.gz",
    ]
    assert documents.read(Path("mended") / REPORT, RepairReport) == report
    assert measure(Path("mended")).fingerprint.cases[0].name == "c"


def test_copies_are_left_out_or_become_one_patient(raw, make):
    # The same voxels, compressed otherwise: equal only once they are written alike.
    make.write(raw / "imagesTr" / "b.nii", make.nifti(make.voxels(seed=0)))
    (raw / "imagesTr" / "b.nii.gz").write_bytes(
        make.zipped((raw / "imagesTr" / "b.nii").read_bytes() + bytes(64))
    )
    (raw / "imagesTr" / "b.nii").unlink()
    (left,) = mend(raw).left_out
    assert (left.case, left.rule) == ("b", "E-SET-44")
    assert len(measure(Path("mended")).dataset.cases) == 2
    assert mend(raw, "E-SET-44").left_out == ()
    assert measure(Path("mended")).dataset.patients == {"a": "a", "b": "a", "c": "c"}


def test_a_second_run_keeps_what_is_whole_and_does_the_rest(raw, make):
    first = mend(raw)
    at = {path: path.stat().st_ino for path in Path("mended").rglob("*.nii.gz")}
    changed = make.voxels(seed=11)
    put(raw, make, "imagesTr/a.nii.gz", changed)  # the source of a changed
    Path("mended/labelsTr/b.nii.gz").write_bytes(b"torn")
    (raw / "imagesTr" / "c.nii.gz").write_bytes(b"")  # c is lost
    second = mend(raw)
    assert [mended.case for mended in second.cases] == ["a", "b"]
    assert second.cases[0].key != first.cases[0].key
    assert second.cases[1] == first.cases[1]
    found = np.asarray(nib.load("mended/imagesTr/a_0000.nii.gz").dataobj)
    assert np.array_equal(found, changed)
    assert images.read_image(Path("mended/labelsTr/b.nii.gz")).voxels.max() == 2
    assert not list(Path("mended").rglob("c*.nii.gz"))
    third = mend(raw)
    assert third == second
    kept = {path: path.stat().st_ino for path in Path("mended").rglob("*.nii.gz")}
    mend(raw)
    assert {path: path.stat().st_ino for path in Path("mended").rglob("*.nii.gz")} == kept
    assert set(kept) < set(at)


def test_two_workers_write_what_one_process_writes(raw):
    mend(raw)
    repair_dataset(raw, Path("others"), workers=2, progress=Silence())
    assert digests(Path("others")) == digests(Path("mended"))


def test_excluded_cases_go_and_come_back(raw):
    mend(raw)
    assert [mended.case for mended in mend(raw, exclude=["b"]).cases] == ["a", "c"]
    assert not list(Path("mended").rglob("b*"))
    assert len(mend(raw).cases) == 3
    assert len(read_dataset(Path("mended")).cases) == 3


def test_a_folder_that_holds_something_else_is_not_touched(raw, make, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="full: is not empty, and holds no repair of") as caught:
        mend(raw, output="full")
    assert caught.value.hint == "choose a new folder"
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.txt"]
    mend(raw)
    other = make.decathlon(tmp_path / "Task05_Other")
    with pytest.raises(UsageError, match=r"mended: is not empty, and holds no repair of .*Task05"):
        mend(other)
    for inside in (raw, raw / "copy"):
        with pytest.raises(UsageError, match="lies in the dataset that is to be copied"):
            mend(raw, output=str(inside))
    assert not (raw / "copy").exists()


def test_a_dataset_without_one_good_case_is_refused_with_all_problems(raw):
    for case in "abc":
        (raw / "imagesTr" / f"{case}.nii.gz").write_bytes(b"")
    with pytest.raises(RefusedCasesError, match="none of its cases can be mended") as caught:
        mend(raw)
    assert [problem.rule for problem in caught.value.problems] == ["E-FILE-01"] * 3
    assert not Path("mended/dataset.json").exists()


def test_pictures_are_refused(make, tmp_path):
    raw = tmp_path / "Dataset004_Pictures"
    for folder, name in (("imagesTr", "a_0000"), ("labelsTr", "a")):
        make.write(raw / folder / f"{name}.png", make.png(make.pixels() % 3))
    description = make.description(channel_names={"0": "photo"}, numTraining=1, file_ending=".png")
    make.write(raw / "dataset.json", json.dumps(description).encode())
    with pytest.raises(UsageError, match=r"consists of pictures \(\.png\); volumes can be"):
        mend(raw)
    assert not Path("mended").exists()
