"""What the numbers of a label map mean, and how network channels become a label map.

In arrays a label is its position in `Labels.names`, whatever value it has in files; the ignore
label comes after all others.
"""

from collections import Counter
from dataclasses import dataclass, replace
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from autoseg.core.errors import DatasetError
from autoseg.core.geometry import STRICT

LARGEST_VALUE: Final = 2**16 - 1
"""Largest value of a label in a file."""

LabelMap = npt.NDArray[np.unsignedinteger]


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A union of labels: one output channel, one row of a score."""

    __pydantic_config__: ClassVar = STRICT

    name: str
    """Name of the region; that of the label where it is one."""
    labels: tuple[int, ...]
    """Labels that it consists of, ascending."""
    written: int
    """Label that its voxels get in a label map; regions are written in order, later ones over
    earlier ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The labels of a dataset; a label is a position in `names`."""

    __pydantic_config__: ClassVar = STRICT

    names: tuple[str, ...]
    """Names of the labels; the first is the background. The ignore label is not among them."""
    values: tuple[int, ...] = ()
    """Value of each label in files, each its own; empty where it is the position."""
    regions: tuple[Region, ...] = ()
    """What the network tells apart, in the order of writing; empty where it is the labels."""
    ignore: int | None = None
    """Value in files of voxels that are left out of training and scores."""

    def __post_init__(self) -> None:
        if not self.names:
            raise DatasetError("labels are empty; a dataset needs the background and one label")
        named = (*self.names, *(r.name for r in self.regions if len(r.labels) != 1))
        duplicates = sorted(name for name, count in Counter(named).items() if count > 1)
        if duplicates:
            raise DatasetError(f"label names {duplicates} occur more than once", rule="E-VAL-40")
        self._check_values()
        for region in self.regions:
            unknown = [k for k in (*region.labels, region.written) if k not in self.foreground]
            if unknown or not region.labels:
                raise DatasetError(
                    f"region {region.name!r} consists of the labels {region.labels} and is written "
                    f"as {region.written}; allowed are 1 to {self.count - 1}, at least one",
                    rule="E-VAL-39",
                )

    def _check_values(self) -> None:
        values, known = self.file_values, self.stored_values
        if len(values) != self.count or len(set(values)) != self.count:
            raise DatasetError(
                f"label values {values} must differ, one for each of {self.count} names",
                rule="E-VAL-40",
            )
        if self.ignore in values or not 0 <= min(known) <= max(known) <= LARGEST_VALUE:
            raise DatasetError(
                f"label values {values} and ignore label {self.ignore} must differ and lie "
                f"between 0 and {LARGEST_VALUE}",
                rule="E-VAL-39",
            )

    @property
    def count(self) -> int:
        """Number of labels, background included, ignore label not."""
        return len(self.names)

    @property
    def channels(self) -> int:
        """Number of network channels: one per region, or one per label."""
        return len(self.regions) or self.count

    @property
    def entries(self) -> int:
        """Number of things told apart, as ``dataset.json`` counts them.

        The background, every region or else every foreground label, and the ignore label.
        """
        told_apart = 1 + len(self.regions) if self.regions else self.count
        return told_apart + (self.ignore is not None)

    @property
    def foreground(self) -> tuple[int, ...]:
        """All labels but the background."""
        return tuple(range(1, len(self.names)))

    @property
    def ignored(self) -> int | None:
        """What ignored voxels hold in arrays; None where there is no ignore label."""
        return None if self.ignore is None else self.count

    @property
    def structures(self) -> tuple[Region, ...]:
        """What is scored and sampled: the regions, or each foreground label as one."""
        return self.regions or tuple(
            Region(name=self.names[k], labels=(k,), written=k) for k in self.foreground
        )

    @property
    def file_values(self) -> tuple[int, ...]:
        """Value in files of each label."""
        return self.values or tuple(range(self.count))

    @property
    def stored_values(self) -> tuple[int, ...]:
        """Value in files of each number in arrays: of every label, then of the ignore label."""
        return self.file_values if self.ignore is None else (*self.file_values, self.ignore)

    @property
    def arrangement(self) -> tuple[object, ...]:
        """What arrays depend on, as plain JSON values: all but the names."""
        members = tuple((region.labels, region.written) for region in self.regions)
        return self.file_values, members, self.ignore

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """Smallest unsigned type that holds every label and the ignore label, in arrays."""
        return _smallest_type(self.count - 1 if self.ignored is None else self.ignored)

    def in_file(self, values: tuple[int, ...]) -> "Labels":
        """Return the same labels for a file that has values of its own for them.

        Parameters
        ----------
        values : tuple of int
            As `stored_values`: one per label, and one for the ignore label if there is one.

        Raises
        ------
        DatasetError
            If there are too few or too many values, two are the same, or one is too large.

        Examples
        --------
        >>> Labels(names=("background", "liver", "spleen")).in_file((0, 2, 1)).file_values
        (0, 2, 1)
        """
        if len(values) != len(self.stored_values):
            raise DatasetError(
                f"label values {values} must be {len(self.stored_values)}, as many as there are "
                "labels with the ignore label",
                rule="E-VAL-40",
            )
        ignore = None if self.ignore is None else values[self.count]
        return replace(self, values=values[: self.count], ignore=ignore)

    def to_file(self, label_map: LabelMap) -> LabelMap:
        """Return a label map with the values that files hold, in the smallest type for them."""
        values = self.stored_values
        stored: LabelMap = np.array(values, _smallest_type(max(values)))[label_map]
        return stored


def _smallest_type(largest: int) -> np.dtype[np.unsignedinteger]:
    return np.dtype(np.uint8 if largest <= np.iinfo(np.uint8).max else np.uint16)
