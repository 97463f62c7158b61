"""The cases that the key ``dataset`` of an nnU-Net ``dataset.json`` lists by their paths.

The files may lie anywhere, so that nothing is said of other files beside them.
"""

import re
from pathlib import Path, PurePosixPath
from typing import Final

from autoseg.core.dataset import Case
from autoseg.core.errors import AutosegError, DatasetError
from autoseg.io.guard import FILE_ENDINGS, file_ending
from autoseg.io.raw.channel_files import is_there, same_family
from autoseg.io.raw.layouts import Listing, missing, unknown_ending, wrong
from autoseg.io.raw.listing import check_safe_name, look_alikes, stem

_VARIABLE: Final = re.compile(r"\$\w|\$\{|^~")
"""What a shell would replace by something that depends on who reads the path."""


def list_named(
    folder: Path, listed: object, channels: int, ending: str, exclude: frozenset[str]
) -> Listing:
    """List the cases that ``dataset.json`` names one by one.

    Parameters
    ----------
    folder : Path
        Folder of ``dataset.json``; relative paths start there.
    listed : object
        Its key ``dataset``: ``{case: {"images": [path, ...], "label": path}}``.
    channels : int
        Channels of every case: one file each, or one file that holds all.
    ending : str
        Ending of predictions; the files may have any of the same family.
    exclude : frozenset of str
        Cases to leave out, whatever their entries and files are like.
    """
    file = str(folder / "dataset.json")
    where = f"{file}: dataset"
    problems: list[AutosegError] = []
    cases: list[Case] = []
    if ending not in FILE_ENDINGS:
        problems.append(unknown_ending(folder, ending))
    elif not isinstance(listed, dict):
        hint = "write {case: {images: [path], label: path}}, or leave 'dataset' out"
        problem = wrong(f"{where} is {str(listed)[:40]!r}, needed is an object", hint)
        problems.append(problem.about(file=file))
    else:
        for name, entry in listed.items():
            if name in exclude:
                continue
            try:
                cases.append(_case(name, entry, channels, same_family(ending), where))
            except DatasetError as error:
                problems.append(error.about(name, file=file))
    problems += look_alikes(((case.name, case.images[0]) for case in cases), where)
    problems += [
        missing(folder / path, case.name)
        for case in cases
        for path in (*case.images, str(case.segmentation))
        if not is_there(folder / path)
    ]
    return Listing(
        cases=tuple(sorted(cases, key=lambda case: case.name)),
        file_ending=ending,
        problems=tuple(problems),
        seen=frozenset(listed if isinstance(listed, dict) else ()),
    )


def _case(name: str, entry: object, channels: int, endings: tuple[str, ...], dataset: str) -> Case:
    where = f"{dataset}.{name}"
    check_case_name(name, dataset)
    if not isinstance(entry, dict) or not {"images", "label"} <= set(entry):
        raise wrong(
            f"{where} is {str(entry)[:80]!r}, needed is an object with 'images' and 'label'",
            "name the files of the case",
        )
    images = entry["images"]
    if not isinstance(images, list) or not images:
        raise wrong(f"{where}.images is {images!r}, needed is a list of paths", "list the images")
    if len(images) not in (1, channels):
        raise DatasetError(
            f"{where}.images: {len(images)} files found, {channels} channels expected",
            rule="E-SET-42",
            hint="list one file per channel, or one file that holds all of them",
        )
    return Case(
        name=name,
        images=tuple(
            _path(path, endings, f"{where}.images[{number}]") for number, path in enumerate(images)
        ),
        segmentation=_path(entry["label"], endings, f"{where}.label"),
    )


def check_case_name(name: str, where: str) -> None:
    """Refuse (E-SET-45) what no file of a case could be called."""
    if not name or name.startswith(".") or "/" in name or "\\" in name:
        raise DatasetError(
            f"{where}: {name!r} is the name of a case; allowed are names that a file can have, "
            "without '/' and a dot in front",
            rule="E-SET-45",
            hint="rename the case",
        )
    check_safe_name(name, where)


def check_plain_path(value: object, where: str) -> str:
    """Return a path that means the same file to every reader.

    Others are refused (E-SET-46), and those with letters that cannot be printed (E-SET-45).
    """
    if not isinstance(value, str) or not value:
        found = "empty" if value == "" else repr(value)
        raise wrong(f"{where} is {found}, needed is a path", "name the file")
    if _VARIABLE.search(value):
        raise wrong(
            f"{where} is {value!r}; allowed are paths without variables and '~', which mean "
            "other files to other readers",
            "write the path in full, or relative to the folder of the file that lists it",
        )
    check_safe_name(value, where)
    return str(Path(value))


def check_ending(path: str, endings: tuple[str, ...], where: str) -> None:
    """Refuse (E-SET-46) a path that ends with none of the endings."""
    name = PurePosixPath(path).name
    if not stem(name) or file_ending(Path(name)) not in endings:
        raise wrong(
            f"{where} is {path!r}, allowed endings are {', '.join(endings)}",
            "convert the file, or correct file_ending",
        )


def _path(value: object, endings: tuple[str, ...], where: str) -> str:
    path = check_plain_path(value, where)
    check_ending(path, endings, where)
    return path
