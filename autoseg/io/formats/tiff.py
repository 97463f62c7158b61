"""TIFF bytes to pixels or a stack, and back; only what the guard let pass gets here.

One page is a picture, several pages of grey are a volume; so is one page with a sidecar. The axes
are those of the file: no TIFF says how it lies in a patient.
"""

import io
from typing import Any, Final

import numpy as np

from autoseg.core.errors import VoxelError
from autoseg.core.geometry import Array, Geometry, Orientation
from autoseg.io.formats.header_faults import damaged
from autoseg.io.formats.pictures import picture
from autoseg.io.formats.placement import check_spacing
from autoseg.io.formats.tiff_header import UNREADABLE, tiff_pages
from autoseg.io.formats.tiff_sidecar import parse_sidecar
from autoseg.io.formats.tiff_strips import LZW
from autoseg.io.guard import Guarded
from autoseg.io.voxels import Decoded

_ASSUMED: Final = (1.0, 1.0, 1.0)
"""Distance of pages, rows and columns in mm where no sidecar says otherwise."""


def decode_tiff(guarded: Guarded, orientation: Orientation, where: str) -> Decoded:
    """Decode a guarded TIFF file.

    Returns
    -------
    Decoded
        (1, rows, columns) of a grey page, 3 or 4 channels of a page of colors, (1, pages, rows,
        columns) of a stack.

    Raises
    ------
    ImageFileError
        E-FILE-04 if the pixels cannot be decompressed.
    VoxelError
        E-VAL-30 for a stack of colors.
    GeometryError
        E-GEO-19 for an extreme anisotropy.
    DocumentError
        E-SET-46 for a sidecar that is not strict, E-GEO-17 for an impossible spacing.
    """
    pages = tiff_pages(guarded.data, where)
    is_stack = len(pages) > 1 or bool(guarded.sidecar)
    if is_stack and pages[0].samplesperpixel > 1:
        raise VoxelError(
            f"{where}: holds a stack of {len(pages)} pages of colors; allowed are those of grey",
            rule="E-VAL-30",
            hint="store each color as a stack of its own, one file per channel",
        )
    try:
        if pages[0].compression == LZW:
            pixels = _unpacked_by_pillow(guarded.data, len(pages))
        else:
            pixels = np.stack([_page_pixels(page) for page in pages])
    except UNREADABLE as error:
        raise damaged(where, f"its pixels cannot be decompressed ({error})", "TIFF") from error
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8)
    return _stack(pixels, guarded.sidecar, where) if is_stack else picture(pixels[0])


def encode_tiff(label_map: Array, geometry: Geometry) -> bytes:
    """Encode a label map of 2 or 3 axes with deflate; equal input gives equal bytes.

    The spacing of a stack goes into its sidecar.
    """
    from tifffile import TiffWriter

    encoded = io.BytesIO()
    voxels = np.ascontiguousarray(geometry.to_file(label_map))
    with TiffWriter(encoded) as writer:
        for page in voxels.reshape(-1, *voxels.shape[-2:]):
            writer.write(
                page,
                photometric="minisblack",
                compression="zlib",
                metadata=None,
                software="autoseg",
                contiguous=False,
            )
    return encoded.getvalue()


def stack_geometry(shape: tuple[int, ...], spacing: tuple[float, ...]) -> Geometry:
    """Return the grid of a stack: columns, rows and pages run along x, y and z of the world."""
    z, y, x = spacing
    return Geometry(
        file_shape=shape,
        file_affine=(
            (0.0, 0.0, x, 0.0),
            (0.0, y, 0.0, 0.0),
            (z, 0.0, 0.0, 0.0),
            (0.0, 0.0, 0.0, 1.0),
        ),
        file_axes=(0, 1, 2),
        reversed_axes=(False, False, False),
    )


def stack_spacing(geometry: Geometry) -> tuple[float, float, float]:
    """Return the distance of pages, rows and columns in mm, unrounded."""
    z, y, x = (
        float(edge) for edge in np.linalg.norm(np.asarray(geometry.file_affine)[:3, :3], axis=0)
    )
    return z, y, x


def _stack(pixels: Array, sidecar: bytes, where: str) -> Decoded:
    spacing: tuple[float, ...] = _ASSUMED
    notes = []
    if sidecar:
        spacing = parse_sidecar(sidecar, where).spacing
    else:
        notes.append("no sidecar gives the spacing of the stack, taken as 1 x 1 x 1 mm")
    geometry = stack_geometry(pixels.shape, spacing)
    notes += check_spacing(np.asarray(geometry.file_affine), where)
    return Decoded(stored=pixels[None], geometry=geometry, notes=tuple(notes))


def _page_pixels(page: Any) -> Array:
    pixels: Array = page.asarray()
    if page.samplesperpixel > 1 and page.planarconfig == 2:  # all of red, then all of green ...
        return pixels.transpose(1, 2, 0)
    return pixels


def _unpacked_by_pillow(data: bytes | bytearray, pages: int) -> Array:
    """Decode LZW, for which tifffile needs a package of its own."""
    from PIL.TiffImagePlugin import TiffImageFile

    found = []
    with TiffImageFile(io.BytesIO(data)) as image:
        for page in range(pages):
            image.seek(page)
            found.append(np.asarray(image))
    return np.stack(found)
