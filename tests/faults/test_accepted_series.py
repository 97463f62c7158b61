"""Folders of DICOM: which series is read, and that its choice holds for digests and copies too."""

import json
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest

from autoseg.cli.main import main
from autoseg.core.acceptance import parse_accepted
from autoseg.core.errors import InputError, UsageError
from autoseg.execution.progress import Silence
from autoseg.io import images
from autoseg.io.formats.image_digest import stored_digest
from autoseg.pipeline.repair import repair_dataset

pytest.importorskip("pydicom")
OTHER = "1.2.826.0.1.3680043.8.498.77"


@pytest.fixture
def both(dicom: ModuleType, tmp_path: Path) -> Path:
    """A folder of two series of the same shape."""
    names = {k: f"other{k}.dcm" for k in range(dicom.SHAPE[2])}
    dicom.write(tmp_path / "both", dicom.slices(series=OTHER), names)
    return dicom.write(tmp_path / "both", dicom.slices(dicom.voxels(seed=5)))


def test_a_folder_is_read_as_the_one_series_in_it(dicom: ModuleType, tmp_path: Path):
    folder = dicom.write(tmp_path / "scan", dicom.slices())
    image = images.read_image(folder, orientation="stored")
    assert np.array_equal(image.voxels[0], dicom.voxels().T)
    np.testing.assert_allclose(image.geometry.file_affine, dicom.affine(), atol=1e-5)
    assert image.digests == (stored_digest(folder),)


def test_of_two_series_the_accepted_one_is_read(dicom: ModuleType, both: Path):
    with pytest.raises(InputError, match="2 series that could be the image") as caught:
        images.read_image(both)
    assert caught.value.rule == "E-DCM-53"
    accepted = parse_accepted([f"E-DCM-53={OTHER}", "E-DCM-53=1.2.3"])
    image = images.read_image(both, orientation="stored", accepted=accepted)
    assert np.array_equal(image.voxels[0], dicom.voxels().T)
    assert image.digests == (stored_digest(both, accepted),)
    (note,) = image.notes
    assert note.startswith(f"both: series {OTHER} was taken")
    mine = parse_accepted([f"E-DCM-53={dicom.SERIES}"])
    assert stored_digest(both, mine) != stored_digest(both, accepted)


def test_a_tilted_gantry_is_straightened_where_that_is_accepted(dicom: ModuleType, tmp_path: Path):
    slices = dicom.slices()
    for k, dataset in enumerate(slices):  # every slice lies 2 rows of 0.9 mm further to the front
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y - 1.8 * k, z]
    folder = dicom.write(tmp_path / "tilted", slices)
    with pytest.raises(InputError) as caught:
        images.read_image(folder)
    assert caught.value.rule == "E-DCM-52"
    image = images.read_image(
        folder, orientation="stored", accepted=parse_accepted(["E-DCM-52=untilt"])
    )
    # Whole rows: no voxel is interpolated. Those of slice 0 lie where slice 5 ends, 10 rows on.
    inverse = np.linalg.inv(image.geometry.affine)
    for k in (0, 5):
        place = dicom.affine() @ [0, 0, k, 1.0] + [0, 1.8 * k, 0, 0]
        found = image.voxels[0][tuple(np.rint(inverse @ place)[:3].astype(int))]
        assert found == pytest.approx(dicom.voxels()[0, 0, k], abs=1e-3)
    assert any(note.startswith("tilted: ") for note in image.notes)


def test_a_dataset_of_folders_is_measured_once_and_copied(
    dicom: ModuleType, make: ModuleType, both: Path, tmp_path: Path
):
    labels = np.zeros(dicom.SHAPE, np.uint8)
    labels[1:3, 2:4, 1:3], labels[0, 0, 0] = 1, 2
    mask = make.zipped(make.nifti(labels, dicom.affine()))
    make.write(tmp_path / "mask.nii.gz", mask)
    second = dicom.write(tmp_path / "scan", dicom.slices(dicom.voxels(seed=8)))
    cases = [
        {"name": name, "images": [str(folder)], "segmentation": "mask.nii.gz"}
        for name, folder in (("a", both), ("b", second))
    ]
    manifest = {
        "channels": ["CT"],
        "labels": {"background": 0, "left": 1, "right": 2},
        "file_ending": ".nii.gz",
        "cases": cases,
    }
    (tmp_path / "scans.json").write_text(json.dumps(manifest))
    arguments = ["fingerprint", "-d", str(tmp_path / "scans.json"), "--workers", "0", "--quiet"]
    assert main(arguments) == 3
    assert main([*arguments, "--accept", f"E-DCM-53={OTHER}"]) == 0
    kept = next(Path("autoseg_workspace").rglob("measured/a.json"))
    written = kept.stat().st_ino
    assert main([*arguments, "--accept", f"E-DCM-53={OTHER}"]) == 0
    assert kept.stat().st_ino == written
    with pytest.raises(UsageError, match="lies in the dataset that is to be copied"):
        repair_dataset(tmp_path / "scans.json", both / "new", workers=0, progress=Silence())
    report = repair_dataset(
        tmp_path / "scans.json",
        Path("mended"),
        accepted=parse_accepted([f"E-DCM-53={OTHER}"]),
        workers=0,
        progress=Silence(),
    )
    assert report.left_out == ()
    copy = nib.load("mended/imagesTr/a_0000.nii.gz")
    assert np.array_equal(np.asarray(copy.dataobj), dicom.voxels())
    np.testing.assert_allclose(copy.affine, dicom.affine(), atol=1e-5)
    assert main(["fingerprint", "-d", "mended", "--workers", "0", "--quiet"]) == 0


def test_a_folder_called_like_an_image_file_is_none(tmp_path: Path):
    (tmp_path / "scan.nii.gz").mkdir()
    with pytest.raises(InputError, match="is a folder, allowed are regular files") as caught:
        images.read_image(tmp_path / "scan.nii.gz")
    assert caught.value.rule == "E-FILE-11"
