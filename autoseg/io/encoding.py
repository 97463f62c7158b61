"""How the voxels of a stored image stand for intensities: as they are, in half the bits, or scaled.

Only what was decided is applied here; `preprocessing.precision` decides.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, Protocol

import numpy as np
import numpy.typing as npt

from autoseg.core.errors import DocumentError
from autoseg.core.geometry import STRICT, Array

StoredType = Literal["float16", "int16", "float32"]
LARGEST_CODE: Final = 2**15 - 1
"""Codes of int16 run from the negative of this to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How stored voxels stand for intensities."""

    __pydantic_config__: ClassVar = STRICT

    dtype: StoredType = "float32"
    """Type of the stored voxels."""
    scales: tuple[float, ...] = ()
    """int16 only: by channel the intensity between neighboring codes, positive."""
    shifts: tuple[int, ...] = ()
    """int16 only: by channel what is added to a code, so that intensity 0 has a code of its own."""

    def __post_init__(self) -> None:
        if (self.dtype == "int16") != bool(self.scales) or len(self.scales) != len(self.shifts):
            raise DocumentError(
                f"encoding as {self.dtype}: {len(self.scales)} scales and {len(self.shifts)} "
                "shifts; int16 has one of each per channel, the others none"
            )


AS_THEY_ARE: Final = Encoding()
"""float32."""


class Readable(Protocol):
    """An array in memory, or one on disk of which parts are read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""

    def __getitem__(self, index: Any, /) -> Array:
        """Read a part."""


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """A stored image (C, *spatial) whose parts are decoded as they are read."""

    stored: Readable
    """The stored voxels."""
    encoding: Encoding
    """What they stand for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels and spatial shape."""
        return tuple(self.stored.shape)

    def __getitem__(self, index: Any) -> npt.NDArray[np.float32]:
        """Read a part as float32; the channels are indexed by a slice or a number."""
        channels = index[0] if isinstance(index, tuple) else index
        return decode(
            self.stored[index],
            self.encoding,
            slice(None) if channels is Ellipsis else channels,
        )

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """Type of what is read."""
        return np.dtype(np.float32)


def encode(image: npt.NDArray[np.float32], encoding: Encoding) -> Array:
    """Return the voxels to store.

    Parameters
    ----------
    image : (C, *spatial) array of float32
        Intensities; those of an int16 encoding lie within its codes.
    encoding : Encoding
        What voxels shall stand for.
    """
    if encoding.dtype == "float32":
        return image
    if encoding.dtype == "float16":
        return image.astype(np.float16)
    codes = np.empty(image.shape, np.int16)
    for channel, scale, shift in zip(
        range(len(image)), encoding.scales, encoding.shifts, strict=True
    ):
        for z, voxels in enumerate(image[channel]):  # one slice at a time: it stays in the cache
            steps = np.rint(np.multiply(voxels, 1 / scale, dtype=np.float64)) - shift
            codes[channel, z] = steps.clip(-LARGEST_CODE, LARGEST_CODE)
    return codes


def decode(
    stored: Array, encoding: Encoding, channels: slice | int = slice(None)
) -> npt.NDArray[np.float32]:
    """Return the intensities of stored voxels.

    Parameters
    ----------
    stored : (C, *spatial) array
        Voxels of some channels.
    encoding : Encoding
        What they stand for.
    channels : slice or int
        Which of the encoding's channels they are of.
    """
    if encoding.dtype != "int16":
        return stored.astype(np.float32, copy=False)
    wide = (-1,) + (1,) * (stored.ndim - 1)
    scale = np.array(encoding.scales[channels], np.float32).reshape(wide)
    shift = np.array(encoding.shifts[channels], np.float32).reshape(wide)
    # Two products of one factor: code and shift of intensity 0 cancel exactly.
    decoded = np.multiply(stored, scale, dtype=np.float32)
    decoded += shift * scale
    return decoded
