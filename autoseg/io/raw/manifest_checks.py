"""The cases that a manifest lists: what each may say, and every fault of it.

A manifest is written by a person, so that all faults are told at once, each with its place.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from autoseg.core.dataset import Case
from autoseg.core.errors import AutosegError, DatasetError
from autoseg.core.labels import LARGEST_VALUE, Labels
from autoseg.io.guard import file_ending
from autoseg.io.raw.channel_files import is_there, same_family
from autoseg.io.raw.layouts import Listing, missing, wrong
from autoseg.io.raw.listed_cases import check_case_name, check_ending, check_plain_path
from autoseg.io.raw.listing import equal_names
from autoseg.io.raw.manifest_entries import Cell, Entry, Rules, label_names, misspelled


def list_entries(entries: Sequence[Entry], rules: Rules, exclude: frozenset[str]) -> Listing:
    """Return the cases of a manifest, and every fault of their entries.

    Parameters
    ----------
    entries : sequence of Entry
        All entries.
    rules : Rules
        What they are held against.
    exclude : frozenset of str
        Cases to leave out, whatever their entries and files are like.
    """
    chosen = [entry for entry in entries if entry.case not in exclude]
    cases: list[Case] = []
    problems: list[AutosegError] = []
    for entry in chosen:
        faults = list(_faults(entry, rules))
        problems += [fault.about(entry.case, file=fault.file or rules.where) for fault in faults]
        if not faults:
            cases.append(_case(entry, rules))
    problems += _twice(chosen, rules.where)
    if rules.needs_segmentation:
        problems += _without_patient(chosen, rules.where)
    return Listing(
        cases=tuple(sorted(cases, key=lambda case: case.name)),
        file_ending=rules.ending,
        problems=tuple(problems),
        seen=frozenset(entry.case for entry in entries if entry.case),
    )


def _case(entry: Entry, rules: Rules) -> Case:
    """Return the case of an entry without faults."""
    if not rules.needs_segmentation:
        return Case(name=entry.case, images=_images(entry))
    return Case(
        name=str(entry.name.value),
        images=_images(entry),
        segmentation=str(Path(str(entry.segmentation.value))),
        patient=str(entry.patient.value) if entry.patient.value else None,
        label_values=_label_values(entry, rules.labels),
    )


def _images(entry: Entry) -> tuple[str, ...]:
    return tuple(str(Path(str(cell.value))) for cell in entry.images)


def _faults(entry: Entry, rules: Rules) -> Iterator[AutosegError]:
    """Yield whatever is wrong with an entry by itself."""
    checks: list[tuple[Callable[[Cell, Rules], None], Cell]] = [
        (_check_name, entry.name),
        *((_check_image, cell) for cell in entry.images),
    ]
    if rules.needs_segmentation:
        checks += [
            (_check_segmentation, entry.segmentation),
            (_check_patient, entry.patient),
            *((_check_value, cell) for _, cell in entry.labels),
        ]
    sound = True
    for check, cell in checks:
        try:
            check(cell, rules)
        except DatasetError as error:
            sound = False
            yield error
    if len(entry.images) not in (0, 1, rules.channels):  # that there are none was told
        yield DatasetError(
            f"{rules.where}: {entry.place}: {len(entry.images)} images found, {rules.channels} "
            "channels expected",
            rule="E-SET-42",
            hint="list one file per channel, or one file that holds all of them",
        )
    if sound:
        yield from _label_faults(entry, rules) if rules.needs_segmentation else ()
        yield from _same_file(entry, rules)


def _same_file(entry: Entry, rules: Rules) -> Iterator[AutosegError]:
    """Yield an error if a file is listed twice in an entry: one of the two was meant otherwise."""
    places: dict[Path, Cell] = {}
    segmentation = (entry.segmentation,) if rules.needs_segmentation else ()
    for cell in (*entry.images, *segmentation):
        path = (rules.folder / str(cell.value)).resolve()
        if path in places:
            yield DatasetError(
                f"{rules.where}: {cell.place}: {cell.value!r} is the file of {places[path].place} "
                "too; each channel and the segmentation have a file of their own",
                rule="E-SET-42",
                hint="write the other file's path",
            )
        places[path] = cell


def _check_name(cell: Cell, rules: Rules) -> None:
    check_case_name(_text(cell, "a name", rules), f"{rules.where}: {cell.place}")


def _check_image(cell: Cell, rules: Rules) -> None:
    path = _path(cell, rules)
    if (rules.folder / path).is_dir():
        return  # a series of DICOM
    if not file_ending(Path(path)) and not is_there(rules.folder / path):
        raise _missing(path, cell, rules)  # it may have been meant to be one
    _check_file(path, cell, rules)


def _check_segmentation(cell: Cell, rules: Rules) -> None:
    _check_file(_path(cell, rules), cell, rules)


def _check_patient(cell: Cell, rules: Rules) -> None:
    if cell.value not in (None, ""):
        _text(cell, "a name", rules)


def _check_value(cell: Cell, rules: Rules) -> None:
    if cell.value in (None, "") or _whole(cell.value) is not None:
        return
    raise wrong(
        f"{rules.where}: {cell.place} is {cell.value!r}, allowed is a whole number from 0 to "
        f"{LARGEST_VALUE}",
        "write the value that this label has in the segmentation of the case",
    )


def _check_file(path: str, cell: Cell, rules: Rules) -> None:
    check_ending(path, same_family(rules.ending), f"{rules.where}: {cell.place}")
    if not is_there(rules.folder / path):
        raise _missing(path, cell, rules)


def _missing(path: str, cell: Cell, rules: Rules) -> DatasetError:
    problem = missing(rules.folder / path, "")
    return DatasetError(
        f"{rules.where}: {cell.place}: {problem}", rule=problem.rule, hint=problem.hint
    ).about(file=problem.file)


def _path(cell: Cell, rules: Rules) -> str:
    return check_plain_path(cell.value, f"{rules.where}: {cell.place}")


def _text(cell: Cell, what: str, rules: Rules) -> str:
    if isinstance(cell.value, str) and cell.value:
        return cell.value
    found = "empty" if cell.value == "" else repr(cell.value)
    raise wrong(f"{rules.where}: {cell.place} is {found}, needed is {what}", "write a text there")


def _whole(value: object) -> int | None:
    """Return the value of a label, from a number or its digits; None if it is neither."""
    if isinstance(value, str) and re.fullmatch("[0-9]{1,5}", value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= LARGEST_VALUE else None


def _label_values(entry: Entry, labels: Labels) -> tuple[int, ...]:
    """Return the values in the file of a case; nothing where they are the dataset's."""
    own = {name: _whole(cell.value) for name, cell in entry.labels}
    values = tuple(
        value if (stated := own.get(name)) is None else stated
        for name, value in zip(label_names(labels), labels.stored_values, strict=True)
    )
    return () if values == labels.stored_values else values


def _label_faults(entry: Entry, rules: Rules) -> Iterator[AutosegError]:
    names, where = label_names(rules.labels), f"{rules.where}: {entry.place}"
    if unknown := [name for name, _ in entry.labels if name not in names]:
        yield wrong(
            f"{where}: no label is called {misspelled(unknown, names)}; allowed are "
            f"{', '.join(names)}",
            "give values for labels of the dataset; regions follow from them",
        )
    values = _label_values(entry, rules.labels) or rules.labels.stored_values
    for value in sorted(set(values)):
        same = [name for name, other in zip(names, values, strict=True) if other == value]
        if len(same) > 1:
            yield DatasetError(
                f"{where}: {' and '.join(map(repr, same))} would both be {value} in the "
                "segmentation of this case; allowed is one label for a value",
                rule="E-VAL-40",
                hint="say the value of each of them: labels that are not named keep that of the "
                "dataset. One that the file lacks may have any other value",
            )


def _twice(entries: Sequence[Entry], where: str) -> Iterator[AutosegError]:
    """Yield an error for each group of entries whose names some reader would confuse."""
    for group in equal_names((entry.case, entry) for entry in entries if entry.case):
        names = sorted({entry.case for entry in group})
        yield DatasetError(
            f"{where}: {', '.join(entry.place for entry in group)} are the same case, "
            f"{' and '.join(map(repr, names))}; allowed is one entry for a case",
            rule="E-SET-43",
            hint="rename or remove all but one of them",
        ).about(*names, file=where)


def _without_patient(entries: Sequence[Entry], where: str) -> Iterator[AutosegError]:
    """Yield an error for each entry without a patient, if others have one."""
    lacking = [entry for entry in entries if entry.patient.value in (None, "")]
    if len(lacking) == len(entries):
        return
    for entry in lacking:
        yield DatasetError(
            f"{where}: {entry.patient.place} is empty, though other cases have a patient; every "
            "case needs one",
            rule="E-SET-48",
            hint="name the patient of every case, or of none",
        ).about(entry.case, file=where)
