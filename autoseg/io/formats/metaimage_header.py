"""The sanity of a MetaImage header: lines ``key = value``, the last of which names the voxels.

They follow the header (``LOCAL``), or lie in the file of the same stem beside a ``.mhd``.
"""

import re
from pathlib import PurePath
from typing import Final, Literal

from autoseg.core.errors import GeometryError
from autoseg.io.formats.header_faults import cut_header, impossible
from autoseg.io.formats.volume_header import (
    BLANKS,
    LONGEST_HEADER_BYTES,
    VolumeHeader,
    check_edges,
    elsewhere,
    header_lines,
    numbers,
    other_unit,
    refused_type,
    too_many_axes,
    unsupported,
    whole_numbers,
)

DATA_ENDINGS: Final = (".raw", ".zraw")
"""Endings of the file that holds the voxels of a header ``.mhd`` of the same stem."""
DIRECTION_TOLERANCE: Final = 1e-3
"""Largest deviation of the length of a direction from 1; some writers keep few digits."""

_TYPES: Final = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
"""Types by their names in MetaIO, where a long has 4 bytes on every platform."""
_SYNONYMS: Final = {
    "BinaryDataByteOrderMSB": "ElementByteOrderMSB",
    "Orientation": "TransformMatrix",
    "Rotation": "TransformMatrix",
    "Position": "Offset",
    "Origin": "Offset",
}
_END: Final = re.compile(rb"(?:^|\n)ElementDataFile[ \t]*[=:][^\n]*\n")


def header_is_complete(data: bytes | bytearray) -> bool:
    """Whether data holds the line that ends a header, or can hold none any more."""
    return len(data) > LONGEST_HEADER_BYTES or _END.search(data) is not None


def parse_metaimage(data: bytes | bytearray, where: str) -> VolumeHeader:
    """Read and check the header at the beginning of a MetaImage.

    Parameters
    ----------
    data : bytes
        Beginning of the file.
    where : str
        The file's path; its stem is that of the file of the voxels.

    Raises
    ------
    ImageFileError
        E-FILE-02 if the file ends within the header, E-FILE-08 for variants that are not read,
        E-FILE-09 if a value is impossible, E-FILE-10 if the voxels are in a foreign file.
    GeometryError
        E-GEO-17 for impossible numbers, E-GEO-26 for too many axes.
    VoxelError
        E-VAL-30 for voxels that are no numbers.

    References
    ----------
    .. [1] MetaIO documentation, https://itk.org/Wiki/ITK/MetaIO/Documentation
    """
    end = _END.search(data, 0, LONGEST_HEADER_BYTES)
    if end is None:
        if len(data) < LONGEST_HEADER_BYTES:
            raise cut_header(where, len(data))
        raise impossible(where, f"no ElementDataFile within {LONGEST_HEADER_BYTES} bytes ends it")
    fields = _fields(header_lines(data[: end.end() - 1], where), where)
    sizes, channel_axis = _axes(fields, where)
    missing = _missing_place(fields)
    edges = _edges(fields, len(whole_sizes(fields, where)), where)
    if not missing:
        _check_place(fields, len(whole_sizes(fields, where)), where)
    name = fields.get("ElementType", "not stated")
    if name not in _TYPES:
        if name.startswith("MET_") and name.endswith(("_ARRAY", "_MATRIX", "STRING", "OTHER")):
            raise refused_type(where, f"voxels of the type {name}")
        raise impossible(where, f"the voxel type {name!r} is unknown")
    order = ">" if _flag(fields, "ElementByteOrderMSB", where) else "<"
    return VolumeHeader(
        sizes=sizes,
        channel_axis=channel_axis,
        dtype=order + _TYPES[name],
        encoding=_encoding(fields, where),
        length=end.end(),
        data_file=_data_file(fields["ElementDataFile"], where),
        unit=other_unit(fields.get("DistanceUnits", "")),
        placeless=missing,
        # Directions that are stated must not be taken for others.
        edges=edges if missing and "TransformMatrix" not in fields else (),
    )


def whole_sizes(fields: dict[str, str], where: str) -> tuple[int, ...]:
    """Return the length of every axis of a header's fields, without that of vectors."""
    dimension = whole_numbers(fields.get("NDims", ""), 1, "NDims", where)[0]
    if dimension > 10:
        raise impossible(where, f"NDims is {dimension}, allowed are 1 to 10")
    return whole_numbers(fields.get("DimSize", ""), dimension, "DimSize", where)


def _fields(lines: list[str], where: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in lines:
        key, separator, value = line.partition("=") if "=" in line else line.partition(":")
        if not separator:
            raise impossible(where, f"the line {line[:60]!r} is no field")
        name = _SYNONYMS.get(key.strip(BLANKS), key.strip(BLANKS))
        if name in fields and name != "Comment":
            raise impossible(where, f"the field {name!r} occurs twice")
        fields[name] = value.strip(BLANKS)
    if fields.get("ObjectType", "Image") != "Image":
        raise unsupported(
            where, f"its ObjectType is {fields['ObjectType'][:40]!r}, allowed is Image"
        )
    return fields


def _axes(fields: dict[str, str], where: str) -> tuple[tuple[int, ...], int | None]:
    """Return the length of every axis, and the one of the channels."""
    sizes = whole_sizes(fields, where)
    components = whole_numbers(
        fields.get("ElementNumberOfChannels", "1"), 1, "ElementNumberOfChannels", where
    )[0]
    if len(sizes) not in (2, 3, 4) or (components > 1 and len(sizes) == 4):
        raise too_many_axes(where, sizes if components == 1 else (components, *sizes))
    if components > 1:
        return (components, *sizes), 0
    return sizes, 3 if len(sizes) == 4 else None


def _missing_place(fields: dict[str, str]) -> str:
    """Say why left and right are unknown, or return an empty string."""
    needed = ("TransformMatrix", "Offset", _edges_field(fields))
    missing = [name for name in needed if name not in fields]
    return f"its header has no {' and no '.join(missing)}" if missing else ""


def _edges_field(fields: dict[str, str]) -> str:
    return "ElementSpacing" if "ElementSpacing" in fields else "ElementSize"


def _edges(fields: dict[str, str], dimension: int, where: str) -> tuple[float, ...]:
    """Return the voxel edges by spatial axis, if the header states any."""
    field = _edges_field(fields)
    if field not in fields:
        return ()
    edges = numbers(fields[field], dimension, field, where)
    check_edges(edges, field, where)
    return edges[:3]


def _check_place(fields: dict[str, str], dimension: int, where: str) -> None:
    numbers(fields["Offset"], dimension, "Offset", where)
    matrix = numbers(fields["TransformMatrix"], dimension**2, "TransformMatrix", where)
    for axis in range(dimension):
        length = sum(x * x for x in matrix[axis * dimension : (axis + 1) * dimension]) ** 0.5
        if abs(length - 1) > DIRECTION_TOLERANCE:
            raise GeometryError(
                f"{where}: direction {axis + 1} of TransformMatrix has the length {length:.6g}, "
                "needed is 1",
                rule="E-GEO-17",
                hint="export the image again with its orientation, or correct its header",
            )


def _encoding(fields: dict[str, str], where: str) -> Literal["raw", "zlib"]:
    if not _flag(fields, "BinaryData", where, usual=True):
        raise unsupported(where, "its voxels are text (BinaryData = False), allowed are bytes")
    if fields.get("HeaderSize", "0") != "0":
        raise unsupported(where, f"its HeaderSize is {fields['HeaderSize'][:20]}, allowed is 0")
    return "zlib" if _flag(fields, "CompressedData", where) else "raw"


def _flag(fields: dict[str, str], name: str, where: str, *, usual: bool = False) -> bool:
    text = fields.get(name, str(usual))
    if text.lower() not in ("true", "false"):
        raise impossible(where, f"{name} is {text[:40]!r}, allowed are True and False")
    return text.lower() == "true"


def _data_file(name: str, where: str) -> str:
    if name == "LOCAL":
        return ""
    path = PurePath(where)
    siblings = [path.stem + ending for ending in DATA_ENDINGS]
    if path.suffix.lower() == ".mhd" and name in siblings:
        return name
    allowed = "LOCAL" if path.suffix.lower() != ".mhd" else f"LOCAL or {' or '.join(siblings)}"
    raise elsewhere(where, name, allowed)
