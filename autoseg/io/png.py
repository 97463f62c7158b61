"""PNG bytes to pixels and back; only what the guard let pass gets here.

A PNG says nothing of world space: its spacing is 1 along both axes.
"""

import io
from typing import Final

import numpy as np

from autoseg.core.errors import ImageFileError, VoxelError
from autoseg.core.geometry import Array, Geometry
from autoseg.io.png_header import parse_png_header
from autoseg.io.voxels import Decoded

_IDENTITY: Final = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
_COLORS: Final = {2: "RGB colors", 3: "palette colors", 4: "an alpha channel", 6: "RGBA colors"}
_LEVEL: Final = 6


def decode_png(data: bytes | bytearray, where: str) -> Decoded:
    """Decode a guarded PNG file into one grey channel, (1, rows, columns).

    Raises
    ------
    VoxelError
        E-VAL-30 if it holds colors.
    ImageFileError
        E-FILE-04 if the pixels cannot be decompressed.
    """
    # Pillow comes with scikit-image. The class is called directly because Image.open adds a limit
    # of its own, below that of a large microscopy image; the guard has compared the size.
    from PIL.PngImagePlugin import PngImageFile

    header = parse_png_header(data, where)
    if header.color_type != 0:
        raise VoxelError(
            f"{where}: holds {_COLORS[header.color_type]} (color type {header.color_type}); "
            "allowed is grey",
            rule="E-VAL-30",
            hint="store each color as a grey image of its own, one file per channel",
        )
    try:
        with PngImageFile(io.BytesIO(data)) as image:
            pixels = np.asarray(image)
    except (OSError, ValueError, SyntaxError) as error:  # SyntaxError is Pillow's "broken PNG"
        raise ImageFileError(
            f"{where}: damaged PNG: its pixels cannot be decompressed ({error})",
            rule="E-FILE-04",
            hint="bytes of the file changed; copy or export it again",
        ) from error
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8)
    elif header.bits in (2, 4):
        pixels = pixels // (255 // (2**header.bits - 1))  # undoes Pillow's stretch to 0-255
    return Decoded(
        stored=pixels[None],
        geometry=Geometry(
            file_shape=header.shape,
            file_affine=_IDENTITY,
            file_axes=(0, 1),
            reversed_axes=(False, False),
        ),
    )


def encode_png(label_map: Array, geometry: Geometry) -> bytes:
    """Encode a label map, (rows, columns) of uint8 or uint16; equal input gives equal bytes."""
    from PIL import Image

    encoded = io.BytesIO()
    pixels = np.ascontiguousarray(geometry.to_file(label_map))
    Image.fromarray(pixels).save(encoded, "PNG", compress_level=_LEVEL)
    return encoded.getvalue()
