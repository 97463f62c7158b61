"""The cases that the key ``training`` of ``dataset.json`` lists, in two layouts.

They are the one of the Medical Segmentation Decathlon, and that of nnU-Net 1, which writes the same
list but names its files otherwise.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from autoseg.core.dataset import Case
from autoseg.core.errors import AutosegError, DatasetError
from autoseg.io.guard import FILE_ENDINGS, file_ending
from autoseg.io.raw.channel_files import case_names, is_there, likely_case, numbered
from autoseg.io.raw.layouts import Listing, extra, missing, names_seen, own_names, wrong
from autoseg.io.raw.listing import look_alikes, stem, unsafe_names


def list_decathlon(
    folder: Path, training: object, channels: int, exclude: frozenset[str]
) -> Listing:
    """List the cases of a dataset in the layout of the Medical Segmentation Decathlon.

    Parameters
    ----------
    folder : Path
        Folder of ``dataset.json``.
    training : object
        Its key ``training``: a list of ``{"image": path, "label": path}``.
    channels : int
        Channels of every case.
    exclude : frozenset of str
        Cases to leave out, whatever their entries and files are like.

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
    file = str(folder / "dataset.json")
    where = f"{file}: training"
    if not isinstance(training, list):
        problem = wrong(f"{where} is {training!r}, needed is a list", "list the training cases")
        problems = (problem.about(file=file),)
        return Listing(cases=(), file_ending="", problems=problems, seen=frozenset())
    cases, faults, left_out = _chosen(training, exclude, where)
    cases = _with_channel_files(folder, cases, channels)
    named = [(case.name, path) for case in cases for path in (*case.images, str(case.segmentation))]
    referenced = [path for _, path in named]
    there = _beside(folder, referenced)
    strays = _strays(there, [*referenced, *left_out])
    seen = frozenset(map(_case_name, training))
    endings = sorted({file_ending(Path(path)) for path in referenced})
    return Listing(
        cases=tuple(sorted(cases, key=lambda case: case.name)),
        file_ending=endings[0] if endings else "",
        problems=(
            *(fault.about(file=file) for fault in faults),
            *unsafe_names(named, folder),
            *look_alikes(((case.name, case.images[0]) for case in cases), where),
            *(missing(folder / path, case) for case, path in named if path not in there),
            *_left_over(folder, strays, seen, exclude),
            *(error.about(file=file) for error in _several(endings, where)),
        ),
        seen=names_seen(Path(path).name for path in strays).union(seen),
    )


def _chosen(
    training: Sequence[object], exclude: frozenset[str], where: str
) -> tuple[list[Case], list[AutosegError], list[str]]:
    """Return the cases of the entries, what is wrong with these, and the paths of the others."""
    cases: list[Case] = []
    problems: list[AutosegError] = []
    left_out: list[str] = []
    for number, entry in enumerate(training):
        if _case_name(entry) in exclude:
            left_out += _paths(entry)
            continue
        try:
            cases.append(_decathlon_case(entry, f"{where}[{number}]"))
        except DatasetError as error:
            problems.append(error.about(_case_name(entry)))
    return cases, problems, left_out


def _with_channel_files(folder: Path, cases: list[Case], channels: int) -> list[Case]:
    """Name the files of nnU-Net 1, which its list leaves out, if these are what is there."""
    if any(is_there(folder / case.images[0]) for case in cases):
        return cases
    named = [
        replace(case, images=tuple(numbered(case.images[0], k) for k in range(channels)))
        for case in cases
    ]
    return named if any(is_there(folder / case.images[0]) for case in named) else cases


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


def _paths(entry: object) -> list[str]:
    """Return the paths that an entry names, sound or not, as `_inner_path` writes them."""
    if not isinstance(entry, Mapping):
        return []
    values = (entry.get(key) for key in ("image", "label"))
    return [str(PurePosixPath(value)) for value in values if isinstance(value, str)]


def _case_name(entry: object) -> str:
    """Return the name of an entry's case, or an empty string."""
    return next((stem(PurePosixPath(path).name) for path in _paths(entry)), "")


def _beside(folder: Path, referenced: Sequence[str]) -> dict[str, None]:
    """Return the paths of all files in the folders of those that are named, in order."""
    parents = sorted({str(PurePosixPath(path).parent) for path in referenced})
    return dict.fromkeys(
        str(PurePosixPath(parent, name))
        for parent in parents
        for name in own_names(folder / parent)
    )


def _left_over(
    folder: Path, strays: Iterable[str], known: frozenset[str], exclude: frozenset[str]
) -> Iterator[AutosegError]:
    """Yield an error for each file that is left over, but those of excluded cases."""
    for path in strays:
        name = Path(path).name
        if exclude.isdisjoint(case_names(name)):
            yield extra(folder / path, likely_case(name, known))


def _several(endings: Sequence[str], where: str) -> list[AutosegError]:
    if len(endings) < 2:
        return []
    hint = "convert all files to the same ending"
    return [wrong(f"{where}: files end with {endings}, allowed is one ending", hint)]


def _strays(there: Iterable[str], referenced: Sequence[str]) -> list[str]:
    """Return those paths that nothing names."""
    named = set(referenced)
    for path in referenced:
        named.update(str(parent) for parent in PurePosixPath(path).parents)
    # The dataset's own folder may hold anything else.
    return [path for path in there if path not in named and "/" in path]
