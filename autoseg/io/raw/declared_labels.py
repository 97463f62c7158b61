"""What ``dataset.json`` declares as labels: their values, regions and the ignore label.

Contradictions are refused; what the files hold is not looked at.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeGuard

from autoseg.core.errors import AutosegError, DatasetError
from autoseg.core.labels import Labels, Region
from autoseg.io.raw.dataset_json import Entries, Layout, refuse, required_object

_IGNORE: Final = "ignore"
_ORDER: Final = "regions_class_order"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Declared:
    """One entry of the key ``labels``."""

    name: str
    """Name of a label or region."""
    values: tuple[int, ...]
    """Values in files that it covers, ascending."""


def parse_labels(entries: Entries, layout: Layout, where: str) -> Labels:
    """Return the labels: Decathlon ``{"0": name}``, nnU-Net ``{name: 0}`` or ``{name: [1, 2]}``.

    Parameters
    ----------
    entries : dict
        Content of ``dataset.json``.
    layout : Layout
        Which of the two forms it has.
    where : str
        Names the file in errors.

    Returns
    -------
    Labels
        With regions if some entry of the nnU-Net form covers several values. Labels that only
        regions name are called ``label <value>``.

    Raises
    ------
    DatasetError
        E-VAL-39 if regions, their order of writing or the ignore label contradict each other or
        the labels; E-VAL-40 if values repeat, the background is missing or not 0; E-SET-46 if an
        entry is no label at all.

    Notes
    -----
    ``regions_class_order`` has one value per entry but background and ignore label, in their
    order; where there are no regions, it may only say what `labels` says.
    """
    raw = required_object(entries, "labels", where)
    read = _decathlon_label if layout == "decathlon" else _nnunet_label
    declared = [read(key, value, where) for key, value in raw.items()]
    ignored = [entry for entry in declared if entry.name == _IGNORE]
    declared = [entry for entry in declared if entry.name != _IGNORE]
    ignore = ignored[0].values[0] if ignored else None
    _check_background(declared, where)
    foreground = [entry for entry in declared if entry.values != (0,)]
    order = _class_order(entries, where)
    if any(len(entry.values) > 1 for entry in foreground):
        return _with_regions(declared, order, ignore, where)
    _check_values(declared, where)
    if order is not None and order != [entry.values[0] for entry in foreground]:
        refuse(
            where,
            f"{_ORDER} is {order}, but no label is a region and the labels have the values "
            f"{[entry.values[0] for entry in foreground]}",
            f"remove {_ORDER}, or declare the regions as lists of values",
            rule="E-VAL-39",
        )
    names = {entry.values[0]: entry.name for entry in declared}
    return _labels(names, (), ignore, where)


def _with_regions(
    declared: Sequence[_Declared], order: list[int] | None, ignore: int | None, where: str
) -> Labels:
    foreground = [entry for entry in declared if entry.values != (0,)]
    _check_regions(foreground, ignore, where)
    values = sorted({value for entry in declared for value in entry.values})
    names = {value: f"label {value}" for value in values}
    names |= {entry.values[0]: entry.name for entry in declared if len(entry.values) == 1}
    order = _checked_order(foreground, order, values, where)
    position = {value: k for k, value in enumerate(values)}
    regions = tuple(
        Region(
            name=entry.name,
            labels=tuple(position[value] for value in entry.values),
            written=position[written],
        )
        for entry, written in zip(foreground, order, strict=True)
    )
    labels = _labels(names, regions, ignore, where)
    _check_visible(labels, order, where)
    return labels


def _labels(
    names: dict[int, str], regions: tuple[Region, ...], ignore: int | None, where: str
) -> Labels:
    """Return the labels, naming the file in what they refuse themselves."""
    values = tuple(sorted(names))
    try:
        return Labels(
            names=tuple(names[value] for value in values),
            values=() if values == tuple(range(len(values))) else values,
            regions=regions,
            ignore=ignore,
        )
    except AutosegError as error:
        raise DatasetError(
            f"{where}: {error}", rule=error.rule, hint="correct 'labels' there"
        ) from error


def _check_background(declared: Sequence[_Declared], where: str) -> None:
    background = [entry.name for entry in declared if entry.values == (0,)]
    if len(background) != 1 or len(declared) < 2:
        refuse(
            where,
            f"labels have the values {[_written(entry) for entry in declared]}; needed are 0, "
            "the background, once and at least one other",
            "declare the background as 0, and every other label",
            rule="E-VAL-40",
        )
    if background != ["background"] and "background" in [entry.name for entry in declared]:
        refuse(
            where,
            f"labels: 'background' is not 0, which is {background[0]!r}",
            "renumber the labels so that 0 is the background",
            rule="E-VAL-40",
        )


def _check_values(declared: Sequence[_Declared], where: str) -> None:
    counts = Counter(entry.values[0] for entry in declared)
    twice = {value for value, count in counts.items() if count > 1}
    if twice:
        names = [entry.name for entry in declared if entry.values[0] in twice]
        refuse(
            where,
            f"labels {names} share the values {sorted(twice)}; allowed is one name for a value",
            "remove all names but one",
            rule="E-VAL-40",
        )


def _check_regions(foreground: Sequence[_Declared], ignore: int | None, where: str) -> None:
    seen: dict[tuple[int, ...], str] = {}
    for entry in foreground:
        if 0 in entry.values or ignore in entry.values:
            which = "the background, 0" if 0 in entry.values else f"the ignore label, {ignore}"
            refuse(
                where,
                f"labels.{entry.name} = {_written(entry)} contains {which}; regions consist of "
                "other labels",
                "take that value out of the region",
                rule="E-VAL-39",
            )
        if entry.values in seen:
            refuse(
                where,
                f"labels.{seen[entry.values]} and labels.{entry.name} are both {_written(entry)}; "
                "allowed is one region of the same labels",
                "remove one of them",
                rule="E-VAL-39",
            )
        seen[entry.values] = entry.name


def _checked_order(
    foreground: Sequence[_Declared], order: list[int] | None, values: Sequence[int], where: str
) -> list[int]:
    if order is None or len(order) != len(foreground):
        names = [entry.name for entry in foreground]
        refuse(
            where,
            f"{_ORDER} is {'missing' if order is None else order}; needed is one value for each of "
            f"the {len(names)} regions {names}",
            f"add {_ORDER}: the value that each region is written as, large regions first",
            rule="E-VAL-39",
        )
    unknown = sorted(set(order) - set(values[1:]))
    if unknown:
        refuse(
            where,
            f"{_ORDER} holds {unknown}; allowed are the values of the regions, {values[1:]}",
            "write each region as a label that it consists of",
            rule="E-VAL-39",
        )
    return order


def _check_visible(labels: Labels, order: Sequence[int], where: str) -> None:
    """Refuse a region of which a perfect prediction would show no voxel in a label map.

    A region may lose a part to others, as overlapping regions must, but not all of itself.
    """
    shown = {k: region.written for region in labels.regions for k in region.labels}
    hidden = [
        region.name
        for region in labels.regions
        if not any(shown[k] in region.labels for k in region.labels)
    ]
    if hidden:
        refuse(
            where,
            f"{_ORDER} {list(order)} writes every voxel of the regions {hidden} as another one; "
            "each must keep a label of its own",
            "declare large regions before the small ones inside, and check the order's values",
            rule="E-VAL-39",
        )


def _class_order(entries: Entries, where: str) -> list[int] | None:
    order = entries.get(_ORDER)
    if order is None:
        return None
    if not isinstance(order, list) or not all(_is_whole(value) for value in order):
        refuse(where, f"{_ORDER} is {order!r}, allowed is a list of whole numbers", "correct it")
    return order


def _decathlon_label(number: str, name: object, where: str) -> _Declared:
    if not re.fullmatch("[0-9]{1,5}", number) or not isinstance(name, str) or not name:
        refuse(
            where,
            f"labels holds {number!r}: {name!r}; the Decathlon layout has numbers as keys and "
            'names as values, such as "1": "liver"',
            "swap keys and values",
        )
    _check_name(name, where)
    return _Declared(name=name, values=(int(number),))


def _nnunet_label(name: str, value: object, where: str) -> _Declared:
    _check_name(name, where)
    if isinstance(value, list) and name == _IGNORE:
        refuse(
            where,
            f"labels.{name} is {value!r}, allowed is one whole number: no region can be ignored",
            "give the ignore label one value",
            rule="E-VAL-39",
        )
    listed = value if isinstance(value, list) else [value]
    found = [entry for entry in listed if _is_whole(entry)]
    if not found or not name or len(found) < len(listed):
        refuse(
            where,
            f"labels.{name} is {value!r}, allowed is a whole number, or a list of them; the "
            'nnU-Net layout has names as keys, such as "liver": 1',
            "write the label's value",
        )
    if len(set(found)) < len(found):
        refuse(
            where,
            f"labels.{name} = {value!r} holds a value twice; allowed is once",
            "remove the repetition",
            rule="E-VAL-39",
        )
    return _Declared(name=name, values=tuple(sorted(found)))


def _check_name(name: str, where: str) -> None:
    if name != _IGNORE and name.casefold() == _IGNORE:
        refuse(
            where,
            f"labels: {name!r} may be the ignore label or a label of that name; allowed for the "
            f"ignore label is {_IGNORE!r}",
            f"write {_IGNORE!r}, or choose another name",
            rule="E-VAL-39",
        )


def _written(entry: _Declared) -> int | list[int]:
    return entry.values[0] if len(entry.values) == 1 else list(entry.values)


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
