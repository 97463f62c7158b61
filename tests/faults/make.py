"""Builds every faulty input from code: one function per kind of file, and no binaries in git.

Files are intact unless a caller asks for the fault, so that each fixture has exactly one.
"""

import gzip
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image

SHAPE = (5, 7, 11)
"""Voxels per file axis (i, j, k)."""
AFFINE = np.array(
    [[0.8, 0, 0, -12.5], [0, 0.9, 0, 7.25], [0, 0, 2.5, 31.0], [0, 0, 0, 1]], dtype=float
)
"""RAS+, anisotropic; voxel edges 0.8, 0.9 and 2.5 mm."""
VOXEL_OFFSET = 352
"""Where the voxels of a NIfTI-1 file begin, in bytes."""


def voxels(shape: tuple[int, ...] = SHAPE, dtype: str = "float32") -> np.ndarray:
    """Return intensities that gzip can hardly compress."""
    return np.random.default_rng(7).normal(100, 20, shape).astype(dtype)


def mask(shape: tuple[int, ...] = SHAPE, dtype: str = "uint8") -> np.ndarray:
    """Return labels 0, 1 and 2: an asymmetric object."""
    labels = np.zeros(shape, dtype)
    labels[1:4, 2:4, 3:9] = 1
    labels[1, 2:6, 3] = 2
    return labels


def nifti(
    array: np.ndarray,
    affine: np.ndarray = AFFINE,
    *,
    qform: np.ndarray | None = None,
    codes: tuple[int, int] = (1, 1),
    version: int = 1,
    **fields: Any,
) -> bytes:
    """Encode an array; ``codes`` of sform and qform and any raw header field can be set wrongly."""
    image = (nib.Nifti1Image if version == 1 else nib.Nifti2Image)(array, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, 1)
    image.set_qform(affine if qform is None else qform, 1)
    data = bytearray(image.to_bytes())
    kind = nib.nifti1.header_dtype if version == 1 else nib.nifti2.header_dtype
    header = np.frombuffer(data, kind, count=1)
    header["sform_code"], header["qform_code"] = codes
    for name, value in fields.items():
        header[name] = value
    return bytes(data)


def with_dim(data: bytes, *dim: int) -> bytes:
    """Overwrite the beginning of a NIfTI-1 header's field ``dim``."""
    raw = np.array(dim, "<i2").tobytes()
    return data[:40] + raw + data[40 + len(raw) :]


def png(array: np.ndarray) -> bytes:
    """Encode pixels, grey or RGB(A)."""
    encoded = BytesIO()
    Image.fromarray(array).save(encoded, "PNG")
    return encoded.getvalue()


def pixels() -> np.ndarray:
    """Return a grey image of 9 rows and 4 columns, each pixel its own."""
    return np.arange(36, dtype=np.uint8).reshape(9, 4)


def write(path: Path, data: bytes) -> Path:
    """Write a file and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def zipped(data: bytes) -> bytes:
    """Compress with gzip, always to the same bytes."""
    return gzip.compress(data, mtime=0)


def description(**changes: Any) -> dict[str, Any]:
    """Return the ``dataset.json`` of `nnunet`, with changed or (None) removed keys."""
    entries = {
        "channel_names": {"0": "T1", "1": "FLAIR"},
        "labels": {"background": 0, "left": 1, "right": 2},
        "numTraining": 3,
        "file_ending": ".nii.gz",
    } | changes
    return {key: value for key, value in entries.items() if value is not None}


def nnunet(folder: Path, **changes: Any) -> Path:
    """Write an nnU-Net dataset of cases a, b and c with two channels each."""
    image, segmentation = zipped(nifti(voxels())), zipped(nifti(mask()))
    for case in "abc":
        write(folder / "imagesTr" / f"{case}_0000.nii.gz", image)
        write(folder / "imagesTr" / f"{case}_0001.nii.gz", image)
        write(folder / "labelsTr" / f"{case}.nii.gz", segmentation)
    write(folder / "dataset.json", json.dumps(description(**changes)).encode())
    return folder


def decathlon(folder: Path, **changes: Any) -> Path:
    """Write a Decathlon dataset of cases a, b and c."""
    image, segmentation = zipped(nifti(voxels())), zipped(nifti(mask()))
    for case in "abc":
        write(folder / "imagesTr" / f"{case}.nii.gz", image)
        write(folder / "labelsTr" / f"{case}.nii.gz", segmentation)
    training = [
        {"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"}
        for case in "abc"
    ]
    entries = {
        "name": "Test",
        "tensorImageSize": "3D",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "left", "2": "right"},
        "numTraining": 3,
        "numTest": 0,
        "training": training,
        "test": [],
    } | changes
    write(folder / "dataset.json", json.dumps(entries).encode())
    return folder
