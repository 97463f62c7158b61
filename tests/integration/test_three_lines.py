import json
import multiprocessing
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import autoseg
from autoseg.cli.main import main
from autoseg.io import files
from autoseg.io.images import read_image

SHORT = ["--preset", "fast", "--epochs", "4", "--steps-per-epoch", "20", "--device", "cpu"]
ALONE = ["--workers", "0", *SHORT]
QUICK = ["--preset", "fast", "--epochs", "1", "--steps-per-epoch", "4", "--workers", "0"]
QUICK += ["--device", "cpu"]
"""A training that learns nothing, for tests that ask for nothing of it."""


@pytest.fixture(scope="module")
def three_lines(tmp_path_factory, write_msd_dataset) -> Path:
    """A folder in which the three lines were run."""
    folder = tmp_path_factory.mktemp("lines")
    raw = write_msd_dataset(folder / "data" / "Task07_Shapes")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["plan_and_preprocess", "-d", "7", "--data", str(raw.parent)]) == 0
        assert main(["train", "3d_fullres", "0", *SHORT]) == 0
        assert main(["predict", "-i", str(raw / "imagesTs"), "-o", "masks"]) == 0
    return folder


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory, write_msd_dataset) -> Path:
    """A folder in which fold 0 of a 2D configuration was run; to be copied."""
    folder = tmp_path_factory.mktemp("quick")
    raw = write_msd_dataset(folder / "data" / "Task07_Shapes")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["run", "-d", str(raw), "-c", "2d", "-f", "0", *QUICK, "--quiet"]) == 0
    return folder


@pytest.fixture
def quick(quick_run, tmp_path) -> Path:
    """The dataset of a copy of it, which lies in the working folder."""
    shutil.copytree(quick_run, tmp_path, dirs_exist_ok=True)
    return tmp_path / "data" / "Task07_Shapes"


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_three_lines_make_a_model_that_segments_new_3d_images(three_lines, capsys, monkeypatch):
    monkeypatch.chdir(three_lines)
    msd = three_lines / "data" / "Task07_Shapes"
    capsys.readouterr()
    arguments = ["evaluate", "-i", "masks", "-r", str(msd / "labelsTs"), "--json"]
    assert main(arguments) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["mean_dice"] > 0.85
    source = nib.load(msd / "imagesTs" / "case_06.nii.gz")
    made = nib.load(three_lines / "masks" / "case_06.nii.gz")
    assert made.shape == source.shape
    np.testing.assert_allclose(made.affine, source.affine, atol=1e-6)
    reference = np.asarray(nib.load(msd / "labelsTs" / "case_06.nii.gz").dataobj)
    predicted = np.asarray(made.dataobj)
    # An independent Dice of the box: twice the overlap over the sum of both sizes.
    overlap = np.sum((reference == 1) & (predicted == 1))
    dice = 2 * overlap / (np.sum(reference == 1) + np.sum(predicted == 1))
    assert scores["cases"][0]["overlaps"][0]["dice"] == pytest.approx(dice)


def test_2d_images_are_trained_and_segmented_in_their_own_file_type(png, tmp_path, capsys):
    assert main(["plan_and_preprocess", "-d", str(png)]) == 0
    assert main(["train", "2d", "0", *ALONE]) == 0
    assert main(["predict", "-i", str(png / "imagesTs"), "-o", "masks"]) == 0
    assert [p.name for p in (tmp_path / "masks").glob("*.png")] == ["case_6.png"]
    capsys.readouterr()
    assert main(["evaluate", "-i", "masks", "-r", str(png / "labelsTs"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mean_dice"] > 0.85


def test_a_2d_configuration_segments_3d_images_slice_by_slice(msd, capsys):
    arguments = ["run", "-d", str(msd), "-c", "2d", "-f", "1", *ALONE, "--json", "--quiet"]
    assert main(arguments) == 0
    folds = json.loads(capsys.readouterr().out)["folds"]
    assert folds["2d/1"]["mean_dice"] > 0.7


def test_run_takes_4d_images_of_several_channels_and_keeps_what_is_done(
    tmp_path, capsys, write_msd_dataset
):
    raw = write_msd_dataset(tmp_path / "Task08_Channels", channels=2)
    arguments = ["run", "-d", str(raw), "-c", "3d_fullres", "-f", "0", *ALONE, "--json"]
    assert main(arguments) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["folds"]["3d_fullres/0"]["mean_dice"] > 0.8
    before = files_below(tmp_path / "autoseg_workspace" / "Task08_Channels" / "models")
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == first
    assert "trained" not in captured.err
    assert files_below(tmp_path / "autoseg_workspace" / "Task08_Channels" / "models") == before


def test_a_loaded_model_segments_arrays_and_writes_nothing(three_lines):
    model_folder = three_lines / "autoseg_workspace/Task07_Shapes/models/default/3d_fullres/default"
    before = files_below(three_lines)
    image = read_image(three_lines / "data/Task07_Shapes/imagesTs/case_06.nii.gz")
    model = autoseg.load(model_folder, device="cpu")
    array = model.predict(image.voxels, image.geometry.spacing)
    assert files_below(three_lines) == before
    assert array.shape == image.geometry.shape
    written = np.asarray(nib.load(three_lines / "masks" / "case_06.nii.gz").dataobj)
    np.testing.assert_array_equal(image.geometry.to_file(array), written)
    assert not multiprocessing.active_children()


def test_several_folds_carry_on_behind_those_that_are_finished(quick, capsys):
    assert main(["train", "2d", "0", "1", *QUICK, "--json"]) == 0
    captured = capsys.readouterr()
    assert "fold 0 is trained and validated already" in captured.err
    assert set(json.loads(captured.out)["folds"]) == {"0", "1"}


def test_damaged_weights_are_named_and_not_taken_for_finished(quick, tmp_path, capsys):
    (weights,) = tmp_path.glob("autoseg_workspace/*/models/*/*/*/fold_0/weights.safetensors")
    weights.write_bytes(weights.read_bytes()[:-9])
    assert main(["train", "2d", "0", *QUICK]) == 5
    assert "train the fold again" in capsys.readouterr().err


def test_a_wrong_device_leaves_no_trace_in_the_run(prepared, capsys, monkeypatch):
    monkeypatch.chdir(prepared)
    assert main(["train", "2d", "0", *QUICK[:-1], "cuda:7"]) == 2
    assert "cuda:7" in capsys.readouterr().err
    assert main(["train", "2d", "0", *QUICK, "--quiet"]) == 0


def test_two_datasets_of_one_name_are_not_mixed(msd, tmp_path, capsys, write_msd_dataset):
    quickly = ["--rules", "nnunet", "--patch-size", "8,16,16", "-c", "3d_fullres", "--workers", "0"]
    assert main(["plan_and_preprocess", "-d", str(msd), "--quiet", *quickly]) == 0
    other = write_msd_dataset(tmp_path / "other" / msd.name, seed=8)
    capsys.readouterr()
    assert main(["plan_and_preprocess", "-d", str(other)]) == 2
    message = capsys.readouterr().err
    assert str(other) in message
    assert str(msd) in message
    # It is found where it was.
    assert main(["plan_and_preprocess", "-d", msd.name, "--quiet", *quickly]) == 0


def test_an_output_folder_keeps_the_records_of_several_inputs(quick, tmp_path, capsys):
    for images in ("imagesTs", "imagesTr", "imagesTs"):
        arguments = ["predict", "-i", str(quick / images), "-o", "masks", "--device", "cpu"]
        assert main([*arguments, "--no-mirror"]) == 0
    manifest = json.loads((tmp_path / "masks" / "autoseg_prediction.json").read_text())
    assert len(manifest["cases"]) == 7
    capsys.readouterr()
    arguments = ["predict", "-i", str(quick / "imagesTr"), "-o", str(quick / "imagesTr")]
    assert main([*arguments, "--overwrite"]) == 2
    assert "holds the images" in capsys.readouterr().err


def test_a_prediction_that_stops_before_its_file_is_written_carries_on(
    quick, tmp_path, monkeypatch
):
    arguments = ["predict", "-i", str(quick / "imagesTs"), "-o", "masks", "--device", "cpu"]
    write = files.write_atomically

    def stop_at_masks(path: Path, data: bytes, **options: bool) -> None:
        if path.name.endswith(".nii.gz"):
            raise KeyboardInterrupt
        write(path, data, **options)

    monkeypatch.setattr(files, "write_atomically", stop_at_masks)
    assert main(arguments) == 75
    monkeypatch.setattr(files, "write_atomically", write)
    assert main(arguments) == 0
    assert (tmp_path / "masks" / "case_06.nii.gz").exists()


def test_training_a_finished_fold_again_is_a_usage_error_that_names_the_way_out(quick, capsys):
    assert main(["train", "2d", "0", *QUICK]) == 2
    message = capsys.readouterr().err
    assert "fold 0 is trained and validated already" in message
    assert "hint: train another --run NAME" in message


def test_a_run_started_with_other_settings_is_refused_with_what_differs(quick, capsys):
    assert main(["train", "2d", "1", *QUICK, "--seed", "5"]) == 2
    assert "was started with another training" in capsys.readouterr().err
    assert main(["train", "2d", "1", *QUICK, "--seed", "5", "--run", "five", "--quiet"]) == 0


def test_explain_tells_why_the_patch_is_what_it_is(prepared, capsys, monkeypatch):
    monkeypatch.chdir(prepared)
    assert main(["explain"]) == 0
    page = capsys.readouterr().out
    assert "Configuration 3d_fullres" in page
    assert "patch" in page
    assert "because" in page
