"""The layouts of raw datasets: which file belongs to which case, and every fault found.

Only names are looked at; the reader opens the files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

from autoseg.core.dataset import Case
from autoseg.core.errors import AutosegError, DatasetError
from autoseg.io.channel_files import PICTURE_ENDINGS, group_by_case, is_there, is_whole, numbered
from autoseg.io.guard import FILE_ENDINGS, file_ending
from autoseg.io.listing import companions, look_alikes, stem, unsafe_names, visible_names

_IMAGES: Final = "imagesTr"
_SEGMENTATIONS: Final = "labelsTr"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The cases of a folder and the faults of its layout."""

    cases: tuple[Case, ...]
    """Cases, sorted by name; incomplete where there are problems."""
    file_ending: str
    """Ending that all files share."""
    problems: tuple[AutosegError, ...]
    """What is wrong, in the order of the files."""


def own_names(folder: Path) -> list[str]:
    """Return the sorted visible names in a folder but those that belong to another file."""
    names = visible_names(folder)
    belonging = companions(names)
    return [name for name in names if name not in belonging]


def list_decathlon(folder: Path, training: object, channels: int) -> Listing:
    """List the cases of a dataset in the layout of the Medical Segmentation Decathlon.

    Parameters
    ----------
    folder : Path
        Folder of ``dataset.json``.
    training : object
        Its key ``training``: a list of ``{"image": path, "label": path}``.
    channels : int
        Channels of every case.

    Notes
    -----
    nnU-Net 1 writes the same list, but its files are ``<case>_0000<ending>``,
    ``<case>_0001<ending>`` and so on, one per channel. It is told by them: no image of the list is
    there, but the first channel of one is.

    References
    ----------
    .. [1] Antonelli et al., The Medical Segmentation Decathlon, Nature Communications 13, 4128
       (2022), doi:10.1038/s41467-022-30695-9
    """
    where = f"{folder / 'dataset.json'}: training"
    if not isinstance(training, list):
        problem = wrong(f"{where} is {training!r}, needed is a list", "list the training cases")
        return Listing(cases=(), file_ending="", problems=(problem,))
    cases: list[Case] = []
    problems: list[AutosegError] = []
    for number, entry in enumerate(training):
        try:
            cases.append(_decathlon_case(entry, f"{where}[{number}]"))
        except DatasetError as error:
            problems.append(error)
    cases = _with_channel_files(folder, cases, channels)
    referenced = [path for case in cases for path in (*case.images, str(case.segmentation))]
    problems += unsafe_names(referenced, str(folder))
    problems += look_alikes(((case.name, case.images[0]) for case in cases), where)
    problems += _missing_or_extra(folder, referenced)
    endings = sorted({file_ending(Path(path)) for path in referenced})
    if len(endings) > 1:
        hint = "convert all files to the same ending"
        problems.append(wrong(f"{where}: files end with {endings}, allowed is one ending", hint))
    return Listing(
        cases=tuple(sorted(cases, key=lambda case: case.name)),
        file_ending=endings[0] if endings else "",
        problems=tuple(problems),
    )


def list_nnunet(folder: Path, channels: int, ending: str) -> Listing:
    """List the cases of a dataset in the layout of nnU-Net.

    Parameters
    ----------
    folder : Path
        Folder with ``imagesTr`` (``<case>_0000<ending>``, ``<case>_0001<ending>`` ..., or one
        ``<case><ending>`` that holds all channels) and ``labelsTr`` (``<case><ending>``).
    channels : int
        Channels of every case.
    ending : str
        Ending of all files.
    """
    if ending not in FILE_ENDINGS:
        problem = unknown_ending(folder, ending)
        return Listing(cases=(), file_ending=ending, problems=(problem,))
    images, segmentations = own_names(folder / _IMAGES), own_names(folder / _SEGMENTATIONS)
    problems = [
        *unsafe_names(images, f"{folder / _IMAGES}"),
        *unsafe_names(segmentations, f"{folder / _SEGMENTATIONS}"),
        *look_alikes(((stem(name), name) for name in images), f"{folder / _IMAGES}"),
        *look_alikes(((stem(name), name) for name in segmentations), f"{folder / _SEGMENTATIONS}"),
    ]
    groups, strays = group_by_case(
        [name for name in images if name.endswith(ending)], segmentations
    )
    strays += [name for name in images if not name.endswith(ending)]
    problems += look_alikes(
        ((case, next(iter(files.values()))) for case, files in groups.items()),
        f"{folder / _IMAGES}",
    )
    problems += [_extra(folder / _IMAGES / name) for name in strays]
    for case, files in groups.items():
        if not is_whole(case, files):
            problems += channel_problems(case, files, channels, folder / _IMAGES)
    problems += _unpaired(folder, [f"{case}{ending}" for case in groups], segmentations)
    cases = tuple(
        Case(
            name=case,
            images=tuple(f"{_IMAGES}/{files[number]}" for number in sorted(files)),
            segmentation=f"{_SEGMENTATIONS}/{case}{ending}",
        )
        for case, files in sorted(groups.items())
    )
    return Listing(cases=cases, file_ending=ending, problems=tuple(problems))


def channel_problems(
    case: str, files: Mapping[int, str], channels: int, folder: Path
) -> list[AutosegError]:
    """Return what is wrong with a case whose channels should be 0 to ``channels`` - 1.

    A lone picture numbered 0 may hold all of them as colors; the reader counts those.
    """
    if set(files) == {0} and file_ending(Path(files[0])) in PICTURE_ENDINGS:
        return []
    problems: list[AutosegError] = []
    lacking = [f"{number:04d}" for number in range(channels) if number not in files]
    if lacking:
        problems.append(
            DatasetError(
                f"{folder}: case {case!r} lacks the channels {', '.join(lacking)}; "
                f"{sorted(files.values())} found, {channels} channels expected",
                rule="E-SET-42",
                hint="add the missing files, or remove the case",
            )
        )
    return problems + [
        _extra(folder / name) for number, name in sorted(files.items()) if number >= channels
    ]


def unknown_ending(folder: Path, ending: str) -> DatasetError:
    """Return the error that the dataset's files end with something that is not read."""
    return wrong(
        f"{folder / 'dataset.json'}: file_ending is {ending!r}, "
        f"allowed are {', '.join(FILE_ENDINGS)}",
        "convert the images to .nii.gz, or to .png in 2D",
    )


def _with_channel_files(folder: Path, cases: list[Case], channels: int) -> list[Case]:
    """Name the files of nnU-Net 1, which its list leaves out, if these are what is there."""
    if any(is_there(folder / case.images[0]) for case in cases):
        return cases
    named = [
        replace(case, images=tuple(numbered(case.images[0], k) for k in range(channels)))
        for case in cases
    ]
    return named if any(is_there(folder / case.images[0]) for case in named) else cases


def _unpaired(folder: Path, expected: list[str], found: list[str]) -> list[AutosegError]:
    """Compare the segmentations that the cases need with those that are there."""
    there, needed = set(found), set(expected)
    return [
        *(missing(folder / _SEGMENTATIONS / name) for name in expected if name not in there),
        *(_extra(folder / _SEGMENTATIONS / name) for name in found if name not in needed),
    ]


def _decathlon_case(entry: object, where: str) -> Case:
    if not isinstance(entry, dict) or not {"image", "label"} <= set(entry):
        raise wrong(
            f"{where} is {str(entry)[:80]!r}, needed is an object with 'image' and 'label'",
            "write one object per training case",
        )
    image = _inner_path(entry["image"], f"{where}.image")
    return Case(
        name=stem(PurePosixPath(image).name),
        images=(image,),
        segmentation=_inner_path(entry["label"], f"{where}.label"),
    )


def _inner_path(value: object, where: str) -> str:
    """Return a path relative to the dataset's folder, refusing those that leave it."""
    path = PurePosixPath(value) if isinstance(value, str) else None
    if path is None or not path.name:
        raise wrong(f"{where} is {value!r}, needed is a path", "name the file")
    if path.is_absolute() or ".." in path.parts or "\\" in str(path) or ":" in path.parts[0]:
        raise wrong(
            f"{where} is {value!r}, allowed are paths inside the dataset's folder, with '/'",
            "move the file into the folder",
        )
    if not stem(path.name) or not file_ending(Path(path)):
        raise wrong(
            f"{where} is {value!r}, allowed endings are {', '.join(FILE_ENDINGS)}",
            "convert the file to .nii.gz",
        )
    return str(path)


def _missing_or_extra(folder: Path, referenced: Sequence[str]) -> list[AutosegError]:
    """Compare the files that are named with those that lie in their folders."""
    parents = sorted({str(PurePosixPath(path).parent) for path in referenced})
    there = [
        str(PurePosixPath(parent, name))
        for parent in parents
        for name in own_names(folder / parent)
    ]
    found, named = set(there), set(referenced)
    for path in referenced:
        named.update(str(parent) for parent in PurePosixPath(path).parents)
    return [
        *(missing(folder / path) for path in referenced if path not in found),
        # The dataset's own folder may hold anything else.
        *(_extra(folder / path) for path in there if path not in named and "/" in path),
    ]


def missing(path: Path) -> DatasetError:
    """Return the error that a case's file is not there."""
    return DatasetError(
        f"{path}: there is no such file, though its case needs it",
        rule="E-SET-42",
        hint="add the file, or remove the case",
    )


def _extra(path: Path) -> DatasetError:
    return DatasetError(
        f"{path}: belongs to no case",
        rule="E-SET-42",
        hint="remove the file, or complete its case",
    )


def wrong(message: str, hint: str) -> DatasetError:
    """Return the error that ``dataset.json`` is wrong."""
    return DatasetError(message, rule="E-SET-46", hint=hint)
