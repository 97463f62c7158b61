"""The rows of the fault catalogue as a user meets them: exit code, error line, hint line."""

import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from autoseg.cli.main import main
from autoseg.io.locks import hold

QUICK = ["--preset", "fast", "--epochs", "1", "--steps-per-epoch", "2", "--device", "cpu"]
IMAGE, LABEL = "imagesTr/b.nii.gz", "labelsTr/b.nii.gz"


@dataclass(frozen=True)
class Row:
    """One fault, put into case b of a good dataset of three."""

    rule: str
    """Rule id that the error names."""
    says: str
    """Words of the message: the measured value."""
    file: str
    """File that is replaced."""
    content: Callable[[Any], bytes] | None
    """Its new bytes; None removes it."""


def gz(make: Any, *arguments: Any, **keywords: Any) -> bytes:
    return bytes(make.zipped(make.nifti(*arguments, **keywords)))


def cut(make: Any) -> bytes:
    whole = gz(make, make.voxels())
    return whole[: len(whole) // 2]


def flipped_bit(make: Any) -> bytes:
    data = bytearray(gz(make, make.voxels()))
    data[-6] ^= 1  # within the checksum
    return bytes(data)


def with_nan(make: Any) -> bytes:
    voxels = make.voxels()
    voxels[1, 2, 3] = np.nan
    return gz(make, voxels)


def disagreeing_forms(make: Any) -> bytes:
    return gz(make, make.voxels(), qform=make.AFFINE @ np.diag([-1, 1, 1, 1]))


def with_value(value: float, dtype: str) -> Callable[[Any], bytes]:
    def content(make: Any) -> bytes:
        labels = make.mask(dtype=dtype)
        labels[4, 6, :2] = value
        return gz(make, labels)

    return content


def shifted(make: Any) -> bytes:
    affine = make.AFFINE.copy()
    affine[0, 3] += 7
    return gz(make, make.mask(), affine)


def six_axes_of_zero(make: Any) -> bytes:
    return bytes(make.zipped(make.with_dim(make.nifti(make.voxels()), 6, 0, 0, 0)))


ROWS = {
    "1-empty": Row("E-FILE-01", "empty", IMAGE, lambda make: b""),
    "3-cut-gzip": Row("E-FILE-03", "ends early", IMAGE, cut),
    "4-checksum": Row("E-FILE-04", "checksum", IMAGE, flipped_bit),
    "7-text": Row("E-FILE-07", "b.nii.gz", IMAGE, lambda make: b"not an image\n" * 40),
    "9-impossible-header": Row("E-FILE-09", "b.nii.gz", IMAGE, six_axes_of_zero),
    "13-forms-disagree": Row("E-GEO-13", "b.nii.gz", IMAGE, disagreeing_forms),
    "20-shapes": Row("E-GEO-20", "case 'b'", LABEL, lambda make: gz(make, make.mask((9, 7, 5)))),
    "21-apart": Row("E-GEO-21", "case 'b'", LABEL, shifted),
    "28-nan": Row("E-VAL-28", "b.nii.gz", IMAGE, with_nan),
    "34-fraction": Row("E-VAL-34", "0.5", LABEL, with_value(0.5, "float32")),
    "35-undeclared": Row("E-VAL-35", "9", LABEL, with_value(9, "uint8")),
    "42-missing-label": Row("E-SET-42", "b", LABEL, None),
    "46-duplicate-keys": Row(
        "E-SET-46", "twice", "dataset.json", lambda make: b'{"labels": 1, "labels": 2}'
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_planning_refuses_the_fault_names_it_and_makes_no_plan(
    row: Row, make: ModuleType, tmp_path: Path, capsys
):
    raw = make.decathlon(tmp_path / "Task03_Faults")
    (raw / row.file).unlink()
    if row.content is not None:
        make.write(raw / row.file, row.content(make))
    assert main(["plan_and_preprocess", "-d", str(raw), "--workers", "0"]) == 3
    lines = capsys.readouterr().err.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(f"error: {row.rule} "))
    assert row.says in lines[at]
    assert lines[at + 1].startswith("hint: ")
    assert "Traceback" not in "\n".join(lines)
    assert not list(tmp_path.rglob("plans"))


def test_a_truncated_plain_nifti_tells_bytes_expected_and_found(make, tmp_path, capsys):
    raw = make.nnunet(tmp_path / "Dataset003_Faults", file_ending=".nii")
    for file in [*raw.glob("*/*.nii.gz")]:
        make.write(file.with_suffix(""), gzip.decompress(file.read_bytes()))
        file.unlink()
    path = raw / "imagesTr" / "b_0001.nii"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-100])
    assert main(["plan_and_preprocess", "-d", str(raw), "--workers", "0"]) == 3
    message = capsys.readouterr().err
    assert "error: E-FILE-02" in message
    assert str(size) in message or str(size - 352) in message
    assert "b_0001.nii" in message


def test_all_faults_of_a_dataset_are_listed_at_once_and_good_cases_are_not_read_again(
    make, tmp_path, capsys
):
    raw = make.decathlon(tmp_path / "Task03_Faults")
    make.write(raw / IMAGE, b"")
    make.write(raw / "labelsTr" / "c.nii.gz", with_value(9, "uint8")(make))
    assert main(["plan_and_preprocess", "-d", str(raw), "--workers", "0", "--json"]) == 3
    captured = capsys.readouterr()
    problems = json.loads(captured.out)["error"]["problems"]
    assert [problem["rule"] for problem in problems] == ["E-FILE-01", "E-VAL-35"]
    assert "2 of 3 cases are refused; no plan was made" in captured.err
    kept = tmp_path / "autoseg_workspace" / "Task03_Faults" / "measured" / "a.json"
    assert kept.exists()


@pytest.fixture(scope="module")
def model(make: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of a network that was hardly trained."""
    folder = tmp_path_factory.mktemp("model")
    raw = make.decathlon(folder / "Task03_Faults")
    shape = (24, 20, 10)  # the usual 10 x 8 x 6 voxels cannot be halved even once
    for seed, name in enumerate("abc"):
        make.write(raw / "imagesTr" / f"{name}.nii.gz", gz(make, make.voxels(shape, seed=seed)))
        make.write(raw / "labelsTr" / f"{name}.nii.gz", gz(make, make.mask(shape)))
    arguments = ["run", "-d", str(raw), "-c", "2d", "-f", "0", "--workspace", str(folder / "ws")]
    assert main([*arguments, *QUICK, "--workers", "0", "--quiet"]) == 0
    return folder / "ws" / "Task03_Faults" / "models" / "default" / "2d" / "default"


@pytest.mark.parametrize("row", [r for r in ROWS.values() if r.file == IMAGE and r.content])
def test_prediction_goes_on_with_the_other_cases_and_says_4(
    row: Row, make: ModuleType, model: Path, tmp_path: Path, capsys
):
    images = tmp_path / "imgs"
    for name in ("a", "b", "c"):
        make.write(images / f"{name}.nii.gz", gz(make, make.voxels()))
    make.write(images / "b.nii.gz", row.content(make))
    arguments = ["predict", "-i", str(images), "-o", "masks", "-m", str(model), "--device", "cpu"]
    assert main(arguments) == 4
    message = capsys.readouterr().err
    assert f"error: {row.rule} " in message
    assert "1 of 3 cases are refused; the others are in masks" in message
    assert sorted(p.name for p in Path("masks").glob("*.nii.gz")) == ["a.nii.gz", "c.nii.gz"]
    make.write(images / "b.nii.gz", gz(make, make.voxels()))
    assert main(arguments) == 0
    assert (Path("masks") / "b.nii.gz").exists()


def test_evaluation_goes_on_with_the_other_pairs_and_says_4(make, tmp_path, capsys):
    raw = make.decathlon(tmp_path / "Task03_Faults")
    shutil.copytree(raw / "labelsTr", tmp_path / "masks")
    make.write(tmp_path / "masks" / "b.nii.gz", shifted(make))
    assert main(["fingerprint", "-d", str(raw), "--workers", "0", "--quiet"]) == 0
    assert main(["evaluate", "-i", "masks", "-d", "3", "--workers", "0"]) == 4
    message = capsys.readouterr().err
    assert "error: E-GEO-21 case 'b'" in message
    scores = json.loads((tmp_path / "masks" / "summary.json").read_text())
    assert [case["case"] for case in scores["cases"]] == ["a", "c"]
    assert scores["mean_dice"] == 1.0


def test_a_dataset_that_does_not_exist_is_refused_with_where_it_was_looked_for(tmp_path, capsys):
    assert main(["plan_and_preprocess", "-d", "Task77"]) == 3
    message = capsys.readouterr().err
    assert "error: E-SET-42 dataset 'Task77': neither a folder" in message
    assert str(tmp_path) in message
    assert "hint: give the path" in message


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["train", "2d", "0", "-d", "Task77"], id="train"),
        pytest.param(["explain", "-d", "Task77"], id="explain"),
        pytest.param(["predict", "-i", "x", "-o", "y", "-d", "Task77"], id="predict"),
    ],
)
def test_a_dataset_that_was_not_planned_is_a_usage_error(arguments, capsys):
    assert main(arguments) == 2
    assert "dataset 'Task77' was not planned" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_refused_before_work(make, model, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    make.write(tmp_path / "imgs" / "a.nii.gz", gz(make, make.voxels()))
    arguments = ["predict", "-i", "imgs", "-o", "file/masks", "-m", str(model)]
    assert main([*arguments, "--device", "cpu"]) == 6
    assert "error: E-RES-62" in capsys.readouterr().err
    raw = make.decathlon(tmp_path / "Task03_Faults")
    workspace = ["--workspace", str(tmp_path / "file" / "ws")]
    assert main(["plan_and_preprocess", "-d", str(raw), "--workers", "0", *workspace]) == 6
    assert "cannot be written" in capsys.readouterr().err


def test_a_place_that_another_run_holds_is_refused_and_names_the_holder(make, tmp_path, capsys):
    raw = make.decathlon(tmp_path / "Task03_Faults")
    with hold(tmp_path / "autoseg_workspace" / "Task03_Faults", "a longer run"):
        assert main(["plan_and_preprocess", "-d", str(raw), "--workers", "0"]) == 7
    assert "a longer run" in capsys.readouterr().err


def test_a_mask_that_autoseg_did_not_write_is_not_overwritten(make, model, tmp_path, capsys):
    make.write(tmp_path / "imgs" / "a.nii.gz", gz(make, make.voxels()))
    make.write(tmp_path / "masks" / "a.nii.gz", b"somebody's own work")
    arguments = ["predict", "-i", "imgs", "-o", "masks", "-m", str(model), "--device", "cpu"]
    assert main(arguments) == 2
    assert "is in the way" in capsys.readouterr().err
    assert (tmp_path / "masks" / "a.nii.gz").read_bytes() == b"somebody's own work"
    assert main([*arguments, "--overwrite"]) == 0


def test_damaged_weights_are_exit_code_5_and_name_the_file(make, model, tmp_path, capsys):
    copy = shutil.copytree(model, tmp_path / "model")
    weights = copy / "fold_0" / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 4
    weights.write_bytes(data)
    make.write(tmp_path / "imgs" / "a.nii.gz", gz(make, make.voxels()))
    assert main(["predict", "-i", "imgs", "-o", "masks", "-m", str(copy), "--device", "cpu"]) == 5
    message = capsys.readouterr().err
    assert "error: E-MODEL-59" in message
    assert "weights.safetensors" in message
