"""The layout of nnU-Net's raw datasets: which file belongs to which case, and every fault found.

Only names are looked at; the reader opens the files. `autoseg.io.raw.training_list` and
`autoseg.io.raw.listed_cases` read the layouts that list their cases.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from autoseg.core.dataset import Case
from autoseg.core.errors import AutosegError, DatasetError
from autoseg.core.labels import Labels
from autoseg.io.guard import FILE_ENDINGS, file_ending
from autoseg.io.raw.channel_files import (
    PICTURE_ENDINGS,
    case_names,
    group_by_case,
    is_whole,
    likely_case,
)
from autoseg.io.raw.listing import (
    CaseFile,
    companions,
    look_alike_files,
    look_alikes,
    stem,
    unsafe_names,
    visible_names,
)

_IMAGES: Final = "imagesTr"
_SEGMENTATIONS: Final = "labelsTr"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The cases of a folder and the faults of its layout."""

    cases: tuple[Case, ...]
    """Cases, sorted by name; those that a problem is about may be incomplete."""
    file_ending: str
    """Ending that all files share."""
    problems: tuple[AutosegError, ...]
    """What is wrong, in the order of the files; each says which cases it is about."""
    seen: frozenset[str]
    """Names of all cases that files or entries tell of, also of those that are left out or lack
    files."""
    notes: tuple[str, ...] = ()
    """What was left out or assumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawDataset:
    """What a raw dataset says of itself, whatever its layout."""

    name: str
    """Name of the dataset."""
    folder: Path
    """Folder that paths start from."""
    where: str
    """The file that describes it; names it in errors."""
    manifest: str = ""
    """Path of the manifest that lists the cases, if one does."""
    channels: tuple[str, ...]
    """Name of each image channel."""
    labels: Labels
    """Meaning of the label values."""
    patients: dict[str, str] | None = None
    """Patient of each case, where they are named apart from the cases."""
    listing: Listing
    """The cases, and every fault found."""


def names_seen(files: Iterable[str]) -> frozenset[str]:
    """Return what the cases of image files may be called; of other files, nothing."""
    return frozenset(case for name in files if file_ending(Path(name)) for case in case_names(name))


def own_names(folder: Path) -> list[str]:
    """Return the sorted visible names in a folder but those that belong to another file."""
    names = visible_names(folder)
    belonging = companions(names)
    return [name for name in names if name not in belonging]


def list_nnunet(folder: Path, channels: int, ending: str, exclude: frozenset[str]) -> Listing:
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
    exclude : frozenset of str
        Cases to leave out, whatever their files are like.
    """
    if ending not in FILE_ENDINGS:
        problem = unknown_ending(folder, ending)
        return Listing(cases=(), file_ending=ending, problems=(problem,), seen=frozenset())
    images, segmentations = own_names(folder / _IMAGES), own_names(folder / _SEGMENTATIONS)
    groups, others = group_by_case(
        [name for name in images if name.endswith(ending)], segmentations
    )
    others += [name for name in images if not name.endswith(ending)]
    known = {stem(name) for name in segmentations if file_ending(Path(name))}.union(groups)
    seen = names_seen(others).union(known)
    groups = {case: files for case, files in groups.items() if case not in exclude}
    strays = [
        (likely_case(name, known), name) for name in others if exclude.isdisjoint(case_names(name))
    ]
    masks = [
        (stem(name) if file_ending(Path(name)) else "", name)
        for name in segmentations
        if stem(name) not in exclude
    ]
    cases = tuple(
        Case(
            name=case,
            images=tuple(f"{_IMAGES}/{files[number]}" for number in sorted(files)),
            segmentation=f"{_SEGMENTATIONS}/{case}{ending}",
        )
        for case, files in sorted(groups.items())
    )
    problems = _name_problems(folder, groups, strays, masks)
    problems += [extra(folder / _IMAGES / name, case) for case, name in strays]
    for case, files in groups.items():
        if not is_whole(case, files):
            problems += channel_problems(case, files, channels, folder / _IMAGES)
    problems += _unpaired(folder, [(case, f"{case}{ending}") for case in groups], masks)
    return Listing(cases=cases, file_ending=ending, problems=tuple(problems), seen=seen)


def _name_problems(
    folder: Path,
    groups: Mapping[str, Mapping[int, str]],
    strays: Sequence[CaseFile],
    masks: Sequence[CaseFile],
) -> list[AutosegError]:
    """Return what is wrong with the names of images and segmentations alone."""
    there, beside = folder / _IMAGES, folder / _SEGMENTATIONS
    grouped = [(case, name) for case, files in groups.items() for name in files.values()]
    images = sorted([*strays, *grouped], key=lambda each: each[1])
    firsts = ((case, next(iter(files.values()))) for case, files in groups.items())
    return [
        *unsafe_names(images, there),
        *unsafe_names(masks, beside),
        *look_alike_files(images, f"{there}"),
        *look_alike_files(masks, f"{beside}"),
        *look_alikes(firsts, f"{there}"),
    ]


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
        ending = file_ending(Path(next(iter(files.values()))))
        file = str(folder / f"{case}_{lacking[0]}{ending}") if len(lacking) == 1 else ""
        problems.append(
            DatasetError(
                f"{folder}: case {case!r} lacks the channels {', '.join(lacking)}; "
                f"{sorted(files.values())} found, {channels} channels expected",
                rule="E-SET-42",
                hint="add the missing files, or remove the case",
            ).about(case, file=file)
        )
    return problems + [
        extra(folder / name, case) for number, name in sorted(files.items()) if number >= channels
    ]


def unknown_ending(folder: Path, ending: str) -> DatasetError:
    """Return the error that the dataset's files end with something that is not read."""
    return wrong(
        f"{folder / 'dataset.json'}: file_ending is {ending!r}, "
        f"allowed are {', '.join(FILE_ENDINGS)}",
        "convert the images to .nii.gz, or to .png in 2D",
    ).about(file=str(folder / "dataset.json"))


def _unpaired(
    folder: Path, expected: Sequence[CaseFile], found: Sequence[CaseFile]
) -> list[AutosegError]:
    """Compare the segmentations that the cases need with those that are there."""
    place = folder / _SEGMENTATIONS
    there, needed = ({name for _, name in files} for files in (found, expected))
    return [
        *(missing(place / name, case) for case, name in expected if name not in there),
        *(extra(place / name, case) for case, name in found if name not in needed),
    ]


def missing(path: Path, case: str) -> DatasetError:
    """Return the error that a case's file is not there."""
    return DatasetError(
        f"{path}: there is no such file, though its case needs it",
        rule="E-SET-42",
        hint="add the file, or remove the case",
    ).about(case, file=str(path))


def extra(path: Path, case: str) -> DatasetError:
    """Return the error that a file is left over; ``case`` is the one that it tells of, if any."""
    return DatasetError(
        f"{path}: belongs to no case",
        rule="E-SET-42",
        hint="remove the file, or complete its case",
    ).about(case, file=str(path))


def wrong(message: str, hint: str) -> DatasetError:
    """Return the error that the description of a dataset is wrong."""
    return DatasetError(message, rule="E-SET-46", hint=hint)
