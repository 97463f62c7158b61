"""Builds small DICOM series from code: anisotropic, oblique, asymmetric, of a patient with a name.

A series is intact unless a caller changes slices, so that each fixture has exactly one fault.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RLELossless

PATIENT = "MUSTERMANN^ERIKA"
"""Must never be seen."""
PHYSICIAN = "Sauerbruch, Ferdinand"
"""Must never be seen, in a private tag."""
SERIES = "1.2.826.0.1.3680043.8.498.1"
"""SeriesInstanceUID unless a caller says otherwise."""
EDGES = (0.8, 0.9, 2.5)
"""Voxel edges along columns, rows and slices, mm."""
ORIGIN = (-12.5, 7.25, 31.0)
"""Center of the first voxel, RAS+ mm."""
SHAPE = (5, 7, 6)
"""Columns, rows, slices."""
STRAIGHT = np.diag([-1.0, -1.0, 1.0])
"""Directions of columns, rows and slices in RAS+, as columns: those of an axial CT."""

Change = Callable[[list[Dataset]], None]


def voxels(shape: tuple[int, ...] = SHAPE, dtype: str = "int16", *, seed: int = 3) -> np.ndarray:
    """Return stored values in the file's axes (columns, rows, slices), each of them different."""
    numbers = np.random.default_rng(seed).permutation(int(np.prod(shape)))
    return numbers.reshape(shape).astype(dtype)


def affine(directions: np.ndarray = STRAIGHT) -> np.ndarray:
    """Return the matrix from (column, row, slice) to RAS+ mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = directions * EDGES
    matrix[:3, 3] = ORIGIN
    return matrix


def slices(
    stored: np.ndarray | None = None,
    place: np.ndarray | None = None,
    *,
    series: str = SERIES,
    **tags: Any,
) -> list[Dataset]:
    """Return a dataset for each slice; ``tags`` are set in all of them, None removes one."""
    stored = voxels() if stored is None else stored
    place = affine() if place is None else place
    return [_slice(stored[:, :, k], place, k, series, tags) for k in range(stored.shape[2])]


def write(folder: Path, datasets: list[Dataset], names: Mapping[int, str] | None = None) -> Path:
    """Write each dataset to a file named by its place in the list, or as ``names`` say."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, dataset in enumerate(datasets):
        name = (names or {}).get(index, f"IM{index:04d}.dcm")
        dataset.save_as(folder / name, enforce_file_format=True)
    return folder


def packed(dataset: Dataset) -> Dataset:
    """Compress the pixels of a slice by run lengths."""
    dataset.compress(RLELossless, generate_instance_uid=False)
    return dataset


def _slice(
    pixels: np.ndarray, place: np.ndarray, k: int, series: str, tags: Mapping[str, Any]
) -> Dataset:
    """Return slice k; ``pixels`` are indexed (column, row)."""
    to_lps = np.array([-1.0, -1.0, 1.0])
    edges = np.linalg.norm(place[:3, :3], axis=0)
    across, down = (place[:3, :2] / edges[:2]).T * to_lps
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = f"{series}.{k + 1}"
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = f"{series}.{k + 1}"
    dataset.SeriesInstanceUID = series
    dataset.Modality = "CT"
    dataset.PatientName = PATIENT
    dataset.PatientID = PATIENT
    dataset.SeriesDescription = PATIENT
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    block = dataset.private_block(0x0009, "TEST", create=True)
    block.add_new(1, "LO", PHYSICIAN)
    dataset.InstanceNumber = 100 - (k * 7) % 5  # says nothing of the order
    dataset.ImageOrientationPatient = [f"{v:.10f}" for v in (*across, *down)]
    dataset.ImagePositionPatient = [f"{v:.10f}" for v in (place @ [0, 0, k, 1])[:3] * to_lps]
    dataset.PixelSpacing = [f"{edges[1]:.10f}", f"{edges[0]:.10f}"]
    dataset.SliceThickness = "9.0"  # and not the distance of slices
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape[1], pixels.shape[0]
    bits = pixels.dtype.itemsize * 8
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    data = np.ascontiguousarray(pixels.T).astype(pixels.dtype.newbyteorder("<")).tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
    for name, value in tags.items():
        if value is None:
            del dataset[name]
        else:
            setattr(dataset, name, value)
    return dataset
