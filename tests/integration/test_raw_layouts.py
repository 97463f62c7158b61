"""Manifests and BIDS datasets through the command line, and found again by path and by name."""

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from autoseg.cli.main import main
from autoseg.io.workspace import Workspace

PLAN = ["plan_and_preprocess", "--workspace", "ws", "--quiet", "--json", "--workers", "0"]
PLAN += ["--rules", "nnunet", "--patch-size", "8,16,16", "-c", "3d_fullres"]  # without torch
CASES = 5


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def preprocessed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Run a command and return what it says it has made."""
    capsys.readouterr()
    assert main(arguments) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture
def table(msd: Path) -> Path:
    """Write a table of cases whose files lie in another folder."""
    folder = msd.parent.parent / "study"
    folder.mkdir()
    about = {"channels": ["MRI"], "labels": {"background": 0, "box": 1, "ball": 2}}
    (folder / "organs.json").write_text(json.dumps(about))
    masks = f"../data/{msd.name}/labelsTr"
    rows = [
        f"case {k},{msd}/imagesTr/case_0{k}.nii.gz,{masks}/case_0{k}.nii.gz,P{k // 2}"
        for k in range(CASES)
    ]
    (folder / "organs.csv").write_text("\n".join(["case,image,segmentation,patient", *rows]))
    return folder / "organs.csv"


def test_a_table_is_planned_and_found_again(
    table: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    made = preprocessed([*PLAN, "-d", "study/organs.csv"], capsys)
    assert (made["dataset"], made["preprocessed"]) == ("organs", CASES)
    folder = Workspace(path=Path("ws")).dataset("organs")
    assert folder.read_dataset().origin == str(table)
    # Cases 0 and 1, and 2 and 3, are of one patient.
    for fold in folder.read_splits().folds:
        for pair in ({"case 0", "case 1"}, {"case 2", "case 3"}):
            assert len(pair & set(fold.validation)) in (0, 2)
    monkeypatch.chdir(table.parent)
    again = [*PLAN, "--workspace", "../ws", "-d"]
    for asked in ("organs", "organs.csv", "organs.json"):
        assert preprocessed([*again, asked], capsys)["preprocessed"] == 0
    for asked in ("organs", "organs.csv", "../study/organs.json"):
        assert main(["explain", "--workspace", "../ws", "-d", asked]) == 0


def test_a_manifest_of_another_name_is_found_by_its_path(
    table: Path, capsys: pytest.CaptureFixture[str]
):
    for path in (table, table.with_suffix(".json")):
        path.rename(path.with_name(f"manifest{path.suffix}"))
    about = json.loads(Path("study/manifest.json").read_text())
    Path("study/manifest.json").write_text(json.dumps(about | {"name": "Shapes 2"}))
    made = preprocessed([*PLAN, "-d", "study", "--data", "."], capsys)
    assert made["dataset"] == "Shapes 2"
    for asked in ("study", "study/manifest.csv", "Shapes 2"):
        assert main(["explain", "--workspace", "ws", "-d", asked]) == 0
        assert preprocessed([*PLAN, "-d", asked], capsys)["preprocessed"] == 0


def test_a_bids_dataset_is_planned(msd: Path, capsys: pytest.CaptureFixture[str]):
    bids = Path("data/Shapes")
    for k in range(CASES):
        subject = f"sub-{k // 2}"
        name = f"{subject}_ses-{k % 2}"
        place = Path(subject) / f"ses-{k % 2}" / "anat"
        for part, root, suffix in (
            ("imagesTr", bids, "T1w"),
            ("labelsTr", bids / "derivatives/manual", "dseg"),
        ):
            (root / place).mkdir(parents=True)
            source = msd / part / f"case_0{k}.nii.gz"
            shutil.copy(source, root / place / f"{name}_{suffix}.nii.gz")
    (bids / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.8.0"}')
    (bids / "dseg.tsv").write_text("index\tname\n1\tbox\n2\tball\n")
    made = preprocessed([*PLAN, "-d", "Shapes", "--data", "data"], capsys)
    assert (made["dataset"], made["preprocessed"]) == ("Shapes", CASES)
    folder = Workspace(path=Path("ws")).dataset("Shapes")
    voxels = np.sum([case.class_voxels for case in folder.read_fingerprint().cases], axis=0)
    assert voxels.shape == (3,)
    assert voxels.min() > 0
    assert [len(fold.validation) for fold in folder.read_splits().folds] == [2, 2, 1]
    shutil.rmtree(msd)
    assert preprocessed([*PLAN, "-d", "Shapes"], capsys)["preprocessed"] == 0


def test_files_that_number_their_labels_otherwise_make_the_same_dataset(
    msd: Path, capsys: pytest.CaptureFixture[str]
):
    """Cases 1 and 3 have the two labels swapped in their files, case 4 has other numbers."""
    numbers = {1: (0, 2, 1), 3: (0, 2, 1), 4: (0, 200, 7)}
    rows = ["case;image;segmentation;label:box;label:ball"]
    for k in range(CASES):
        name, (_, box, ball) = f"case_0{k}.nii.gz", numbers.get(k, (0, 1, 2))
        source = nib.load(msd / "labelsTr" / name)
        mapped = np.array(numbers.get(k, (0, 1, 2)), np.uint8)[np.asarray(source.dataobj)]
        Path("masks").mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(mapped, source.affine, source.header), Path("masks") / name)
        own = f"{box};{ball}" if k in numbers else ";"
        rows.append(f"case_0{k};{msd / 'imagesTr' / name};masks/{name};{own}")
        (msd / "imagesTr" / name).touch()
    about = {"channels": ["MRI"], "labels": {"background": 0, "box": 1, "ball": 2}}
    Path("mixed.json").write_text(json.dumps(about))
    Path("mixed.csv").write_text("\n".join(rows))
    preprocessed([*PLAN, "-d", "mixed.csv"], capsys)
    preprocessed([*PLAN, "-d", str(msd), "--exclude", "case_05"], capsys)
    mixed, plain = (Workspace(path=Path("ws")).dataset(n) for n in ("mixed", msd.name))
    ours, theirs = mixed.read_fingerprint(), plain.read_fingerprint()
    assert ours.channels == theirs.channels
    assert [case.class_voxels for case in ours.cases] == [c.class_voxels for c in theirs.cases]
    assert mixed.read_splits().folds == plain.read_splits().folds
    arrays = sorted((mixed.path / "preprocessed").rglob("case_0*.b2nd"))
    assert len(arrays) >= 2 * CASES
    for array in arrays:
        twin = plain.path / array.relative_to(mixed.path)
        assert array.read_bytes() == twin.read_bytes(), array
    short = ["--preset", "fast", "--epochs", "1", "--steps-per-epoch", "2", "--device", "cpu"]
    short += ["--workers", "0"]
    there = ["--workspace", "ws", "-d", "mixed.csv"]
    assert main(["train", "3d_fullres", "0", *there, *short]) == 0
    assert main(["predict", "-i", str(msd / "imagesTr"), "-o", "out", *there]) == 0
    scores = [
        preprocessed(["evaluate", "-i", "out", "--json", *asked], capsys)["cases"]
        for asked in (["-d", "mixed", "--workspace", "ws"], ["-r", str(msd / "labelsTr")])
    ]
    assert scores[0] == [case for case in scores[1] if case["case"] != "case_05"]
