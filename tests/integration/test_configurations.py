"""Every kind of training on generated data, from raw files to the prediction of a new case."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from autoseg.cli.main import main

SHORT = ["--preset", "fast", "--epochs", "3", "--steps-per-epoch", "20", "--device", "cpu"]
SHORT += ["--workers", "0"]
CASES = 6

Drawing = tuple[np.ndarray, np.ndarray]


def shapes(rng: np.random.Generator, shape: tuple[int, ...]) -> Drawing:
    """Draw a bright box (1) low on every axis, a dark ball (2) high on it, and their image."""
    labels = np.zeros(shape, np.uint8)
    low = [int(rng.integers(1, max(2, n // 4))) for n in shape]
    labels[tuple(slice(a, a + max(3, n // 3)) for a, n in zip(low, shape, strict=True))] = 1
    center = [0.7 * n + rng.uniform(-0.05, 0.05) * n for n in shape]
    apart = [
        ((axis - c) / (0.19 * n)) ** 2
        for axis, c, n in zip(np.indices(shape), center, shape, strict=True)
    ]
    labels[sum(apart) < 1] = 2
    image = 100 + 60.0 * (labels == 1) - 60.0 * (labels == 2)
    return image + rng.normal(0, 8, shape), labels


def save_volume(path: Path, voxels: np.ndarray, spacing: tuple[float, ...]) -> None:
    """Write an array (z, y, x) or (C, z, y, x) of spacing (z, y, x); x runs to the left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = voxels.transpose(3, 2, 1, 0) if voxels.ndim == 4 else voxels.transpose(2, 1, 0)
    z, y, x = spacing
    affine = np.diag([-x, y, z, 1.0])
    affine[0, 3] = (stored.shape[0] - 1) * x
    image = nib.Nifti1Image(np.ascontiguousarray(stored[::-1]), affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    nib.save(image, path)


def write_dataset(
    folder: Path,
    draw: Callable[[np.random.Generator, int], Drawing],
    save: Callable[[Path, np.ndarray], None],
    *,
    ending: str = ".nii.gz",
    **entries: object,
) -> Path:
    """Write six cases and a held-out one in nnU-Net's layout; draw gives image and labels."""
    rng = np.random.default_rng(5)
    for index in range(CASES + 1):
        image, labels = draw(rng, index)
        part = "Tr" if index < CASES else "Ts"
        save(folder / f"images{part}" / f"case_{index}_0000{ending}", image)
        save(folder / f"labels{part}" / f"case_{index}{ending}", labels)
    described = {
        "channel_names": {"0": "MR"},
        "labels": {"background": 0, "box": 1, "ball": 2},
        "numTraining": CASES,
        "file_ending": ending,
    }
    (folder / "dataset.json").write_text(json.dumps(described | entries))
    return folder


def held_out_dice(raw: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    """Predict the held-out case with the best model by one command, and score it."""
    assert main(["predict", "-i", str(raw / "imagesTs"), "-o", "masks"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "-i", "masks", "-r", str(raw / "labelsTs"), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    return {label["label"]: label["mean_dice"] for label in summary["labels"]}


class Terminal(io.StringIO):
    """A person at a terminal who typed this."""

    def isatty(self) -> bool:
        return True


@pytest.mark.timeout(900)
def test_a_cascade_orders_its_stages_and_segments_by_one_command(tmp_path, capsys, monkeypatch):
    spacing = (2.0, 1.0, 1.25)
    raw = write_dataset(
        tmp_path / "Dataset008_Large",
        lambda rng, index: shapes(rng, (36 + index % 2, 60, 52 + index % 3)),
        lambda path, voxels: save_volume(path, voxels.astype(np.int16), spacing),
    )
    names = [f"case_{number}" for number in range(CASES)]
    halves = names[::2], names[1::2]
    folds = [{"train": halves[fold], "val": halves[1 - fold]} for fold in (0, 1)]
    Path("splits.json").write_text(json.dumps(folds))
    small = ["--patch-size", "16,24,24", "--splits", "splits.json"]
    asked = ["-c", "3d_cascade_fullres", "-f", "0", *SHORT, "--json", "--quiet"]
    assert main(["run", "-d", str(raw), *small, *asked]) == 0
    folds = json.loads(capsys.readouterr().out)["folds"]
    assert list(folds) == ["3d_lowres/0", "3d_lowres/1", "3d_cascade_fullres/0"]
    assert min(fold["mean_dice"] for fold in folds.values()) > 0.7
    models = tmp_path / "autoseg_workspace" / "Dataset008_Large" / "models" / "default"
    cascade = str(models / "3d_cascade_fullres" / "default")
    assert main(["predict", "-i", str(raw / "imagesTs"), "-o", "masks", "-m", cascade]) == 0
    capsys.readouterr()
    assert main(["evaluate", "-i", "masks", "-r", str(raw / "labelsTs"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mean_dice"] > 0.75
    # Both were compared on the cases of fold 0, and so was their average.
    selection = json.loads((models.parent.parent / "selection.json").read_text())
    networks = {
        frozenset(member["configuration"] for member in each["members"]): each["networks"]
        for each in selection["candidates"]
    }
    names = ("3d_lowres", "3d_cascade_fullres")
    assert networks == {frozenset(names[:1]): 1, frozenset(names[1:]): 2, frozenset(names): 3}
    both = [part for name in names for part in ("-m", str(models / name / "default"))]
    assert main(["predict", "-i", str(raw / "imagesTs"), "-o", "both", *both]) == 0
    capsys.readouterr()
    assert main(["evaluate", "-i", "both", "-r", str(raw / "labelsTs"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mean_dice"] > 0.75
    # Stage one is part of the model: without it, or with another one, nothing is predicted.
    weights = models / "3d_lowres" / "default" / "fold_1"
    weights.rename(models / "fold_1")
    assert main(["predict", "-i", str(raw / "imagesTs"), "-o", "other", "-m", cascade]) == 2
    assert "is not the first stage that" in capsys.readouterr().err
    assert main(["train", "3d_cascade_fullres", "1", *SHORT]) == 2
    message = capsys.readouterr().err
    assert "not trained and validated are: 1 (run 'default')" in message
    assert "autoseg train 3d_lowres 1; or add --with-previous" in message
    # At a terminal it is offered.
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    quick = ["--run", "quick", "--epochs", "1", "--steps-per-epoch", "2"]
    assert main(["train", "3d_cascade_fullres", "1", *SHORT, *quick]) == 0
    assert "needs 3d_lowres fold 0, 1, not trained yet; train first?" in capsys.readouterr().err
    made = sorted(path.parts[-4:-1] for path in models.glob("*/quick/*/weights.safetensors"))
    assert made == [
        ("3d_cascade_fullres", "quick", "fold_1"),
        ("3d_lowres", "quick", "fold_0"),
        ("3d_lowres", "quick", "fold_1"),
    ]
    # A fold that is trained again is the same to the bit: it computes as the others do.
    again = models / "3d_lowres" / "quick" / "fold_1"
    ways = [(again.with_name(f"fold_{fold}") / "compute.json").read_text() for fold in (0, 1)]
    assert ways[0] == ways[1]
    first = again.rename(models / "quick_fold_1")
    assert main(["train", "3d_lowres", "1", *SHORT, *quick]) == 0
    assert (again / "weights.safetensors").read_bytes() == (
        first / "weights.safetensors"
    ).read_bytes()


def test_regions_and_ignored_voxels(tmp_path, capsys):
    def draw(rng: np.random.Generator, index: int) -> Drawing:
        image, labels = shapes(rng, (15 + index % 2, 26, 24))
        if index < CASES:
            labels[index % 3 :: 3] = 9  # a third of the slices is not annotated
        return image, np.where(labels == 2, 5, labels).astype(np.uint8)

    raw = write_dataset(
        tmp_path / "Dataset009_Regions",
        draw,
        lambda path, voxels: save_volume(path, voxels.astype(np.int16), (2.0, 1.0, 1.25)),
        labels={"background": 0, "shapes": [1, 5], "ball": [5], "ignore": 9},
        regions_class_order=[1, 5],
    )
    assert main(["run", "-d", str(raw), "-c", "3d_fullres", "-f", "0", *SHORT]) == 0
    validation = next(tmp_path.glob("**/fold_0/validation"))
    before = {path.name: path.read_bytes() for path in validation.glob("*.nii.gz")}
    next(validation.glob("*.nii.gz")).unlink()
    (validation / "summary.json").unlink()
    capsys.readouterr()
    assert main(["train", "3d_fullres", "0", "--validate-only", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["folds"]) == {"0"}
    assert {path.name: path.read_bytes() for path in validation.glob("*.nii.gz")} == before
    assert main(["train", "3d_fullres", "1", "--validate-only"]) == 2
    assert "fold 1 is not trained; there is nothing to validate" in capsys.readouterr().err
    dice = held_out_dice(raw, capsys)
    assert set(dice) == {"shapes", "ball"}
    assert min(dice.values()) > 0.8
    written = np.asarray(nib.load(tmp_path / "masks" / "case_6.nii.gz").dataobj)
    assert set(np.unique(written)) == {0, 1, 5}


def test_color_images_whose_colors_are_the_only_clue(tmp_path, capsys):
    def draw(rng: np.random.Generator, index: int) -> Drawing:
        _, labels = shapes(rng, (48, 72))
        color = np.full((48, 72, 3), 120.0)
        color[labels == 1] = (180, 60, 120)
        color[labels == 2] = (60, 120, 180)
        return color + rng.normal(0, 8, color.shape), labels

    def save(path: Path, pixels: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)

    raw = write_dataset(
        tmp_path / "Dataset010_Color",
        draw,
        save,
        ending=".png",
        channel_names={"0": "red", "1": "green", "2": "blue"},
    )
    assert main(["run", "-d", str(raw), "-f", "0", *SHORT]) == 0
    assert min(held_out_dice(raw, capsys).values()) > 0.8
    with Image.open(tmp_path / "masks" / "case_6.png") as mask:
        assert (mask.mode, mask.size) == ("L", (72, 48))


def test_volumes_of_three_channels_in_one_file(tmp_path, capsys):
    def draw(rng: np.random.Generator, index: int) -> Drawing:
        image, labels = shapes(rng, (14 + index % 2, 26, 24))
        noise = rng.normal(50, 5, (2, *image.shape))
        return np.concatenate([noise[:1], image[None], noise[1:]]), labels

    raw = write_dataset(
        tmp_path / "Dataset011_Channels",
        draw,
        lambda path, voxels: save_volume(path, voxels.astype(np.int16), (2.0, 1.0, 1.25)),
        channel_names={"0": "T1", "1": "T2", "2": "FLAIR"},
    )
    for path in raw.glob("images*/*.nii.gz"):  # one file per case, without a channel number
        path.rename(path.with_name(path.name.replace("_0000", "")))
    names = [f"case_{index}.nii.gz" for index in range(CASES)]
    (raw / "dataset.json").write_text(
        json.dumps(
            {
                "modality": {"0": "T1", "1": "T2", "2": "FLAIR"},
                "labels": {"0": "background", "1": "box", "2": "ball"},
                "training": [{"image": f"imagesTr/{n}", "label": f"labelsTr/{n}"} for n in names],
            }
        )
    )
    assert main(["run", "-d", str(raw), "-c", "3d_fullres", "-f", "0", *SHORT]) == 0
    assert min(held_out_dice(raw, capsys).values()) > 0.8


def test_sagittal_slices_are_put_first_and_come_back_where_they_were(tmp_path, capsys):
    spacing = (1.0, 1.25, 5.0)  # few thick slices from right to left
    raw = write_dataset(
        tmp_path / "Dataset012_Sagittal",
        lambda rng, index: shapes(rng, (40 + index % 2, 36, 12 + index % 3)),
        lambda path, voxels: save_volume(path, voxels.astype(np.int16), spacing),
    )
    left_out = ["--exclude", "case_3"]
    assert main(["run", "-d", str(raw), "-c", "3d_fullres", "-f", "0", *SHORT, *left_out]) == 0
    folder = tmp_path / "autoseg_workspace" / "Dataset012_Sagittal"
    plan = json.loads((folder / "plans" / "default.json").read_text())
    assert plan["axis_order"] == [2, 0, 1]
    assert plan["configurations"][1]["spacing"] == [5.0, 1.0, 1.25]
    folds = json.loads((folder / "splits.json").read_text())["folds"]
    validated = {name for fold in folds for name in fold["validation"]}
    assert validated == {"case_0", "case_1", "case_2", "case_4", "case_5"}
    model = folder / "models" / "default" / "3d_fullres" / "default"
    assert main(["plan", "--like", str(model), "--plan", "tuned"]) == 0
    tuned = json.loads((folder / "plans" / "tuned.json").read_text())
    assert [c["topology"] for c in tuned["configurations"]] == [
        c["topology"] for c in plan["configurations"]
    ]
    assert main(["plan", "--like", str(model), "--network", "plain", "--plan", "other"]) == 2
    assert "--like takes memory, network, mirroring and all else over" in capsys.readouterr().err
    assert min(held_out_dice(raw, capsys).values()) > 0.8
    source, made = (
        nib.load(raw / "imagesTs" / "case_6_0000.nii.gz"),
        nib.load(tmp_path / "masks" / "case_6.nii.gz"),
    )
    assert made.shape == source.shape
    np.testing.assert_allclose(made.affine, source.affine, atol=1e-6)
