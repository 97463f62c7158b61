"""Raw datasets: finds the cases of a folder, in any known layout, and the images to predict."""

from collections.abc import Collection, Sequence
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
from autoseg.io.guard import file_ending
from autoseg.io.raw.channel_files import channel_groups, same_family
from autoseg.io.raw.dataset_json import (
    Entries,
    Layout,
    channel_names,
    layout_of,
    patients,
    read_json,
    text,
    whole_number,
)
from autoseg.io.raw.declared_labels import parse_labels
from autoseg.io.raw.layouts import (
    Listing,
    channel_problems,
    list_nnunet,
    own_names,
)
from autoseg.io.raw.listed_cases import list_named
from autoseg.io.raw.listing import look_alikes, stem, unsafe_names, visible_names
from autoseg.io.raw.training_list import list_decathlon


def read_dataset(folder: Path, *, exclude: Collection[str] = ()) -> Dataset:
    """Read the description and the cases of a raw dataset.

    Parameters
    ----------
    folder : Path
        Folder with ``dataset.json``, in the layout of the Medical Segmentation Decathlon or of
        nnU-Net, version 1 or 2. Its name is the dataset's.
    exclude : collection of str
        Cases to leave out. Nothing is asked of them, so that those may be named whose files are
        missing or wrong.

    Raises
    ------
    UsageError
        If there is no such folder, or no case of a name to exclude.
    DatasetError
        If ``dataset.json`` is missing or says something that no dataset can be; E-SET-47 if
        no case is left, E-SET-48 if it names the patients of some cases only.
    DocumentError
        If it is no strict JSON.
    RefusedCasesError
        If files are missing, left over, ambiguous or in the wrong number; it lists all at once.

    Notes
    -----
    Files whose names begin with a dot are ignored. No image is opened. The key ``patients``,
    ``{case: patient}``, may be added to any layout. The key ``numTraining`` may count the excluded
    cases or not.
    """
    folder = folder.resolve() if folder.name in ("", "..") else folder.absolute()
    entries, where = _read_entries(folder)
    layout = layout_of(entries, where)
    labels = parse_labels(entries, layout, where)
    channels = channel_names(entries, layout, where)
    named = patients(entries, where)
    excluded, name = frozenset(exclude), folder.resolve().name
    listing = _listing(folder, entries, layout, len(channels), excluded)
    if excluded and listing.seen:
        check_names(excluded, listing.seen, name)
    problems = [*listing.problems, *_wrong_count(entries, listing, len(excluded), where)]
    if problems:
        raise _refused(f"{folder}: the layout has", problems)
    dataset = Dataset(
        description=DatasetDescription(
            name=name,
            channels=channels,
            labels=labels,
            file_ending=listing.file_ending,
        ),
        folder=str(folder.resolve()),
        cases=listing.cases,
        excluded=tuple(sorted(excluded)),
    )
    dataset = exclude_cases(dataset, excluded)
    return dataset if named is None else set_patients(dataset, named, f"{where}: patients")


def images_for_prediction(source: Path, description: DatasetDescription) -> tuple[Case, ...]:
    """Find the cases to predict.

    Parameters
    ----------
    source : Path
        A file, or a folder of files: ``case_0000.nii.gz``, ``case_0001.nii.gz`` ... with one file
        per channel, or one file per case, which then holds all channels.
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
    folder = (source if source.is_dir() else source.parent).absolute()
    names = own_names(source) if source.is_dir() else [source.name]
    allowed = same_family(description.file_ending)
    images = [name for name in names if file_ending(Path(name)) in allowed]
    problems: list[AutosegError] = [
        DatasetError(
            f"{folder / name}: is no image of this model; allowed endings are {', '.join(allowed)}",
            rule="E-SET-42",
            hint="leave only images in the folder, in the format of the training images",
        )
        for name in names
        if name not in images
    ]
    problems += unsafe_names(images, str(folder))
    problems += look_alikes(((stem(name), name) for name in images), str(folder))
    cases, more = _group(folder, images, len(description.channels))
    problems += more
    if problems:
        raise _refused(f"{source}: the images have", problems)
    if not cases:
        raise UsageError(
            f"{source}: holds no images; needed are files ending with {' or '.join(allowed)}",
            hint="give the folder of the images to segment, or one image",
        )
    return cases


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
        )
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


def _listing(
    folder: Path, entries: Entries, layout: Layout, channels: int, exclude: frozenset[str]
) -> Listing:
    if layout == "decathlon":
        return list_decathlon(folder, entries["training"], channels, exclude)
    ending = text(entries, "file_ending", str(folder / "dataset.json"))
    if "dataset" in entries:
        return list_named(folder, entries["dataset"], channels, ending, exclude)
    return list_nnunet(folder, channels, ending, exclude)


def _read_entries(folder: Path) -> tuple[Entries, str]:
    path = folder / "dataset.json"
    if not folder.is_dir():
        raise UsageError(
            f"{folder}: there is no such folder",
            hint="give the folder of a raw dataset, the one that holds dataset.json",
        )
    try:
        entries = read_json(path)
    except OSError as error:
        raise DatasetError(
            f"{folder}: dataset.json cannot be read ({error.strerror}); "
            f"the folder holds {visible_names(folder)[:5]}",
            rule="E-SET-42",
            hint="give the folder that holds dataset.json, or write one",
        ) from error
    if not isinstance(entries, dict):
        raise DatasetError(
            f"{path}: holds {str(entries)[:40]!r}, needed is an object with keys",
            rule="E-SET-46",
            hint="write dataset.json as the documentation of the dataset format shows",
        )
    return entries, str(path)


def _wrong_count(
    entries: Entries, listing: Listing, excluded: int, where: str
) -> list[AutosegError]:
    if not listing.seen and not listing.problems:
        return [
            DatasetError(
                f"{where}: there are 0 training cases, needed is at least 1",
                rule="E-SET-47",
                hint="put images into imagesTr and segmentations into labelsTr",
            )
        ]
    announced, found = whole_number(entries, "numTraining", where), len(listing.cases)
    if announced is None or found <= announced <= found + excluded:
        return []
    return [
        DatasetError(
            f"{where}: numTraining is {announced}, but {found} cases were found",
            rule="E-SET-46",
            hint="correct numTraining, or find the cases that are missing",
        )
    ]


def _refused(what: str, problems: Sequence[AutosegError]) -> RefusedCasesError:
    return RefusedCasesError(
        f"{what} {len(problems)} problem{'s' if len(problems) > 1 else ''}",
        tuple(problems),
        rule=problems[0].rule,
        hint=problems[0].hint,
    )
