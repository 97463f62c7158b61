"""What a raw dataset's ``dataset.json`` says of its layout, channels and patients.

Keys that inform people only, such as a licence, are let through; those that decide something must
be right, and near misses of their names are refused.
"""

import difflib
import stat
from pathlib import Path
from typing import Final, Literal, NoReturn

from autoseg.core.errors import DatasetError
from autoseg.io.documents import LARGEST_BYTES, parse_json

Layout = Literal["decathlon", "nnunet"]
Entries = dict[str, object]

_DECIDING: Final = (
    "channel_names",
    "dataset",
    "file_ending",
    "labels",
    "modality",
    "numTraining",
    "patients",
    "regions_class_order",
    "training",
)
_INFORMING: Final = ("numTest", "test", "name", "release", "reference", "description", "licence")


def read_json(path: Path) -> object:
    """Read a JSON file that a person wrote.

    Raises
    ------
    DocumentError
        If it is no strict JSON.
    DatasetError, OSError
        As `read_bytes`.
    """
    return parse_json(read_bytes(path), str(path))


def read_bytes(path: Path) -> bytes:
    """Read a file that a person wrote, if it is of a sane kind and size.

    Raises
    ------
    DatasetError
        E-SET-42 if it is no regular file, E-SET-46 if it is too large.
    OSError
        If it cannot be read.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise DatasetError(
            f"{path}: is no regular file",  # a pipe would be waited for without end
            rule="E-SET-42",
            hint="put the file itself in its place",
        )
    if status.st_size > LARGEST_BYTES:
        raise DatasetError(
            f"{path}: has {status.st_size} bytes, allowed are {LARGEST_BYTES}",
            rule="E-SET-46",
            hint="leave only the description in it",
        )
    return path.read_bytes()


def layout_of(entries: Entries, where: str) -> Layout:
    """Tell the layout from the keys.

    Raises
    ------
    DatasetError
        E-SET-46 if the keys fit no layout or two, or one is misspelled.
    """
    misspelled = [
        f"{key!r} (meant {near[0]!r}?)"
        for key in entries
        if key not in (*_DECIDING, *_INFORMING)
        and (near := difflib.get_close_matches(key, _DECIDING, n=1, cutoff=0.85))
    ]
    if misspelled:
        refuse(where, f"unknown keys {', '.join(misspelled)}", "correct the spelling")
    decathlon, nnunet = "training" in entries, "channel_names" in entries
    if decathlon and nnunet:
        refuse(
            where,
            "keys 'training' and 'channel_names' contradict each other; one layout is allowed",
            "keep 'training' and 'modality', or 'channel_names' and 'file_ending'",
        )
    if not (decathlon or nnunet):
        refuse(
            where,
            f"keys {sorted(entries)} fit no known layout; needed is 'training' (Medical "
            "Segmentation Decathlon) or 'channel_names' (nnU-Net)",
            "add the missing key",
        )
    if decathlon and "dataset" in entries:
        refuse(
            where,
            "keys 'training' and 'dataset' contradict each other; one list of cases is allowed",
            "keep 'training', or 'dataset' with 'channel_names' and 'file_ending'",
        )
    return "decathlon" if decathlon else "nnunet"


def channel_names(entries: Entries, layout: Layout, where: str) -> tuple[str, ...]:
    """Return the channels' names, from ``{"0": name, "1": name}``.

    Raises
    ------
    DatasetError
        E-SET-46 if the numbers do not run from 0, a name is no text, or two keys contradict each
        other.
    """
    if layout == "decathlon":
        return _numbered_names(entries, "modality", where)
    names = _numbered_names(entries, "channel_names", where)
    if "modality" in entries and _numbered_names(entries, "modality", where) != names:
        refuse(
            where,
            f"channel_names {list(names)} and modality {entries['modality']} contradict each other",
            "remove 'modality'",
        )
    return names


def _numbered_names(entries: Entries, key: str, where: str) -> tuple[str, ...]:
    names = required_object(entries, key, where)
    expected = [str(number) for number in range(len(names))]
    if not names or set(names) != set(expected):
        refuse(
            where,
            f"{key} has the numbers {list(names)}, allowed are '0', '1' and so on",
            "number the channels from 0 without gaps",
        )
    found = tuple(names[number] for number in expected)
    if not all(isinstance(name, str) and name for name in found):
        refuse(where, f"{key} holds the names {list(found)}, allowed are texts", "name each")
    return tuple(str(name) for name in found)


def patients(entries: Entries, where: str) -> dict[str, str] | None:
    """Return the patient of each case, or None if the key is missing.

    Raises
    ------
    DatasetError
        E-SET-46 if it is no object of texts.
    """
    if entries.get("patients") is None:
        return None
    return texts(entries["patients"], f"{where}: patients")


def texts(value: object, where: str) -> dict[str, str]:
    """Return an object whose values are texts.

    Raises
    ------
    DatasetError
        E-SET-46 if it is something else.
    """
    if not isinstance(value, dict):
        refuse(where, f"is {str(value)[:40]!r}, needed is an object", "write {case: patient}")
    for key, text in value.items():
        if not isinstance(text, str) or not text:
            refuse(where, f"{key!r} is {text!r}, needed is a text", "write the name in quotes")
    return value


def whole_number(entries: Entries, key: str, where: str) -> int | None:
    """Return a whole number, or None if the key is missing.

    Raises
    ------
    DatasetError
        E-SET-46 if it is something else.
    """
    value = entries.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        refuse(where, f"{key} is {value!r}, allowed is a whole number", "write the number")
    return value


def text(entries: Entries, key: str, where: str) -> str:
    """Return a text.

    Raises
    ------
    DatasetError
        E-SET-46 if it is missing or something else.
    """
    value = entries.get(key)
    if not isinstance(value, str):
        refuse(where, f"{key} is {value!r}, needed is a text", f"add {key!r} to it")
    return value


def required_object(entries: Entries, key: str, where: str) -> Entries:
    """Return an object.

    Raises
    ------
    DatasetError
        E-SET-46 if it is missing or something else.
    """
    value = entries.get(key)
    if not isinstance(value, dict):
        refuse(where, f"{key} is {value!r}, needed is an object", f"add {key!r} to it")
    return value


def refuse(where: str, problem: str, hint: str, *, rule: str = "E-SET-46") -> NoReturn:
    """Raise the error that the description of a dataset is wrong."""
    raise DatasetError(f"{where}: {problem}", rule=rule, hint=hint)
