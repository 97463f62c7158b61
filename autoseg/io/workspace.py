"""Where things live: the workspace, the folders of a dataset in it, and the current dataset."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from autoseg.core.dataset import Dataset
from autoseg.core.errors import DatasetError, UsageError
from autoseg.core.fingerprint import Fingerprint
from autoseg.core.folds import Splits
from autoseg.core.plan import Plan
from autoseg.io import documents, files
from autoseg.io.raw.places import DESCRIPTIONS, dataset_folders, raw_dataset_at

DEFAULT_FOLDER: Final = "autoseg_workspace"
VARIABLE: Final = "AUTOSEG_WORKSPACE"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFolder:
    """The folder of one dataset in the workspace, and the names of what lies in it."""

    path: Path
    """The folder."""

    @property
    def name(self) -> str:
        """Name of the dataset."""
        return self.path.name

    @property
    def dataset_file(self) -> Path:
        """Path of the dataset's description and cases."""
        return self.path / "dataset.json"

    @property
    def fingerprint_file(self) -> Path:
        """Path of what was measured."""
        return self.path / "fingerprint.json"

    @property
    def splits_file(self) -> Path:
        """Path of the cross-validation folds."""
        return self.path / "splits.json"

    @property
    def measured(self) -> Path:
        """Folder of the measurements of single cases, kept as a cache."""
        return self.path / "measured"

    @property
    def traced_steps_file(self) -> Path:
        """Path of the memory of training steps that was predicted, kept as a cache."""
        return self.path / "traced_steps.json"

    def plan_file(self, plan: str) -> Path:
        """Path of a plan."""
        return self.path / "plans" / f"{plan}.json"

    def store(self, grid: str) -> Path:
        """Folder of the preprocessed cases of a grid."""
        return self.path / "preprocessed" / grid

    def run(self, plan: str, configuration: str, run: str) -> Path:
        """Folder of a training run."""
        return self.path / "models" / plan / configuration / run

    def read_dataset(self) -> Dataset:
        """Read the dataset's description and cases."""
        return documents.read_stored(self.dataset_file, Dataset)

    def read_fingerprint(self) -> Fingerprint:
        """Read what was measured."""
        return documents.read_stored(self.fingerprint_file, Fingerprint)

    def read_splits(self) -> Splits:
        """Read the cross-validation folds."""
        return documents.read_stored(self.splits_file, Splits)

    def read_plan(self, plan: str) -> Plan:
        """Read a plan, or raise `UsageError` that lists the plans there are."""
        path = self.plan_file(plan)
        if not path.exists():
            known = sorted(file.stem for file in path.parent.glob("*.json"))
            raise UsageError(
                f"plan {plan!r} of dataset {self.name!r} does not exist; "
                f"there are {', '.join(known) or 'none'}",
                hint=f"make it: autoseg plan_and_preprocess -d {self.name}",
            )
        return documents.read_stored(path, Plan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """The folder that holds everything autoseg writes."""

    path: Path
    """The folder; it need not exist yet."""

    def dataset(self, name: str) -> DatasetFolder:
        """Return the folder of a dataset."""
        return DatasetFolder(path=self.path / name)

    def datasets(self) -> tuple[str, ...]:
        """Return the names of the datasets in the workspace, sorted."""
        return tuple(sorted(found.parent.name for found in self.path.glob("*/dataset.json")))

    def set_current(self, name: str) -> None:
        """Remember the dataset that is meant where none is named."""
        files.sweep(self.path, is_deep=False)  # no lock covers the workspace itself
        files.write_atomically(self.path / "current", f"{name}\n".encode())

    def current(self) -> str:
        """Return the dataset planned last.

        Raises
        ------
        UsageError
            If none was planned in this workspace.
        """
        try:
            name = (self.path / "current").read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            name = ""
        if not name or not self.dataset(name).dataset_file.exists():
            raise UsageError(
                f"{self.path}: no dataset was planned in this workspace",
                hint="name one: autoseg plan_and_preprocess -d FOLDER",
            )
        return name


def find_workspace(asked: Path | None = None, *, start: Path | None = None) -> Workspace:
    """Return the workspace: as asked, from the environment, found upward, or the default.

    Parameters
    ----------
    asked : Path, optional
        The user's choice, which wins.
    start : Path, optional
        Folder to search upward from for ``autoseg_workspace``; the current folder if left out.
    """
    if asked is not None:
        return Workspace(path=asked)
    if os.environ.get(VARIABLE):
        return Workspace(path=Path(os.environ[VARIABLE]))
    here = (start or Path.cwd()).absolute()
    for folder in (here, *here.parents):
        if (folder / DEFAULT_FOLDER).is_dir():
            return Workspace(path=folder / DEFAULT_FOLDER)
    return Workspace(path=here / DEFAULT_FOLDER)


def find_raw_dataset(
    asked: str,
    *,
    data: Path | None = None,
    workspace: Workspace | None = None,
    start: Path | None = None,
) -> Path:
    """Return the folder or the manifest of a raw dataset from a path or a name.

    Parameters
    ----------
    asked : str
        A path, of a manifest too, or a name: ``Task04``, ``Task04_Hippocampus``,
        ``Dataset004_Hippocampus``, ``4``.
    data : Path, optional
        Folder of datasets to look in first.
    workspace : Workspace, optional
        Where to look next: a dataset that was measured before is found by its name.
    start : Path, optional
        Folder to look in last; the current folder if left out.

    Raises
    ------
    DatasetError
        If nothing matches.
    UsageError
        If several folders do.
    """
    if os.sep in asked and Path(asked).is_dir():
        return Path(asked)
    if Path(asked).is_file() and (named := raw_dataset_at(Path(asked))):
        return named
    here = start or Path.cwd()
    places = [here] if data is None else [data, here]
    if data is not None and (found := _datasets_in(data, asked)):
        return data / _only(asked, found, data)
    if workspace is not None and (found := matching_names(asked, workspace.datasets())):
        known = workspace.dataset(_only(asked, found, workspace.path)).read_dataset().origin
        if Path(known).exists():
            return Path(known)
    if found := _datasets_in(here, asked):
        return here / _only(asked, found, here)
    if asked in (".", "..") and raw_dataset_at(Path(asked)):
        return Path(asked)
    if os.sep in asked and not Path(asked).exists():
        raise UsageError(
            f"{asked}: there is no such file or folder",
            hint="give the path of the dataset's folder or manifest",
        )
    looked = ", ".join(str(place) for place in places)
    raise DatasetError(
        f"dataset {asked!r}: neither a folder with a dataset.json, a manifest or a BIDS dataset, "
        f"nor a name found in {looked}",
        rule="E-SET-42",
        hint="give the path of the dataset's folder or manifest, or --data FOLDER that holds it",
    )


def find_planned_dataset(workspace: Workspace, asked: str | None) -> DatasetFolder:
    """Return the folder of a planned dataset by name or path, or of the current one.

    Raises
    ------
    UsageError
        If nothing in the workspace matches, or several do.
    """
    if asked is None:
        return workspace.dataset(workspace.current())
    found = matching_names(Path(asked).name, workspace.datasets())
    if not found and Path(asked).exists():  # it has another name than its file or folder
        found = _read_from(Path(asked), workspace)
    if not found:
        known = ", ".join(workspace.datasets()) or "none"
        raise UsageError(
            f"dataset {asked!r} was not planned in {workspace.path}; planned are: {known}",
            hint=f"plan it: autoseg plan_and_preprocess -d {asked}",
        )
    return workspace.dataset(_only(asked, found, workspace.path))


def matching_names(asked: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return the dataset names that a short name may mean, an exact match alone.

    Examples
    --------
    >>> matching_names("4", ["Task04_Hippocampus", "Task40_Liver", "Dataset004_Hippocampus"])
    ('Dataset004_Hippocampus', 'Task04_Hippocampus')
    >>> matching_names("Task04", ["Task04_Hippocampus"])
    ('Task04_Hippocampus',)
    """
    known = sorted(set(names))
    if asked in known:
        return (asked,)
    if asked.isdecimal():
        pattern = re.compile(rf"(?:Task|Dataset)0*{int(asked)}(?:_|$)")
        return tuple(name for name in known if pattern.match(name))
    return tuple(name for name in known if name.partition("_")[0] == asked)


def _datasets_in(place: Path, asked: str) -> tuple[str, ...]:
    return matching_names(asked, dataset_folders(place))


def _read_from(path: Path, workspace: Workspace) -> tuple[str, ...]:
    """Return the names of the datasets that were read from a folder or manifest."""
    place = path.resolve()
    origins = {place, place.with_suffix(".csv"), *(place / name for name in DESCRIPTIONS)}
    return tuple(
        name
        for name in workspace.datasets()
        if workspace.dataset(name).read_dataset().origin in map(str, origins)
    )


def _only(asked: str, found: tuple[str, ...], place: Path) -> str:
    if len(found) > 1:
        raise UsageError(
            f"dataset {asked!r} may mean {', '.join(found)} in {place}",
            hint="name one of them in full",
        )
    return found[0]
