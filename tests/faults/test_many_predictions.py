"""Folders of images: a corrupt one among them, shares of several machines, reruns, odd spacings."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from autoseg.cli.main import main
from autoseg.inference import ensemble
from autoseg.io import images, locks
from autoseg.pipeline.prediction import Part


@pytest.fixture
def folder_of(make):
    """Write images of different content and return their folder."""

    def build(count, shape=(5, 7, 11)):
        rng = np.random.default_rng(6)
        for number in range(count):
            voxels = rng.normal(size=shape).astype("f4")
            make.write(Path(f"imgs/case_{number:02}.nii.gz"), make.zipped(make.nifti(voxels)))
        return Path("imgs")

    return build


def predict(model, *more, output="masks", code=0):
    arguments = ["predict", "-i", "imgs", "-o", output, "-m", str(model), "--device", "cpu"]
    assert main([*arguments, *more]) == code


def masks_in(folder):
    return {path.name: path.read_bytes() for path in sorted(Path(folder).glob("*.nii.gz"))}


def test_a_corrupt_image_among_twenty_costs_itself_only(folder_of, write_model, capsys):
    (folder_of(20) / "case_07.nii.gz").write_bytes(b"\x1f\x8b broken")
    predict(write_model(), code=4)
    assert len(masks_in("masks")) == 19
    shown = capsys.readouterr().err
    (refusal,) = [line for line in shown.splitlines() if line.startswith("error: E-FILE")]
    assert "case_07.nii.gz" in refusal
    assert "1 of 20 cases are refused; the others are in masks" in shown


@pytest.mark.parametrize("workers", ["0", "1", "3"])
def test_the_number_of_workers_changes_no_mask(workers, folder_of, write_model):
    folder_of(5)
    model = write_model()
    predict(model, "--workers", "0", output="alone")
    predict(model, "--workers", workers)
    assert masks_in("masks") == masks_in("alone")
    assert sorted(path.name for path in Path("masks").iterdir() if path.is_dir()) == []


def test_parts_share_the_cases_and_each_writes_its_own_manifest(folder_of, write_model):
    folder_of(5)
    model = write_model()
    predict(model, output="alone")
    names = []
    for part in ("1", "2"):
        predict(model, "--parts", "2", "--part", part)
        manifest = Path(f"masks/autoseg_prediction_part{part}of2.json")
        names.append([case["case"] for case in json.loads(manifest.read_text())["cases"]])
    assert names == [["case_00", "case_02", "case_04"], ["case_01", "case_03"]]
    assert masks_in("masks") == masks_in("alone")


def test_a_run_for_all_cases_takes_over_what_parts_made(folder_of, write_model):
    folder_of(3)
    model = write_model()
    for part in ("1", "2"):
        predict(model, "--parts", "2", "--part", part)
    before = {path: path.stat().st_mtime_ns for path in Path("masks").glob("*.nii.gz")}
    predict(model)
    assert {path: path.stat().st_mtime_ns for path in Path("masks").glob("*.nii.gz")} == before
    assert [path.name for path in Path("masks").glob("*.json")] == ["autoseg_prediction.json"]
    assert [path.name for path in Path("masks").iterdir() if path.is_dir()] == []


def test_a_part_and_a_run_for_all_cases_exclude_each_other(folder_of, write_model, capsys):
    folder_of(2)
    model = write_model()
    Path("masks").mkdir()
    with locks.hold(Path("masks/.part2of2"), "the second part"):
        predict(model, "--parts", "2", "--part", "1")
        predict(model, code=7)
        predict(model, "--parts", "2", "--part", "2", code=7)
    shown = capsys.readouterr().err
    assert shown.count("masks/.part2of2: is in use by") == 2
    assert "hint: wait until it ends or choose another -o FOLDER" in shown
    predict(model, "--parts", "2", "--part", "2")
    assert sorted(masks_in("masks")) == ["case_00.nii.gz", "case_01.nii.gz"]
    assert [path.name for path in Path("masks").iterdir() if path.is_dir()] == []


def test_parts_of_another_division_share_cases_and_are_refused(folder_of, write_model, capsys):
    folder_of(2)
    with locks.hold(Path("masks/.part1of3"), "a part of three"):
        predict(write_model(), "--parts", "2", "--part", "1", code=7)
    assert "masks/.part1of3: is in use by" in capsys.readouterr().err


def test_a_part_says_that_it_waits_for_a_run_for_all_cases(
    folder_of, write_model, monkeypatch, capsys
):
    folder_of(1)
    model, whole = write_model(), ExitStack()
    whole.enter_context(locks.hold(Path("masks"), "all cases"))
    with monkeypatch.context() as patch:
        patch.setattr("autoseg.io.locks.time.sleep", lambda seconds: whole.close())
        predict(model, "--parts", "2", "--part", "1")
    assert capsys.readouterr().err.count("waiting: masks: is in use by") == 1
    assert list(masks_in("masks")) == ["case_00.nii.gz"]


def test_a_part_without_cases_is_done(folder_of, write_model, capsys):
    folder_of(3)
    predict(write_model(), "--parts", "4", "--part", "4")
    assert "part 4 of 4 has no case" in capsys.readouterr().err
    assert masks_in("masks") == {}


def test_probabilities_of_another_model_are_not_kept(folder_of, write_model):
    folder_of(1)
    model = write_model()
    predict(model, "--probabilities")
    array = Path("masks/probabilities/case_00.b2nd")
    first = array.read_bytes()
    predict(model, "--no-mirror")
    assert array.read_bytes() == first  # the same model: nothing was made
    folder_of(1, (6, 7, 11))
    predict(model)
    assert not array.exists()
    predict(model, "--probabilities")
    assert array.read_bytes() != first


def test_uncertainty_of_pictures_is_refused_before_work(make, write_model, capsys):
    make.write(Path("imgs/a.png"), make.png(make.voxels((9, 14), "uint8")))
    predict(write_model((1.0, 1.0), (8, 12), ending=".png"), "--uncertainty", code=2)
    assert "2D images; --uncertainty writes NIfTI" in capsys.readouterr().err


def test_parts_that_do_not_exist_are_refused(write_model, folder_of, capsys):
    folder_of(1)
    predict(write_model(), "--parts", "2", "--part", "3", code=2)
    assert "part 3 of 2 does not exist; parts are numbered from 1" in capsys.readouterr().err


def test_shares_are_disjoint_and_complete():
    cases = tuple(range(11))
    shares = [Part(number=number, of=4).share(cases) for number in (1, 2, 3, 4)]
    assert sorted(case for share in shares for case in share) == list(cases)
    assert [len(share) for share in shares] == [3, 3, 3, 2]


def test_finished_cases_are_kept_and_others_done_again(folder_of, write_model):
    folder_of(3)
    model = write_model()
    predict(model)
    before = {path: path.stat().st_mtime_ns for path in Path("masks").glob("*.nii.gz")}
    (Path("masks") / "case_01.nii.gz").unlink()
    predict(model)
    after = {path: path.stat().st_mtime_ns for path in Path("masks").glob("*.nii.gz")}
    changed = [path.name for path in before if before[path] != after[path]]
    assert changed == ["case_01.nii.gz"]


def test_a_lost_device_ends_the_run_and_what_is_finished_is_kept(
    folder_of, write_model, monkeypatch, capsys
):
    folder_of(3)
    model, real, names = write_model(), ensemble.segment, []

    def segment(*arguments, **options):
        names.append("called")
        if len(names) == 2:
            raise torch.AcceleratorError("CUDA error: unspecified launch failure")
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(ensemble, "segment", segment)
        predict(model, code=75)
    assert "case_01: cpu was lost (CUDA error: unspec" in capsys.readouterr().err
    assert list(masks_in("masks")) == ["case_00.nii.gz"]
    predict(model)
    assert len(masks_in("masks")) == 3


def test_a_spacing_far_from_the_training_is_noted(make, write_model, capsys):
    for name, edge in (("usual", 2.5), ("tenfold", 25.0)):
        data = make.nifti(make.voxels(), np.diag([0.8, 0.9, edge, 1.0]))
        make.write(Path(f"imgs/{name}.nii.gz"), make.zipped(data))
    predict(write_model())
    expected = "spacing 25 mm along axis 0 of the plan is 10 times more than the 2.5 mm that"
    lines = [line for line in capsys.readouterr().err.splitlines() if "times more" in line]
    assert len(lines) == 1
    assert "case 'tenfold'" in lines[0]
    assert expected in lines[0]
    manifest = json.loads(Path("masks/autoseg_prediction.json").read_text())
    notes = {case["case"]: case["notes"] for case in manifest["cases"]}
    assert any(expected in note for note in notes["tenfold"])
    assert not any("the model works at" in note for note in notes["usual"])


def test_an_empty_folder_is_refused(write_model, capsys):
    Path("imgs").mkdir()
    predict(write_model(), code=2)
    assert "imgs: holds no images; needed are files ending with" in capsys.readouterr().err


@pytest.mark.parametrize("workers", [pytest.param("0", marks=pytest.mark.slow), "1"])
def test_a_killed_prediction_carries_on(workers, folder_of, write_model):
    folder_of(12, (30, 40, 50))
    model = write_model()
    command = [
        *(sys.executable, "-m", "autoseg", "predict", "-i", "imgs", "-m", str(model)),
        *("--device", "cpu", "-o", "masks", "--workers", workers),
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    while len(masks_in("masks")) < 3:
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = set(masks_in("masks"))
    predict(model)
    done = masks_in("masks")
    assert len(done) == 12
    assert kept < set(done)
    assert not Path("masks/.prepared").exists()
    predict(model, output="alone")
    assert masks_in("alone") == done


def test_ctrl_c_ends_a_prediction_soon_and_keeps_what_is_done(folder_of, write_model):
    folder_of(40, (30, 40, 50))
    command = [
        *(sys.executable, "-m", "autoseg", "predict", "-i", "imgs", "-m", str(write_model())),
        *("--device", "cpu", "-o", "masks", "--workers", "1"),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while len(masks_in("masks")) < 2:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        shown = process.communicate(timeout=60)[1]
    assert process.returncode == 75
    assert "Traceback" not in shown
    assert 2 <= len(masks_in("masks")) < 40
    for path in Path("masks").glob("*.nii.gz"):
        assert nib.load(path).shape == (50, 40, 30) or images.read_image(path)
