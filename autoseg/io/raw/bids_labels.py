"""What the labels of a BIDS dataset mean: the table or sidecar of each segmentation."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from autoseg.core.errors import DatasetError
from autoseg.core.labels import Labels
from autoseg.io.raw.bids_files import BidsFile
from autoseg.io.raw.dataset_json import Entries, read_json, refuse
from autoseg.io.raw.declared_labels import parse_labels
from autoseg.io.raw.listing import visible_names
from autoseg.io.raw.manifest_table import read_rows

_INDEX: Final = "index"
_NAME: Final = "name"
_EXAMPLE: Final = "index<tab>name, 0<tab>background, 1<tab>lesion"


def read_labels(folder: Path, files: Sequence[BidsFile]) -> Labels:
    """Return the labels that all segmentations share.

    Parameters
    ----------
    folder : Path
        The dataset's folder.
    files : sequence of BidsFile
        The segmentations, at least one.

    Notes
    -----
    To a segmentation applies the file of the same suffix all of whose entities it has, in its own
    folder or the nearest above, the one with most entities first: ``dseg.tsv`` with the columns
    ``index`` and ``name``, or ``dseg.json`` with the key ``labels`` as in ``dataset.json``. Masks
    without either have the one label that their entity ``label-<name>`` names.

    Raises
    ------
    DatasetError
        If nothing says what the labels are, or two files say different things.
    """
    shelf: dict[str, list[str]] = {}
    applying = {file: _applying(folder, file, shelf) for file in files}
    described = {path: _read(folder / path) for path in {*applying.values()} if path}
    if not described:
        return _of_masks(folder, files)
    if bare := [file.path for file, path in applying.items() if path is None]:
        refuse(
            str(folder),
            f"nothing says what the labels of {len(bare)} segmentations mean, such as {bare[0]}",
            f"put {files[0].suffix}.tsv into a folder above all segmentations: {_EXAMPLE}",
            rule="E-SET-42",
        )
    (first, labels), *others = sorted(described.items())
    for path, other in others:
        if other != labels:
            refuse(
                str(folder),
                f"{first} and {path} give the labels different meanings; allowed is one for all",
                "list the cases in a manifest, which can say the values of each",
            )
    return labels


def _applying(folder: Path, file: BidsFile, shelf: dict[str, list[str]]) -> str | None:
    """Return the path of the file that describes a segmentation; ``shelf`` remembers folders."""
    for place in map(str, PurePosixPath(file.path).parents):
        if place not in shelf:
            shelf[place] = [
                n for n in visible_names(folder / place) if _describes(folder / place / n)
            ]
        fitting = [
            (len(entities), PurePosixPath(name).suffix == ".tsv", name)
            for name in shelf[place]
            for *entities, suffix in [PurePosixPath(name).stem.split("_")]
            if suffix == file.suffix and set(entities) <= set(file.entities)
        ]
        if fitting:
            return str(PurePosixPath(place, max(fitting)[-1]))
    return None


def _describes(path: Path) -> bool:
    """Tell whether a file may say what labels mean; sidecars of JSON often say other things."""
    if path.suffix == ".tsv":
        return path.stem.rpartition("_")[2] in ("dseg", "mask")
    if path.suffix != ".json" or path.stem.rpartition("_")[2] not in ("dseg", "mask"):
        return False
    content = _content(path)
    return isinstance(content, dict) and "labels" in content


def _read(path: Path) -> Labels:
    if path.suffix == ".tsv":
        return parse_labels({"labels": _table(path)}, "nnunet", str(path))
    content = _content(path)
    entries: Entries = content if isinstance(content, dict) else {}
    return parse_labels(
        {key: entries.get(key) for key in ("labels", "regions_class_order")}, "nnunet", str(path)
    )


def _content(path: Path) -> object:
    try:
        return read_json(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def _table(path: Path) -> Entries:
    """Return the values of the labels by their names, the background among them."""
    try:
        found = read_rows(path, "\t")
    except OSError as error:
        raise _unreadable(path, error) from error
    columns = found[0].cells if found else ()
    if _INDEX not in columns or _NAME not in columns:
        refuse(
            str(path),
            f"has the columns {list(columns)}, needed are {_INDEX!r} and {_NAME!r} between tabs",
            f"begin it with such lines: {_EXAMPLE}",
        )
    values: Entries = {}
    for row in found[1:]:
        cells = dict(zip(columns, row.cells, strict=False))
        index, name = cells.get(_INDEX, ""), cells.get(_NAME, "")
        if not index.isdecimal() or len(index) > 5 or not name or name in values:
            refuse(
                str(path),
                f"row {row.number} has the index {index!r} and the name {name!r}; allowed are a "
                "whole number, and a name that no other row has",
                "correct the row",
            )
        values[name] = int(index)
    if 0 not in values.values() and "background" not in values:
        values = {"background": 0} | values
    return values


def _of_masks(folder: Path, files: Sequence[BidsFile]) -> Labels:
    """Return the label that the names of all masks share."""
    named = {entity for file in files for entity in file.entities if entity.startswith("label-")}
    masks = all(file.suffix == "mask" and named & {*file.entities} for file in files)
    suffix = files[0].suffix
    if len(named) != 1 or not masks:
        refuse(
            str(folder),
            f"nothing says what the labels of {files[0].path} and others mean; looked for were "
            f"{suffix}.tsv and {suffix}.json beside the segmentations and in the folders above",
            f"write {suffix}.tsv into one of them: {_EXAMPLE}",
            rule="E-SET-42",
        )
    return Labels(names=("background", named.pop().removeprefix("label-")))


def _unreadable(path: Path, error: OSError) -> DatasetError:
    return DatasetError(
        f"{path}: cannot be read ({error.strerror})", rule="E-SET-42", hint="check the file"
    )
