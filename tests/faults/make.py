"""Builds every faulty input from code: one function per kind of file, and no binaries in git.

Files are intact unless a caller asks for the fault, so that each fixture has exactly one.
"""

import gzip
import json
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import tifffile
from PIL import Image

SHAPE = (5, 7, 11)
"""Voxels per file axis (i, j, k)."""
AFFINE = np.array(
    [[0.8, 0, 0, -12.5], [0, 0.9, 0, 7.25], [0, 0, 2.5, 31.0], [0, 0, 0, 1]], dtype=float
)
"""RAS+, anisotropic; voxel edges 0.8, 0.9 and 2.5 mm."""
VOXEL_OFFSET = 352
"""Where the voxels of a NIfTI-1 file begin, in bytes."""
GIPL_HEADER = np.dtype(
    {
        "names": ["dim", "type", "pixdim", "origin", "magic"],
        "formats": [">4u2", ">u2", ">4f4", ">4f8", ">u4"],
        "offsets": [0, 8, 10, 204, 252],
        "itemsize": 256,
    }
)
"""The fields of a GIPL header that matter."""


def voxels(shape: tuple[int, ...] = SHAPE, dtype: str = "float32", *, seed: int = 7) -> np.ndarray:
    """Return intensities that gzip can hardly compress."""
    return np.random.default_rng(seed).normal(100, 20, shape).astype(dtype)


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


def nrrd(array: np.ndarray, *, data: bytes | None = None, **fields: str | None) -> bytes:
    """Encode an array over the axes (i, j, k) of `AFFINE`; fields can be changed or (None) removed.

    Underscores in the names of fields stand for spaces; ``data`` replaces the voxels.
    """
    entries: dict[str, str | None] = {
        "type": {"u1": "uchar", "i2": "short", "f4": "float", "f8": "double"}[array.dtype.str[1:]],
        "dimension": str(array.ndim),
        "space": "right-anterior-superior",
        "sizes": " ".join(map(str, array.shape)),
        "space directions": "(0.8,0,0) (0,0.9,0) (0,0,2.5)",
        "kinds": "domain domain domain",
        "endian": "little",
        "encoding": "raw",
        "space origin": "(-12.5,7.25,31)",
    } | {key.replace("_", " "): value for key, value in fields.items()}
    lines = [f"{key}: {value}" for key, value in entries.items() if value is not None]
    voxels = array.tobytes(order="F") if data is None else data
    return "\n".join(["NRRD0004", "# made by a test", *lines, "", ""]).encode() + voxels


def metaimage(array: np.ndarray, *, data: bytes | None = None, **fields: str | None) -> bytes:
    """Encode an array over the axes (i, j, k) of `AFFINE`; fields can be changed or removed."""
    entries: dict[str, str | None] = {
        "ObjectType": "Image",
        "NDims": str(array.ndim),
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": "-1 0 0 0 -1 0 0 0 1",  # world is LPS
        "Offset": "12.5 -7.25 31",
        "ElementSpacing": "0.8 0.9 2.5",
        "DimSize": " ".join(map(str, array.shape)),
        "ElementType": {"u1": "MET_UCHAR", "i2": "MET_SHORT", "f4": "MET_FLOAT"}[
            array.dtype.str[1:]
        ],
        "ElementDataFile": "LOCAL",
    }
    entries = {key: value for key, value in entries.items() if key not in fields} | fields
    last = entries.pop("ElementDataFile")
    lines = [f"{key} = {value}\n" for key, value in entries.items() if value is not None]
    voxels = array.tobytes(order="F") if data is None else data
    return "".join([*lines, f"ElementDataFile = {last}\n"]).encode() + voxels


def gipl(array: np.ndarray, **fields: Any) -> bytes:
    """Encode an array with the spacing of `AFFINE`; raw header fields can be set wrongly."""
    header = np.zeros(1, GIPL_HEADER)
    header["dim"] = (*array.shape, 1, 1)[:4]
    header["type"] = {"u1": 8, "i2": 15, "f4": 64}[array.dtype.str[1:]]
    header["pixdim"] = (0.8, 0.9, 2.5, 1.0)
    header["magic"] = 0xEFFFE9B0
    for name, value in fields.items():
        header[name] = value
    return header.tobytes() + array.astype(array.dtype.newbyteorder(">")).tobytes(order="F")


def tiff(*pages: np.ndarray, **options: Any) -> bytes:
    """Encode pages, grey or RGB(A), all alike unless they are not."""
    encoded = BytesIO()
    with tifffile.TiffWriter(encoded) as writer:
        for page in pages:
            kind = "rgb" if page.ndim == 3 else "minisblack"
            writer.write(
                page, **{"photometric": kind, "metadata": None, "contiguous": False} | options
            )
    return encoded.getvalue()


def bmp(array: np.ndarray, palette: list[int] | None = None) -> bytes:
    """Encode pixels, grey, RGB or with a palette."""
    image = Image.fromarray(array)
    if palette is not None:
        image.putpalette(palette)
    encoded = BytesIO()
    image.save(encoded, "BMP")
    return encoded.getvalue()


def png(array: np.ndarray) -> bytes:
    """Encode pixels, grey or RGB(A)."""
    encoded = BytesIO()
    Image.fromarray(array).save(encoded, "PNG")
    return encoded.getvalue()


def png_of(pixels: bytes, *, color_type: int = 0, bits: int = 8) -> bytes:
    """Encode a PNG file of one row and one column around compressed pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">2I5B", 1, 1, bits, color_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def palette_png(array: np.ndarray) -> bytes:
    """Encode numbers of colors."""
    image = Image.fromarray(array)
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    encoded = BytesIO()
    image.save(encoded, "PNG")
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
    segmentation = zipped(nifti(mask()))
    for seed, case in enumerate("abc"):
        image = zipped(nifti(voxels(seed=seed)))
        write(folder / "imagesTr" / f"{case}_0000.nii.gz", image)
        write(folder / "imagesTr" / f"{case}_0001.nii.gz", image)
        write(folder / "labelsTr" / f"{case}.nii.gz", segmentation)
    write(folder / "dataset.json", json.dumps(description(**changes)).encode())
    return folder


def decathlon(folder: Path, **changes: Any) -> Path:
    """Write a Decathlon dataset of cases a, b and c."""
    segmentation = zipped(nifti(mask()))
    for seed, case in enumerate("abc"):
        write(folder / "imagesTr" / f"{case}.nii.gz", zipped(nifti(voxels(seed=seed))))
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
