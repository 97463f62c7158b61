"""The sanity of a PNG file: signature, declared size, and the checksum of every chunk."""

from typing import Final

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

_SAMPLES: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples per pixel of each color type: grey, RGB, palette, grey and alpha, RGB and alpha."""
