"""Small datasets that a network learns in seconds: two labels, anisotropic, turned grids."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from skimage.io import imsave

SPACING = (2.0, 1.0, 1.25)  # z, y, x


def draw_case(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """A bright box (label 1) low on the first axis and a dark ball (label 2) high on it."""
    segmentation = np.zeros(shape, np.uint8)
    low = [int(rng.integers(1, max(2, n // 4))) for n in shape]
    box = tuple(slice(a, a + max(3, n // 3)) for a, n in zip(low, shape, strict=True))
    segmentation[box] = 1
    center = [0.7 * n + rng.uniform(-0.05, 0.05) * n for n in shape]
    radius = 0.19 * np.array(shape)
    grid = np.indices(shape)
    ball = sum(((axis - c) / r) ** 2 for axis, c, r in zip(grid, center, radius, strict=True))
    segmentation[ball < 1] = 2
    image = 100 + 60.0 * (segmentation == 1) - 60.0 * (segmentation == 2)
    return image + rng.normal(0, 8, shape), segmentation


def save_nifti(path: Path, array: np.ndarray, *, flip: bool = False) -> None:
    """Write an array (z, y, x) or (C, z, y, x) as NIfTI; flipped files run R to L and A to P."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = array.transpose(3, 2, 1, 0) if array.ndim == 4 else array.transpose(2, 1, 0)
    x, y, z = SPACING[::-1]
    affine = np.diag([x, y, z, 1.0])
    if flip:
        stored = stored[::-1, ::-1]
        affine = np.diag([-x, -y, z, 1.0])
        affine[:2, 3] = (stored.shape[0] - 1) * x, (stored.shape[1] - 1) * y
    image = nib.Nifti1Image(np.ascontiguousarray(stored), affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    nib.save(image, path)


def write_msd(folder: Path, *, cases: int = 6, channels: int = 1, seed: int = 7) -> Path:
    """Write a dataset of 3D images in the Decathlon layout, with one held-out image."""
    rng = np.random.default_rng(seed)
    for index in range(cases + 1):
        shape = (14 + index % 2, 26, 22 + index % 3)
        image, segmentation = draw_case(rng, shape)
        voxels = image.astype(np.int16)
        if channels > 1:
            noise = [rng.normal(50, 5, shape).astype(np.int16) for _ in range(channels - 1)]
            voxels = np.stack([*noise, voxels])
        part = "Tr" if index < cases else "Ts"
        name = f"case_{index:02d}.nii.gz"
        save_nifti(folder / f"images{part}" / name, voxels, flip=index % 2 == 1)
        save_nifti(folder / f"labels{part}" / name, segmentation, flip=index % 2 == 1)
    names = [f"case_{index:02d}.nii.gz" for index in range(cases)]
    description = {
        "name": "Shapes",
        "modality": {str(c): "MRI" for c in range(channels)},
        "labels": {"0": "background", "1": "box", "2": "ball"},
        "numTraining": cases,
        "numTest": 1,
        "training": [
            {"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names
        ],
        "test": [f"./imagesTs/case_{cases:02d}.nii.gz"],
    }
    (folder / "dataset.json").write_text(json.dumps(description))
    return folder


def write_png(folder: Path, *, cases: int = 6, seed: int = 11) -> Path:
    """Write a dataset of 2D images in the nnU-Net v2 layout, with one held-out image."""
    rng = np.random.default_rng(seed)
    for index in range(cases + 1):
        image, segmentation = draw_case(rng, (48, 72))
        part = "Tr" if index < cases else "Ts"
        for kind, name in (("images", f"case_{index}_0000.png"), ("labels", f"case_{index}.png")):
            (folder / f"{kind}{part}").mkdir(parents=True, exist_ok=True)
            voxels = image.clip(0, 255).astype(np.uint8) if kind == "images" else segmentation
            imsave(folder / f"{kind}{part}" / name, voxels, check_contrast=False)
    description = {
        "channel_names": {"0": "microscope"},
        "labels": {"background": 0, "box": 1, "ball": 2},
        "numTraining": cases,
        "file_ending": ".png",
    }
    (folder / "dataset.json").write_text(json.dumps(description))
    return folder


@pytest.fixture(scope="session")
def write_msd_dataset() -> Callable[..., Path]:
    """The function that writes a 3D dataset."""
    return write_msd


@pytest.fixture
def msd(tmp_path: Path) -> Path:
    """A 3D dataset, Decathlon layout."""
    return write_msd(tmp_path / "data" / "Task07_Shapes")


@pytest.fixture
def png(tmp_path: Path) -> Path:
    """A 2D dataset, nnU-Net v2 layout."""
    return write_png(tmp_path / "data" / "Dataset012_Shapes")


@pytest.fixture(scope="session")
def planned(tmp_path_factory: pytest.TempPathFactory, write_msd_dataset) -> Path:
    """A folder with a planned and preprocessed dataset; to be copied."""
    folder = tmp_path_factory.mktemp("planned")
    write_msd_dataset(folder / "raw" / "Task07_Shapes")
    line = [sys.executable, "-m", "autoseg", "plan_and_preprocess", "-d", "raw/Task07_Shapes"]
    subprocess.run(line, cwd=folder, check=True, capture_output=True, timeout=120)
    return folder


@pytest.fixture(scope="session")
def lines() -> dict[str, list[str]]:
    """The words of commands that follow each other, by their verb."""
    train = ["train", "3d_fullres", "0", "--preset", "fast", "--epochs", "3"]
    return {
        "plan_and_preprocess": ["plan_and_preprocess", "-d", "raw/Task07_Shapes"],
        # In float32 nothing is measured, so that runs are equal.
        "train": [*train, "--steps-per-epoch", "8", "--device", "cpu/float32"],
        "predict": ["predict", "-i", "raw/Task07_Shapes/imagesTr", "-o", "masks"],
        "evaluate": ["evaluate", "-i", "masks"],
    }


@pytest.fixture(scope="session")
def quiet(tmp_path_factory: pytest.TempPathFactory, planned: Path, lines) -> Path:
    """A folder in which all these lines ran undisturbed; to be copied."""
    folder = Path(shutil.copytree(planned, tmp_path_factory.mktemp("quiet") / "copy"))
    for verb in ("train", "predict", "evaluate"):
        line = [sys.executable, "-m", "autoseg", *lines[verb]]
        subprocess.run(line, cwd=folder, check=True, capture_output=True, timeout=120)
    return folder


@pytest.fixture
def prepared(tmp_path: Path, planned: Path) -> Path:
    """A copy of it, to train in."""
    return Path(shutil.copytree(planned, tmp_path / "copy"))
