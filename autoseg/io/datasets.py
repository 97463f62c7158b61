"""Raw datasets: finds the cases of a folder, in any known layout, and the images to predict."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autoseg.core.dataset import (
    Case,
    Dataset,
    DatasetDescription,
    check_names,
    exclude_cases,
    set_patients,
)
from autoseg.core.errors import AutosegError, DatasetError, RefusedCasesError, UsageError
from autoseg.io.guard import file_ending, is_series
from autoseg.io.raw.bids import read_bids
from autoseg.io.raw.channel_files import channel_groups, same_family
from autoseg.io.raw.described import read_described
from autoseg.io.raw.layouts import RawDataset, channel_problems, own_names
from autoseg.io.raw.listed_images import listed_images
from autoseg.io.raw.listing import look_alike_files, look_alikes, stem, unsafe_names
from autoseg.io.raw.manifest import read_manifest
from autoseg.io.raw.places import (
    BIDS_JSON,
    DATASET_JSON,
    MANIFEST_ENDINGS,
    description_in,
    raw_dataset_at,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is whole of a raw dataset, and what is wrong with its layout."""

    dataset: Dataset | None
    """The dataset without the cases that are at fault; None if no case is left."""
    problems: tuple[AutosegError, ...]
    """Every fault of the layout; each says which cases and which file it is about."""

    @property
    def at_fault(self) -> frozenset[str]:
        """Names of the cases that the problems are about."""
        return frozenset(name for problem in self.problems for name in problem.cases)


def read_dataset(path: Path, *, exclude: Collection[str] = ()) -> Dataset:
    """Read the description and the cases of a raw dataset.

    Parameters
    ----------
    path : Path
        Folder with ``dataset.json``, in the layout of the Medical Segmentation Decathlon or of
        nnU-Net, version 1 or 2; a manifest or the folder of ``manifest.json`` or ``manifest.csv``;
        or a BIDS dataset. The folder's name is the dataset's, unless a manifest says otherwise.
    exclude : collection of str
        Cases to leave out. Nothing is asked of them, so that those may be named whose files are
        missing or wrong.

    Raises
    ------
    UsageError
        If there is no such folder or file, or no case of a name to exclude.
    DatasetError
        If the description is missing or says something that no dataset can be; E-SET-47 if
        no case is left, E-SET-48 if it names the patients of some cases only.
    DocumentError
        If it is no strict JSON.
    RefusedCasesError
        If files are missing, left over, ambiguous or in the wrong number; it lists all at once.

    Notes
    -----
    Files whose names begin with a dot are ignored. No image is opened.
    """
    excluded = frozenset(exclude)
    raw = _read(path, excluded)
    if raw.listing.problems:
        raise _refused(f"{raw.manifest or raw.folder}: the layout has", raw.listing.problems)
    return _with_patients(_dataset(raw, raw.listing.cases, excluded), raw)


def find_dataset(path: Path, *, exclude: Collection[str] = ()) -> Found:
    """Read a raw dataset as far as its layout is whole, and find every fault of it.

    Parameters
    ----------
    path, exclude
        As in `read_dataset`.

    Returns
    -------
    Found
        The cases that no problem is about, and all that `read_dataset` would refuse: faults of the
        layout, and cases whose patient is not named though that of others is.

    Raises
    ------
    UsageError, DatasetError, DocumentError
        As `read_dataset`, where the description cannot be read or all cases are excluded.

    Notes
    -----
    A problem about no case, such as a wrong number of cases, leaves all of them whole.
    """
    excluded = frozenset(exclude)
    raw = _read(path, excluded)
    found = Found(dataset=None, problems=raw.listing.problems)
    cases = _without(raw.listing.cases, found.at_fault)
    if found.problems and not cases:
        return found
    dataset = _dataset(raw, cases, excluded)
    try:
        return replace(found, dataset=_with_patients(dataset, raw))
    except DatasetError as error:
        names = {case.name for case in cases}.difference(raw.patients or {})
        error.about(*sorted(names), file=raw.where)
        cases = _without(cases, names)
        fewer = _with_patients(replace(dataset, cases=cases), raw) if cases else None
        return Found(dataset=fewer, problems=(*found.problems, error))


def _dataset(raw: RawDataset, cases: tuple[Case, ...], excluded: frozenset[str]) -> Dataset:
    """Return a raw dataset with some of its cases."""
    folder = raw.folder.resolve()
    dataset = Dataset(
        description=DatasetDescription(
            name=raw.name,
            channels=raw.channels,
            labels=raw.labels,
            file_ending=raw.listing.file_ending,
        ),
        folder=str(folder),
        cases=cases,
        excluded=tuple(sorted(excluded)),
        manifest=str(folder / Path(raw.manifest).name) if raw.manifest else "",
        notes=raw.listing.notes,
    )
    return exclude_cases(dataset, excluded)


def _with_patients(dataset: Dataset, raw: RawDataset) -> Dataset:
    if raw.patients is None:
        return dataset
    return set_patients(dataset, raw.patients, f"{raw.where}: patients")


def _without(cases: tuple[Case, ...], names: Collection[str]) -> tuple[Case, ...]:
    return tuple(case for case in cases if case.name not in names)


def _read(path: Path, exclude: frozenset[str]) -> RawDataset:
    """Read whichever layout a path has; refuse names to exclude that no case has."""
    raw = _read_layout(path.resolve() if path.name in ("", "..") else path.absolute(), exclude)
    if raw.listing.seen:
        check_names(exclude, raw.listing.seen, raw.name)
    return raw


def _read_layout(path: Path, exclude: frozenset[str]) -> RawDataset:
    place = raw_dataset_at(path)
    if place is None:
        return read_described(path, exclude)  # which says what is missing
    described = description_in(place) if place.is_dir() else place
    if described is None or described.name == DATASET_JSON:
        return read_described(place, exclude)
    if described.name == BIDS_JSON:
        return read_bids(place, exclude)
    return read_manifest(described, exclude)


def images_for_prediction(source: Path, description: DatasetDescription) -> tuple[Case, ...]:
    """Find the cases to predict.

    Parameters
    ----------
    source : Path
        A file, or a folder of files: ``case_0000.nii.gz``, ``case_0001.nii.gz`` ... with one file
        per channel, or one file per case, which then holds all channels. Or a folder of DICOM
        slices, or one of such folders. Or a manifest that lists them; see
        `autoseg.io.raw.listed_images`.
    description : DatasetDescription
        Channels and format that the model was trained on.

    Returns
    -------
    tuple of Case
        Sorted by name; paths in full, no segmentation.

    Raises
    ------
    UsageError
        If there is no such file or folder.
    RefusedCasesError
        If a file belongs to no case or a case is incomplete; it lists all at once.

    Notes
    -----
    A file name that ends with ``_0000`` tells that files are channels; a picture of that name
    without a second channel may hold colors. Files whose names begin with a dot, and those that
    belong to another file, are ignored. Any ending of the same family is taken: of volumes, or of
    pictures.
    """
    if not source.exists():
        raise UsageError(
            f"{source}: there is no such file or folder",
            hint="give the folder of the images to segment, or one image",
        )
    if source.is_file() and source.suffix.lower() in MANIFEST_ENDINGS:
        listed, faults = listed_images(source, description)
        if faults or not listed:
            raise _refused(f"{source}: the images have", faults or (_lists_nothing(source),))
        return listed
    folder = (source if source.is_dir() else source.parent).absolute()
    names = own_names(source) if source.is_dir() else [source.name]
    series = _series(folder, names) if source.is_dir() else []
    if series == [folder]:
        names = []
    names = [name for name in names if folder / name not in series]
    allowed = same_family(description.file_ending)
    images = [name for name in names if file_ending(Path(name)) in allowed]
    problems: list[AutosegError] = [
        DatasetError(
            f"{folder / name}: is no image of this model; allowed endings are {', '.join(allowed)}",
            rule="E-SET-42",
            hint="leave only images in the folder, in the format of the training images",
        ).about(file=str(folder / name))
        for name in names
        if name not in images
    ]
    stems = [(stem(name), name) for name in images]
    problems += unsafe_names(stems, folder)
    stems += [(place.name, place.name) for place in series]
    problems += look_alike_files(stems, str(folder))
    problems += _many_channels(series, len(description.channels))
    cases, more = _group(folder, images, len(description.channels))
    problems += more
    if problems:
        raise _refused(f"{source}: the images have", problems)
    slices = (Case(name=place.name, images=(str(place),)) for place in series)
    cases = tuple(sorted((*cases, *slices), key=lambda case: case.name))
    if not cases:
        raise UsageError(
            f"{source}: holds no images; needed are files ending with {' or '.join(allowed)}",
            hint="give the folder of the images to segment, or one image",
        )
    return cases


def _lists_nothing(source: Path) -> DatasetError:
    return DatasetError(f"{source}: lists 0 cases, needed is at least 1", rule="E-SET-47")


def _series(folder: Path, names: Sequence[str]) -> list[Path]:
    """Return the folder if it holds DICOM slices, or else those in it that do."""
    from autoseg.io.dicom import holds_dicom

    if holds_dicom(folder):
        return [folder]
    places = (folder / name for name in names)
    return [place for place in places if is_series(place) and holds_dicom(place)]


def _many_channels(series: Sequence[Path], channels: int) -> list[AutosegError]:
    """Return an error for each series if a model takes more channels than one."""
    if channels == 1:
        return []
    return [
        DatasetError(
            f"{place}: a series is one channel, the model takes {channels}",
            rule="E-SET-42",
            hint="convert the series of a case to <case>_0000.nii.gz, <case>_0001.nii.gz and so on",
        ).about(place.name, file=str(place))
        for place in series
    ]


def _group(
    folder: Path, names: list[str], channels: int
) -> tuple[tuple[Case, ...], list[AutosegError]]:
    """Group files to cases: by channel number if some end with _0000, else each on its own."""
    problems: list[AutosegError] = []
    if not any(stem(name).endswith("_0000") for name in names):
        return tuple(
            Case(name=stem(name), images=(str(folder / name),)) for name in sorted(names, key=stem)
        ), problems
    groups, strays = channel_groups(names)
    problems += [
        DatasetError(
            f"{folder / name}: has no channel number, though other files in the folder have one",
            rule="E-SET-42",
            hint="name either all files <case>_0000, <case>_0001 and so on, or none",
        ).about(file=str(folder / name))
        for name in strays
    ]
    for case, files in groups.items():
        problems += channel_problems(case, files, channels, folder)
    problems += look_alikes(
        ((case, next(iter(files.values()))) for case, files in groups.items()), str(folder)
    )
    return tuple(
        Case(name=case, images=tuple(str(folder / files[number]) for number in sorted(files)))
        for case, files in sorted(groups.items())
    ), problems


def _refused(what: str, problems: Sequence[AutosegError]) -> RefusedCasesError:
    return RefusedCasesError(
        f"{what} {len(problems)} problem{'s' if len(problems) > 1 else ''}",
        tuple(problems),
        rule=problems[0].rule,
        hint=problems[0].hint,
    )
