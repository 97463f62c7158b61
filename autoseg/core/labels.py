"""What the numbers of a label map mean, and how network channels become a label map."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from autoseg.core.errors import DatasetError
from autoseg.core.geometry import STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The labels of a dataset: the position of a name is its value in the label map."""

    __pydantic_config__: ClassVar = STRICT

    names: tuple[str, ...]
    """Label names by value; the first is the background."""

    def __post_init__(self) -> None:
        if not self.names:
            raise DatasetError("labels are empty; a dataset needs the background and one label")
        duplicates = sorted({name for name in self.names if self.names.count(name) > 1})
        if duplicates:
            raise DatasetError(f"label names {duplicates} occur more than once", rule="E-VAL-40")

    @property
    def count(self) -> int:
        """Number of labels, background included; also the number of network channels."""
        return len(self.names)

    @property
    def foreground(self) -> tuple[int, ...]:
        """Values of all labels but the background."""
        return tuple(range(1, len(self.names)))

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """Smallest unsigned type that holds every label."""
        return np.dtype(np.uint8 if len(self.names) <= 256 else np.uint16)

    def label_map(self, logits: npt.NDArray[np.floating]) -> npt.NDArray[np.unsignedinteger]:
        """Return the label with the largest logit, ties to the smaller value.

        Parameters
        ----------
        logits : (K, *spatial) array
            One channel per label.

        Returns
        -------
        (*spatial) array of `dtype`
        """
        labels: npt.NDArray[np.unsignedinteger] = logits.argmax(0).astype(self.dtype)
        return labels
