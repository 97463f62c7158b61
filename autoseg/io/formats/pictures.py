"""PNG and BMP bytes to pixels and back; only what the guard let pass gets here.

A picture says nothing of world space: its spacing is 1 along both axes.
"""

import io
from typing import TYPE_CHECKING, Final

import numpy as np

from autoseg.core.errors import VoxelError
from autoseg.core.geometry import Array, Geometry, Orientation
from autoseg.io.formats.header_faults import damaged
from autoseg.io.formats.png_header import parse_png_header
from autoseg.io.guard import Guarded
from autoseg.io.voxels import Decoded

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

IDENTITY: Final = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
"""Matrix of every picture, from pixel index to world."""

_REFUSED: Final = {3: "palette colors", 4: "grey and an alpha channel"}
_MODES: Final = ("1", "L", "I;16", "I", "RGB", "RGBA")
"""What Pillow calls grey of 1, 8 and 16 bits, and colors of 8 bits."""
_LEVEL: Final = 6


def decode_png(guarded: Guarded, orientation: Orientation, where: str) -> Decoded:
    """Decode a guarded PNG file: (1, rows, columns) of grey, 3 channels of RGB, 4 of RGBA.

    Raises
    ------
    VoxelError
        E-VAL-30 for palettes, for alpha beside grey, and for colors of 16 bits.
    ImageFileError
        E-FILE-04 if the pixels cannot be decompressed.
    """
    # Pillow comes with scikit-image. The class is called directly because Image.open adds a limit
    # of its own, below that of a large microscopy image; the guard has compared the size.
    from PIL.PngImagePlugin import PngImageFile

    header = parse_png_header(guarded.data, where)
    if header.color_type in _REFUSED:
        raise _refused(where, f"{_REFUSED[header.color_type]} (color type {header.color_type})")
    if header.color_type != 0 and header.bits == 16:  # of which Pillow drops the lower half
        raise _refused(where, "colors of 16 bits")
    pixels = _pixels(PngImageFile, guarded.data, where, "PNG")
    if header.bits in (2, 4):
        pixels = pixels // (255 // (2**header.bits - 1))  # undoes Pillow's stretch to 0-255
    return picture(pixels)


def decode_bmp(guarded: Guarded, orientation: Orientation, where: str) -> Decoded:
    """Decode a guarded BMP file: (1, rows, columns) of grey, 3 or 4 channels of colors.

    Raises
    ------
    VoxelError
        E-VAL-30 for a palette of colors; one of the greys is the grey itself.
    ImageFileError
        E-FILE-04 if the pixels cannot be read.
    """
    from PIL.BmpImagePlugin import BmpImageFile

    return picture(_pixels(BmpImageFile, guarded.data, where, "BMP"))


def picture(pixels: Array) -> Decoded:
    """Return pixels, (rows, columns) or (rows, columns, channels), as a decoded file."""
    stored = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    rows, columns = stored.shape[1:]
    return Decoded(
        stored=stored,
        geometry=Geometry(
            file_shape=(rows, columns),
            file_affine=IDENTITY,
            file_axes=(0, 1),
            reversed_axes=(False, False),
        ),
        has_colors=pixels.ndim == 3,
    )


def encode_png(label_map: Array, geometry: Geometry) -> bytes:
    """Encode a label map, (rows, columns) of uint8 or uint16; equal input gives equal bytes."""
    from PIL import Image

    encoded = io.BytesIO()
    pixels = np.ascontiguousarray(geometry.to_file(label_map))
    Image.fromarray(pixels).save(encoded, "PNG", compress_level=_LEVEL)
    return encoded.getvalue()


def encode_bmp(label_map: Array, geometry: Geometry) -> bytes:
    """Encode a label map, (rows, columns) of up to 255; equal input gives equal bytes.

    Raises
    ------
    VoxelError
        E-VAL-35 for larger labels.
    """
    from PIL import Image

    if label_map.max() > 255:
        raise VoxelError(
            f"a BMP file cannot hold the label {label_map.max()}, allowed are 0 to 255",
            rule="E-VAL-35",
            hint="convert the images to .png",
        )
    encoded = io.BytesIO()
    pixels = np.ascontiguousarray(geometry.to_file(label_map), dtype=np.uint8)
    Image.fromarray(pixels).save(encoded, "BMP")
    return encoded.getvalue()


def _pixels(kind: "type[ImageFile]", data: bytes | bytearray, where: str, name: str) -> Array:
    try:
        with kind(io.BytesIO(data)) as image:
            mode, pixels = image.mode, np.asarray(image)
    except (OSError, ValueError, SyntaxError) as error:  # SyntaxError is Pillow's "broken file"
        raise damaged(where, f"its pixels cannot be decompressed ({error})", name) from error
    if mode not in _MODES:
        raise _refused(where, f"palette colors (mode {mode})")
    return pixels.astype(np.uint8) if pixels.dtype == np.bool_ else pixels


def _refused(where: str, found: str) -> VoxelError:
    return VoxelError(
        f"{where}: holds {found}; allowed are grey, and RGB with or without alpha of 8 bits",
        rule="E-VAL-30",
        hint="convert the image to grey, or each color to a grey image of its own",
    )
