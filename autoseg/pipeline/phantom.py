"""The demo's dataset: small CT-like volumes with an organ, a vessel and lesions, made from a seed.

What is labeled cannot be told by intensity alone: a spine, a second organ and a filled loop of
bowel come close to the labeled structures in intensity and differ in place and shape. The volumes
resemble anatomy enough to try the pipeline on; they stand for no patient.
"""

import gzip
import json
from dataclasses import dataclass
from math import pi
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from autoseg.io.files import write_atomically

Mask = npt.NDArray[np.bool_]
Field = npt.NDArray[np.float64]
Point = tuple[float, float, float]

LABEL_NAMES: Final = ("background", "organ", "vessel", "lesion")
"""Names of the labels by value."""

AIR_HU: Final = -1000.0
"""Intensity around the body, HU."""
FAT_HU: Final = -100.0
"""Intensity of the body's rim, HU."""
BODY_HU: Final = 40.0
"""Intensity of unlabeled soft tissue, HU."""
BONE_HU: Final = 500.0
"""Intensity of the spine, HU."""

_FILE_SIGNS: Final = ((1.0, 1.0, 1.0), (-1.0, -1.0, 1.0), (-1.0, 1.0, 1.0))
"""Directions in which files store x, y, z, by turns: RAS, LPS and LAS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grid:
    """Where the voxels of a volume lie, in mm from its center."""

    z: Field
    """Head-wards, shape (Z, 1, 1)."""
    y: Field
    """Forwards, shape (1, Y, 1)."""
    x: Field
    """To the patient's right, shape (1, 1, X)."""
    half: Point
    """Half of the volume's extent per axis (z, y, x), mm."""

    def ellipsoid(self, center: Point, radii: Point) -> Mask:
        """Return the voxels inside an ellipsoid; center and radii in mm, (z, y, x)."""
        z, y, x = (
            ((place - middle) / radius) ** 2
            for place, middle, radius in zip((self.z, self.y, self.x), center, radii, strict=True)
        )
        inside: Mask = z + y + x < 1
        return inside


def phantom_case(
    rng: np.random.Generator, *, noise_hu: float = 25.0
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8], Point]:
    """Draw one volume and its reference segmentation.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of everything that differs between cases.
    noise_hu : float
        Standard deviation of the noise, HU; at least 0.

    Returns
    -------
    image : (Z, Y, X) array of int16
        Intensities in HU, axes RAS+; 28 to 40 x 80 to 96 x 80 to 96 voxels.
    segmentation : (Z, Y, X) array of uint8
        Values as in `LABEL_NAMES`; all occur.
    spacing : tuple of float
        Voxel edge in mm, (z, y, x): 2.5 to 3.5, and 0.9 to 1.2 in the plane.

    Notes
    -----
    Labels are drawn on the voxel centers; only the image is then blurred, by about half a voxel,
    as partial volume would.
    """
    shape = (int(rng.integers(28, 41)), int(rng.integers(80, 97)), int(rng.integers(80, 97)))
    in_plane = round(float(rng.uniform(0.9, 1.2)), 2)
    spacing = (round(float(rng.uniform(2.5, 3.5)), 1), in_plane, in_plane)
    grid = _grid(shape, spacing)
    tissue = _paint_surroundings(rng, grid, shape)
    segmentation = np.zeros(shape, dtype=np.uint8)
    organ, lesions = _organ_with_lesions(rng, grid)
    organ_hu = rng.uniform(110, 130)
    parts = (
        (1, organ, organ_hu),
        (3, lesions, organ_hu - rng.uniform(55, 65)),
        (2, _vessel(rng, grid), rng.uniform(205, 235)),
    )
    for value, mask, intensity in parts:
        segmentation[mask] = value
        tissue[mask] = intensity
    blurred = gaussian_filter(tissue, sigma=(0.35, 0.6, 0.6), mode="nearest")
    noisy = blurred + rng.normal(0, noise_hu, shape)
    return np.clip(np.rint(noisy), -1024, 3071).astype(np.int16), segmentation, spacing


def write_phantom_dataset(
    folder: Path, *, seed: int = 2026, cases: int = 20, held_out: int = 4
) -> None:
    """Write a dataset of phantoms in the layout of the Medical Segmentation Decathlon.

    Parameters
    ----------
    folder : Path
        Folder of the dataset, created where needed; files of the same names are replaced.
    seed : int
        Seed of the dataset. A case depends on it and on its own number only.
    cases : int
        Training cases, in ``imagesTr`` and ``labelsTr``.
    held_out : int
        Further cases in ``imagesTs``, with references in ``labelsTs`` to evaluate on.

    Raises
    ------
    ResourceError
        If the folder cannot be written.
    """
    for number in range(cases):
        _write_case(folder, "Tr", number, seed)
    for number in range(cases, cases + held_out):
        _write_case(folder, "Ts", number, seed)
    # Written last: a folder with a description is complete.
    text = json.dumps(_description(cases, held_out), indent=2)
    write_atomically(folder / "dataset.json", f"{text}\n".encode())


def _grid(shape: tuple[int, int, int], spacing: Point) -> _Grid:
    z, y, x = np.meshgrid(
        *((np.arange(n) - (n - 1) / 2) * edge for n, edge in zip(shape, spacing, strict=True)),
        indexing="ij",
        sparse=True,
    )
    half_z, half_y, half_x = (n * edge / 2 for n, edge in zip(shape, spacing, strict=True))
    return _Grid(z=z, y=y, x=x, half=(half_z, half_y, half_x))


def _paint_surroundings(
    rng: np.random.Generator, grid: _Grid, shape: tuple[int, int, int]
) -> Field:
    """Return the intensities of all that carries no label, HU."""
    _, half_y, half_x = grid.half
    endless = 1e6
    tissue = np.full(shape, AIR_HU)
    tissue[grid.ellipsoid((0, 0, 0), (endless, 0.92 * half_y, 0.94 * half_x))] = FAT_HU
    tissue[grid.ellipsoid((0, 0, 0), (endless, 0.84 * half_y, 0.87 * half_x))] = BODY_HU
    tissue[_spine(rng, grid)] = BONE_HU
    second_organ = grid.ellipsoid(
        (rng.uniform(-5, 15), -0.1 * half_y, rng.uniform(-0.56, -0.5) * half_x),
        (rng.uniform(16, 22), 0.3 * half_y, 0.22 * half_x),
    )
    tissue[second_organ] = rng.uniform(75, 90)
    bowel = grid.ellipsoid(
        (rng.uniform(-15, 5), rng.uniform(0.38, 0.46) * half_y, -0.3 * half_x),
        (rng.uniform(12, 16), 7.0, 8.0),
    )
    tissue[bowel] = rng.uniform(190, 230)
    return tissue


def _spine(rng: np.random.Generator, grid: _Grid) -> Mask:
    """Return a column of vertebrae at the back, one every 24 mm, with gaps between them."""
    _, half_y, half_x = grid.half
    column = grid.ellipsoid((0, -0.55 * half_y, 0), (1e6, 0.16 * half_y, 0.18 * half_x))
    is_bone = np.mod(grid.z + rng.uniform(0, 24), 24) > 4
    return column & is_bone


def _organ_with_lesions(rng: np.random.Generator, grid: _Grid) -> tuple[Mask, Mask]:
    """Return a bent ellipsoid on the right, lesions included, and one or two balls inside it."""
    half_z, half_y, half_x = grid.half
    center = (rng.uniform(-4, 4), rng.uniform(0.05, 0.15) * half_y, rng.uniform(0.4, 0.46) * half_x)
    radii = (min(26.0, 0.7 * half_z), 0.46 * half_y, 0.34 * half_x)
    phases = rng.uniform(0, 2 * pi, 3)
    bend = 0.06 * half_x
    bent = _Grid(
        z=grid.z + bend * np.sin(2 * pi * grid.x / half_x + phases[0]),
        y=grid.y + bend * np.sin(2 * pi * grid.z / half_z + phases[1]),
        x=grid.x + bend * np.sin(2 * pi * grid.y / half_y + phases[2]),
        half=grid.half,
    )
    organ = bent.ellipsoid(center, radii)
    # Two lesions lie on opposite sides of the center, so that they never merge.
    side = 1 if rng.random() < 0.5 else -1
    lesions = np.zeros_like(organ)
    for direction in (side, -side)[: int(rng.integers(1, 3))]:
        radius = rng.uniform(6.2, 7.2)
        middle = (center[0] + rng.uniform(-8, 8), center[1] + direction * 0.22 * half_y, center[2])
        lesions |= grid.ellipsoid(middle, (radius, radius, radius))
    return organ | lesions, lesions


def _vessel(rng: np.random.Generator, grid: _Grid) -> Mask:
    """Return a winding tube that runs through all slices, in front of the spine."""
    half_z, half_y, half_x = grid.half
    phase = rng.uniform(0, 2 * pi)
    swing = rng.uniform(0.06, 0.1) * half_x
    radius = rng.uniform(5.2, 6.2)
    x = -0.12 * half_x + swing * np.sin(pi * grid.z / half_z + phase)
    y = -0.18 * half_y + swing * np.cos(pi * grid.z / half_z + phase)
    inside: Mask = (grid.x - x) ** 2 + (grid.y - y) ** 2 < radius**2
    return inside


def _write_case(folder: Path, part: str, number: int, seed: int) -> None:
    """Write the image and the reference of one case, ``part`` being Tr or Ts."""
    image, segmentation, spacing = phantom_case(np.random.default_rng([seed, number]))
    signs = _FILE_SIGNS[number % len(_FILE_SIGNS)]
    for kind, array in (("images", image), ("labels", segmentation)):
        path = folder / f"{kind}{part}" / f"{_case_name(number)}.nii.gz"
        write_atomically(path, _nifti(array, spacing, signs))


def _nifti(array: npt.NDArray[np.generic], spacing: Point, signs: Point) -> bytes:
    """Encode a RAS+ volume (z, y, x) as ``.nii.gz``, stored along the directions of ``signs``."""
    import nibabel

    stored = array.transpose()[tuple(slice(None, None, int(sign)) for sign in signs)]
    steps = np.array(spacing[::-1]) * signs
    affine = np.diag([*steps, 1.0])
    affine[:3, 3] = -steps * (np.array(stored.shape) - 1) / 2
    image = nibabel.Nifti1Image(stored, affine, dtype=array.dtype)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    return gzip.compress(image.to_bytes(), compresslevel=6, mtime=0)


def _description(cases: int, held_out: int) -> dict[str, object]:
    """Return the content of ``dataset.json``."""
    training = [_case_name(number) for number in range(cases)]
    test = [_case_name(number) for number in range(cases, cases + held_out)]
    return {
        "name": "Phantom",
        "description": "Generated CT-like volumes: an organ, a vessel and lesions in the organ",
        "licence": "CC0-1.0",
        "tensorImageSize": "3D",
        "modality": {"0": "CT"},
        "labels": {str(value): name for value, name in enumerate(LABEL_NAMES)},
        "numTraining": cases,
        "numTest": held_out,
        "training": [
            {"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"}
            for name in training
        ],
        "test": [f"./imagesTs/{name}.nii.gz" for name in test],
    }


def _case_name(number: int) -> str:
    return f"phantom_{number:03d}"
