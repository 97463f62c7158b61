"""What a raw dataset's ``dataset.json`` says of channels and labels, in either layout.

Keys that inform people only, such as a licence, are let through; those that decide something must
be right, and near misses of their names are refused.
"""

import difflib
import re
from typing import Final, Literal, NoReturn

from autoseg.core.errors import AutosegError, DatasetError
from autoseg.core.labels import Labels

Layout = Literal["decathlon", "nnunet"]
Entries = dict[str, object]

_DECIDING: Final = (
    "channel_names",
    "file_ending",
    "labels",
    "modality",
    "numTraining",
    "regions_class_order",
    "training",
)
_INFORMING: Final = ("numTest", "test", "name", "release", "reference", "description", "licence")


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
        _refuse(where, f"unknown keys {', '.join(misspelled)}", "correct the spelling")
    decathlon, nnunet = "training" in entries, "channel_names" in entries
    if decathlon and nnunet:
        _refuse(
            where,
            "keys 'training' and 'channel_names' contradict each other; one layout is allowed",
            "keep 'training' and 'modality', or 'channel_names' and 'file_ending'",
        )
    if not (decathlon or nnunet):
        _refuse(
            where,
            f"keys {sorted(entries)} fit no known layout; needed is 'training' (Medical "
            "Segmentation Decathlon) or 'channel_names' (nnU-Net)",
            "add the missing key",
        )
    if "dataset" in entries:
        _refuse(
            where,
            "key 'dataset': an explicit list of files is not supported in this version",
            "lay the files out as imagesTr/<case>_0000<ending> and labelsTr/<case><ending>",
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
        _refuse(
            where,
            f"channel_names {list(names)} and modality {entries['modality']} contradict each other",
            "remove 'modality'",
        )
    return names


def _numbered_names(entries: Entries, key: str, where: str) -> tuple[str, ...]:
    names = _object(entries, key, where)
    expected = [str(number) for number in range(len(names))]
    if not names or set(names) != set(expected):
        _refuse(
            where,
            f"{key} has the numbers {list(names)}, allowed are '0', '1' and so on",
            "number the channels from 0 without gaps",
        )
    found = tuple(names[number] for number in expected)
    if not all(isinstance(name, str) and name for name in found):
        _refuse(where, f"{key} holds the names {list(found)}, allowed are texts", "name each")
    return tuple(str(name) for name in found)


def parse_labels(entries: Entries, layout: Layout, where: str) -> Labels:
    """Return the labels: Decathlon ``{"0": name}``, nnU-Net ``{name: 0}``.

    Raises
    ------
    DatasetError
        E-VAL-39 for regions and ignore labels, which this version cannot train on; E-VAL-40 if
        the values do not run from 0, the background, without gaps.
    """
    raw = _object(entries, "labels", where)
    pairs = (
        [_decathlon_label(number, name, where) for number, name in raw.items()]
        if layout == "decathlon"
        else [_nnunet_label(name, value, where) for name, value in raw.items()]
    )
    if "regions_class_order" in entries:
        _refuse_region(where, "regions_class_order")
    names = dict(pairs)
    if len(names) < 2 or sorted(names) != list(range(len(pairs))):
        _refuse(
            where,
            f"labels have the values {sorted(value for value, _ in pairs)}; allowed are 0 (the "
            "background), 1, 2 and so on, each once",
            "renumber the labels in dataset.json and in the segmentations",
            rule="E-VAL-40",
        )
    if "background" in names.values() and names[0] != "background":
        _refuse(
            where,
            f"labels: 'background' is not 0, which is {names[0]!r}",
            "renumber the labels so that 0 is the background",
            rule="E-VAL-40",
        )
    try:
        return Labels(names=tuple(names[value] for value in sorted(names)))
    except AutosegError as error:
        raise DatasetError(f"{where}: {error}", rule=error.rule, hint="rename one") from error


def whole_number(entries: Entries, key: str, where: str) -> int | None:
    """Return a whole number, or None if the key is missing.

    Raises
    ------
    DatasetError
        E-SET-46 if it is something else.
    """
    value = entries.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        _refuse(where, f"{key} is {value!r}, allowed is a whole number", "write the number")
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
        _refuse(where, f"{key} is {value!r}, needed is a text", f"add {key!r} to dataset.json")
    return value


def _object(entries: Entries, key: str, where: str) -> Entries:
    value = entries.get(key)
    if not isinstance(value, dict):
        _refuse(where, f"{key} is {value!r}, needed is an object", f"add {key!r} to dataset.json")
    return value


def _decathlon_label(number: str, name: object, where: str) -> tuple[int, str]:
    if not re.fullmatch("[0-9]{1,5}", number) or not isinstance(name, str):
        _refuse(
            where,
            f"labels holds {number!r}: {name!r}; the Decathlon layout has numbers as keys and "
            'names as values, such as "1": "liver"',
            "swap keys and values",
        )
    if name.casefold() == "ignore":
        _refuse_ignore(where)
    return int(number), name


def _nnunet_label(name: str, value: object, where: str) -> tuple[int, str]:
    if name.casefold() == "ignore":
        _refuse_ignore(where)
    if isinstance(value, list):
        if len(value) != 1:
            _refuse_region(where, f"labels.{name} = {value}")
        value = value[0]
    if not isinstance(value, int) or isinstance(value, bool):
        _refuse(
            where,
            f"labels.{name} is {value!r}, allowed is a whole number; the nnU-Net layout has names "
            'as keys, such as "liver": 1',
            "write the label's value",
        )
    return value, name


def _refuse_ignore(where: str) -> NoReturn:
    _refuse(
        where,
        "labels: an ignore label is not supported in this version",
        "train on fully labeled cases, without the ignore label",
        rule="E-VAL-39",
    )


def _refuse_region(where: str, found: str) -> NoReturn:
    _refuse(
        where,
        f"{found}: regions of several labels are not supported in this version",
        "give every label one value and leave regions_class_order out",
        rule="E-VAL-39",
    )


def _refuse(where: str, problem: str, hint: str, *, rule: str = "E-SET-46") -> NoReturn:
    raise DatasetError(f"{where}: {problem}", rule=rule, hint=hint)
