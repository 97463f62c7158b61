"""The sanity of an NRRD header: fields of text up to an empty line, the voxels behind it.

Only attached headers (``.nrrd``) are read, and only those that say where left and right are.
"""

import math
import re
from typing import Final, Literal

import numpy as np

from autoseg.io.formats.header_faults import cut_header, impossible
from autoseg.io.formats.volume_header import (
    BLANKS,
    LONGEST_HEADER_BYTES,
    VolumeHeader,
    check_edges,
    elsewhere,
    header_lines,
    misplaced,
    numbers,
    other_unit,
    refused_type,
    too_many_axes,
    unsupported,
    whole_numbers,
)

_TYPES: Final = {
    "i1": "signed char, int8, int8_t",
    "u1": "uchar, unsigned char, uint8, uint8_t",
    "i2": "short, short int, signed short, signed short int, int16, int16_t",
    "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
    "i4": "int, signed int, int32, int32_t",
    "u4": "uint, unsigned int, uint32, uint32_t",
    "i8": "longlong, long long, long long int, signed long long, signed long long int, int64, "
    "int64_t",
    "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t",
    "f4": "float",
    "f8": "double",
}
"""Names of each voxel type in the NRRD format definition."""
_ENCODINGS: Final[dict[str, Literal["raw", "gzip"]]] = {"raw": "raw", "gzip": "gzip", "gz": "gzip"}
_ANATOMICAL: Final = {
    "left-posterior-superior",
    "right-anterior-superior",
    "left-anterior-superior",
    "lps",
    "ras",
    "las",
}
_END: Final = re.compile(rb"\r?\n\r?\n")
_FIELD: Final = re.compile(r"([^:]+):(=?) *(.*)")
_BLANK: Final = re.compile(f"[{BLANKS}]+")
_VECTOR: Final = re.compile(r"\(([^()]*)\)|none", re.IGNORECASE)


def header_is_complete(data: bytes | bytearray) -> bool:
    """Whether data holds the empty line that ends a header, or can hold none any more."""
    return len(data) > LONGEST_HEADER_BYTES or _END.search(data) is not None


def parse_nrrd(data: bytes | bytearray, where: str) -> VolumeHeader:
    """Read and check the header at the beginning of an NRRD file.

    Raises
    ------
    ImageFileError
        E-FILE-02 if the file ends within the header, E-FILE-08 for variants that are not read,
        E-FILE-09 if a value is impossible, E-FILE-10 if the voxels are in another file.
    GeometryError
        E-GEO-17 for impossible numbers, E-GEO-26 for too many axes.
    VoxelError
        E-VAL-30 for complex numbers, matrices and their kind.

    References
    ----------
    .. [1] Definition of NRRD file format, https://teem.sourceforge.net/nrrd/format.html
    """
    end = _END.search(data, 0, LONGEST_HEADER_BYTES)
    if end is None:
        if len(data) < LONGEST_HEADER_BYTES:
            raise cut_header(where, len(data))
        raise impossible(where, f"no empty line within {LONGEST_HEADER_BYTES} bytes ends it")
    fields = _fields(header_lines(data[: end.start()], where), where)
    dimension = whole_numbers(fields.get("dimension", ""), 1, "dimension", where)[0]
    if dimension > 16:
        raise impossible(where, f"dimension is {dimension}, allowed are 1 to 16")
    sizes = whole_numbers(fields.get("sizes", ""), dimension, "sizes", where)
    directions = _directions(fields, dimension, where)
    channel_axis = _channel_axis(fields, sizes, directions, where)
    _check_place(fields, directions, where)
    missing = "" if len(sizes) - (channel_axis is not None) == 2 else _missing_place(fields)
    return VolumeHeader(
        sizes=sizes,
        channel_axis=channel_axis,
        dtype=_dtype(fields, where),
        encoding=_encoding(fields, where),
        length=end.end(),
        unit=other_unit(*re.findall('"([^"]*)"', fields.get("spaceunits", ""))[:3]),
        placeless=missing,
        edges=_edges(fields, directions, channel_axis, where) if missing else (),
    )


def _fields(lines: list[str], where: str) -> dict[str, str]:
    """Return the fields by name, in lower case and without spaces."""
    magic = lines[0]
    if not re.fullmatch("NRRD000[1-5]", magic.strip(BLANKS)):
        raise unsupported(
            where, f"is no NRRD file of version 1 to 5: it begins with {magic[:20]!r}"
        )
    fields: dict[str, str] = {}
    for line in lines[1:]:
        if line.startswith("#"):
            continue
        match = _FIELD.fullmatch(line)
        if match is None:
            raise impossible(where, f"the line {line[:60]!r} is no field")
        name = match[1].replace(" ", "").lower()
        # Even as a key of the user's: other readers may take it for the field.
        if name == "datafile":
            raise elsewhere(where, match[3], "only that the voxels follow the header")
        if match[2]:  # a key of the user's
            continue
        if name in fields:
            raise impossible(where, f"the field {match[1]!r} occurs twice")
        fields[name] = match[3].strip(BLANKS)
    return fields


def _directions(fields: dict[str, str], dimension: int, where: str) -> list[str | None]:
    """Return the numbers of each axis's vector, None for an axis outside of space."""
    text = fields.get("spacedirections")
    if text is None:
        return []
    vectors = [match[1] for match in _VECTOR.finditer(text)]
    if len(vectors) != dimension or _VECTOR.sub("", text).strip():
        raise misplaced(where, f"space directions is {text[:80]!r}, not one vector per axis")
    return vectors


def _channel_axis(
    fields: dict[str, str], sizes: tuple[int, ...], directions: list[str | None], where: str
) -> int | None:
    kinds = fields.get("kinds", "").lower().split()
    if kinds and len(kinds) != len(sizes):
        raise impossible(where, f"kinds is {fields['kinds'][:60]!r}, not one per axis")
    if directions:
        others = [axis for axis, vector in enumerate(directions) if vector is None]
    else:
        others = [axis for axis, kind in enumerate(kinds) if kind not in ("domain", "space")]
    if not others and len(sizes) == 4:
        others = [3]  # volumes along a fourth axis of space or time, as in NIfTI
    if len(others) > 1 or len(sizes) - len(others) not in (2, 3):
        raise too_many_axes(where, sizes)
    if not others:
        return None
    kind = kinds[others[0]] if kinds else ""
    if any(word in kind for word in ("complex", "matrix", "quaternion")):
        raise refused_type(where, f"voxels of the kind {kind!r}")
    return others[0]


def _check_place(fields: dict[str, str], directions: list[str | None], where: str) -> None:
    vectors = [vector for vector in directions if vector is not None]
    for vector in vectors:
        _vector(vector, len(vectors), where)
    origin = fields.get("spaceorigin")
    if origin is not None:
        numbers(origin.strip("()").replace(",", " "), len(vectors), "space origin", where)


def _vector(text: str, length: int, where: str) -> tuple[float, ...]:
    field = "a vector of the space directions"
    return numbers(text.replace(",", " "), length, field, where)


def _missing_place(fields: dict[str, str]) -> str:
    """Say why left and right of a volume are unknown; of a flat image, no reader knows them."""
    directions, origin = fields.get("spacedirections"), fields.get("spaceorigin")
    if _space(fields) in _ANATOMICAL and directions is not None and origin is not None:
        return ""
    return (
        f"its space is {fields.get('space', 'not stated')!r}, its space directions are "
        f"{(directions or 'not stated')[:80]!r}, its space origin is "
        f"{(origin or 'not stated')[:80]!r}; all are needed, with an anatomical space"
    )


def _space(fields: dict[str, str]) -> str:
    return fields.get("space", "").lower().removesuffix("-time").removesuffix("t")


def _edges(
    fields: dict[str, str], directions: list[str | None], channel_axis: int | None, where: str
) -> tuple[float, ...]:
    """Return the voxel edges that a header without a place states all the same, if any.

    None where it states directions in the body: those must not be taken for others.
    """
    if _space(fields) in _ANATOMICAL and "spacedirections" in fields:
        return ()
    vectors = [vector for vector in directions if vector is not None]
    words = _BLANK.split(fields.get("spacings", "").strip(BLANKS))
    if vectors:
        edges = tuple(math.hypot(*_vector(vector, len(vectors), where)) for vector in vectors)
    elif words != [""]:
        spatial = [word for axis, word in enumerate(words) if axis != channel_axis]
        edges = numbers(" ".join(spatial), len(spatial), "spacings", where)
    else:
        return ()
    check_edges(edges, "spacing", where)
    return edges


def _dtype(fields: dict[str, str], where: str) -> str:
    name = fields.get("type", "").lower()
    if name == "block":
        raise refused_type(where, "blocks of bytes")
    code = next((code for code, names in _TYPES.items() if name in names.split(", ")), "")
    if not code:
        raise impossible(where, f"the voxel type {fields.get('type', 'not stated')!r} is unknown")
    orders = {"little": "<", "big": ">"}
    endian = fields.get("endian", "").lower()
    if np.dtype(code).itemsize > 1 and endian not in orders:
        raise impossible(where, f"endian is {endian!r}, allowed are little and big")
    return orders.get(endian, "<") + code


def _encoding(fields: dict[str, str], where: str) -> Literal["raw", "gzip"]:
    for skip in ("lineskip", "byteskip"):
        if fields.get(skip, "0") != "0":
            raise unsupported(where, f"its {skip[:4]} skip is {fields[skip][:20]}, allowed is none")
    name = fields.get("encoding", "").lower()
    if name not in _ENCODINGS:
        raise unsupported(where, f"its encoding is {name!r}, allowed are raw and gzip")
    return _ENCODINGS[name]
