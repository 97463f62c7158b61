"""What a dataset is: a description, which goes into every model, and cases, which do not."""

from dataclasses import dataclass
from typing import ClassVar

from autoseg.core.errors import DatasetError
from autoseg.core.geometry import STRICT
from autoseg.core.labels import Labels


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetDescription:
    """What every case of a dataset has in common."""

    __pydantic_config__: ClassVar = STRICT

    schema_version: int = 1
    """Version of this document."""
    name: str
    """Name of the dataset, such as ``Task04_Hippocampus``."""
    channels: tuple[str, ...]
    """Name of each image channel, such as ``CT`` or ``MRI``; decides its normalization."""
    labels: Labels
    """Meaning of the label values."""
    file_ending: str
    """Ending of images, segmentations and predictions: ``.nii.gz``, ``.nii`` or ``.png``."""

    def __post_init__(self) -> None:
        if not self.channels:
            raise DatasetError(f"dataset {self.name!r}: there must be at least one image channel")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One examination: all its channels and, if present, its segmentation."""

    __pydantic_config__: ClassVar = STRICT

    name: str
    """Case name, unique in the dataset."""
    images: tuple[str, ...]
    """Paths of the image files, one per channel, or one file that holds all channels."""
    segmentation: str | None = None
    """Path of the reference segmentation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A raw dataset: its description and where its cases lie."""

    __pydantic_config__: ClassVar = STRICT

    schema_version: int = 1
    """Version of this document."""
    description: DatasetDescription
    """What the cases have in common."""
    folder: str
    """Folder that the dataset was read from."""
    cases: tuple[Case, ...]
    """Training cases, sorted by name."""
