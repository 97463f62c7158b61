"""What kind of file some bytes begin, and whether it is the one that a file's name promises."""

import re
from pathlib import Path
from typing import Final

from autoseg.core.errors import ImageFileError
from autoseg.io.formats import gipl_header, png_header
from autoseg.io.formats.nifti_header import is_nifti

_SIGNATURES: Final = (
    (b"\x1f\x8b", "a gzip file"),
    (png_header.SIGNATURE, "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"PK\x03\x04", "a zip archive"),
    (b"NRRD", "an NRRD image"),
    (b"\x89HDF", "an HDF5 file"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"II+\0", "a TIFF image"),
    (b"MM\0+", "a TIFF image"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
)
_METAIMAGE: Final = re.compile(rb"(ObjectType|NDims|Comment)[ \t]*[=:]")
_PROMISED: Final = {
    ".nii.gz": "a gzip file",
    ".nii": "a plain NIfTI file",
    ".nrrd": "an NRRD image",
    ".mha": "a MetaImage",
    ".mhd": "a MetaImage",
    ".gipl": "a GIPL image",
    ".tif": "a TIFF image",
    ".tiff": "a TIFF image",
    ".png": "a PNG image",
    ".bmp": "a BMP image",
}
"""Kind of file by ending."""
_SHORTEST_BYTES: Final = 256
"""What is needed to tell every kind."""


def kind_of(data: bytes | bytearray) -> str:
    """Name the kind of file that data begins, or return an empty string."""
    for signature, kind in _SIGNATURES:
        if data.startswith(signature):
            return kind
    if data[128:132] == b"DICM":
        return "a DICOM file"
    if _METAIMAGE.match(data):
        return "a MetaImage"
    if gipl_header.is_gipl(data):
        return "a GIPL image"
    if data.startswith(b"BM") and data[6:10] == bytes(4):
        return "a BMP image"
    if is_nifti(data):
        return "a plain NIfTI file"
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in data[:64]):
        return "a text file"
    return ""


def check_kind(first: bytes, ending: str, path: Path) -> None:
    """Compare the kind that a file's first bytes show with the kind that its name promises.

    Raises
    ------
    ImageFileError
        E-FILE-01 if there are none, E-FILE-07 if it is another kind.
    """
    if not first:
        raise ImageFileError(
            f"{path}: empty file (0 bytes)", rule="E-FILE-01", hint="copy or export it again"
        )
    kind, promised = kind_of(first), _PROMISED[ending]
    # What has no signature of its own, or was cut off within it, is for the header's reader to say.
    unknown = ending == ".nii" or (ending == ".gipl" and len(first) < _SHORTEST_BYTES)
    if kind == promised or (unknown and not kind):
        return
    real = next((e for e, name in _PROMISED.items() if name == kind), "")
    raise ImageFileError(
        f"{path}: is {kind or 'of unknown kind'}, but its name promises {promised}",
        rule="E-FILE-07",
        hint=f"rename it to end with {real}" if real else f"convert the image to {ending}",
    )
